"""The control process follows the lab file, and does not give up on a machine that was busy once."""

import errno
from pathlib import Path

import pytest

from hyperplane.io import control as controlling
from hyperplane.io import reconcile as reconciling
from hyperplane.io.control import Control
from hyperplane.io.processes import ProcessFiles
from hyperplane.io.runtime import snapshot_file
from netns.build import Change
from netns.errors import KernelError
from netns.namespace import NamespaceMissing
from netns.topology import Topology
from tests.io.living import lab_text


class Builder:
    """Stands in for the kernel: fails once for each of `failures`."""

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self.runs = 0

    def __call__(self, topology: Topology) -> tuple[Change, ...]:
        self.runs += 1
        if self.failures:
            raise self.failures.pop(0)
        return ()


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> Builder:
    made = Builder()
    monkeypatch.setattr(reconciling, "build", made)
    return made


@pytest.fixture
def control(tmp_path: Path, builder: Builder) -> Control:
    (tmp_path / "lab.yml").write_text(lab_text())
    (tmp_path / "run").mkdir()
    return Control(tmp_path / "lab.yml", tmp_path / "run")


@pytest.mark.parametrize(
    "failure",
    [
        KernelError(errno.EBUSY, "hp-rv-c", "make a link"),
        OSError(errno.ENOMEM, "cannot create namespaces"),
        NamespaceMissing("hp-rv-c"),
    ],
)
def test_what_the_machine_would_not_do_is_tried_again(
    control: Control, builder: Builder, tmp_path: Path, failure: Exception
) -> None:
    builder.failures = [failure]
    control.poll()
    assert control.answer()[1]["lab_problem"] is not None
    assert not snapshot_file(tmp_path / "run").exists()
    control.poll()
    assert control.answer()[1]["lab_problem"] is None
    assert snapshot_file(tmp_path / "run").exists()
    control.poll()
    assert builder.runs == 2, "a file that is in force is not built again"


def test_a_wrong_file_is_looked_at_once(control: Control, builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "lab.yml").write_text("vpcs: {")
    control.poll()
    problem = control.problem
    assert problem is not None
    control.poll()
    assert (control.problem, builder.runs) == (problem, 0)


def test_a_file_that_comes_back_as_it_was_is_in_force_again(control: Control, tmp_path: Path) -> None:
    control.poll()
    (tmp_path / "lab.yml").rename(tmp_path / "away")
    control.poll()
    assert "lab.yml" in str(control.problem)
    (tmp_path / "away").rename(tmp_path / "lab.yml")
    control.poll()
    assert control.problem is None


def test_logs_are_cut_and_a_full_memory_is_told_of_once(
    control: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(controlling, "LOG_BYTES_MAX", 10)
    log = ProcessFiles(tmp_path / "run").log("fabric-az1")
    log.parent.mkdir()
    log.write_bytes(b"a line\nanother line\n")
    control.bound_logs()
    assert log.read_bytes() == b""
    log.write_bytes(b"a line\nanother line\n")

    def no_room(directory: Path, bytes_max: int) -> list[Path]:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(controlling, "bound_logs", no_room)
    for _ in range(3):
        control.bound_logs()
    assert sum("could not be cut" in record.message for record in caplog.records) == 1
