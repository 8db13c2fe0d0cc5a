"""From a lab file to what is there: resources, snapshot, namespaces. The same road for every change.

Order: the ground is built first and the snapshot written last, so that no node is told of an ENI
that has no link yet. Both are whole and idempotent; run twice, the second run changes nothing.
"""

import fcntl
from dataclasses import dataclass, replace
from pathlib import Path

from hyperplane.control.compiler import compile_snapshot
from hyperplane.control.numbering import Numbering
from hyperplane.control.numbering_codec import decode_numbering, encode_numbering
from hyperplane.control.store import Store
from hyperplane.errors import ConfigurationError
from hyperplane.io.ground import ground
from hyperplane.io.lab_file import load_lab
from hyperplane.io.runtime import snapshot_file, write_atomically
from hyperplane.io.snapshot_file import read_snapshot, write_snapshot
from hyperplane.snapshot import Snapshot
from netns.build import Change, build
from netns.topology import Topology


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a run found and did."""

    store: Store
    snapshot: Snapshot
    topology: Topology
    changes: tuple[Change, ...]
    """What was made or mended in the kernel."""
    snapshot_changed: bool


def reconcile(lab: Path, runtime: Path, now: float) -> Reconciled:
    """Make everything match the lab file. Raises ConfigurationError naming the place, KernelError, OSError."""
    with (runtime / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # `lab up` and the control process may both be at it
        return _reconcile(lab, runtime, now)


def _reconcile(lab: Path, runtime: Path, now: float) -> Reconciled:
    path = snapshot_file(runtime)
    previous = _previous(path)
    store = load_lab(lab)
    if previous is not None:
        store = store.continued_from(_numbering(runtime, previous), previous.version, now)
    snapshot = compile_snapshot(store)
    topology = ground(store, snapshot)
    changes = build(topology)
    changed = previous is None or replace(snapshot, version=previous.version) != previous
    if changed:
        # Numbers first: killed in between, the next run knows at least the numbers that were given out.
        write_atomically(_numbering_file(runtime), encode_numbering(store.numbering))
        write_snapshot(path, snapshot)
    elif previous is not None:
        snapshot = previous
    return Reconciled(store, snapshot, topology, changes, changed)


def _previous(path: Path) -> Snapshot | None:
    """The snapshot in force; None when there is none, or none that can be read any more."""
    try:
        return read_snapshot(path)
    except (FileNotFoundError, ConfigurationError):
        return None


def _numbering_file(runtime: Path) -> Path:
    return runtime / "numbering"


def _numbering(runtime: Path, previous: Snapshot) -> Numbering:
    """The numbers of ENIs that exist, and of those that are gone but may still have flows."""
    try:
        return decode_numbering(_numbering_file(runtime).read_bytes()).agreeing_with(previous)
    except (FileNotFoundError, ConfigurationError):
        return Numbering().agreeing_with(previous)
