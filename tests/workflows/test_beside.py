"""The second process: it answers in order, on its own, and its end is noticed."""

import math
import os
import signal
import time

import pytest

from brainage_bids.workflows.beside import Beside, Lost


def test_answers_come_in_the_order_of_asking_from_one_other_process():
    with Beside(threads=3) as beside:
        for number in (9.0, 4.0, 1.0):
            beside.ask(math.sqrt, number)
        assert [beside.answer() for _ in range(3)] == [3.0, 2.0, 1.0]
        beside.ask(os.getpid)
        beside.ask(os.getppid)
        beside.ask(os.getenv, "OMP_NUM_THREADS")
        theirs = beside.answer()
        assert theirs != os.getpid() == beside.answer()
        assert beside.answer() == "3"


@pytest.mark.parametrize(
    ("function", "argument", "status"), [(os._exit, 7, 7), (signal.raise_signal, signal.SIGKILL, -9), (math.sqrt, -1, 1)]
)
def test_an_end_before_the_answer_is_noticed_and_what_was_answered_is_kept(function, argument, status):
    with Beside(threads=1) as beside:
        beside.ask(math.sqrt, 4.0)
        beside.ask(function, argument)
        beside.ask(math.sqrt, 9.0)
        assert beside.answer() == 2.0
        for _ in range(2):
            with pytest.raises(Lost) as lost:
                beside.answer()
            assert lost.value.status == status


def test_it_does_not_outlive_its_use():
    with Beside(threads=1) as beside:
        beside.ask(os.getpid)
        pid = beside.answer()
        beside.ask(time.sleep, 60)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_large_answers_block_neither_side():
    with Beside(threads=1) as beside:
        for _ in range(20):
            beside.ask(bytes, 300_000)
            time.sleep(0.02)
        assert [len(beside.answer()) for _ in range(20)] == [300_000] * 20
