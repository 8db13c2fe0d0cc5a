"""Sequence numbers of a stream that has become longer by a header in front of its first byte.

The client numbers its bytes from `first` on (its initial sequence number plus one, RFC 9293 section 3.4.1). The
target sees `length` more bytes before them:

    client     first - 1     first                           first + n
               |  SYN  |     |  data ...                     |
    target     |  SYN  |     |<- header, length ->|  data ...         |
               first - 1     first                first + length      first + length + n

All numbers are modulo 2**32 (RFC 9293 section 3.4). They are compared with `first` as signed distances, so these
functions are right while the stream is less than 2**31 bytes from its beginning. Beyond, every number is far behind
the header and only the shift is left (`flow/injector.py` remembers that).

What the target acknowledges inside the header, the client has not sent: it sees `first`, no more and no less
(INV-6). So it never sees an acknowledgment of something that it does not know, and none that goes back.
"""

from struct import Struct

from hyperplane.wire.packet import Packet

MASK = 0xFFFF_FFFF
_HALF = 1 << 31

put_number = Struct("!I").pack_into
"""Store a number at an offset of a buffer; the checksum is the caller's."""
_put_word = Struct("!H").pack_into
SEQUENCE, ACKNOWLEDGMENT, _OFFSET_FLAGS, _WINDOW = 4, 8, 12, 14
"""Places in the TCP header."""


def distance(number: int, origin: int) -> int:
    """How far `number` is after `origin`, -2**31 .. 2**31 - 1."""
    return ((number - origin + _HALF) & MASK) - _HALF


def to_target(sequence: int, first: int, length: int) -> int:
    """A client's sequence number as the target knows it, once the header is before it.

    The last number before `first` is shifted too: that is a keep-alive (RFC 9293 section 3.8.4). What is older
    belongs to nothing that we have changed.
    """
    return sequence if distance(sequence, first) < -1 else (sequence + length) & MASK


def to_client(number: int, first: int, length: int) -> int:
    """An acknowledgment or SACK edge of the target's as the client knows it."""
    beyond = distance(number, first)
    if beyond <= 0:
        return number
    return first if beyond <= length else (number - length) & MASK


def unacknowledged(acknowledgment: int, first: int, length: int) -> int:
    """How many bytes of the header the target has not acknowledged, 0 .. length."""
    return min(max(length - distance(acknowledgment, first), 0), length)


def narrowed(window: int, missing: int, scale: int) -> int:
    """The window to offer the client while `missing` bytes of the header are still to be taken by the target.

    In the units in which it is sent, rounded down: the client never sends beyond the target's right edge, which
    Linux has dropped since version 6.17 (net/ipv4/tcp_input.c, tcp_sequence).
    """
    return max(window - (-(-missing >> scale)), 0)


def put_sequence(packet: Packet, value: int) -> None:
    """Change the sequence number in place, with the checksum. `packet.sequence` stays as it came."""
    packet.checksum += packet.sequence - value
    put_number(packet.buffer, packet.transport + SEQUENCE, value)


def put_acknowledgment(packet: Packet, value: int) -> None:
    """The same for the acknowledgment number."""
    packet.checksum += packet.acknowledgment - value
    put_number(packet.buffer, packet.transport + ACKNOWLEDGMENT, value)


def put_window(packet: Packet, value: int) -> None:
    """The same for the window."""
    packet.checksum += packet.window - value
    _put_word(packet.buffer, packet.transport + _WINDOW, value)


def put_flags(packet: Packet, value: int) -> None:
    """The same for the nine flags."""
    at = packet.transport + _OFFSET_FLAGS
    packet.checksum += packet.flags - value
    _put_word(packet.buffer, at, packet.buffer[at] << 8 & 0xFE00 | value)
