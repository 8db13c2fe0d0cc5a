"""What the nodes of one world are told, and what somebody changes of it while they work."""

from dataclasses import replace
from typing import TYPE_CHECKING

from hyperplane.snapshot import Eni, Snapshot
from tests.nodes import DOOR, DOOR_B, door, snapshot_of, way_out
from tests.sim.header_plan import Placement
from tests.sim.opened import endpoint_id
from tests.sim.zone import SimZone

if TYPE_CHECKING:
    from tests.sim.world import World

TARGETS = ("10.9.3.20", "10.9.4.20")


class Configuration:
    """Of one world."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.version = 1
        self.changes: list[str] = []
        headers = world.plan.headers
        self.placement: Placement = None if headers is None else headers.placement
        self.placements: dict[int, Placement] = {}
        """By version of the snapshot."""

    def snapshot(self, node_count: int) -> Snapshot:
        """With everything that is changed just now."""
        everyone = tuple(range(node_count))
        entry, leave = everyone, everyone
        if not self.world.plan.shared_shards and node_count > 1:
            entry, leave = everyone[: node_count // 2 + 1], everyone[node_count // 2 :]
        doors = [self._door(number, entry) for number in (DOOR, DOOR_B)]
        if "door closed" in self.changes:
            doors[0] = replace(doors[0], available=False)
        if "rules closed" in self.changes:
            doors[0] = replace(doors[0], security_rules=())
        if "door removed" in self.changes:
            doors.pop()
        exits = [] if "exit removed" in self.changes else [way_out(shard=leave)]
        if not exits:
            doors = [replace(self._door(number, entry), load_balancer_eni=0) for number in (DOOR, DOOR_B)]
        self.version += 1
        self.placements[self.version] = self.placement
        return snapshot_of(
            *doors,
            *exits,
            targets=TARGETS[:1] if "target removed" in self.changes else TARGETS,
            version=self.version,
            placement=self.placement,
            flows_per_node_max=self.world.plan.flows_max,
        )

    def _door(self, number: int, shard: tuple[int, ...]) -> Eni:
        owner = {} if self.world.plan.headers is None else {"owner_id": endpoint_id(number)}
        return door(number, shard=shard, **owner)

    def toggle(self, placement: Placement) -> None:
        """Somebody changes the target group's attribute. Flows keep what they began with."""
        self.placement = placement
        self._load()

    def change(self, what: str, seconds: float) -> None:
        """Something else is changed for so long."""
        self.changes.append(what)
        self.void_what_is_removed()
        self._load()
        self.world.at(self.world.now + seconds, self._change_back, what)

    def _change_back(self, what: str) -> None:
        self.void_what_is_removed()
        self.changes.remove(what)
        self._load()

    def void_what_is_removed(self) -> None:
        """Flows of an ENI that is not in the snapshot have ended, also if it comes back: some nodes knew them."""
        if "door removed" in self.changes or "exit removed" in self.changes:
            self.world.audit.void(self.world.now)

    def _load(self) -> None:
        world = self.world
        world.zone.snapshot = self.snapshot(world.zone.node_count)
        for index in world.zone.nodes:
            world.at(world.now + world.chance.random() * world.plan.skew_s, self._beat, index, world.zone)

    def _beat(self, index: int, zone: SimZone) -> None:
        """A node reads the snapshot; one that is being restarted does so anyway."""
        if zone is not self.world.zone or not self.world.lives[index].up:
            return
        node = zone.nodes[index]
        node.dataplane.load_snapshot(zone.snapshot, self.world.now)
        zone.open_pools(node)
