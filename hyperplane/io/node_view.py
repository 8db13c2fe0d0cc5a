"""What can be known of every node without asking one: status pages, `/proc`, the kernel's queues.

Nothing here talks to a process, so it answers while nodes hang, while `fabric` is dead, and after a
crash, from the files that are left.

A page tells what its node last said of itself. Two states are ours, because a node cannot say them:

    dead     no such process any more (or its number belongs to somebody else now)
    silent   the process is there, its heart has not beaten for HEARTBEAT_AGE_MAX_S
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hyperplane.errors import ConfigurationError
from hyperplane.io.ground import fabric_namespace
from hyperplane.io.kernel_queues import KernelQueue, queues_of_namespace, queues_of_process
from hyperplane.io.processes import read_identity
from hyperplane.io.runtime import ZoneFiles, snapshot_file, zone_files
from hyperplane.io.snapshot_file import read_snapshot
from hyperplane.io.status import PAGE_BYTES, NodeState, ShellCount, StatusPage, Word, state_name
from hyperplane.limits import HEARTBEAT_AGE_MAX_S
from hyperplane.snapshot import Snapshot

DEAD = "dead"
SILENT = "silent"
_SWITCHES = ("HYPERPLANE_MUTANT", "HYPERPLANE_POISON")


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node of one generation. None stands for what cannot be seen from here."""

    zone: str
    zone_id: str
    generation: int
    in_force: bool
    """Whether packets go to this generation."""
    node: int
    pid: int
    state: str
    heartbeat_age_s: float
    up_s: float
    """Seconds since the present life began."""
    starts: int
    flows: int
    snapshot_version: int
    queue: int
    kernel_queue: KernelQueue | None
    switches: tuple[str, ...] | None
    """Protections that are switched off, as in `HYPERPLANE_MUTANT=no-replay`."""
    counters: dict[str, int]
    """All that are not zero."""

    @property
    def alive(self) -> bool:
        return self.state != DEAD

    def count(self, name: str) -> int:
        """A counter's value, 0 if it has never moved."""
        return self.counters.get(name, 0)


def find_snapshot(runtime: Path) -> tuple[Snapshot | None, str | None]:
    """The snapshot in force, or why there is none."""
    try:
        return read_snapshot(snapshot_file(runtime)), None
    except FileNotFoundError:
        return None, f"{snapshot_file(runtime)} does not exist"
    except (ConfigurationError, OSError) as error:
        return None, str(error)


def find_zones(runtime: Path) -> list[ZoneFiles]:
    """Zones whose fabric has left files, by zone id."""
    return [
        zone_files(runtime, path.name)
        for path in sorted(runtime.glob("*"))
        if path.is_dir() and ((path / "generation").exists() or any(path.glob("gen-*")))
    ]


def view_nodes(runtime: Path, now: float | None = None, proc: Path = Path("/proc")) -> list[NodeView]:
    """Every node that has left a page, by zone, generation and number. `now`: monotonic seconds."""
    now = time.monotonic() if now is None else now
    snapshot, _ = find_snapshot(runtime)
    names = {zone.zone_id: zone.name for zone in snapshot.zones} if snapshot else {}
    nodes: list[NodeView] = []
    for files in find_zones(runtime):
        zone_id = files.directory.name
        found = list(_nodes_of_zone(files, names.get(zone_id, zone_id), now, proc))
        nodes += _with_queues(zone_id, found, proc)
    return nodes


def _nodes_of_zone(files: ZoneFiles, name: str, now: float, proc: Path) -> Iterator[NodeView]:
    for generation in files.generations():
        pages = files.generation_directory(generation).glob("status-*")
        for path in sorted(pages, key=lambda path: int(path.name.removeprefix("status-"))):
            try:
                if path.stat().st_size < PAGE_BYTES:
                    continue  # just being made
                page = StatusPage(path)
            except FileNotFoundError:
                continue  # its generation has just ended
            number = int(path.name.removeprefix("status-"))
            yield _node(page, files, name, generation, number, now, proc)
            page.close()


def _node(
    page: StatusPage, files: ZoneFiles, zone: str, generation: int, number: int, now: float, proc: Path
) -> NodeView:
    identity = read_identity(files.process(generation, number))
    pid = identity.pid if identity is not None else page.get(Word.PID)
    age = max(0.0, now - page.get(Word.HEARTBEAT_MS) / 1000)
    counters = page.counters()
    return NodeView(
        zone=zone,
        zone_id=files.directory.name,
        generation=generation,
        in_force=generation == files.generation(),
        node=number,
        pid=pid,
        state=_state(page.get(Word.STATE), identity is not None and identity.is_alive(proc), age),
        heartbeat_age_s=round(age, 3),
        up_s=round(max(0.0, now - page.get(Word.STARTED_MS) / 1000), 3),
        starts=counters.get(ShellCount.STARTS.name.lower(), 0),
        flows=page.get(Word.FLOWS),
        snapshot_version=page.get(Word.SNAPSHOT_VERSION),
        queue=page.get(Word.QUEUE),
        kernel_queue=None,
        switches=_switches(pid, proc),
        counters=counters,
    )


def _state(said: int, lives: bool, age_s: float) -> str:
    if not lives:
        return DEAD
    if said in (NodeState.SERVING, NodeState.DRAINING) and age_s > HEARTBEAT_AGE_MAX_S:
        return SILENT
    return state_name(said)


def _switches(pid: int, proc: Path) -> tuple[str, ...] | None:
    """Which protections the node was started without; its environment says so."""
    try:
        environment = (proc / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return None
    settings = [os.fsdecode(entry) for entry in environment]
    return tuple(entry for entry in settings if entry.partition("=")[0] in _SWITCHES and entry.partition("=")[2])


def _with_queues(zone_id: str, nodes: list[NodeView], proc: Path) -> list[NodeView]:
    """The same nodes with what the kernel says of their queues, seen from a living node or from the namespace."""
    queues = next((found for node in nodes if node.alive and (found := queues_of_process(node.pid, proc))), None)
    if queues is None:
        queues = queues_of_namespace(fabric_namespace(zone_id)) or {}
    return [replace(node, kernel_queue=queues.get(node.queue)) for node in nodes]
