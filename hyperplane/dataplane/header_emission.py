"""Headers on their way: which segments carry one before the target has acknowledged it, and what is in them.

In the client's name: what a header segment acknowledges, its window, timestamps and IP fields are those of the client's
own segment that brought it, or of the last one that did (`flow/opening.py`).
"""

from hyperplane.dataplane.counters import Count
from hyperplane.dataplane.passage import Passage
from hyperplane.dataplane.plane import Plane
from hyperplane.dataplane.verdict import Outgoing
from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.injector import Injection
from hyperplane.flow.key import SUFFIX_BYTES
from hyperplane.flow.opening import Opening
from hyperplane.flow.tcp_state import State
from hyperplane.limits import HEADERS_RESENT_PER_TICK_MAX
from hyperplane.nat.rewrite import replace_payload
from hyperplane.nat.sequence import MASK, distance, put_flags, put_sequence
from hyperplane.wire.packet import ACK, PSH, RST, URG, ChecksumState, Packet
from hyperplane.wire.segment import tcp_packet
from hyperplane.wire.tcp_options import NO_OPTIONS, timestamps_of

_SEGMENTED = ChecksumState.SEGMENTED
_TCP_HEADER_BYTES = 20
_NOT_ECN = 0xFC
_STAMP = slice(4, 8)
"""The sender's clock in `timestamps_of`."""


def can_share(packet: Packet, opening: Opening, first: int) -> bool:
    """Whether the header can stand in the client's own first segment. That saves a packet, the target's answer to it
    and a wake-up of the target's. A reset carries no data, an urgent pointer would have to move, and a super-packet
    is cut by its sender's segment size."""
    payload_bytes = packet.end - packet.payload
    if packet.flags & (RST | URG) or packet.state is _SEGMENTED or not payload_bytes:
        return False
    return opening.fits_before(payload_bytes, _options_bytes(packet), first)


def _options_bytes(packet: Packet) -> int:
    return packet.payload - packet.transport - _TCP_HEADER_BYTES


def remember(opening: Opening, passage: Passage) -> None:
    """What a header segment in this client's name takes from its own, the youngest: no urgent data, no ECN."""
    packet = passage.packet
    buffer, start, area = packet.buffer, packet.start, packet.transport + _TCP_HEADER_BYTES
    is_usual = passage.options is NO_OPTIONS  # timestamps at most, as they are sent here
    options = bytes(buffer[area : packet.payload]) if is_usual else timestamps_of(buffer, area, packet.payload)
    if options and opening.options and distance(_stamp_of(options), _stamp_of(opening.options)) < 0:
        return  # it was overtaken, and its target drops what has a timestamp from before (RFC 7323 section 5.3)
    opening.acknowledgment = packet.acknowledgment
    opening.window = packet.window
    opening.ttl = packet.ttl - 1
    is_four = packet.version == 4
    traffic_class = buffer[start + 1] if is_four else (buffer[start] << 4 | buffer[start + 1] >> 4) & 0xFF
    opening.traffic_class = traffic_class & _NOT_ECN
    opening.options = options


def _stamp_of(options: bytes) -> int:
    return int.from_bytes(options[_STAMP], "big")


def header_pieces(entry: FlowEntry, injection: Injection, opening: Opening, at_least: int = 0) -> tuple[Outgoing, ...]:
    """The header as segments of its own, as far as the target's window has room."""
    pieces = list(opening.pieces(injection.first, at_least))
    for number, data in pieces:
        opening.sent_bytes = max(opening.sent_bytes, distance(number, injection.first) + len(data))
    return tuple(_header_segment(entry, opening, number, data) for number, data in pieces)


def acknowledging(passage: Passage, entry: FlowEntry, number: int) -> Outgoing:
    """What this segment of the client's acknowledges, in a segment of its own with this number."""
    packet = passage.packet
    options = timestamps_of(packet.buffer, packet.transport + _TCP_HEADER_BYTES, packet.payload)
    ours = entry.translated_key[:-SUFFIX_BYTES]
    ack = tcp_packet(ours, number, packet.acknowledgment, ACK, packet.window, options, b"", packet.ttl - 1)
    return Outgoing(ack, entry.balancer.number)


def _header_segment(entry: FlowEntry, opening: Opening, number: int, data: bytes) -> Outgoing:
    packet = tcp_packet(
        entry.translated_key[:-SUFFIX_BYTES],
        number,
        opening.acknowledgment,
        PSH | ACK,
        opening.window,
        opening.options,
        data,
        opening.ttl,
        opening.traffic_class,
    )
    return Outgoing(packet, entry.balancer.number)


def replace_ack(plane: Plane, passage: Passage, entry: FlowEntry, injection: Injection, opening: Opening) -> bool:
    """The header in the place of an ACK. Into a closed window nothing goes but the ACK; the timer asks again.
    Where the client itself asks, with an old number, its question must stay one.

    Whether the header goes.
    """
    packet = passage.packet
    pieces = list(opening.pieces(injection.first, options_bytes=_options_bytes(packet)))
    if pieces:
        *before, (number, data) = pieces
        passage.leading = tuple(_header_segment(entry, opening, *piece) for piece in before)
        opening.sent_bytes = max(opening.sent_bytes, distance(number, injection.first) + len(data))
        put_sequence(packet, number)
        put_flags(packet, PSH | ACK)
        passage.added_bytes = len(data) - (packet.end - packet.payload)
        replace_payload(packet, data)
    else:
        put_sequence(packet, packet.sequence + opening.acked_bytes & MASK)
        strip(passage)
    if not opening.timed and plane.protections.resends:
        opening.timed = True
        plane.headers.start(entry, opening, passage.now)
    return bool(pieces)


def strip(passage: Passage) -> None:
    """Take away the byte that an old keep-alive carries, and that nobody reads (RFC 9293 section 3.8.4): it stands
    where the header begins, or in it."""
    packet = passage.packet
    if packet.payload < packet.end:
        passage.added_bytes = packet.payload - packet.end
        replace_payload(packet, b"")


def reset_twice(plane: Plane, passage: Passage, entry: FlowEntry, injection: Injection, opening: Opening) -> None:
    """A reset by a client that knows of no connection. It is believed only if its number is the target's next one (RFC
    5961 section 3.2), and whether the target has the header already this node may not know. So it goes before the
    header and behind it; between the two the header again, if this node has sent it, for a target that has a part.

    That once: to a target with SYN cookies which has forgotten the stream the header is a new one. It answers, and the
    client, which knows of nothing, resets that too.
    """
    packet = passage.packet
    number, behind = injection.first + opening.acked_bytes & MASK, injection.length
    reset = tcp_packet(entry.translated_key[:-SUFFIX_BYTES], number, 0, RST, 0, b"", b"", packet.ttl - 1)
    passage.leading = (Outgoing(reset, entry.balancer.number),)
    if opening.sent and not opening.reset:
        opening.reset = True
        plane.counters.add(Count.HEADERS_REPEATED if opening.sent_bytes else Count.HEADERS_SENT)
        passage.leading += header_pieces(entry, injection, opening)
        behind = max(opening.acked_bytes, opening.sendable(injection.first))
    put_sequence(packet, injection.first + behind & MASK)


def resend_headers(plane: Plane, now: float) -> None:
    """Timers have run out: headers that nobody else repeats are sent again."""
    for entry in plane.headers.due(now, HEADERS_RESENT_PER_TICK_MAX):
        injection = entry.injection
        assert injection is not None and injection.opening is not None
        if entry.state == State.RESET:
            injection.opening.timed = False  # the next ACK starts it anew, should the stream go on
            continue
        if entry.endpoint.available and entry.balancer.available:
            plane.counters.add(Count.HEADERS_RESENT if injection.opening.sent_bytes else Count.HEADERS_SENT)
            plane.outgoing.extend(header_pieces(entry, injection, injection.opening, at_least=1))
        plane.headers.start(entry, injection.opening, now)


def send_rest(plane: Plane, passage: Passage, entry: FlowEntry, injection: Injection, opening: Opening) -> None:
    """The target has made room for more of the header than was ever sent."""
    opening.header = opening.header or entry.proxy_header()
    if opening.sendable(injection.first) > max(opening.sent_bytes, opening.acked_bytes):
        plane.counters.add(Count.HEADERS_SENT, not opening.sent_bytes)
        passage.leading = header_pieces(entry, injection, opening)
