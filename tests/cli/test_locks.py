"""A participant belongs to one run at a time, whatever becomes of that run."""

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from brainage_bids.cli import locks
from brainage_bids.cli.locks import Busy, lock_participant

HOLD = """
import subprocess, sys, time
from pathlib import Path
from brainage_bids.cli.locks import lock_participant
lock = lock_participant(Path(sys.argv[1]), sys.argv[2])
if sys.argv[3] == "child":
    subprocess.Popen(["sleep", "60"], pass_fds=(lock.descriptor,), stdout=subprocess.DEVNULL)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def hold(tmp_path):
    """Start a process that takes a lock; all are killed at the end."""
    started = []

    def start(label, what="alone"):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path), label, what], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):  # the test itself may have ended them all
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_a_lock_is_one_file_that_is_gone_at_the_end(tmp_path):
    lock = lock_participant(tmp_path, "sub-1")
    (file,) = (tmp_path / "logs" / "locks").iterdir()
    assert file.name == "sub-1.lock" and json.loads(file.read_text())["pid"] == os.getpid()
    lock.release()
    assert not file.exists()


def test_who_has_it_is_said_and_others_are_free(tmp_path, hold):
    process = hold("sub-1")
    with pytest.raises(Busy) as caught:
        lock_participant(tmp_path, "sub-1", 0.1)
    assert f"process {process.pid}" in str(caught.value) and socket.gethostname() in str(caught.value)
    lock_participant(tmp_path, "sub-12").release()


def test_a_killed_holder_holds_nothing(tmp_path, hold):
    process = hold("sub-1")
    process.kill()
    process.wait()
    assert (tmp_path / "logs" / "locks" / "sub-1.lock").exists()
    lock_participant(tmp_path, "sub-1").release()


def test_a_child_of_a_killed_holder_still_holds_it(tmp_path, hold):
    process = hold("sub-1", "child")
    process.kill()
    process.wait()
    with pytest.raises(Busy):
        lock_participant(tmp_path, "sub-1")
    os.killpg(process.pid, signal.SIGKILL)


def test_a_lock_without_words_counts(tmp_path, hold):
    hold("sub-1")
    (tmp_path / "logs" / "locks" / "sub-1.lock").write_text("")
    with pytest.raises(Busy, match="^Another run works on this participant: "):
        lock_participant(tmp_path, "sub-1")


def test_a_file_that_its_holder_takes_away_is_not_the_lock(tmp_path, monkeypatch):
    path, flock, calls = tmp_path / "logs" / "locks" / "sub-1.lock", locks.fcntl.flock, []

    def late(descriptor, how):
        if not calls:
            path.unlink()
        calls.append(descriptor)
        flock(descriptor, how)

    monkeypatch.setattr(locks.fcntl, "flock", late)
    lock = lock_participant(tmp_path, "sub-1")
    assert len(calls) == 2 and path.exists()
    lock.release()


def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(locks.fcntl, "flock", none)
    first, second = (lock_participant(tmp_path, "sub-1") for _ in range(2))
    assert first.path == second.path and first.path.exists()
    first.release()
    second.release()
