"""A zone whose nodes can be killed at every step, and how each of them is."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hyperplane.flow.journal import JournalWriter
from hyperplane.flow.ports import PoolKey
from hyperplane.snapshot import Snapshot
from tests.nodes import EXIT, MemoryZone, Node
from tests.sim.faults import FaultyClaims, FaultyWriter, make_faulty

if TYPE_CHECKING:
    from tests.sim.world import World

NEVER = -1

Waiting = tuple[int, bytes, bool]
"""A packet in a queue: (ENI, packet, whether a node died of it)."""


class SimZone(MemoryZone):
    """A zone whose nodes can be killed at every step."""

    def __init__(self, world: "World", snapshot: Snapshot, node_count: int) -> None:
        super().__init__(snapshot, node_count, world.plan.ports, rows=64, ring=world.plan.ring)
        self.world = world

    def writer(self, index: int) -> JournalWriter:
        return FaultyWriter(memoryview(self.journals[index]), lambda: self.world.at_point(index))

    def claims(self, index: int, key: PoolKey) -> FaultyClaims:
        taken = self.pools.setdefault(key, bytearray(self.ports))
        return FaultyClaims(taken, index, self.node_count, lambda: self.world.at_point(index))

    def restart(self, index: int, now: float) -> Node:
        node = super().restart(index, now)
        self.open_pools(node)
        make_faulty(node.dataplane.plane.table, lambda: self.world.at_point(index))
        return node

    def open_pools(self, node: Node) -> None:
        """As it happens when any node makes a flow: until then nobody sweeps the ports that a last life left."""
        plane = node.dataplane.plane
        leave = plane.interfaces.get(EXIT)
        for key in tuple(self.pools):
            if leave is not None and leave.address == key.address:
                plane.pools.pool(leave, key.target, key.target_port, key.protocol)

    def heir(self, snapshot: Snapshot, node_count: int) -> "SimZone":
        return SimZone(self.world, snapshot, node_count)


@dataclass(slots=True)
class Life:
    """How a node is."""

    up: bool = True
    busy: bool = False
    doom: int = NEVER
    """Points until it is killed."""
    stale_until: float = 0.0
    """Until then it reads its peers' journals only when it meets something unknown."""
    read_at: float = 0.0
    waiting: list[Waiting] = field(default_factory=list)
    """Packets in the kernel's queue."""
