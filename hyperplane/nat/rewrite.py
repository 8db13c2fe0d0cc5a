"""Change a packet's addresses and ports in place, with the sums that cover them (RFC 3022, RFC 1624).

A flow's translation never changes, so what it does to the sums is one number each way: the
difference between the words that go in and the words that come out. It is computed once when
the flow is made; per packet there are two subtractions. The reply direction is the exact
inverse, so its differences are the negatives.
"""

from struct import Struct

from hyperplane.wire.checksum import MODULUS, ones_sum, pseudo_sum
from hyperplane.wire.packet import TCP, ChecksumState, Packet

_WORD = Struct("!H")
_put_word = _WORD.pack_into

_put_checksum_and_tuple = Struct("!H12s").pack_into
"""The IPv4 header's checksum stands right in front of the addresses."""

_SEGMENTED = ChecksumState.SEGMENTED
_TCP_CHECKSUM = 16
_UDP_CHECKSUM = 6
_UDP_LENGTH = 4
_TOTAL_LENGTH, _PAYLOAD_LENGTH = 2, 4
_IPV6_HEADER_BYTES = 40


def address_delta(old: bytes, new: bytes) -> int:
    """By how much the sum over both addresses grows when tuple `old` becomes `new` (12 or 36 bytes each)."""
    return (int.from_bytes(new[:-4], "big") - int.from_bytes(old[:-4], "big")) % MODULUS


def transport_delta(old: bytes, new: bytes) -> int:
    """The same over addresses and ports: what a TCP or UDP checksum covers."""
    return (int.from_bytes(new, "big") - int.from_bytes(old, "big")) % MODULUS


def resize(packet: Packet, by: int) -> None:
    """The packet has become longer by `by` bytes at its end (negative: shorter): say so in the IP header.

    The transport's own length and checksum are the caller's.
    """
    packet.length += by
    if packet.version == 4:
        _put_word(packet.buffer, packet.start + _TOTAL_LENGTH, packet.length)
        packet.header_checksum = (packet.header_checksum - by) % MODULUS
    else:
        _put_word(packet.buffer, packet.start + _PAYLOAD_LENGTH, packet.length - _IPV6_HEADER_BYTES)


def sum_anew(packet: Packet) -> None:
    """Sum a TCP segment, whose data has become another, as it now stands in the buffer."""
    segment = packet.buffer[packet.transport : packet.end]
    segment[_TCP_CHECKSUM : _TCP_CHECKSUM + 2] = bytes(2)
    total = ones_sum(segment) + pseudo_sum(packet.tuple_bytes[:-4], TCP, len(segment))
    packet.checksum = -total % MODULUS


def replace_payload(packet: Packet, data: bytes) -> None:
    """Give a TCP segment other data. The buffer has room for it behind the packet."""
    packet.buffer[packet.payload : packet.payload + len(data)] = data
    resize(packet, packet.payload + len(data) - packet.end)
    sum_anew(packet)


def insert_payload(packet: Packet, data: bytes) -> None:
    """Put `data`, an even number of bytes, before a segment's or datagram's own. The buffer has room for it."""
    buffer, payload, end, size = packet.buffer, packet.payload, packet.end, len(data)
    assert size % 2 == 0, "what follows must stay at the same parity for the sum"
    buffer[payload + size : end + size] = buffer[payload:end]
    buffer[payload : payload + size] = data
    resize(packet, size)
    lengths = 1  # in the pseudo-header
    if packet.protocol != TCP:
        lengths = 2  # and in the header
        _put_word(buffer, packet.transport + _UDP_LENGTH, packet.end - packet.transport)
    if packet.protocol == TCP or packet.checksum >= 0:
        packet.checksum = (packet.checksum - ones_sum(data) - lengths * size) % MODULUS


def rewrite(packet: Packet, new_tuple: bytes, addresses: int, transport: int, identification: int) -> None:
    """Give `packet` the tuple `new_tuple` and adjust its checksums by the two deltas.

    `identification` replaces the IPv4 identification where the packet may still be fragmented
    (RFC 6864: many clients fall onto one source address); packets with DF keep theirs.
    """
    buffer = packet.buffer
    start = packet.start
    if packet.version == 4:
        header = packet.header_checksum - addresses
        if not packet.dont_fragment:
            header += packet.identification - identification
            _put_word(buffer, start + 4, identification)
        _put_checksum_and_tuple(buffer, start + 10, header % MODULUS, new_tuple)
    else:
        buffer[start + 8 : start + 44] = new_tuple
    if packet.state is _SEGMENTED:
        if packet.protocol != TCP:
            _move_pseudo_sum(packet, addresses)
        return
    if packet.protocol == TCP:
        _put_word(buffer, packet.transport + _TCP_CHECKSUM, (packet.checksum - transport) % MODULUS)
    elif packet.checksum >= 0:
        _put_word(buffer, packet.transport + _UDP_CHECKSUM, (packet.checksum - transport) % MODULUS or MODULUS)


def _move_pseudo_sum(packet: Packet, addresses: int) -> None:
    """A UDP super-packet holds the sum of its pseudo-header, from which the kernel finishes each datagram's checksum
    (linux: net/ipv4/udp_offload.c). For TCP the kernel makes that sum anew."""
    field = packet.transport + _UDP_CHECKSUM
    _put_word(packet.buffer, field, (_WORD.unpack_from(packet.buffer, field)[0] + addresses) % MODULUS)
