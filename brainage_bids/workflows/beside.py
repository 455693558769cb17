"""A second process of a participant, which does one thing after another while the first goes on.

Most of a scan's processing keeps to one core, for the sake of equal bits; FLAIR and SWI need nothing of the T1w but its structure
stage, so from then on they can use another core.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


class Lost(Exception):
    """The second process ended before it answered."""

    def __init__(self, status: int | None):
        super().__init__(f"exit status {status}")
        self.status = status
        """Exit status, −n for signal n."""


class Beside:
    """A process that is asked for things and does them in their order.

    It is a fresh interpreter (libraries that have started threads do not survive a fork) and ends with this one.

    Parameters
    ----------
    threads : int
        That its libraries may use.
    prepare : callable, optional
        A function of a module that it calls first, unasked.

    Examples
    --------
    >>> import math
    >>> with Beside(threads=1) as beside:
    ...     beside.ask(math.sqrt, 16.0)
    ...     beside.answer()
    4.0
    """

    def __init__(self, threads: int, prepare: Callable[[], object] | None = None):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._answers: deque = deque()
        self._process = context.Process(target=_serve, args=(theirs, os.getpid(), threads, prepare), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, *_) -> None:
        """End the process, whatever it is doing."""
        self._pipe.close()
        self._process.kill()
        self._process.join()

    def ask(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Have a function of a module called, without waiting; a process that is gone is noticed by `answer`."""
        try:
            while self._pipe.poll():  # so that neither waits for the other to read
                self._answers.append(self._pipe.recv())
            self._pipe.send((function, arguments))
        except (EOFError, OSError):
            return

    def answer(self) -> Any:
        """What the next call returned, in the order of asking; waits for it.

        Raises
        ------
        Lost
            If the process is gone, also because a call raised; its traceback is on standard error.
        """
        try:
            return self._answers.popleft() if self._answers else self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            raise Lost(self._process.exitcode) from None


def _serve(pipe: Connection, parent: int, threads: int, prepare: Callable[[], object] | None) -> None:
    """Be the second process."""
    end_with_parent()
    if os.getppid() != parent:  # it was gone before the kernel was asked
        return
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)))
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("brainage").setLevel(logging.INFO)
    if prepare is not None:
        prepare()
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        pipe.send(function(*arguments))


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent is gone, even while a library holds the interpreter's lock; only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
