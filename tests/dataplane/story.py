"""Packet stories: what comes in, what goes out byte for byte, and every counter that moves.

A story is a function from a `Road` to its steps; `@story("NAT-26 ...")` adds it to the table, by default on every
road: IPv4 and IPv6, checksums finished by the sender and left to us. There is one source port only, so the address
that the target sees is known beforehand, and a step can say the exact packet:

    @story("NAT-31 the urgent pointer is kept")
    def urgent(road):
        yield from road.opened()
        yield road.up(payload=b"x", flags=URG | ACK, urgent_pointer=1)

`road.up` is a segment from the client that reaches the target with nothing changed but the addresses; `road.down`
the same for the other way. `passes`, `dropped` and `answered` say what shall become of any packet.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hyperplane.dataplane.verdict import Drop, DropReason, Reply
from hyperplane.wire.packet import ChecksumState
from tests import cases
from tests.cases import ACK, FIN, SYN, SocketAddress, Sum
from tests.nodes import (
    DATAGRAM_PORT,
    DOOR,
    ENDPOINT_6,
    EXIT,
    MemoryZone,
    Node,
    snapshot_6,
    snapshot_of,
)

SNAT_PORT = 1024


@dataclass(frozen=True, slots=True)
class Step:
    """One packet; without one, time passes until `now`."""

    now: float
    packet: bytes | None = None
    eni: int = DOOR
    state: ChecksumState = ChecksumState.FINISHED
    out: bytes = b""
    """What leaves, or goes back; empty for a drop."""
    reason: DropReason | None = None
    moved: dict[str, int] = field(default_factory=dict)
    flows: int | None = None
    """How many flows there are afterwards, where that is the point."""
    leading: tuple[bytes, ...] = ()
    """Packets of the node's own that leave before this one; where time passes, that its timers send."""


class Road:
    """Who talks to whom, over which family, with which kind of checksums."""

    def __init__(self, family: int, state: ChecksumState) -> None:
        self.family, self.state = family, state
        self.sum = Sum.UNFINISHED if state is ChecksumState.UNFINISHED else Sum.RIGHT
        six = family == 6
        self.client: SocketAddress = cases.CLIENT_6 if six else cases.CLIENT
        self.endpoint: SocketAddress = ENDPOINT_6 if six else cases.ENDPOINT
        self.balancer: SocketAddress = ("fd00:9::7" if six else "10.9.0.7", SNAT_PORT)
        self.target: SocketAddress = cases.TARGET_6 if six else cases.TARGET
        self.datagrams: SocketAddress = (self.endpoint[0], DATAGRAM_PORT)
        self.datagram_target: SocketAddress = (self.target[0], 9053)
        self.now = 1.0

    def zone(self) -> MemoryZone:
        return MemoryZone(snapshot_6() if self.family == 6 else snapshot_of(), ports=1)

    # --- steps ---------------------------------------------------------------------------------

    def up(self, flags: int = ACK, **fields: Any) -> Step:
        """A segment from the client that passes unchanged but for the addresses."""
        came = cases.tcp(self.client, self.endpoint, flags=flags, checksum=self.sum, **fields)
        return self.passes(came, cases.tcp(self.balancer, self.target, flags=flags, **fields))

    def down(self, flags: int = ACK, **fields: Any) -> Step:
        """The same from the target."""
        came = cases.tcp(self.target, self.balancer, flags=flags, checksum=self.sum, **fields)
        return self.passes(came, cases.tcp(self.endpoint, self.client, flags=flags, **fields), EXIT)

    def question(self, payload: bytes = b"question", **fields: Any) -> Step:
        """A datagram from the client."""
        came = cases.udp(self.client, self.datagrams, payload, checksum=self.sum, **fields)
        return self.passes(came, cases.udp(self.balancer, self.datagram_target, payload, **fields))

    def answer(self, payload: bytes = b"answer", **fields: Any) -> Step:
        came = cases.udp(self.datagram_target, self.balancer, payload, checksum=self.sum, **fields)
        return self.passes(came, cases.udp(self.datagrams, self.client, payload, **fields), EXIT)

    def passes(self, came: bytes, out: bytes, eni: int = DOOR, flows: int | None = None, **more: int) -> Step:
        """The packet goes on as `out`; `more` are counters beside the usual two."""
        way = "original" if eni != EXIT else "reply"
        moved = {f"packets_{way}": 1, f"bytes_{way}": len(out)} | more
        return Step(self.now, came, eni, self.state_of(came), out, None, moved, flows)

    def dropped(self, came: bytes, reason: DropReason, eni: int = DOOR, flows: int | None = None, **more: int) -> Step:
        """The packet disappears without a word."""
        moved = {"packets_dropped": 1, f"dropped_{reason.value}": 1} | more
        return Step(self.now, came, eni, self.state_of(came), b"", reason, moved, flows)

    def answered(
        self, came: bytes, reason: DropReason, answer: bytes, eni: int = DOOR, flows: int | None = None
    ) -> Step:
        """The packet disappears and `answer` goes back."""
        moved = {"packets_dropped": 1, "replies": 1, f"dropped_{reason.value}": 1}
        return Step(self.now, came, eni, self.state_of(came), answer, reason, moved, flows)

    def later(self, seconds: float, flows: int | None = None, **moved: int) -> Step:
        """Time passes, with all its timers; `moved` are the counters that do."""
        self.now += seconds
        return Step(self.now, flows=flows, moved=moved)

    def state_of(self, packet: bytes) -> ChecksumState:
        """Only TCP and UDP packets are left unfinished by their senders."""
        protocol = packet[9:10] if packet[:1] and packet[0] >> 4 == 4 else packet[6:7]
        return self.state if protocol in (b"\x06", b"\x11") else ChecksumState.FINISHED

    # --- beginnings ----------------------------------------------------------------------------

    def syn(self, **fields: Any) -> Step:
        """The client's SYN, which makes the flow."""
        fields = {"sequence": 999, "options": cases.linux_syn(size_bytes=1400)} | fields
        step = self.up(SYN, **fields)
        return Step(step.now, step.packet, step.eni, step.state, step.out, None, step.moved | {"flows_new": 1}, 1)

    def syn_ack(self, **fields: Any) -> Step:
        return self.down(SYN | ACK, **{"sequence": 1999, "options": cases.linux_syn(size_bytes=1400)} | fields)

    def opened(self) -> Iterator[Step]:
        """The handshake. The client goes on at 1000, the target at 2000."""
        yield self.syn()
        yield self.syn_ack()
        yield self.up(ACK)

    def closed(self) -> Iterator[Step]:
        yield from self.opened()
        yield self.up(FIN | ACK)
        yield self.down(FIN | ACK, sequence=2000, acknowledgment=1001)
        yield self.up(ACK, sequence=1001, acknowledgment=2001)


AnyRoad = TypeVar("AnyRoad", bound=Road)
Story = Callable[[Road], Iterator[Step]]

ALL_ROADS = tuple((family, state) for family in (4, 6) for state in (ChecksumState.FINISHED, ChecksumState.UNFINISHED))
PLAIN = ((4, ChecksumState.FINISHED),)
BOTH_FAMILIES = ((4, ChecksumState.FINISHED), (6, ChecksumState.FINISHED))


class Stories:
    """A table of stories, each with the roads it is told on."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, Story, tuple[int, ChecksumState]]] = []

    def __call__(
        self, description: str, roads: tuple[tuple[int, ChecksumState], ...] = ALL_ROADS
    ) -> Callable[[Story], Story]:
        def add(told: Story) -> Story:
            self.rows += [(description, told, road) for road in roads]
            return told

        return add

    @property
    def ids(self) -> list[str]:
        return [f"{description}, IPv{family}, {state.name.lower()}" for description, _, (family, state) in self.rows]


def play(
    told: Callable[[AnyRoad], Iterator[Step]], road: AnyRoad, node: Node | None = None
) -> list[tuple[Step, bytes]]:
    """Run a story and hold it to every word. Returns what left, for more judges."""
    node = node or road.zone().node(0)
    left = []
    for number, step in enumerate(told(road)):
        if step.packet is None:
            moved = node.pass_time(step.now)
            assert tuple(node.dataplane.packets_to_send()) == tuple((it, EXIT) for it in step.leading), f"step {number}"
        else:
            came = node.send(step.packet, step.eni, step.now, step.state)
            if step.reason is None:
                assert came.accepted, f"step {number}: {came.verdict}"
                assert came.eni == (EXIT if step.eni != EXIT else DOOR), f"step {number}"
            elif step.out:
                assert came.verdict == Reply(step.reason, step.out, step.eni), f"step {number}"
            else:
                assert came.verdict == Drop(step.reason), f"step {number}"
            assert came.packet == step.out, f"step {number}"
            assert came.leading == step.leading, f"step {number}"
            left.append((step, came.packet))
            moved = dict(came.moved)
        assert moved == step.moved, f"step {number}"
        assert step.flows is None or node.flows == step.flows, f"step {number}"
    return left
