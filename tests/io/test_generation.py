"""A generation's files are whole or not there, and nobody but root decides what they are."""

import os
import signal
from pathlib import Path

import pytest

from hyperplane.errors import ConfigurationError
from hyperplane.flow.journal import JournalReader
from hyperplane.io import generation as generations
from hyperplane.io.generation import make_generation, make_zone, remove_generation, start_lock
from hyperplane.io.processes import own_identity, read_identity
from hyperplane.io.runtime import ZoneFiles, map_file, zone_files
from hyperplane.io.status import PAGE_BYTES

OWNER = (os.getuid(), os.getgid())
ROWS = 64


@pytest.fixture
def files(tmp_path: Path) -> ZoneFiles:
    made = zone_files(tmp_path, "rv-az1")
    make_zone(made, OWNER)
    return made


def make(files: ZoneFiles, generation: int = 1, node_count: int = 2, rows: int = ROWS) -> None:
    make_generation(files, generation, node_count, rows, OWNER)


def test_a_generation_has_a_journal_and_a_page_for_every_node_and_names_its_fabric(files: ZoneFiles) -> None:
    make(files)
    assert files.generations() == [1]
    for node in range(2):
        JournalReader(memoryview(map_file(files.journal(1, node))))
        assert files.status(1, node).stat().st_size == PAGE_BYTES
    assert read_identity(files.supervisor(1)) == own_identity()


def test_a_fabric_killed_while_it_makes_journals_leaves_no_generation(
    files: ZoneFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = os.fork()
    if pid == 0:
        monkeypatch.setattr(generations, "format_journal", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        make(files)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    assert files.generations() == []
    assert list(files.directory.glob(".gen-*")) != []  # else the kill came too early to prove anything

    make(files)
    assert files.generations() == [1]
    assert list(files.directory.glob(".gen-*")) == []


def test_a_generation_is_never_made_twice(files: ZoneFiles) -> None:
    make(files)
    mark = files.journal(1, 0).stat().st_ino
    with pytest.raises(OSError, match="not empty"):
        make(files)
    assert files.journal(1, 0).stat().st_ino == mark


def test_only_ports_belong_to_the_nodes(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to give files away")
    files = zone_files(tmp_path, "rv-az1")
    node_user = (65534, 65534)
    make_zone(files, node_user)
    make_generation(files, 1, 1, ROWS, node_user)
    owners = {
        path.name: path.stat().st_uid
        for path in (
            files.directory,
            files.ports,
            files.generation_directory(1),
            files.supervisor(1),
            files.journal(1, 0),
            files.status(1, 0),
        )
    }
    assert owners == {"rv-az1": 0, "ports": 65534, "gen-1": 0, "supervisor": 0, "journal-0": 65534, "status-0": 65534}
    assert files.generation_directory(1).stat().st_mode & 0o777 == 0o755


def test_a_planted_link_is_not_followed(files: ZoneFiles, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    planted = tmp_path / "journal-0"
    planted.symlink_to(victim)
    with pytest.raises(FileExistsError):
        generations._make_file(planted, PAGE_BYTES, 0o644, OWNER)
    assert victim.read_bytes() == b"precious"


def test_a_removed_generation_leaves_its_readers_alone(files: ZoneFiles) -> None:
    make(files)
    held = map_file(files.journal(1, 0))
    remove_generation(files, 1)
    assert files.generations() == []
    assert list(files.directory.glob(".gen-*")) == []
    JournalReader(memoryview(held))


def test_journals_that_memory_cannot_hold_are_refused(files: ZoneFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(files.directory)
    small = os.statvfs_result((real.f_bsize, 1, 5000, 5000, 5000, *tuple(real)[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _: small)
    with pytest.raises(ConfigurationError, match="do not fit"):
        make(files)
    assert files.generations() == []


def test_what_sparse_journals_may_still_take_counts_as_taken(files: ZoneFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    make(files, rows=1 << 18)
    real = os.statvfs(files.directory)
    size = files.journal(1, 0).stat().st_size
    for free, fits in ((5 * size, True), (3 * size, False)):  # two are there, two are wanted
        found = os.statvfs_result((real.f_bsize, 1, free, free, free, *tuple(real)[5:]))
        monkeypatch.setattr(os, "statvfs", lambda _, found=found: found)
        if fits:
            make(files, generation=2, rows=1 << 18)
            remove_generation(files, 2)
        else:
            with pytest.raises(ConfigurationError):
                make(files, generation=2, rows=1 << 18)


def test_one_fabric_starts_at_a_time(files: ZoneFiles) -> None:
    told, tell = os.pipe()
    with start_lock(files):
        pid = os.fork()
        if pid == 0:
            with start_lock(files):
                os.write(tell, b"child")
            os._exit(0)
        os.write(tell, b"parent")
    os.waitpid(pid, 0)
    assert os.read(told, 64) == b"parentchild"


def test_a_forked_node_does_not_keep_the_lock(files: ZoneFiles) -> None:
    go_on, tell = os.pipe()
    with start_lock(files):
        pid = os.fork()
        if pid == 0:
            os.close(tell)
            os.read(go_on, 1)
            os._exit(0)
    another = os.fork()
    if another == 0:
        with start_lock(files):
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(another, 0)[1]) == 7
    os.close(tell)
    os.waitpid(pid, 0)
