"""The packet plane of one node: its verbs and a hint, nothing decided here.

    begin_batch      a hint: packets were read together
    receive_packet   a packet came: run the stages, answer with a verdict
    load_snapshot    the whole configuration came
    packets_to_send  what timers want to be sent
    receive_deltas   time to take in what the peers have told
    next_timeout     when to wake me
    handle_timeout   time has passed: a bounded piece of work

No verb does I/O, reads a clock or draws from the system's randomness: the shell gives `now`
(monotonic seconds), memory for the journals and a seed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from hyperplane.balance.flow_hash import KEY_BYTES, FlowHasher
from hyperplane.balance.selection import TargetSet
from hyperplane.dataplane.counters import Count, Counters
from hyperplane.dataplane.header_emission import resend_headers
from hyperplane.dataplane.passage import Passage
from hyperplane.dataplane.plane import Plane
from hyperplane.dataplane.stages import DECIDING, count
from hyperplane.dataplane.verdict import Outgoing, Verdict
from hyperplane.flow.entry import GONE
from hyperplane.flow.injector import Protections
from hyperplane.flow.interface import Interface, Service
from hyperplane.flow.journal import JournalReader, JournalWriter
from hyperplane.flow.ports import PoolKey, PortPools
from hyperplane.flow.replication import Replication
from hyperplane.limits import (
    EXPIRED_PER_TICK_MAX,
    PORT_SWEEP_INTERVAL_S,
    PORTS_SWEPT_PER_TICK_MAX,
    SNAT_PORTS_PER_TARGET,
)
from hyperplane.nat.port_pool import Draws, PortClaims
from hyperplane.snapshot import STEERED_BY_HASH, Eni, EniKind, Snapshot, TargetGroup
from hyperplane.wire.packet import ChecksumState


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """Who this node is."""

    zone: str
    index: int
    node_count: int


class Dataplane:
    """One node."""

    def __init__(
        self,
        identity: NodeIdentity,
        writer: JournalWriter,
        open_claims: Callable[[PoolKey], PortClaims],
        seed: bytes,
        zone_key: bytes,
        ports_per_target: int = SNAT_PORTS_PER_TARGET,
        steering_seed: int | None = None,
    ) -> None:
        """`seed`: secret of this node alone, for ports. `zone_key`: shared by the zone's nodes, for the flow hash.

        `steering_seed`: of the kernel's hash, where packets are steered by it (`balance/steering_hash.py`).
        """
        self.identity = identity
        self._steering_seed = steering_seed
        draws = Draws(seed)
        pools = PortPools(open_claims, draws, ports_per_target)
        self.plane = Plane(identity.index, identity.node_count, pools, FlowHasher(zone_key[:KEY_BYTES]), draws)
        self.plane.replication = Replication(
            identity.index, self.plane.table, self.plane.interfaces, pools, writer, self.plane.count_loss
        )
        self._passage = Passage()
        self._groups: dict[TargetGroup, TargetSet] = {}
        self._sweep_at = 0.0
        self.snapshot_version = -1

    def begin_batch(self, now: float) -> None:
        """The packets that come next with this `now` were read together, before it.

        A hint: without it, and with another `now`, every packet counts as read alone.
        """
        self.plane.replication.begin_batch(now)

    def receive_packet(
        self, buffer: bytearray, start: int, length: int, state: ChecksumState, interface_number: int, now: float
    ) -> Verdict:
        """Run the packet of `length` bytes at `start` through the stages.

        The last piece of a datagram becomes the whole, so behind every packet `buffer` has room for QUEUED_BYTES_MAX.
        After `Accept` the changed packet stands in the buffer at `start`, `packet_length` bytes long.
        """
        passage = self._passage
        passage.buffer = buffer
        passage.start = start
        passage.length = length
        passage.checksum_state = state
        passage.interface_number = interface_number
        passage.now = now
        plane = self.plane
        for stage in DECIDING:
            verdict = stage(plane, passage)
            if verdict is not None:
                count(plane, passage, verdict)
                return verdict
        raise AssertionError("the last deciding stage always decides")

    def packets_to_send(self) -> list[Outgoing]:
        """What timers want to be sent, each once."""
        outgoing, self.plane.outgoing = self.plane.outgoing, []
        return outgoing

    @property
    def packet_length(self) -> int:
        """Bytes of the packet that was accepted last: a SYN may have lost its data, a datagram got a header."""
        return self._passage.packet.length

    # --- configuration ---------------------------------------------------------------------

    def load_snapshot(self, snapshot: Snapshot, now: float) -> None:
        """Take over the whole configuration. Flows stay; what is gone from it is closed."""
        plane = self.plane
        plane.timers.udp_idle_s = snapshot.udp_idle_timeout_s
        plane.timers.half_open_s = snapshot.half_open_timeout_s
        plane.timers.closing_s = snapshot.closing_timeout_s
        plane.flows_per_endpoint_max = snapshot.flows_per_endpoint_max
        plane.half_open_per_endpoint_max = snapshot.half_open_per_endpoint_max
        plane.replication.flows_max = min(plane.replication.rows_max, snapshot.flows_per_node_max)
        zone = snapshot.zone(self.identity.zone)
        enis = zone.enis if zone else ()
        present = {eni.number for eni in enis}
        for number, interface in plane.interfaces.items():
            if number not in present:
                interface.close()
        for eni in enis:
            plane.interfaces.setdefault(eni.number, Interface(eni.number, plane.timers)).load(eni)
        self._load_services(snapshot, enis)
        plane.steer_by(self._steering_seed if snapshot.steering == STEERED_BY_HASH else None)
        plane.replication.interfaces_changed()
        self.snapshot_version = snapshot.version

    def _load_services(self, snapshot: Snapshot, enis: tuple[Eni, ...]) -> None:
        """Listeners and targets, built once per load balancer and shared by its endpoints."""
        interfaces = self.plane.interfaces
        groups = {group.target_group_id: group for group in snapshot.target_groups}
        sets = {group: self._groups.get(group) or TargetSet(group, self.identity.zone) for group in groups.values()}
        self._groups = sets
        services: dict[str, dict[tuple[int, int], Service]] = {}
        for balancer in snapshot.load_balancers:
            services[balancer.load_balancer_id] = {
                (listener.protocol.value, listener.port): Service(
                    float(listener.idle_timeout_s),
                    sets[groups[listener.target_group_id]],
                    groups[listener.target_group_id].proxy_protocol_v2,
                )
                for listener in balancer.listeners
            }
        targets = {
            balancer.load_balancer_id: frozenset(
                (group.protocol.value, target.address, target.port)
                for group in {groups[listener.target_group_id] for listener in balancer.listeners}
                for target in group.targets
            )
            for balancer in snapshot.load_balancers
        }
        for eni in enis:
            interface = interfaces[eni.number]
            if eni.kind is EniKind.LOAD_BALANCER:
                interface.target_addresses = targets.get(eni.owner_id, frozenset())
        owners = {eni.number: eni.owner_id for eni in enis}
        for eni in enis:
            if eni.kind is EniKind.ENDPOINT:
                interface = interfaces[eni.number]
                interface.load_balancer = interfaces[eni.load_balancer_eni] if eni.load_balancer_eni else None
                interface.services = services.get(owners.get(eni.load_balancer_eni, ""), {})

    # --- replication and time --------------------------------------------------------------

    @property
    def flow_count(self) -> int:
        return len(self.plane.table)

    @property
    def counters(self) -> Counters:
        return self.plane.counters

    @property
    def peers(self) -> Mapping[str, JournalReader]:
        """The journals that are read now, by name."""
        return self.plane.replication.peers

    def resume(self, now: float) -> Iterator[int]:
        """Take in what this node's journal held when its last life ended, in steps: yields the flows found so far."""
        return self.plane.replication.resume(now)

    def settle(self, now: float, between: Callable[[], None] = lambda: None) -> None:
        """Take in all that the peers have told so far. `between` is called after every batch."""
        self.plane.replication.catch_up(now, between)

    def weaken(self, protections: Protections) -> None:
        """Take protections of injected headers away, for the tests that must notice it."""
        self.plane.protections = protections

    def mute(self) -> None:
        """Tell nobody anything: a node without replication, for the test that must notice it."""
        self.plane.replication.mute()

    def set_peers(self, peers: Mapping[str, JournalReader], adopted: frozenset[str] = frozenset()) -> None:
        """Read these journals from now on, see `Replication.set_peers`."""
        self.plane.replication.set_peers(peers, adopted)

    def receive_deltas(self, now: float) -> bool:
        """Take in what the peers have told. True if there may be more."""
        return self.plane.replication.take_in(now)

    def next_timeout(self) -> float:
        """When `handle_timeout` has something to do, monotonic seconds."""
        plane = self.plane
        times = (
            self._sweep_at,
            plane.table.next_timeout(),
            plane.pools.resting.next_timeout(),
            plane.headers.next_timeout(),
        )
        return min(time for time in times if time is not None)

    def handle_timeout(self, now: float) -> None:
        """End flows that have run out, free ports that have rested, each a bounded number."""
        plane = self.plane
        replication = plane.replication
        replication.advance(now)
        ended = plane.table.due(now, EXPIRED_PER_TICK_MAX)
        knows_all = not ended or replication.take_in_news(now)
        for entry in ended:
            if entry.state == GONE:
                continue
            if entry.expires_at() <= now and knows_all:
                replication.forget(entry, now)
                plane.counters.add(Count.FLOWS_EXPIRED)
            else:
                plane.table.schedule(entry, now)
        resend_headers(plane, now)
        plane.counters.add(Count.DATAGRAMS_INCOMPLETE, plane.fragments.expire(now))
        plane.pools.resting.free(now, EXPIRED_PER_TICK_MAX)
        if now >= self._sweep_at:
            self._sweep_at = now + PORT_SWEEP_INTERVAL_S
            swept = plane.pools.sweep(plane.table.translated.__contains__, now, PORTS_SWEPT_PER_TICK_MAX)
            plane.counters.add(Count.PORTS_SWEPT, swept)
