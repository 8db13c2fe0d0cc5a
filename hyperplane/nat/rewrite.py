"""Change a packet's addresses and ports in place, with the sums that cover them (RFC 3022, RFC 1624).

A flow's translation never changes, so what it does to the sums is one number each way: the
difference between the words that go in and the words that come out. It is computed once when
the flow is made; per packet there are two subtractions. The reply direction is the exact
inverse, so its differences are the negatives.
"""

from struct import Struct

from hyperplane.wire.checksum import MODULUS, ones_sum
from hyperplane.wire.packet import TCP, ChecksumState, Packet

_WORD = Struct("!H")
_put_word = _WORD.pack_into

_put_checksum_and_tuple = Struct("!H12s").pack_into
"""The IPv4 header's checksum stands right in front of the addresses."""

_SEGMENTED = ChecksumState.SEGMENTED
_TCP_CHECKSUM = 16
_UDP_CHECKSUM = 6


def address_delta(old: bytes, new: bytes) -> int:
    """By how much the sum over both addresses grows when tuple `old` becomes `new` (12 or 36 bytes each)."""
    return (ones_sum(new[:-4]) - ones_sum(old[:-4])) % MODULUS


def transport_delta(old: bytes, new: bytes) -> int:
    """The same over addresses and ports: what a TCP or UDP checksum covers."""
    return (ones_sum(new) - ones_sum(old)) % MODULUS


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
