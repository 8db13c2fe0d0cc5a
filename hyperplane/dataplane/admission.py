"""The admit stage: what happens to a packet that belongs to no flow, and to a SYN that begins one in another's place.

From the consumer's side it may start one, if everything allows it: the endpoint is available, the
source is an address of its VPC, the security groups agree, somebody listens, there is a target,
a port and room. From the provider's side it never can: that is the one-way property, and it is
not a rule but the lack of any code that would do it.

Who is told what (AWS, NLB guide "Connection idle timeout" and "Troubleshooting"): a TCP segment of
a flow that has gone gets a reset, on either side; whoever is not supposed to know gets silence.
"""

from collections.abc import Callable

from hyperplane.dataplane.answers import challenged, does_not_fit, signed, too_big, unwelcome
from hyperplane.dataplane.counters import Count
from hyperplane.dataplane.passage import Passage
from hyperplane.dataplane.plane import Plane
from hyperplane.dataplane.verdict import DROPS, Drop, DropReason, Verdict
from hyperplane.flow.another_syn import Syn, becomes_of_syn
from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.interface import Interface, Service
from hyperplane.flow.key import SUFFIX_BYTES, Direction, parts_of, tuple_of
from hyperplane.nat.sequence import MASK
from hyperplane.snapshot import Target
from hyperplane.wire.packet import ACK, RST, SYN, TCP
from hyperplane.wire.reply import reset_packet
from hyperplane.wire.tcp_options import AUTHENTICATION, MD5_SIGNATURE

_SIGNED = frozenset({MD5_SIGNATURE, AUTHENTICATION})
_SEQUENCE_BYTES = 4


def admit(plane: Plane, passage: Passage) -> Verdict | None:
    """Make a flow for a first packet, or say why not. Packets that have a flow pass."""
    if passage.entry is not None:
        if passage.packet.flags & SYN and passage.direction is Direction.ORIGINAL and not passage.packet.flags & ACK:
            return _meet_syn(plane, passage, passage.entry)
        return None
    if passage.error is not None:
        return DROPS[DropReason.NO_FLOW]
    if passage.direction is Direction.REPLY:
        return _answer_target(plane, passage)
    return _refuse(plane, passage) or _make_flow(plane, passage)


def _meet_syn(plane: Plane, passage: Passage, entry: FlowEntry) -> Verdict | None:
    """A client's SYN on the tuple of a flow that exists."""
    packet = passage.packet
    gets_header = entry.endpoint.service(TCP, int.from_bytes(packet.tuple_bytes[-2:], "big")).proxy_protocol_v2
    becomes = becomes_of_syn(entry, packet.sequence, gets_header is not None)
    if becomes is Syn.BEGINS:
        return _refuse(plane, passage) or _make_flow(plane, passage)
    if becomes is Syn.IS_ASKED:
        return challenged(plane, passage, entry)
    return None


def _answer_target(plane: Plane, passage: Passage) -> Verdict:
    """No flow, from the provider's side. Only a registered target is told that its flow has gone."""
    packet = passage.packet
    if packet.protocol != TCP:
        return DROPS[DropReason.NO_FLOW]
    if packet.flags & SYN and not packet.flags & ACK:
        return DROPS[DropReason.SYN_FROM_TARGET]
    source, destination, source_port, _ = parts_of(packet.tuple_bytes)
    interface = passage.interface
    registered = (packet.protocol, source, source_port) in interface.target_addresses
    if not registered or destination != interface.address:
        return DROPS[DropReason.NO_FLOW]
    if passage.key in plane.replication.passed_over:
        return DROPS[DropReason.CATCHING_UP]
    return plane.reply(DropReason.NO_FLOW, reset_packet(packet), interface, passage.now)


def _refuse(plane: Plane, passage: Passage) -> Verdict | None:
    """Why this packet may not start a flow; None if it may."""
    packet, interface = passage.packet, passage.interface
    reason = unwelcome(passage)
    if reason is not None:
        return DROPS[reason]
    balancer = interface.load_balancer
    if balancer is None or len(balancer.address) != len(interface.address):
        return DROPS[DropReason.NOT_AVAILABLE]
    if (packet.protocol, int.from_bytes(packet.tuple_bytes[-2:], "big")) not in interface.services:
        return DROPS[DropReason.NO_LISTENER]
    if does_not_fit(packet, balancer):
        return too_big(plane, passage, balancer)
    if packet.protocol == TCP:
        return _refuse_segment(plane, passage)
    return None


def _refuse_segment(plane: Plane, passage: Passage) -> Verdict | None:
    """A TCP flow starts with a plain SYN, and one that can be translated."""
    packet = passage.packet
    if packet.flags & (SYN | ACK | RST) != SYN:
        return plane.reply(DropReason.NO_FLOW, reset_packet(packet), passage.interface, passage.now)
    if _SIGNED & passage.options.kinds:
        return signed(plane, passage)
    return None


def _make_flow(plane: Plane, passage: Passage) -> Verdict | None:
    """Choose target and port, remember the flow and tell the peers. A flow that is in its place ends."""
    interface, standing = passage.interface, passage.entry
    balancer = interface.load_balancer
    assert balancer is not None
    packet = passage.packet
    service = interface.services[packet.protocol, int.from_bytes(packet.tuple_bytes[-2:], "big")]
    refused = _no_room(plane, interface) if standing is None else None
    if refused is not None:
        return _reject(plane, refused)
    target = _choose(plane, service, passage)
    if target is None or len(target.address) != len(balancer.address):
        return DROPS[DropReason.NO_TARGET]
    pool = plane.pools.pool(balancer, target.address, target.port, packet.protocol)
    port = None if pool is None else plane.pools.allocate(pool, plane.port_preference(balancer, target))
    if port is None:
        plane.counters.add(Count.PORT_ALLOCATION_ERRORS)
        return _reject(plane, DropReason.PORT_ALLOCATION)
    translated = tuple_of(balancer.address, target.address, port, target.port) + balancer.suffixes[packet.protocol]
    if standing is not None:
        plane.table.remove(standing)
        plane.counters.add(Count.FLOWS_REOPENED)
    _make_way(plane, interface, translated, passage.now)
    entry = FlowEntry(passage.key, translated, interface, balancer, service, passage.now)
    entry.pool = pool
    if packet.protocol == TCP:  # here already, so that it is told with the flow and `track` has nothing to add
        entry.scales = (passage.options.window_scale() or 0) + 1 << 4
    if service.proxy_protocol_v2 is not None:
        entry.get_header(service.proxy_protocol_v2, packet.sequence + 1 & MASK if packet.protocol == TCP else 0)
    if standing is None:
        plane.table.insert(entry)
        plane.replication.tell(entry)
    else:
        entry.succeed(standing)
        plane.replication.replace(standing, entry, passage.now)
    plane.counters.add(Count.FLOWS_NEW)
    passage.entry = entry
    return None


def _no_room(plane: Plane, interface: Interface) -> DropReason | None:
    """Which bound a new flow would break."""
    if not plane.replication.has_room():
        return DropReason.FLOW_TABLE_FULL
    if interface.flow_count >= plane.flows_per_endpoint_max:
        return DropReason.ENDPOINT_FLOWS_FULL
    return None


def _make_way(plane: Plane, interface: Interface, translated: bytes, now: float) -> None:
    """End what stands in the way of a flow that will be made now."""
    standing = plane.table.translated.get(translated)
    if standing is not None:  # a replica of a flow that ended where its port was taken
        standing.pool = None  # the port is the new flow's
        plane.replication.forget(standing, now)
    if len(interface.half_open) >= plane.half_open_per_endpoint_max:  # the oldest; never an established flow
        plane.replication.forget(plane.table.original[next(iter(interface.half_open))], now)
        plane.counters.add(Count.HALF_OPEN_EVICTED)


def _reject(plane: Plane, reason: DropReason) -> Drop:
    plane.counters.add(Count.REJECTED_FLOWS)
    return DROPS[reason]


def _choose(plane: Plane, service: Service, passage: Passage) -> Target | None:
    """AWS's flow hash: protocol and tuple, for TCP with the sequence number; with stickiness the client alone."""
    if service.targets is None:
        return None
    packet = passage.packet
    key = passage.key
    flow = key + packet.sequence.to_bytes(_SEQUENCE_BYTES, "big")
    client = key[-SUFFIX_BYTES:] + key[: len(passage.interface.address)]
    return service.targets.pick_for(plane.hasher, flow, client)


Stage = Callable[[Plane, Passage], Verdict | None]
