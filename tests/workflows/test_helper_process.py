"""The second process: who does what, the order of answers, and that its end is noticed."""

import math
import os
import signal
import time

import pytest

from brainage_bids.workflows.helper_process import HelperProcess, Lost


def test_answers_come_in_the_order_of_asking():
    with HelperProcess(threads=1) as helper:
        for number in (9.0, 4.0, 1.0):
            helper.ask(math.sqrt, number)
        assert helper.answers() == [3.0, 2.0, 1.0]


def begun(helper):
    """Wait until the other process has taken the first call."""
    while not os.listdir(helper._claims.name):
        time.sleep(0.01)


def test_one_process_begins_at_the_front_and_the_other_at_the_end():
    with HelperProcess(threads=3) as helper:
        helper.ask(time.sleep, 0.5)
        begun(helper)
        for _ in range(3):
            helper.ask(os.getpid)
        *front, last = helper.answers()[1:]
        assert last == os.getpid() and set(front) <= {os.getpid(), helper._process.pid}


def test_the_other_process_has_its_own_threads():
    with HelperProcess(threads=3) as helper:
        helper.ask(os.getenv, "OMP_NUM_THREADS")
        begun(helper)
        assert helper.answers() == ["3"]


@pytest.mark.parametrize(
    ("function", "argument", "status"), [(os._exit, 7, 7), (signal.raise_signal, signal.SIGKILL, -9), (math.sqrt, -1, 1)]
)
def test_only_the_call_in_which_it_ended_is_lost(function, argument, status):
    with HelperProcess(threads=1) as helper:
        helper.ask(function, argument)
        begun(helper)
        helper._process.join()
        helper.ask(math.sqrt, 9.0)
        assert helper.answers() == [Lost(status), 3.0]


def test_it_does_not_outlive_its_use():
    with HelperProcess(threads=1) as helper:
        helper.ask(time.sleep, 60)
        begun(helper)
        pid = helper._process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_large_answers_block_neither_side():
    with HelperProcess(threads=1) as helper:
        for _ in range(20):
            helper.ask(bytes, 300_000)
            time.sleep(0.02)
        assert [len(answer) for answer in helper.answers()] == [300_000] * 20
