"""Which target a new flow goes to.

A `TargetSet` is what one target group offers to the load balancer node of one zone. It is built once
for each snapshot; choosing is one index into a prepared table.

Who may be chosen (AWS, Network Load Balancer guide, "Availability Zones", "Target group health"):

1. targets of the own zone; of all zones with `cross_zone`;
2. of these the healthy ones;
3. when none of them is healthy, all of them: the load balancer fails open;
4. when there are none at all, nobody: `pick` answers None.

The table is Maglev's (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer",
NSDI 2016, section 3.4): every target has its own permutation of the slots, and the targets take turns to
claim the next slot of theirs that is free. So their shares differ by one slot at most, and when a
target comes or goes few flows of the other targets move. A target's permutation depends on the group,
its address and its port, never on the order in the file or on who else is there.

Moves concern new flows and `source_ip` stickiness only: a flow's target never changes, the flow table
holds it.
"""

from hashlib import blake2b

from hyperplane.balance.flow_hash import FlowHasher
from hyperplane.snapshot import Target, TargetGroup

TABLE_SIZES = (1021, 16_381, 65_537)
"""Primes: a step of any length then visits every slot."""

SLOTS_PER_TARGET_MIN = 100
"""The paper's advice, for shares equal to 1 %. The last size serves all that is larger (1.6 % at 1,000 targets),
because building the next prime's table would hold packets up for longer than that is worth."""


class TargetSet:
    """The targets that the load balancer node of one zone may choose from, ready to choose."""

    __slots__ = ("_sticky", "_table", "_table_size", "fails_open", "targets")

    def __init__(self, group: TargetGroup, zone: str) -> None:
        near = tuple(target for target in group.targets if group.cross_zone or target.zone == zone)
        healthy = tuple(target for target in near if target.healthy)
        self.targets = healthy or near
        """Who may be chosen, in the group's order."""
        self.fails_open = bool(near) and not healthy
        """True when every flow goes to a target that failed its health check."""
        self._sticky = group.stickiness
        # By all registered targets: a target that falls ill must not change the size, that would move everybody.
        self._table_size = _table_size(len(group.targets))
        self._table = _maglev_table(group.target_group_id, self.targets, self._table_size)

    def pick(self, flow_hash: int) -> Target | None:
        """The target for a hash (`FlowHasher`), None when there is no target."""
        if not self._table:
            return None
        return self._table[flow_hash % self._table_size]

    def pick_for(self, hasher: FlowHasher, flow: bytes, client: bytes) -> Target | None:
        """The target for a flow, with the group's stickiness: by `client` alone if it is on, else by `flow`.

        `client` must say more than the address where addresses overlap: interface number and address.
        """
        return self.pick(hasher.hash(client if self._sticky else flow))


def _table_size(target_count: int) -> int:
    wanted = target_count * SLOTS_PER_TARGET_MIN
    return next((size for size in TABLE_SIZES if size >= wanted), TABLE_SIZES[-1])


def _permutation(group_id: str, target: Target, table_size: int) -> tuple[int, int]:
    """(first slot, step) of a target's walk over the slots."""
    identity = target.address + target.port.to_bytes(2, "big")
    digest = blake2b(identity, digest_size=16, key=blake2b(group_id.encode(), digest_size=32).digest()).digest()
    first, step = int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")
    return first % table_size, step % (table_size - 1) + 1


def _maglev_table(group_id: str, targets: tuple[Target, ...], table_size: int) -> list[Target]:
    """One target for each slot; empty when there are no targets."""
    if not targets:
        return []
    ordered = sorted(targets, key=lambda target: (len(target.address), target.address, target.port))
    walks = [(target, *_permutation(group_id, target, table_size)) for target in ordered]
    table: list[Target | None] = [None] * table_size
    slots = [first for _, first, _ in walks]
    free_count = table_size
    while True:
        for turn, (target, _, step) in enumerate(walks):
            slot = slots[turn]
            while table[slot] is not None:
                slot = (slot + step) % table_size
            table[slot] = target
            slots[turn] = slot
            free_count -= 1
            if not free_count:
                return [owner for owner in table if owner is not None]
