"""Is everything alive? Read from shared files, so that the answer needs nobody's help."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from hyperplane.errors import ConfigurationError
from hyperplane.io.runtime import snapshot_file, zone_files
from hyperplane.io.snapshot_file import read_snapshot
from hyperplane.io.status import NodeState, StatusPage, Word, state_name
from hyperplane.limits import HEARTBEAT_AGE_MAX_S


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """One node as its status page shows it."""

    node: int
    pid: int
    state: str
    heartbeat_age_s: float
    flows: int
    snapshot_version: int
    healthy: bool


@dataclass(frozen=True, slots=True)
class ZoneHealth:
    """One zone: the generation that packets go to, and its nodes."""

    zone: str
    zone_id: str
    generation: int
    nodes: tuple[NodeHealth, ...]
    healthy: bool


@dataclass(frozen=True, slots=True)
class Health:
    """All zones. `problem` says what keeps us from knowing more."""

    healthy: bool
    snapshot_version: int
    zones: tuple[ZoneHealth, ...]
    problem: str | None = None

    def as_dict(self) -> dict[str, object]:
        return {"status": "ok" if self.healthy else "degraded", **asdict(self)}


def health(runtime: Path) -> Health:
    """Look at every zone of the snapshot in force."""
    try:
        snapshot = read_snapshot(snapshot_file(runtime))
    except (ConfigurationError, OSError) as error:
        return Health(False, 0, (), str(error))
    now = time.monotonic()
    zones = tuple(_zone(runtime, zone.name, zone.zone_id, zone.node_count, now) for zone in snapshot.zones)
    return Health(all(zone.healthy for zone in zones), snapshot.version, zones)


def _zone(runtime: Path, name: str, zone_id: str, node_count: int, now: float) -> ZoneHealth:
    files = zone_files(runtime, zone_id)
    generation = files.generation()
    nodes = []
    for path in sorted(files.generation_directory(generation).glob("status-*")):
        page = StatusPage(path)
        nodes.append(_node(page, now))
        page.close()
    healthy = len(nodes) == node_count and all(node.healthy for node in nodes)
    return ZoneHealth(name, zone_id, generation, tuple(nodes), healthy)


def _node(page: StatusPage, now: float) -> NodeHealth:
    age = now - page.get(Word.HEARTBEAT_MS) / 1000
    state = page.get(Word.STATE)
    return NodeHealth(
        page.get(Word.INDEX),
        page.get(Word.PID),
        state_name(state),
        round(age, 3),
        page.get(Word.FLOWS),
        page.get(Word.SNAPSHOT_VERSION),
        state == NodeState.SERVING and age < HEARTBEAT_AGE_MAX_S,
    )
