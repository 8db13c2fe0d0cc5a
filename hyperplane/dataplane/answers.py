"""What is said about a packet that cannot go on, and to whom: only to those who may talk to the ENI at all."""

from hyperplane.dataplane.passage import Passage
from hyperplane.dataplane.plane import Plane
from hyperplane.dataplane.verdict import DROPS, DropReason, Verdict
from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.interface import Interface
from hyperplane.flow.key import SUFFIX_BYTES, parts_of
from hyperplane.nat.sequence import MASK
from hyperplane.wire.icmp import packet_too_big, port_unreachable, time_exceeded
from hyperplane.wire.packet import ACK, ChecksumState, Packet, flipped
from hyperplane.wire.reply import error_packet
from hyperplane.wire.segment import tcp_packet

_SEGMENTED = ChecksumState.SEGMENTED
_FRESH_TTL = 64


def unwelcome(passage: Passage) -> DropReason | None:
    """Why whoever sent this packet may not talk to this ENI at all; None if he may."""
    packet, interface = passage.packet, passage.interface
    source, destination, _, port = parts_of(packet.tuple_bytes)
    if destination != interface.address:
        return DropReason.NOT_OUR_ADDRESS
    if source == destination or not interface.in_vpc(source):
        return DropReason.FOREIGN_SOURCE
    if not interface.available:
        return DropReason.NOT_AVAILABLE
    if interface.is_endpoint and not interface.permits(packet.protocol, port, source):
        return DropReason.SECURITY_GROUP
    return None


def expired(plane: Plane, passage: Passage) -> Verdict:
    """The packet's time to live ends here (RFC 1812 section 5.3.1). Who is unwelcome is not told that we are here.

    The kernel would answer too, but about the packet as we have rewritten it.
    """
    if unwelcome(passage) is not None:
        return DROPS[DropReason.TIME_EXCEEDED]
    packet, interface = passage.packet, passage.interface
    answer = error_packet(packet, time_exceeded(packet.data()), interface.address)
    return plane.reply(DropReason.TIME_EXCEEDED, answer, interface, passage.now)


def does_not_fit(packet: Packet, way_out: Interface) -> bool:
    """Whether the packet is too long for the way out and may not be cut. Super-packets are cut by the kernel."""
    return packet.length > way_out.mtu and packet.dont_fragment and packet.state is not _SEGMENTED


def too_big(plane: Plane, passage: Passage, way_out: Interface) -> Verdict:
    """The packet does not fit (RFC 1191, RFC 8201). AWS says nothing here; we do."""
    return too_big_with(plane, passage, way_out.mtu, DropReason.TOO_BIG)


def too_big_with(plane: Plane, passage: Passage, mtu: int, reason: DropReason) -> Verdict:
    """Packets of more than `mtu` bytes do not fit; `reason` says why."""
    packet, interface = passage.packet, passage.interface
    answer = error_packet(packet, packet_too_big(packet.data(), mtu), interface.address)
    return plane.reply(reason, answer, interface, passage.now)


def signed(plane: Plane, passage: Passage) -> Verdict:
    """A SYN with a signature, which no translation keeps. A reset would not be heard: it is not signed itself.

    RFC 2385 section 4.1 and RFC 5925 section 7.3 let an end ignore unsigned segments, and Linux does; the ICMP error
    ends the attempt at once (RFC 1122 section 4.2.3.9).
    """
    packet, interface = passage.packet, passage.interface
    answer = error_packet(packet, port_unreachable(packet.data()), interface.address)
    return plane.reply(DropReason.SIGNED_SEGMENT, answer, interface, passage.now)


def challenged(plane: Plane, passage: Passage, entry: FlowEntry) -> Verdict:
    """A SYN inside a stream, asked about in the target's name (RFC 5961 section 4.2), if this node knows a number.

    A client that has forgotten the stream resets it, with the number that is acknowledged here (RFC 9293 section
    3.10.7.3): the last one known. If that is not exactly the target's next, the target asks again. To a client that has
    not forgotten it, the number of this segment is an old one: it repeats its last acknowledgment.
    """
    injection, known, old = entry.injection, entry.sequence_original, entry.sequence_reply - 1 & MASK
    if injection is not None:
        # perhaps as the target knows it: then a client must not hear of it as it is
        known = injection.to_client(known) if known >= 0 else injection.first
        old = injection.answer - 1 & MASK
    elif known < 0 or entry.sequence_reply < 0:
        return DROPS[DropReason.ANOTHER_SYN]
    receiver = flipped(entry.original_key[:-SUFFIX_BYTES])
    answer = tcp_packet(receiver, old, known, ACK, 0, b"", b"", _FRESH_TTL)
    return plane.reply(DropReason.ANOTHER_SYN, answer, passage.interface, passage.now)
