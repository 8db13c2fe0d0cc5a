"""Nodes for tests: whole packet planes over journals and port claims in ordinary memory.

    zone = MemoryZone(snapshot_of(Door()))
    node, other = zone.node(0), zone.node(1)
    out = node.send(tcp(CLIENT, ENDPOINT, flags=SYN), DOOR, now=1.0)
    assert out.eni == EXIT and dissect(out.packet).source[0] == BALANCER[0]
    assert out.moved == {"packets_original": 1, "bytes_original": 40, "flows_new": 1}

What a node shares with the others (journals, claims) belongs to the zone and outlives the node, as on a real
machine; `zone.restart(0)` gives its next life. Numbers of the ENIs: `DOOR` is the endpoint's, `EXIT` the load
balancer's, `DOOR_B` and `DOOR_C` belong to other consumers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from hyperplane.dataplane.counters import named
from hyperplane.dataplane.engine import Dataplane, NodeIdentity
from hyperplane.dataplane.verdict import Accept, Drop, DropReason, Lead, Reply, Verdict
from hyperplane.flow.journal import JournalReader, JournalWriter, format_journal, journal_bytes
from hyperplane.flow.ports import PoolKey
from hyperplane.limits import QUEUED_BYTES_MAX, SNAT_PORTS_PER_TARGET
from hyperplane.snapshot import (
    Eni,
    EniKind,
    HeaderPlacement,
    Listener,
    LoadBalancer,
    Network,
    Protocol,
    SecurityRule,
    Snapshot,
    Target,
    TargetGroup,
    Zone,
)
from hyperplane.wire.packet import ChecksumState
from hyperplane.wire.reassembly import is_fragment
from tests.cases import BALANCER, ENDPOINT, TARGET, packed

ZONE = "us-east-2a"
DOOR, DOOR_B, DOOR_C, EXIT = 1, 2, 3, 9
ENDPOINT_6 = ("fd00:0:1::10", 443)
BALANCER_6 = ("fd00:9::7", 20000)
ENDPOINT_C = ("10.9.3.10", 443)
"""Of a consumer whose VPC has the provider's very addresses."""
SERVICE_PORT, DATAGRAM_PORT = 443, 53
DATAGRAM_TARGET = (TARGET[0], 9053)
ROWS, RING = 256, 1024
HEADER_BYTES_MAX = 128
"""The longest Proxy Protocol header of these nodes: 124 bytes, for IPv6."""


def network(text: str) -> Network:
    address, _, length = text.partition("/")
    return Network(packed(address), int(length))


def door(number: int = DOOR, address: str = ENDPOINT[0], vpc: str = "10.0.0.0/16", **changes: Any) -> Eni:
    """The ENI of an endpoint that lets everybody of its VPC in."""
    eni = Eni(
        number=number,
        eni_id=f"eni-{number}",
        kind=EniKind.ENDPOINT,
        zone=ZONE,
        address=packed(address),
        mtu=1500,
        interface=f"hp-e{number}",
        shard=(0, 1, 2),
        owner_id=f"vpce-{number}",
        vpc_networks=(network(vpc),),
        security_rules=(SecurityRule(None, 0, 65_535, network("0.0.0.0/0" if ":" not in vpc else "::/0")),),
        load_balancer_eni=EXIT,
    )
    return replace(eni, **changes)


def way_out(address: str = BALANCER[0], vpc: str = "10.9.0.0/16", **changes: Any) -> Eni:
    """The ENI of the load balancer."""
    eni = Eni(
        number=EXIT,
        eni_id=f"eni-{EXIT}",
        kind=EniKind.LOAD_BALANCER,
        zone=ZONE,
        address=packed(address),
        mtu=1500,
        interface=f"hp-e{EXIT}",
        shard=(0, 1, 2),
        owner_id="net/orders/1",
        vpc_networks=(network(vpc),),
    )
    return replace(eni, **changes)


DOORS = (door(), door(DOOR_B), door(DOOR_C, ENDPOINT_C[0], "10.9.0.0/16"))


def snapshot_of(
    *enis: Eni,
    targets: tuple[str, ...] = (TARGET[0],),
    idle_timeout_s: int = 350,
    version: int = 1,
    placement: HeaderPlacement | None = None,
    **changes: Any,
) -> Snapshot:
    """TCP 443 to the targets' 8080, UDP 53 to their 9053, by way of the given ENIs (default: three doors, the exit)."""
    orders = [Target(f"i-{at}", packed(text), TARGET[1], ZONE) for at, text in enumerate(targets)]
    echoes = [Target(f"i-{at}", packed(text), DATAGRAM_TARGET[1], ZONE) for at, text in enumerate(targets)]
    snapshot = Snapshot(
        version=version,
        zones=(Zone(ZONE, "use2-az1", 3, enis or (*DOORS, way_out())),),
        load_balancers=(
            LoadBalancer(
                "net/orders/1",
                (
                    Listener(Protocol.TCP, SERVICE_PORT, "orders", idle_timeout_s),
                    Listener(Protocol.UDP, DATAGRAM_PORT, "echoes", 120),
                ),
            ),
        ),
        target_groups=(
            TargetGroup("orders", Protocol.TCP, tuple(orders), proxy_protocol_v2=placement),
            TargetGroup("echoes", Protocol.UDP, tuple(echoes), proxy_protocol_v2=placement),
        ),
        udp_idle_timeout_s=120,
        half_open_timeout_s=60,
        closing_timeout_s=120,
        flows_per_node_max=ROWS,
        flows_per_endpoint_max=ROWS,
        half_open_per_endpoint_max=ROWS // 2,
    )
    return replace(snapshot, **changes)


def snapshot_6(placement: HeaderPlacement | None = None) -> Snapshot:
    """The same service over IPv6."""
    return snapshot_of(
        door(DOOR, ENDPOINT_6[0], "fd00:0:1::/64"),
        way_out(BALANCER_6[0], "fd00:9::/32"),
        targets=("fd00:9:3::20",),
        placement=placement,
    )


class MemoryClaims:
    """One pool's claims as one node sees them: a byte per port, 0 or the owner's number plus one."""

    def __init__(self, taken: bytearray, node: int, node_count: int) -> None:
        self._taken = taken
        self._tag = node + 1
        # With fewer nodes than before, the ports of those that are gone are shared out among the rest.
        self._marks = bytes(tag > 0 and (tag - 1) % node_count == node for tag in range(256))

    def claim(self, index: int) -> bool:
        if self._taken[index]:
            return False
        self._taken[index] = self._tag
        return True

    def release(self, index: int) -> None:
        assert self._taken[index], "a free port is freed"
        self._taken[index] = 0

    def taken(self) -> bytes:
        return bytes(self._taken)

    def close(self) -> None:
        """Nothing to let go of."""

    def take_over(self, index: int) -> None:
        self._taken[index] = self._tag

    def is_mine(self, index: int) -> bool:
        return bool(self._marks[self._taken[index]])

    def owned(self) -> Iterator[int]:
        marked = self._taken.translate(self._marks)
        index = marked.find(1)
        while index >= 0:
            yield index
            index = marked.find(1, index + 1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one packet."""

    verdict: Verdict
    packet: bytes
    """What goes on, or what goes back; empty for a drop."""
    moved: Mapping[str, int]
    """The counters that moved, by how much."""

    @property
    def leading(self) -> tuple[bytes, ...]:
        """Packets of the node's own that leave before this one."""
        return tuple(packet for packet, _ in self.verdict.packets) if isinstance(self.verdict, Lead) else ()

    @property
    def eni(self) -> int:
        """The ENI by which something leaves."""
        assert isinstance(self.verdict, Accept | Lead | Reply)
        return self.verdict.eni_number

    @property
    def reason(self) -> DropReason:
        """Why the packet did not go on."""
        assert isinstance(self.verdict, Drop | Reply), self.verdict
        return self.verdict.reason

    @property
    def accepted(self) -> bool:
        return isinstance(self.verdict, Accept | Lead)


class Node:
    """One packet plane and the memory of its journal."""

    START = 3
    """Packets stand somewhere inside the buffer, so that an offset that was forgotten shows."""

    def __init__(self, plane: Dataplane, memory: bytearray, added_bytes_max: int = 0) -> None:
        """`added_bytes_max`: by how much a packet may grow on its way."""
        self.dataplane = plane
        self.memory = memory
        self._added_bytes_max = added_bytes_max

    def send(self, data: bytes, eni: int, now: float = 1.0, state: ChecksumState = ChecksumState.FINISHED) -> Outcome:
        """Let one packet in and say what became of it."""
        room = bytes(QUEUED_BYTES_MAX - len(data) if is_fragment(data, 0, len(data)) else self._added_bytes_max)
        behind = room + b"\xa5" * 5
        buffer = bytearray(bytes(self.START) + data + behind)
        before = bytes(self.dataplane.counters.values)
        verdict = self.dataplane.receive_packet(buffer, self.START, len(data), state, eni, now)
        after = self.dataplane.counters.values
        moved = _moved(before, memoryview(after))
        assert buffer[: self.START] == bytes(self.START) and buffer.endswith(behind[len(room) :]), "wrote beside it"
        assert len(buffer) == self.START + len(data) + len(behind), "the buffer changed its size"
        packet = b""
        if isinstance(verdict, Accept | Lead):
            packet = bytes(buffer[self.START : self.START + self.dataplane.packet_length])
        elif isinstance(verdict, Reply):
            packet = verdict.packet
        return Outcome(verdict, packet, moved)

    @property
    def flows(self) -> int:
        return self.dataplane.flow_count

    def pass_time(self, now: float) -> dict[str, int]:
        """Let every timer that is due until `now` do its work, each at its moment. Returns the counters that moved."""
        dataplane = self.dataplane
        before = bytes(dataplane.counters.values)
        while (at := dataplane.next_timeout()) <= now:
            dataplane.handle_timeout(at)
        dataplane.handle_timeout(now)
        return _moved(before, memoryview(dataplane.counters.values))


def _moved(before: bytes, after: memoryview) -> dict[str, int]:
    old = named(memoryview(before).cast("Q"))
    moved = {name: count - old.get(name, 0) for name, count in named(after).items()}
    return {name: by for name, by in moved.items() if by}


class MemoryZone:
    """What the nodes of a zone share, and the nodes."""

    def __init__(
        self,
        snapshot: Snapshot | None = None,
        node_count: int = 3,
        ports: int = SNAT_PORTS_PER_TARGET,
        rows: int = ROWS,
        ring: int = RING,
    ) -> None:
        self.snapshot = snapshot or snapshot_of()
        self.node_count = node_count
        self.ports = ports
        self.pools: dict[PoolKey, bytearray] = {}
        self.journals = [bytearray(journal_bytes(rows, ring)) for _ in range(node_count)]
        for memory in self.journals:
            format_journal(memoryview(memory), rows, ring)
        self.rows, self.ring = rows, ring
        self.lives = 0
        self.nodes: dict[int, Node] = {}
        self.older: list[bytearray] = []
        """Journals of the generation before this one."""

    def node(self, index: int, now: float = 0.0) -> Node:
        """The node with this number; its first use starts it."""
        return self.nodes.get(index) or self.restart(index, now)

    def restart(self, index: int, now: float) -> Node:
        """A new life of a node over what the old one left."""
        self.lives += 1
        plane = Dataplane(
            NodeIdentity(ZONE, index, self.node_count),
            self.writer(index),
            partial(self.claims, index),
            self.lives.to_bytes(32, "big"),
            bytes(16),
            self.ports,
        )
        plane.load_snapshot(self.snapshot, now)
        self.connect(index, plane)
        assert list(plane.resume(now))
        headers = any(group.proxy_protocol_v2 for group in self.snapshot.target_groups)
        self.nodes[index] = Node(plane, self.journals[index], HEADER_BYTES_MAX if headers else 0)
        return self.nodes[index]

    def writer(self, index: int) -> JournalWriter:
        """The writer of a node's journal."""
        return JournalWriter(memoryview(self.journals[index]))

    def claims(self, index: int, key: PoolKey) -> MemoryClaims:
        """A pool as a node sees it."""
        return MemoryClaims(self.pools.setdefault(key, bytearray(self.ports)), index, self.node_count)

    def connect(self, index: int, plane: Dataplane) -> None:
        """Give the node its peers' journals, and those of the older generation: each is adopted by one node."""
        memories = {f"new {other}": memory for other, memory in enumerate(self.journals) if other != index}
        memories |= {f"old {other}": memory for other, memory in enumerate(self.older)}
        adopted = {f"old {other}" for other in range(len(self.older)) if other % self.node_count == index}
        readers = {
            name: plane.peers.get(name) or JournalReader(memoryview(memory)) for name, memory in memories.items()
        }
        plane.set_peers(readers, frozenset(adopted))

    def next_generation(self, snapshot: Snapshot, node_count: int, now: float) -> "MemoryZone":
        """New nodes with new journals, which adopt what the nodes of this generation hold."""
        zone = self.heir(snapshot, node_count)
        zone.pools, zone.lives, zone.older = self.pools, self.lives, self.journals
        for index in range(node_count):
            zone.node(index, now).dataplane.settle(now)
        return zone

    def heir(self, snapshot: Snapshot, node_count: int) -> "MemoryZone":
        return MemoryZone(snapshot, node_count, self.ports, self.rows, self.ring)

    def end_older(self, now: float) -> None:
        """The older generation is gone, and its journals with it."""
        self.older = []
        for index, node in self.nodes.items():
            node.dataplane.settle(now)
            self.connect(index, node.dataplane)

    def load(self, snapshot: Snapshot, now: float) -> None:
        """Give every node a new configuration."""
        self.snapshot = snapshot
        for node in self.nodes.values():
            node.dataplane.load_snapshot(snapshot, now)

    def ports_taken(self) -> int:
        """Over all pools."""
        return sum(len(taken) - taken.count(0) for taken in self.pools.values())
