"""A TCP segment of our own as a whole IP packet, from plain numbers. For what is sent in a client's name.

Quicker than emitting `TcpHeader` and `Ipv4Header` values, because one of these is made for nearly every connection
whose target gets a Proxy Protocol header. An atomic datagram (RFC 6864 section 4): DF set, identification 0.
"""

from struct import Struct

from hyperplane.wire.checksum import checksum, pseudo_sum
from hyperplane.wire.packet import TCP

_IPV4 = Struct("!BBHHHBBH8s")
_IPV6 = Struct("!IHBB32s")
_TCP = Struct("!4sIIHHHH")
_WORD = Struct("!H")
_DONT_FRAGMENT = 0x4000
_CHECKSUM_AT = 16


def tcp_packet(
    tuple_bytes: bytes,
    sequence: int,
    acknowledgment: int,
    flags: int,
    window: int,
    options: bytes,
    payload: bytes,
    ttl: int,
    traffic_class: int = 0,
) -> bytes:
    """The packet. `tuple_bytes`: addresses and ports, 12 or 36 bytes. `options`: whole words, at most 40 bytes."""
    header_words = 5 + len(options) // 4
    segment = bytearray(
        _TCP.pack(tuple_bytes[-4:], sequence, acknowledgment, header_words << 12 | flags, window, 0, 0)
        + options
        + payload
    )
    addresses = tuple_bytes[:-4]
    _WORD.pack_into(segment, _CHECKSUM_AT, checksum(segment, pseudo_sum(addresses, TCP, len(segment))))
    if len(addresses) != 8:
        return _IPV6.pack(0x6 << 28 | traffic_class << 20, len(segment), TCP, ttl, addresses) + segment
    header = bytearray(_IPV4.pack(0x45, traffic_class, 20 + len(segment), 0, _DONT_FRAGMENT, ttl, TCP, 0, addresses))
    _WORD.pack_into(header, 10, checksum(header))
    return bytes(header + segment)
