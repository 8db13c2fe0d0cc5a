"""The eight stages of a packet, in order. Start reading here.

    parse -> classify -> find -> admit -> track -> inject -> rewrite -> count

Each is a function (plane, passage) -> verdict or None. None means: on to the next. The first
verdict ends the packet's way; `count` sees every verdict. No stage calls an earlier one.

    parse      bytes become a Packet, pieces a whole one; what is malformed or corrupt ends here
    classify   which ENI, which direction, which key
    find       the flow; what peers know is taken in before a packet is called unknown
    admit      no flow: may this packet start one? target and port are chosen here
    track      the flow's state and age move, and the peers are told before the packet leaves
    inject     what is changed in the stream itself: a header before its first byte, options of a SYN
    rewrite    addresses, ports, checksums, in place
    count      every packet and every drop reason
"""

from array import array

from hyperplane.dataplane.admission import Stage, admit
from hyperplane.dataplane.answers import does_not_fit, expired, too_big
from hyperplane.dataplane.counters import DROP_INDEX, Count
from hyperplane.dataplane.injection import inject, quote_as_sent
from hyperplane.dataplane.loading import parse
from hyperplane.dataplane.passage import Passage
from hyperplane.dataplane.plane import Plane
from hyperplane.dataplane.tracking import track
from hyperplane.dataplane.verdict import DROPS, MALFORMED, Accept, DropReason, Hold, Lead, Reply, Verdict
from hyperplane.errors import WireError
from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.key import SUFFIX_BYTES, Direction
from hyperplane.flow.tcp_state import State
from hyperplane.nat.quote import translate_error
from hyperplane.nat.rewrite import rewrite as rewrite_packet
from hyperplane.wire.icmp import IcmpError
from hyperplane.wire.packet import ICMP, RST, SYN, TCP, flipped

_ORIGINAL, _REPLY = Direction.ORIGINAL, Direction.REPLY
_TUPLE_END = -SUFFIX_BYTES
_SYN_OR_RST = SYN | RST
_ESTABLISHED = int(State.ESTABLISHED)
_PACKETS_ORIGINAL, _BYTES_ORIGINAL = int(Count.PACKETS_ORIGINAL), int(Count.BYTES_ORIGINAL)
_PACKETS_REPLY, _BYTES_REPLY = int(Count.PACKETS_REPLY), int(Count.BYTES_REPLY)


def classify(plane: Plane, passage: Passage) -> Verdict | None:
    """Where the packet came in, which way it goes, and the key of its flow."""
    interface = plane.interfaces.get(passage.interface_number)
    packet = passage.packet
    if interface is None:
        return DROPS[DropReason.UNKNOWN_INTERFACE]
    passage.interface = interface
    if packet.ttl <= 1:
        return expired(plane, passage)
    passage.direction = _ORIGINAL if interface.is_endpoint else _REPLY
    if packet.protocol == ICMP:
        return _classify_error(passage)
    passage.error = None
    if interface.is_endpoint:
        passage.key = packet.tuple_bytes + interface.suffixes[packet.protocol]
    else:
        passage.key = flipped(packet.tuple_bytes) + interface.suffixes[packet.protocol]
    return None


def _classify_error(passage: Passage) -> Verdict | None:
    """An ICMP error belongs to the flow of the packet that it quotes, seen from the other end."""
    packet, interface = passage.packet, passage.interface
    try:
        message = packet.buffer[packet.transport : packet.end]
        error = IcmpError.parse(message, addresses=packet.tuple_bytes[:-4])
        quoted = error.quoted_packet()
    except WireError as fault:
        return MALFORMED[fault.malformation]
    passage.error, passage.quoted = error, quoted
    inner = quoted.tuple_bytes
    passage.key = (flipped(inner) if interface.is_endpoint else inner) + interface.suffixes[quoted.protocol]
    return None


def find(plane: Plane, passage: Passage) -> Verdict | None:
    """The flow of this key. Before a packet is called unknown, what the peers know is taken in.

    The same before a SYN or RST is judged, before the handshake is over and once a FIN was seen: another node may
    have seen the flow end, or begin again with other numbers. Where a header is injected those numbers count, so there
    always, and whoever has not read all waits: what is forwarded with an older stream's numbers, by its source port,
    is reset by a target that has forgotten it.
    """
    flows = plane.table.original if passage.direction is _ORIGINAL else plane.table.translated
    entry = flows.get(passage.key)
    if (
        entry is None
        or (
            entry.injection is not None
            and plane.replication.informed_at != passage.now
            and passage.packet.protocol == TCP
        )
        or passage.now - entry.seen_at > entry.timeout_s
        or entry.state != _ESTABLISHED
        or passage.packet.flags & _SYN_OR_RST
    ):
        knows_all = plane.replication.informed_at == passage.now
        if not knows_all:
            knows_all = plane.replication.inform_batch(passage.now)
            entry = flows.get(passage.key)
        is_over = entry is None or passage.now - entry.seen_at > entry.timeout_s
        if not knows_all and (entry is None or is_over or entry.injection is not None):
            return DROPS[DropReason.CATCHING_UP]
        if is_over:
            _end(plane, entry, passage.now)
            entry = None
    passage.entry = entry
    if entry is not None and not (entry.endpoint.available and entry.balancer.available):
        return DROPS[DropReason.NOT_AVAILABLE]
    return None


def _end(plane: Plane, entry: FlowEntry | None, now: float) -> None:
    """A flow that has run out ends with the packet that finds it."""
    if entry is not None:
        plane.replication.forget(entry, now)
        plane.counters.add(Count.FLOWS_EXPIRED)


def rewrite(plane: Plane, passage: Passage) -> Verdict | None:
    """Give the packet its other addresses and send it out by the other side's ENI."""
    entry = passage.entry
    assert entry is not None
    if passage.error is not None:
        return _rewrite_error(plane, passage, entry)
    packet = passage.packet
    original = passage.direction is _ORIGINAL
    out = entry.balancer if original else entry.endpoint
    if packet.length > out.mtu and does_not_fit(packet, out):
        return too_big(plane, passage, out)
    identification = 0 if packet.dont_fragment else plane.next_identification()
    if original:
        rewrite_packet(packet, entry.translated_key[:_TUPLE_END], entry.addresses, entry.transport, identification)
    else:
        new_tuple = flipped(entry.original_key[:_TUPLE_END])
        rewrite_packet(packet, new_tuple, -entry.addresses, -entry.transport, identification)
    if entry.injection is not None and passage.leads and (passage.added_bytes or passage.leading):
        return Lead(out.number, passage.leading, passage.added_bytes)
    return plane.accept(out.number)


def _rewrite_error(plane: Plane, passage: Passage, entry: FlowEntry) -> Verdict:
    """An error's source becomes the address that the receiver knows, and its quote the receiver's own packet."""
    assert passage.error is not None and passage.quoted is not None
    original = entry.original_key[:-SUFFIX_BYTES]
    translated = entry.translated_key[:-SUFFIX_BYTES]
    if passage.direction is _ORIGINAL:  # from the client's side: about a reply that the target sent
        out, addresses, inner = entry.balancer, translated[:-4], flipped(translated)
    else:
        out, addresses, inner = entry.endpoint, flipped(original)[:-4], original
    sent = quote_as_sent(entry, passage.quoted, passage.direction)
    translate_error(passage.packet, passage.error, passage.quoted, addresses, inner, *sent)
    plane.counters.add(Count.ICMP_TRANSLATED)
    return plane.accept(out.number)


def count(plane: Plane, passage: Passage, verdict: Verdict) -> None:
    """Every verdict has a counter."""
    values = plane.counters.values
    if type(verdict) is Accept:
        if passage.direction is _ORIGINAL:
            values[_PACKETS_ORIGINAL] += 1
            values[_BYTES_ORIGINAL] += passage.packet.length
        else:
            values[_PACKETS_REPLY] += 1
            values[_BYTES_REPLY] += passage.packet.length
        return
    assert not isinstance(verdict, Accept)
    if isinstance(verdict, Lead):
        _count_lead(values, passage, verdict)
        return
    if isinstance(verdict, Hold):
        values[Count.FRAGMENTS_HELD] += 1
        return
    values[Count.PACKETS_DROPPED] += 1
    values[DROP_INDEX[verdict.reason]] += 1
    if isinstance(verdict, Reply):
        values[Count.REPLIES] += 1


def _count_lead(values: "array[int]", passage: Passage, lead: Lead) -> None:
    """Headers do not count as the client's bytes."""
    original = passage.direction is _ORIGINAL
    values[_PACKETS_ORIGINAL if original else _PACKETS_REPLY] += 1
    values[_BYTES_ORIGINAL if original else _BYTES_REPLY] += passage.packet.length - lead.added_bytes


DECIDING: tuple[Stage, ...] = (parse, classify, find, admit, track, inject, rewrite)
"""The stages that may end a packet's way."""

STAGES = (*DECIDING, count)
"""All eight, in order. A test pins this list."""
