"""A second process of a participant, which does one thing after another while the first goes on.

Most of a scan's processing keeps to one core, for the sake of equal bits; images beside the T1w need nothing of it but its structure
stage, so from then on they can use another core.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


class Lost(NamedTuple):
    """In the place of an answer: the second process ended in the middle of it."""

    status: int | None
    """Exit status, −n for signal n."""


class HelperProcess:
    """A process that is asked for things and does them in their order.

    It is a fresh interpreter (libraries that have started threads do not survive a fork) and ends with this one.

    Parameters
    ----------
    threads : int
        That its libraries may use.
    folder : Path, optional
        Where a folder for a few empty files is made for the while; the system's place for such by default.
    prepare : callable, optional
        A function of a module that it calls first, unasked.

    Examples
    --------
    >>> import math
    >>> with HelperProcess(threads=1) as helper:
    ...     helper.ask(math.sqrt, 16.0)
    ...     helper.ask(math.sqrt, 25.0)
    ...     helper.answers()
    [4.0, 5.0]
    """

    def __init__(self, threads: int, folder: Path | None = None, prepare: Callable[[], object] | None = None):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._asked: list[tuple[Callable[..., Any], tuple]] = []
        self._heard: dict[int, Any] = {}
        self._claims = tempfile.TemporaryDirectory(prefix="brainage_", dir=folder)
        arguments = (theirs, os.getpid(), self._claims.name, threads, prepare)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> HelperProcess:
        return self

    def __exit__(self, *_) -> None:
        """End the process, whatever it is doing."""
        self._pipe.close()
        self._process.kill()
        self._process.join()
        self._claims.cleanup()

    def ask(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Have a function of a module called, without waiting."""
        self._asked.append((function, arguments))
        with contextlib.suppress(EOFError, OSError):  # a process that is gone is noticed by `answers`
            while self._pipe.poll():  # so that neither waits for the other to read
                self._hear()
            self._pipe.send((len(self._asked) - 1, function, arguments))

    def answers(self) -> list[Any]:
        """What the calls returned, in the order of asking. This process does, from the last on, what the other has not begun.

        Returns
        -------
        list
            With `Lost` in the place of the call in which the other process ended, also because it raised; its traceback is on
            standard error.
        """
        mine = {}
        for number, (function, arguments) in reversed(list(enumerate(self._asked))):
            if not _claim(self._claims.name, number):
                break
            mine[number] = function(*arguments)
        with contextlib.suppress(EOFError, OSError):
            while len(mine | self._heard) < len(self._asked):
                self._hear()
        if len(mine | self._heard) < len(self._asked):
            self._process.join()
        return [(self._heard | mine).get(number, Lost(self._process.exitcode)) for number in range(len(self._asked))]

    def _hear(self) -> None:
        number, answer = self._pipe.recv()
        self._heard[number] = answer


def _claim(folder: str, number: int) -> bool:
    """Take a call, if the other process has not."""
    try:
        os.close(os.open(os.path.join(folder, str(number)), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def _serve(pipe: Connection, parent: int, claims: str, threads: int, prepare: Callable[[], object] | None) -> None:
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
            number, function, arguments = pipe.recv()
        except EOFError:
            return
        if _claim(claims, number):
            pipe.send((number, function(*arguments)))


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent is gone, even while a library holds the interpreter's lock; only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
