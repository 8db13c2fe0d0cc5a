"""Logs are cut under their writers, and their ends are kept."""

import resource
from pathlib import Path

import pytest

from hyperplane.io.logs import bound_logs


def written(directory: Path, name: str, lines: int) -> Path:
    log = directory / f"{name}.log"
    with log.open("ab") as file:
        file.writelines(b"line %06d\n" % number for number in range(lines))
    return log


def test_a_log_that_has_outgrown_its_bound_is_cut_and_its_last_lines_are_kept(tmp_path: Path) -> None:
    log = written(tmp_path, "fabric", 100)
    assert bound_logs(tmp_path, 500) == [log]
    assert log.read_bytes() == b""
    kept = (tmp_path / "fabric.log.1").read_bytes().splitlines()
    assert kept == [b"line %06d" % number for number in range(100 - 500 // 12, 100)]


def test_the_writer_goes_on_at_the_beginning(tmp_path: Path) -> None:
    """Processes write with O_APPEND: no hole of zeros is left before what comes next."""
    log = tmp_path / "fabric.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 100)
        assert bound_logs(tmp_path, 100) == [log]
        writer.write(b"new\n")
    assert log.read_bytes() == b"new\n"


def test_small_logs_and_other_files_are_left_alone(tmp_path: Path) -> None:
    log = written(tmp_path, "control", 10)
    (tmp_path / "notes.txt").write_bytes(bytes(1000))
    assert bound_logs(tmp_path, 120) == []
    assert log.stat().st_size == 120
    assert sorted(path.name for path in tmp_path.iterdir()) == ["control.log", "notes.txt"]


def test_what_was_kept_before_gives_way(tmp_path: Path) -> None:
    for _ in range(2):
        written(tmp_path, "fabric", 20)
        bound_logs(tmp_path, 100)
    assert (tmp_path / "fabric.log.1").stat().st_size <= 100


def test_one_endless_line_is_cut_as_well(tmp_path: Path) -> None:
    (tmp_path / "fabric.log").write_bytes(b"x" * 1000)
    bound_logs(tmp_path, 100)
    assert (tmp_path / "fabric.log.1").read_bytes() == b"x" * 100


def test_where_there_is_no_room_every_log_is_cut_though_its_end_is_lost(tmp_path: Path) -> None:
    """The limit stands in for a memory that is full: the scratch file must not take the last of it either."""
    logs = [written(tmp_path, name, 1000) for name in ("control", "fabric")]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
    try:
        with pytest.raises(OSError, match=r"the end of .*fabric\.log is lost"):
            bound_logs(tmp_path, 500)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [log.stat().st_size for log in logs] == [0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["control.log", "fabric.log"]


def test_no_directory_is_no_log(tmp_path: Path) -> None:
    assert bound_logs(tmp_path / "log", 100) == []
