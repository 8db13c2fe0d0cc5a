"""Interfaces keep their numbers whatever becomes of the files that tell them."""

from pathlib import Path

import pytest

from hyperplane.errors import ConfigurationError
from hyperplane.io import reconcile as reconciling
from hyperplane.io.lab_record import built_namespaces
from hyperplane.io.reconcile import Reconciled, reconcile
from hyperplane.snapshot import Snapshot
from netns.build import Change
from netns.errors import KernelError
from netns.topology import Topology
from tests.io.living import lab_text


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime directory whose ground is built at once."""
    monkeypatch.setattr(reconciling, "build", lambda _: ())
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def run(runtime: Path, text: str, now: float = 1.0) -> Reconciled:
    lab = runtime.parent / "lab.yml"
    lab.write_text(text)
    return reconcile(lab, runtime, now)


def numbers(snapshot: Snapshot) -> dict[str, int]:
    return {eni.eni_id: eni.number for zone in snapshot.zones for eni in zone.enis}


def run_twice(runtime: Path) -> Snapshot:
    """Numbers that a fresh start would not give: the first consumer's endpoint has gone, its number rests."""
    run(runtime, lab_text("rv-first"))
    return run(runtime, lab_text("rv-c")).snapshot


def test_numbers_that_a_fresh_start_would_not_give_are_what_these_tests_use(runtime: Path) -> None:
    grown = numbers(run_twice(runtime))
    for path in runtime.iterdir():
        path.unlink()
    assert numbers(run(runtime, lab_text("rv-c")).snapshot) != grown


@pytest.mark.parametrize("damage", [b"", b"torn"])
def test_the_numbering_alone_tells_the_numbers(runtime: Path, damage: bytes) -> None:
    before = run_twice(runtime)
    (runtime / "snapshot").write_bytes(damage)
    after = run(runtime, lab_text("rv-c")).snapshot
    assert numbers(after) == numbers(before)
    assert after.version > before.version, "a node must be seen to take it"


def test_the_numbering_alone_tells_the_numbers_where_the_snapshot_is_missing(runtime: Path) -> None:
    before = run_twice(runtime)
    (runtime / "snapshot").unlink()
    assert numbers(run(runtime, lab_text("rv-c")).snapshot) == numbers(before)


@pytest.mark.parametrize("damage", [None, b"torn"])
def test_the_snapshot_alone_tells_the_numbers(runtime: Path, damage: bytes | None) -> None:
    before = run_twice(runtime)
    (runtime / "numbering").unlink()
    if damage is not None:
        (runtime / "numbering").write_bytes(damage)
    assert numbers(run(runtime, lab_text("rv-c")).snapshot) == numbers(before)


@pytest.mark.parametrize("numbering", [None, b"torn"])
def test_numbers_are_never_dealt_anew_while_there_may_be_some(runtime: Path, numbering: bytes | None) -> None:
    run_twice(runtime)
    (runtime / "snapshot").write_bytes(b"torn")
    (runtime / "numbering").unlink()
    if numbering is not None:
        (runtime / "numbering").write_bytes(numbering)
    with pytest.raises(ConfigurationError, match="which number each interface has"):
        run(runtime, lab_text("rv-c"))
    assert (runtime / "snapshot").read_bytes() == b"torn"


def test_namespaces_are_noted_before_they_are_built(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Topology) -> tuple[Change, ...]:
        assert "hp-rv-c" in built_namespaces(runtime)
        raise KernelError(12, "hp-rv-c", "make it")

    monkeypatch.setattr(reconciling, "build", fail)
    with pytest.raises(KernelError):
        run(runtime, lab_text("rv-c"))
    assert built_namespaces(runtime) == {"hp-rv-c", "hp-rv-t", "hp-vpc-rv-c", "hp-vpc-rv-p", "hp-fabric-rv-az1"}
