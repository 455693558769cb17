"""The second process: who does what, the order of answers, and that its end is noticed."""

import math
import os
import signal
import time

import pytest

from brainage_bids.workflows.beside import Beside, Lost


def test_answers_come_in_the_order_of_asking():
    with Beside(threads=1) as beside:
        for number in (9.0, 4.0, 1.0):
            beside.ask(math.sqrt, number)
        assert beside.answers() == [3.0, 2.0, 1.0]


def begun(beside):
    """Wait until the other process has taken the first call."""
    while not os.listdir(beside._claims.name):
        time.sleep(0.01)


def test_one_process_begins_at_the_front_and_the_other_at_the_end():
    with Beside(threads=3) as beside:
        beside.ask(time.sleep, 0.5)
        begun(beside)
        for _ in range(3):
            beside.ask(os.getpid)
        *front, last = beside.answers()[1:]
        assert last == os.getpid() and set(front) <= {os.getpid(), beside._process.pid}


def test_the_other_process_has_its_own_threads():
    with Beside(threads=3) as beside:
        beside.ask(os.getenv, "OMP_NUM_THREADS")
        begun(beside)
        assert beside.answers() == ["3"]


@pytest.mark.parametrize(
    ("function", "argument", "status"), [(os._exit, 7, 7), (signal.raise_signal, signal.SIGKILL, -9), (math.sqrt, -1, 1)]
)
def test_only_the_call_in_which_it_ended_is_lost(function, argument, status):
    with Beside(threads=1) as beside:
        beside.ask(function, argument)
        begun(beside)
        beside._process.join()
        beside.ask(math.sqrt, 9.0)
        assert beside.answers() == [Lost(status), 3.0]


def test_it_does_not_outlive_its_use():
    with Beside(threads=1) as beside:
        beside.ask(time.sleep, 60)
        begun(beside)
        pid = beside._process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_large_answers_block_neither_side():
    with Beside(threads=1) as beside:
        for _ in range(20):
            beside.ask(bytes, 300_000)
            time.sleep(0.02)
        assert [len(answer) for answer in beside.answers()] == [300_000] * 20
