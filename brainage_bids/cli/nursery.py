"""One process that loads the models once and forks the process of each participant, so that they share them.

What a participant does stays its own: its memory, its log, its death. The models are in memory that is copied when it is
written, and nobody writes it. Only on Linux, whose kernel ends the participants with the nursery, and the nursery with the app.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from brainage_bids.settings import Settings

if TYPE_CHECKING:
    from brainage_bids.models.order import Asked

LOGGER = logging.getLogger("brainage")
SERVE = "--serve"
_LONGEST = 65536
_POLL_SECONDS = 0.05


class Forked:
    """The process of a participant, with what is used of ``subprocess.Popen``."""

    def __init__(self, nursery: Nursery, pid: int):
        self._nursery, self.pid = nursery, pid

    @property
    def returncode(self) -> int | None:
        """How it ended, None if it has not; −n for signal n."""
        return self._nursery.ended.get(self.pid)

    def poll(self) -> int | None:
        """Look whether it has ended."""
        self._nursery.listen(0.0)
        return self.returncode

    def wait(self) -> int:
        """Wait for its end."""
        while self.returncode is None:
            self._nursery.listen(_POLL_SECONDS)
        return self.returncode


class Nursery:
    """The app's side: asks for participants and hears of their ends.

    Parameters
    ----------
    command : list of str
        Starts ``cli.child``.
    environment : dict
    settings : Settings
        Whose models it loads.
    log : Path
        Where it writes what it has to say.
    """

    def __init__(self, command: list[str], environment: dict[str, str], settings: Settings, log: Path):
        self.ended: dict[int, int] = {}
        self._running: set[int] = set()
        self._started: list[int] = []
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        words = [*command, SERVE, str(theirs.fileno()), str(os.getpid()), json.dumps([settings.models, settings.model_dirs])]
        with open(log, "ab") as output, theirs:
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, pass_fds=(theirs.fileno(),),
                env=environment,
            )  # fmt: skip
        self.alive = True

    def start(self, task: int, log: Path, lock: int) -> Forked | None:
        """Start a participant whose task and lock are open files; None if the nursery is gone."""
        with open(log, "ab") as output:
            try:
                socket.send_fds(self._socket, [b"task"], [output.fileno(), lock, task])
            except OSError:
                self._gone()
        while self.alive and not self._started:
            self.listen(_POLL_SECONDS)
        return Forked(self, self._started.pop()) if self._started else None

    def listen(self, seconds: float) -> None:
        """Hear what the nursery says, for so long at most if it says nothing."""
        while self.alive and select.select([self._socket], [], [], seconds)[0]:
            try:
                said = self._socket.recv(_LONGEST)
            except OSError:
                said = b""
            if not said:
                self._gone()
                return
            what, pid, status = json.loads(said)
            if what == "started":
                self._started.append(pid)
                self.ended.pop(pid, None)  # the system has given a number again
                self._running.add(pid)
            else:
                self._running.discard(pid)
                self.ended[pid] = status
            seconds = 0.0

    def _gone(self) -> None:
        """The kernel has ended those who were running together with the nursery."""
        self.alive = False
        self.ended |= dict.fromkeys(self._running, -signal.SIGKILL)
        self._running.clear()

    def close(self) -> None:
        """Let the nursery end, and what may still run in it."""
        self._socket.close()
        self.alive = False
        self._process.wait()


def can_share(settings: Settings, participants: int) -> bool:
    """Whether a nursery is of use: on Linux, several participants, and a model that takes long to load; others are there in no time."""
    from brainage_bids.models.kinds import kind_of

    if sys.platform != "linux" or participants < 2:
        return False
    return any(kind_of(one.folder).shareable for one in _asked(settings.models, settings.model_dirs))


def _asked(models: Sequence[str], model_dirs: Sequence[str]) -> list[Asked]:
    """Models of a run and what they need, each once; those that cannot be used are left to the participants, each of which says so."""
    from brainage_bids.models.order import ask
    from brainage_bids.models.registry import open_model
    from brainage_bids.records import BadConfiguration

    found = {}
    for path in models:
        try:
            found |= {one.key: one for one in ask(open_model(path), model_dirs).everyone()}
        except BadConfiguration as error:
            LOGGER.info("%s not loaded: %s", path, error)
    return list(found.values())


def serve(descriptor: int, models: list[str], model_dirs: list[str]) -> tuple[int, int]:
    """Be the nursery until the app is gone; returns in the process of a participant only, with its task and the nursery's number."""
    threads, nursery = _load(models, model_dirs), os.getpid()
    ours = socket.socket(fileno=descriptor)
    while True:
        if select.select([ours], [], [], _POLL_SECONDS)[0]:
            said, descriptors, _, _ = socket.recv_fds(ours, _LONGEST, 3)
            if not said:
                os.killpg(0, signal.SIGKILL)
            pid = os.fork()
            if pid == 0:
                ours.close()
                _settle(descriptors[0], threads)
                return descriptors[2], nursery
            for opened in descriptors:
                os.close(opened)
            ours.send(json.dumps(["started", pid, 0]).encode())
        for pid, status in _ended():
            ours.send(json.dumps(["ended", pid, os.waitstatus_to_exitcode(status)]).encode())


def _load(models: list[str], model_dirs: list[str]) -> int | None:
    """Load the models on one thread, as pools of threads do not survive a fork; return how many threads torch is to have."""
    from brainage_bids.models.kinds import kind_of
    from brainage_bids.models.predict import load_model
    from brainage_bids.records import BadConfiguration

    threads = None
    for one in _asked(models, model_dirs):
        start = time.monotonic()
        try:
            if kind_of(one.folder).needs_torch and threads is None:
                import torch

                threads = torch.get_num_threads()
                torch.set_num_threads(1)
            load_model(one.folder)
            LOGGER.info("%s loaded in %.1f s", one.folder.path, time.monotonic() - start)
        except BadConfiguration as error:  # each participant will say so
            LOGGER.info("%s not loaded: %s", one.folder.path, error)
    return threads


def _settle(log: int, threads: int | None) -> None:
    """Become a participant: a session of its own, its log, its threads. The lock stays open until the process ends."""
    os.setsid()
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _ended() -> list[tuple[int, int]]:
    """Participants that have ended since the last look, with their wait status."""
    found = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        found.append((pid, status))
