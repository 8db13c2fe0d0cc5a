"""What a seed means: how many nodes, who calls when, and everything that will go wrong."""

from dataclasses import dataclass, replace
from random import Random

from tests.sim.header_plan import HEADER_BYTES, HeaderPlan, header_plan_of

CHAOS_S = 60.0
"""Faults happen before this moment. Then everything heals, and what is promised must come true."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run, drawn from its seed."""

    node_count: int
    spray: bool
    """Every packet to any node of the shard, instead of by a hash of its tuple."""
    shared_shards: bool
    """Endpoint and load balancer are served by the same nodes."""
    ports: int
    ring: int
    calls: int
    talkers: int
    """Clients that send datagrams."""
    loss: float
    duplication: float
    corruption: float
    jitter_s: float
    overtaking: float
    """Probability, at each point inside a node, that another node handles a packet just then."""
    kills: tuple[tuple[float, int, int], ...]
    """(when, which node, at which of its next points)."""
    stale: tuple[tuple[float, int, float], ...]
    """(from when, which node, for how long it reads nothing by itself)."""
    reloads: tuple[tuple[float, str, float], ...]
    """(when, what changes, for how long)."""
    sleeps: tuple[tuple[float, float], ...]
    """(when, for how long all clients sleep)."""
    generations: tuple[tuple[float, int], ...]
    """(when, how many nodes the next generation has)."""
    together: bool
    """Calls begin at a few moments, all at once, instead of one by one."""
    late_s: float
    """So long after the handshake a target says a word on its own; 0 is never."""
    skew_s: float = 0.0
    """Nodes read a new snapshot up to so long after it was written."""
    batch_s: float = 0.0
    """What comes to a node within so long it reads together; 0: each packet by itself."""
    upgrade: tuple[float, int] | None = None
    """(when, how many nodes then): a generation after everything has healed, while calls rest."""
    flows_max: int = 64
    """Flows of one node."""
    headers: HeaderPlan | None = None
    """None: no target gets a Proxy Protocol header."""


CHANGES = ("nothing", "door removed", "door closed", "exit removed", "target removed", "rules closed")


def plan_of(seed: int) -> Plan:
    """The same for ever."""
    chance = Random(seed)
    node_count = chance.choice((1, 2, 2, 3, 3, 4))

    def moments(most: int) -> list[float]:
        return sorted(chance.uniform(0, CHAOS_S) for _ in range(chance.randint(0, most)))

    gentle = chance.random() < 0.2
    plan = Plan(
        node_count=node_count,
        spray=chance.random() < 0.5,
        shared_shards=chance.random() < 0.6,
        ports=chance.choice((4, 16, 64)),
        ring=chance.choice((4, 64, 1024)),
        calls=chance.randint(2, 8),
        talkers=chance.randint(0, 2),
        loss=0.0 if gentle else chance.choice((0.0, 0.02, 0.1)),
        duplication=0.0 if gentle else chance.choice((0.0, 0.05, 0.2)),
        corruption=0.0 if gentle else chance.choice((0.0, 0.02)),
        jitter_s=chance.choice((0.0, 0.002, 0.5)),
        overtaking=chance.choice((0.0, 0.05, 0.3)),
        kills=tuple((at, chance.randrange(4), chance.randint(0, 40)) for at in moments(6)),
        stale=tuple((at, chance.randrange(4), chance.uniform(1, 30)) for at in moments(3)),
        reloads=tuple((at, chance.choice(CHANGES), chance.uniform(0.5, 20)) for at in moments(3)),
        sleeps=tuple((at, chance.choice((50.0, 130.0, 340.0, 400.0))) for at in moments(1)),
        generations=tuple((at, chance.choice((1, 2, 3, 4))) for at in moments(2)),
        together=chance.random() < 0.3,
        late_s=chance.choice((0.0, 0.0, 130.0, 400.0)),
        skew_s=chance.choice((0.0, 0.1, 2.0)),
        batch_s=chance.choice((0.0, 0.001, 0.05)),
        upgrade=(chance.uniform(CHAOS_S + 5, 400), chance.choice((1, 2, 3))) if chance.random() < 0.4 else None,
        headers=header_plan_of(seed, CHAOS_S),
    )
    return plan if plan.headers is None else _bearable(plan, plan.headers)


def _bearable(plan: Plan, headers: HeaderPlan) -> Plan:
    """Without what no real world has, and a header could not bear."""
    if headers.is_narrow:
        # No TCP offers such a window by itself, and only a node that has seen it can cut the header to size.
        plan = replace(plan, node_count=1, kills=(), generations=(), upgrade=None)
    if headers.cookies and (headers.is_narrow or headers.segment_bytes < HEADER_BYTES):
        # Pieces of a header are no header: to a target that has forgotten the stream, and believes in cookies, the last
        # piece may begin one. What has so little room for a header is no TCP that anybody runs.
        plan = replace(plan, headers=replace(headers, liars=0))
    if headers.toggles:
        # A node that has read nothing for seconds takes the next conversation on a tuple for the last one, which had no
        # header. No real node is that far behind and lives.
        plan = replace(plan, stale=())
    return plan


def pauses_of(chance: Random) -> list[float]:
    """Seconds between the questions of one call."""
    pauses = [
        chance.uniform(5, 50) if chance.random() < 0.1 else chance.uniform(0.001, 1)
        for _ in range(chance.randint(0, 5))
    ]
    if pauses and chance.random() < 0.2:
        pauses[chance.randrange(len(pauses))] = 325.0
    return pauses
