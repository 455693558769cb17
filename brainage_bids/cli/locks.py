"""One run at a time for a participant: a file under ``OUT/logs/locks``, locked as long as a process of the run lives.

The lock is the kernel's (``flock``), which frees it when its holders are gone, however they went; the file alone locks nothing, so
one that a killed run left behind is simply taken over. Its content only tells others whom they met. Local disks, NFS and most
cluster file systems have such locks; where there are none, runs are not kept apart.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from brainage_bids.files import read_json

LOGGER = logging.getLogger("brainage")
PATIENCE_SECONDS = 2.0
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class Busy(Exception):
    """Another run works on this participant; the message is one sentence."""


@dataclass(frozen=True)
class Lock:
    """A participant that is ours until `release`, or until all processes that have the descriptor are gone."""

    path: Path
    descriptor: int

    def release(self) -> None:
        """Leave the participant to others."""
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def lock_participant(out_dir: Path, participant_id: str, patience: float = PATIENCE_SECONDS) -> Lock:
    """Take the lock of a participant in an output folder.

    Parameters
    ----------
    out_dir : Path
        The output folder.
    participant_id : str
        ``sub-X``.
    patience : float
        Seconds to wait for a holder that is just ending, such as a killed run whose memory is being freed.

    Returns
    -------
    Lock
        Its descriptor may be handed to a child process, which then holds the lock as well.

    Raises
    ------
    Busy
        If another run has it, on this or another machine.
    OSError
        If the file cannot be made.
    """
    path = Path(out_dir) / "logs" / "locks" / f"{participant_id}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + patience
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            if time.monotonic() >= until:
                raise Busy(_sentence(path)) from None
            time.sleep(0.05)
            continue
        except OSError as error:
            if error.errno not in NO_LOCKS:
                os.close(descriptor)
                raise
            LOGGER.info("%s: the file system of the output folder has no locks (%s)", participant_id, error.strerror)
        if _is_at(path, descriptor):
            break
        os.close(descriptor)  # its holder took the file away between our opening and locking it
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"}
    with contextlib.suppress(OSError):  # on a full disk the lock holds without words
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
    return Lock(path, descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _sentence(path: Path) -> str:
    """Who has a lock, and what to do."""
    advice = "it is left to that run; run again when that one has ended"
    try:
        holder = read_json(path)
        return f"Another run works on this participant ({holder['host']}, process {holder['pid']}, since {holder['since']}): {advice}."
    except (OSError, ValueError, TypeError, KeyError):  # not written yet, or gone: the lock counts, not its words
        return f"Another run works on this participant: {advice}."
