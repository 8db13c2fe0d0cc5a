"""The inject stage: what a SYN offers, and Proxy Protocol v2 headers. The rule of these is `flow/injector.py`'s.

Towards the target, sequence numbers grow by the header's length, and the header goes before the first byte. Towards
the client, acknowledgments, SACK edges and the window are told as if there were no header. What a node needs for that
is the flow's first byte and its header, which every node of the shard knows before the target sees the SYN; the rest
(`Opening`) is learned anew by whoever forwards the flow, and matters only until the header is acknowledged.
"""

from hyperplane.dataplane.answers import does_not_fit, too_big, too_big_with
from hyperplane.dataplane.counters import Count
from hyperplane.dataplane.header_emission import (
    acknowledging,
    can_share,
    header_pieces,
    remember,
    replace_ack,
    reset_twice,
    send_rest,
    strip,
)
from hyperplane.dataplane.passage import Passage
from hyperplane.dataplane.plane import Plane
from hyperplane.dataplane.verdict import DROPS, DropReason, Verdict
from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.injector import HEADER_PAST, Emission, Injection
from hyperplane.flow.key import Direction
from hyperplane.flow.opening import Opening
from hyperplane.flow.tcp_state import State
from hyperplane.limits import COOKIE_SPREAD, LONG_STREAM_BYTES, QUEUED_BYTES_MAX
from hyperplane.nat.rewrite import insert_payload, replace_payload
from hyperplane.nat.sequence import (
    ACKNOWLEDGMENT,
    MASK,
    SEQUENCE,
    distance,
    narrowed,
    put_acknowledgment,
    put_number,
    put_sequence,
    put_window,
)
from hyperplane.snapshot import HeaderPlacement
from hyperplane.wire.checksum import MODULUS
from hyperplane.wire.icmp import QuotedPacket
from hyperplane.wire.packet import ACK, FIN, RST, SYN, TCP, ChecksumState
from hyperplane.wire.tcp_options import FAST_OPEN, MULTIPATH, NO_OPTIONS, SACK

_ORIGINAL = Direction.ORIGINAL
_SEGMENTED = ChecksumState.SEGMENTED
_LARGEST_SCALE = 14
_ESTABLISHED = int(State.ESTABLISHED)
_SPREAD = 2 * COOKIE_SPREAD
_OFF_THE_LINE = _SPREAD + 1
"""Numbers that are so far from one in the spread are beyond its other end."""


def inject(plane: Plane, passage: Passage) -> Verdict | None:
    """A header before the client's first byte, and what a SYN offers.

    Nearly every segment is of a stream without a header, or of one whose header is acknowledged: that is done here,
    without a call, and the rest has functions of its own. A segment that does not fit is answered now, because the
    answer quotes what its receiver has sent.
    """
    entry = passage.entry
    assert entry is not None
    packet, injection = passage.packet, entry.injection
    if packet.flags & SYN:
        return _inject_syn(plane, passage, entry, injection)
    if injection is None:
        return None
    passage.leads = False
    if packet.protocol != TCP:
        if passage.error is not None or passage.direction is not _ORIGINAL:
            return None
        return _lead_datagram(plane, passage, entry, injection)
    if passage.direction is not _ORIGINAL:
        out = entry.endpoint
        if packet.length > out.mtu and does_not_fit(packet, out):
            return too_big(plane, passage, out)
        acknowledgment = packet.acknowledgment
        number = acknowledgment - injection.length & MASK
        if (
            (number - injection.first & MASK >= LONG_STREAM_BYTES and not injection.marks & HEADER_PAST)
            or injection.is_open
            or passage.options is not NO_OPTIONS
            or not packet.flags & ACK
        ):
            return _to_client(plane, passage, entry, injection)
        packet.checksum += acknowledgment - number
        put_number(packet.buffer, packet.transport + ACKNOWLEDGMENT, number)
        return None
    out = entry.balancer
    if packet.length > out.mtu and does_not_fit(packet, out):
        return too_big(plane, passage, out)
    if injection.is_open:
        return _open(plane, passage, entry, injection)
    # Nearly every segment of an open stream is near its beginning, or of a stream that is known to be long.
    # That it is long only the target's acknowledgments say: a client may forge its own numbers, and what is before the
    # first byte would be behind the header then.
    sequence = packet.sequence
    if sequence - injection.first & MASK >= LONG_STREAM_BYTES and not injection.marks & HEADER_PAST:
        emission = injection.emission(sequence, packet.flags, packet.end - packet.payload)
        if emission is Emission.REFUSE and plane.protections.refuses:
            return DROPS[DropReason.BEFORE_FIRST_BYTE]
        if emission is not Emission.SHIFT:
            return None
    number = sequence + injection.length & MASK
    if number - packet.acknowledgment - injection.cookies & MASK <= _SPREAD:
        passage.may_lead()
        _spoil_cookie(plane, passage, entry, injection)
    packet.checksum += sequence - number
    put_number(packet.buffer, packet.transport + SEQUENCE, number)
    return None


# --- SYNs ----------------------------------------------------------------------------------


def _inject_syn(plane: Plane, passage: Passage, entry: FlowEntry, injection: Injection | None) -> Verdict | None:
    """A SYN's own number stays: it is the client's, or the target's. A SYN-ACK's window leaves room for the header."""
    _settle_offer(plane, passage, entry)
    if injection is None:
        return None
    passage.leads = False
    packet, original = passage.packet, passage.direction is _ORIGINAL
    out = entry.balancer if original else entry.endpoint
    if does_not_fit(packet, out):
        return too_big(plane, passage, out)
    if not original:
        _narrow_first_window(plane, passage, injection)
    return None


def _settle_offer(plane: Plane, passage: Passage, entry: FlowEntry) -> None:
    """Settle what a SYN offers: a segment size that fits, and nothing a translator cannot keep."""
    packet = passage.packet
    mtu = min(entry.endpoint.mtu, entry.balancer.mtu)
    headers = 40 if packet.version == 4 else 60
    options, kinds = passage.options, passage.options.kinds
    delta = options.clamp_mss(mtu - headers)  # RFC 6691; AWS clamps too
    if FAST_OPEN in kinds or MULTIPATH in kinds:
        # A fast open cookie is bound to the address the target sees, which all clients share (RFC 7413);
        # a multipath join could reach another target (RFC 8684). Without the option both fall back.
        delta += options.blank((FAST_OPEN, MULTIPATH))
        plane.counters.add(Count.FAST_OPEN_STRIPPED, FAST_OPEN in kinds)
        plane.counters.add(Count.MULTIPATH_STRIPPED, MULTIPATH in kinds)
    packet.checksum = (packet.checksum - delta) % MODULUS
    if packet.payload < packet.end:
        replace_payload(packet, b"")  # the client sends it again after the handshake (RFC 9293 section 3.4)


def _narrow_first_window(plane: Plane, passage: Passage, injection: Injection) -> None:
    """Of a SYN-ACK, which acknowledges the SYN alone. It is never scaled (RFC 7323 section 2.2)."""
    packet, opening = passage.packet, injection.opening
    injection.note_window(packet.window)
    if not plane.protections.narrows:
        return
    offered = max(packet.window - injection.length, 0)
    put_window(packet, offered)
    if opening is not None:
        opening.hides = offered == 0 < packet.window


# --- towards the target --------------------------------------------------------------------


def _put_behind(plane: Plane, passage: Passage, entry: FlowEntry, injection: Injection, by: int) -> None:
    """Shift a client's segment by so many bytes of the header."""
    number = passage.packet.sequence + by & MASK
    if injection.is_cookie(number, passage.packet.acknowledgment):
        _spoil_cookie(plane, passage, entry, injection)
    put_sequence(passage.packet, number)


def _spoil_cookie(plane: Plane, passage: Passage, entry: FlowEntry, injection: Injection) -> None:
    """A target which remembers the stream must hear all that a segment says; to one that remembers nothing it must not
    be the end of a handshake.

    So it keeps its number, and acknowledges less: what it asks is answered, and what it carries is taken. What it
    acknowledges goes before it, in an ACK with the next number that is no cookie's. That is in the target's window, if
    there is room, and the same for all that acknowledges as much: RFC 9293 section 3.10.7.4 takes a window only from a
    number that is not older than the last one's. A FIN alone may begin what it likes: that stream has no byte.
    """
    packet = passage.packet
    if packet.flags & (ACK | RST) != ACK or not plane.protections.spoils:
        return
    if packet.flags & FIN and packet.payload == packet.end:
        return
    acknowledgment = packet.acknowledgment
    elsewhere = acknowledgment + injection.cookies + _OFF_THE_LINE & MASK
    passage.leading += (acknowledging(passage, entry, elsewhere),)
    put_acknowledgment(packet, acknowledgment - _OFF_THE_LINE & MASK)


# --- before the header is acknowledged -----------------------------------------------------


def _open(plane: Plane, passage: Passage, entry: FlowEntry, injection: Injection) -> Verdict | None:
    """A client's segment while the header is not acknowledged."""
    packet, protections, opening = passage.packet, plane.protections, injection.opening
    assert opening is not None
    passage.may_lead()
    emission = injection.emission(packet.sequence, packet.flags, packet.end - packet.payload)
    if emission is Emission.PASS:
        if packet.payload < packet.end and protections.refuses:
            strip(passage)
        if opening.acked_bytes and -1 <= distance(packet.sequence, injection.first) <= 0:
            put_sequence(packet, packet.sequence + opening.acked_bytes & MASK)
        return None
    if emission is Emission.REFUSE:
        return DROPS[DropReason.BEFORE_FIRST_BYTE] if protections.refuses else None
    if emission is Emission.TWICE:
        reset_twice(plane, passage, entry, injection, opening)
        return None
    if emission is Emission.SHIFT or (opening.sent and not protections.repeats):
        _put_behind(plane, passage, entry, injection, injection.length)
        return None
    if packet.flags & ACK:
        remember(opening, passage)
    opening.header = opening.header or entry.proxy_header()
    opening.sent = True
    sent_before = opening.sent_bytes
    if emission is Emission.REPLACE and protections.replaces:
        goes = replace_ack(plane, passage, entry, injection, opening)
    elif can_share(packet, opening, injection.first):
        goes = opening.shared = True
        opening.sent_bytes = injection.length
        insert_payload(packet, opening.header)
        passage.added_bytes = injection.length
    else:
        passage.leading = header_pieces(entry, injection, opening)
        goes = bool(passage.leading)
        behind = injection.length
        if packet.flags & RST:  # exactly the target's next number, or it is not believed (RFC 5961 section 3.2)
            behind = max(opening.acked_bytes, opening.sendable(injection.first))
        _put_behind(plane, passage, entry, injection, behind)
    if goes:
        plane.counters.add(Count.HEADERS_REPEATED if sent_before else Count.HEADERS_SENT)
    return None


# --- towards the client --------------------------------------------------------------------


def _to_client(plane: Plane, passage: Passage, entry: FlowEntry, injection: Injection) -> Verdict | None:
    """Acknowledgment, SACK and window, as if there were no header. Always None."""
    packet = passage.packet
    if not packet.flags & ACK:
        return None
    passage.may_lead()
    length = injection.length
    beyond = packet.acknowledgment - injection.first & MASK
    if not injection.is_open and (length < beyond < LONG_STREAM_BYTES or injection.marks & HEADER_PAST):
        put_acknowledgment(packet, packet.acknowledgment - length & MASK)
    else:
        _near_header(plane, passage, entry, injection)
    if passage.options is not NO_OPTIONS and SACK in passage.options.kinds and plane.protections.maps_sack:
        packet.checksum -= passage.options.map_sack(injection.to_client)
    return None


def _near_header(plane: Plane, passage: Passage, entry: FlowEntry, injection: Injection) -> None:
    """An acknowledgment that is about the header, or about what was before it, or the first of a long stream."""
    packet, protections = passage.packet, plane.protections
    acknowledgment = packet.acknowledgment
    if not injection.marks & HEADER_PAST:
        _learn(plane, passage, entry, injection)
    missing = injection.missing(acknowledgment)
    if not missing:
        put_acknowledgment(packet, acknowledgment - injection.length & MASK)
        return
    if protections.narrows and not packet.flags & RST:
        offered = narrowed(packet.window, missing, _scale_of_target(plane, passage, entry, 0))
        put_window(packet, offered)
        if injection.opening is not None:
            injection.opening.hides = offered == 0 < packet.window
    known = injection.to_client(acknowledgment)
    if not protections.clamps and distance(acknowledgment, injection.first) > 0:
        known = acknowledgment - injection.length & MASK
    if known != acknowledgment:
        put_acknowledgment(packet, known)


def _learn(plane: Plane, passage: Passage, entry: FlowEntry, injection: Injection) -> None:
    """What the target's segment says of the header, and what can be sent of it now."""
    packet = passage.packet
    if packet.flags & RST or (injection.is_open and not injection.is_answered_by(packet.sequence)):
        return
    if entry.state < _ESTABLISHED:  # a very late segment, or it would have completed the handshake
        return
    opening = injection.opening
    new = injection.news_of(packet.acknowledgment)
    if new and (new & HEADER_PAST or (opening is not None and _others_may_resend(injection, opening))):
        plane.replication.tell(entry)
    if opening is not None and injection.is_open:
        scale = _scale_of_target(plane, passage, entry, _LARGEST_SCALE)
        injection.note_part(packet.acknowledgment, packet.acknowledgment + (packet.window << scale) & MASK)
        if opening.sent and entry.state != State.RESET:
            send_rest(plane, passage, entry, injection, opening)


def _others_may_resend(injection: Injection, opening: Opening) -> bool:
    """Whether another node may have a timer for the header. In the other placement nobody has."""
    return injection.placement is HeaderPlacement.ON_FIRST_ACK and not opening.timed


def _scale_of_target(plane: Plane, passage: Passage, entry: FlowEntry, unknown: int) -> int:
    """By how many bits the window of this segment of the target's is shifted (RFC 7323 section 2.2). `unknown`: what to
    take it for if no node has seen that."""
    known = entry.scales & 0xF
    if not known:
        plane.replication.inform_batch(passage.now)  # another node has seen the SYN-ACK
        known = entry.scales & 0xF
    return known - 1 if known else unknown


# --- datagrams -----------------------------------------------------------------------------


def _lead_datagram(plane: Plane, passage: Passage, entry: FlowEntry, injection: Injection) -> Verdict | None:
    """The header in front of a datagram's data, in every datagram and never apart from it (PROXY protocol, 2.2)."""
    packet = passage.packet
    longer = packet.length + injection.length
    if packet.state is _SEGMENTED or longer > QUEUED_BYTES_MAX:
        return DROPS[DropReason.HEADER_DOES_NOT_FIT]
    if longer > entry.balancer.mtu and packet.dont_fragment:
        mtu = entry.balancer.mtu - injection.length
        return too_big_with(plane, passage, mtu, DropReason.HEADER_DOES_NOT_FIT)
    injection.header = injection.header or entry.proxy_header()
    passage.may_lead()
    insert_payload(packet, injection.header)
    passage.added_bytes = injection.length
    plane.counters.add(Count.HEADERS_SENT)
    return None


def quote_as_sent(entry: FlowEntry, quoted: QuotedPacket, direction: Direction) -> tuple[int | None, int]:
    """What an ICMP error must say of a packet of the client's that we have changed: its own sequence number (None: as
    it stands), and by how many bytes it is shorter than what the error's sender saw."""
    injection = entry.injection
    if injection is None or direction is _ORIGINAL:  # from the client's side: about what the target sent
        return None, 0
    if quoted.protocol != TCP:
        return None, injection.length
    return None if quoted.sequence is None else injection.to_client(quoted.sequence), 0
