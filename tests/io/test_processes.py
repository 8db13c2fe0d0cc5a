"""A process is known by its number and its start, and only that process is ended."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hyperplane.io.processes import (
    ProcessFiles,
    ProcessIdentity,
    end,
    end_process,
    identity_of,
    own_identity,
    read_identity,
    running,
    write_identity,
)


@pytest.fixture
def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])


def test_a_living_process_is_itself() -> None:
    assert own_identity().is_alive()
    assert identity_of(os.getpid()) == own_identity()


def test_a_number_that_another_process_has_now_is_not_it(sleeper: subprocess.Popen[bytes]) -> None:
    found = identity_of(sleeper.pid)
    assert found is not None
    earlier = ProcessIdentity(sleeper.pid, found.started - 1)
    assert not earlier.is_alive()
    assert not end_process(earlier)
    assert sleeper.poll() is None, "the present owner of the number was ended"
    assert end_process(found)
    sleeper.wait()
    assert not found.is_alive()


def test_a_zombie_does_not_live() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert identity_of(pid) is None
    os.waitpid(pid, 0)


def test_a_process_that_ignores_the_wish_is_killed() -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(writing, b"1")
        while True:
            signal.pause()
    os.read(reading, 1)
    found = identity_of(pid)
    assert found is not None
    assert end_process(found, timeout_s=0.05)
    assert identity_of(pid) is None


def test_an_identity_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_identity(tmp_path / "one", own_identity())
    assert read_identity(tmp_path / "one") == own_identity()


@pytest.mark.parametrize("text", ["", "17", "17 x", "a b", "1 2 3"])
def test_what_names_no_process_is_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "one").write_text(text)
    assert read_identity(tmp_path / "one") is None
    assert read_identity(tmp_path / "none") is None


def test_ending_by_name_spares_the_next_owner_of_the_number(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    files = ProcessFiles(tmp_path)
    files.directory.mkdir()
    found = identity_of(sleeper.pid)
    assert found is not None
    write_identity(files.record("target-x"), ProcessIdentity(found.pid, found.started + 1))
    assert running(files, "target-x") == 0
    assert not end(files, "target-x")
    assert sleeper.poll() is None
    write_identity(files.record("target-x"), found)
    assert running(files, "target-x") == sleeper.pid
    assert end(files, "target-x")
    sleeper.wait()
    assert files.names() == []
