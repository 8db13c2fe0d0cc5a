"""From a lab file to what is there: resources, snapshot, namespaces. The same road for every change.

Order: the ground is built first and the snapshot written last, so that no node is told of an ENI
that has no link yet. Both are whole and idempotent; run twice, the second run changes nothing.
"""

import fcntl
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from hyperplane.control.compiler import compile_snapshot
from hyperplane.control.numbering import Numbering
from hyperplane.control.numbering_codec import decode_numbering, encode_numbering
from hyperplane.control.store import Store
from hyperplane.errors import ConfigurationError
from hyperplane.io.ground import ground
from hyperplane.io.lab_file import load_lab
from hyperplane.io.lab_record import note_namespaces
from hyperplane.io.runtime import snapshot_file, write_atomically
from hyperplane.io.snapshot_file import read_snapshot, write_snapshot
from hyperplane.snapshot import Snapshot
from netns.build import Change, build
from netns.topology import Topology

T = TypeVar("T")


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
    store = load_lab(lab)
    previous, numbering = _previous(runtime)
    if numbering is not None:
        store = store.continued_from(numbering, previous.version if previous else _last_version(runtime), now)
    snapshot = compile_snapshot(store)
    topology = ground(store, snapshot)
    note_namespaces(runtime, (space.name for space in topology.namespaces))
    changes = build(topology)
    changed = previous is None or replace(snapshot, version=previous.version) != previous
    if changed:
        # Numbers first: killed in between, the next run knows at least the numbers that were given out.
        write_atomically(_numbering_file(runtime), encode_numbering(store.numbering))
        write_atomically(_version_file(runtime), b"%d\n" % snapshot.version)
        write_snapshot(path, snapshot)
    elif previous is not None:
        snapshot = previous
    return Reconciled(store, snapshot, topology, changes, changed)


def _previous(runtime: Path) -> tuple[Snapshot | None, Numbering | None]:
    """The snapshot in force, and the numbers of ENIs that exist or may still have flows. (None, None) at the first run.

    Links, marks and flows know an ENI by its number, so numbers are never dealt anew while there may be any. Either
    file alone tells them. Raises ConfigurationError when both should be there and neither can be read.
    """
    snapshot, snapshot_fault = _read(lambda: read_snapshot(snapshot_file(runtime)))
    numbering, fault = _read(lambda: decode_numbering(_numbering_file(runtime).read_bytes()))
    if snapshot is not None:
        return snapshot, (numbering or Numbering()).agreeing_with(snapshot)
    if numbering is None and (fault or snapshot_fault):
        raise ConfigurationError(
            str(runtime),
            f"nobody knows any more which number each interface has ({snapshot_fault or 'there is no snapshot'}; "
            f"{_numbering_file(runtime)}: {fault or 'is missing'}); take the lab away and build it again: "
            "hyperplane lab down, then up",
        )
    return None, numbering


def _read(decode: Callable[[], T]) -> tuple[T | None, str | None]:
    """What a file holds, or what is wrong with it; neither where there is none."""
    try:
        return decode(), None
    except FileNotFoundError:
        return None, None
    except ConfigurationError as error:
        return None, str(error)


def _numbering_file(runtime: Path) -> Path:
    return runtime / "numbering"


def _version_file(runtime: Path) -> Path:
    return runtime / "version"


def _last_version(runtime: Path) -> int:
    """The version given out last, for when the snapshot itself cannot tell; 0 if nobody knows."""
    try:
        return int(_version_file(runtime).read_text())
    except (FileNotFoundError, ValueError):
        return 0
