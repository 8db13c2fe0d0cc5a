"""ICMP errors as values, for both families (RFC 792, RFC 1191, RFC 4884; RFC 4443).

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------+---------------+-------------------------------+
    |     Type      |     Code      |           Checksum            |
    +---------------+---------------+-------------------------------+
    |                   Rest, by type and code:                     |
    |  IPv4 3/4     |  unused 8, length 8, next-hop MTU 16          |
    |  IPv4 12      |  pointer 8, length 8, unused 16               |
    |  IPv4 3, 11   |  unused 8, length 8, unused 16                |
    |  IPv6 2       |  MTU 32                                       |
    |  IPv6 4       |  pointer 32                                   |
    |  IPv6 1, 3    |  length 8, unused 24                          |
    +---------------------------------------------------------------+
    |  Quote: the packet in error, cut, and extensions if "length"  |
    +---------------------------------------------------------------+

Only errors have a place here: IPv4 types 3 (unreachable), 11 (time exceeded), 12 (parameter
problem), IPv6 types 1 (unreachable), 2 (too big), 3 (time exceeded), 4 (parameter problem).
A code is never judged: new ones are added, and RFC 5508 REQ-5 wants them kept. Refused:

    TRUNCATED              less than 8 bytes
    UNSUPPORTED_PROTOCOL   any other type: echo, redirect, source quench, neighbour discovery ...
    BAD_CHECKSUM           a wrong checksum (RFC 5508 REQ-3)

And of the quote, see `QuotedPacket.parse`:

    BAD_ICMP               another IP version than the error's, or less than header and 8 bytes
    FRAGMENT               a fragment but the first: it has no ports
    UNSUPPORTED_PROTOCOL   neither TCP nor UDP inside, IPv6 extension headers among them
    BAD_LENGTH, BAD_CHECKSUM, TRUNCATED   as for an IP header (RFC 5508 REQ-3a)

The transport checksum of a quote is never verified: it is cut (RFC 5508 REQ-3c).
"""

from dataclasses import dataclass
from struct import Struct
from typing import Self

from hyperplane.errors import Malformation, WireError
from hyperplane.wire.checksum import checksum, pseudo_sum
from hyperplane.wire.ipv4 import Ipv4Header
from hyperplane.wire.ipv6 import Ipv6Header
from hyperplane.wire.packet import ICMPV6, TCP, UDP

HEADER_BYTES = 8

UNREACHABLE = 3
TIME_EXCEEDED = 11
PARAMETER_PROBLEM = 12
PORT_UNREACHABLE_CODE = 3
FRAGMENTATION_NEEDED_CODE = 4
"""Of type 3."""

UNREACHABLE_6 = 1
PORT_UNREACHABLE_CODE_6 = 4
"""Of type 1."""
PACKET_TOO_BIG_6 = 2
TIME_EXCEEDED_6 = 3
PARAMETER_PROBLEM_6 = 4

QUOTE_BYTES_MAX = 576 - 20 - HEADER_BYTES
"""RFC 1812 section 4.3.2.3: as much as fits, the whole error not above 576 bytes."""

QUOTE_BYTES_MAX_6 = 1280 - 40 - HEADER_BYTES
"""RFC 4443 section 2.4 (c): as much as fits into the minimum IPv6 MTU."""

_TYPES = {
    4: frozenset({UNREACHABLE, TIME_EXCEEDED, PARAMETER_PROBLEM}),
    6: frozenset({UNREACHABLE_6, PACKET_TOO_BIG_6, TIME_EXCEEDED_6, PARAMETER_PROBLEM_6}),
}
_EXTENSIBLE_6 = frozenset({UNREACHABLE_6, TIME_EXCEEDED_6})
_EXTENSIBLE_BYTES_MIN = 128
"""RFC 4884 section 5: a quote that extensions follow is padded to at least this."""

_LAYOUT = Struct("!BBHI")
_TRANSPORT_BYTES_MIN = 8
"""RFC 792: the header and the first 64 bits."""

_SEQUENCE = Struct("!4xI")


@dataclass(slots=True, frozen=True)
class QuotedPacket:
    """What an ICMP error tells of the packet in error. Offsets are absolute in the quote."""

    version: int
    protocol: int
    """TCP or UDP."""
    transport: int
    """Offset of the transport header, of which at least 8 bytes are there."""
    tuple_bytes: bytes
    """Source, destination, source port, destination port, as quoted: 12 or 36 bytes, like `Packet.tuple_bytes`."""
    sequence: int | None
    """TCP sequence number; None for UDP."""

    @classmethod
    def parse(cls, quote: bytes, version: int) -> Self:
        """Read a quote as far as it goes. IPv4 options are accepted here (RFC 5508 REQ-4)."""
        if not quote or quote[0] >> 4 != version:
            raise WireError(Malformation.BAD_ICMP)
        if version == 4:
            header = Ipv4Header.parse(quote, quoted=True)
            if header.fragment_offset:
                raise WireError(Malformation.FRAGMENT)
            protocol, transport, addresses = header.protocol, header.header_bytes, header.source + header.destination
        else:
            header_6 = Ipv6Header.parse(quote, quoted=True)
            protocol, transport, addresses = header_6.next_header, 40, header_6.source + header_6.destination
        if protocol not in (TCP, UDP):
            raise WireError(Malformation.UNSUPPORTED_PROTOCOL)
        if len(quote) < transport + _TRANSPORT_BYTES_MIN:
            raise WireError(Malformation.BAD_ICMP)
        sequence = _SEQUENCE.unpack_from(quote, transport)[0] if protocol == TCP else None
        return cls(version, protocol, transport, addresses + quote[transport : transport + 4], sequence)


@dataclass(slots=True, frozen=True)
class IcmpError:
    """One ICMP or ICMPv6 error message, without its IP header."""

    version: int
    """4 or 6: the family that carries it, and whose types these are."""
    icmp_type: int
    code: int
    rest: int
    """The second word, 32 bits, see above."""
    quote: bytes
    """Everything behind the second word."""

    def __post_init__(self) -> None:
        assert self.icmp_type in _TYPES[self.version]

    @classmethod
    def parse(cls, buffer: bytes | bytearray | memoryview, offset: int = 0, *, addresses: bytes) -> Self:
        """Read the message that fills `buffer` from `offset` to its end.

        `addresses`: source and destination of the carrying packet, 8 or 32 bytes. Their length tells
        the family, and ICMPv6 sums them.
        """
        available = len(buffer) - offset
        if available < HEADER_BYTES:
            raise WireError(Malformation.TRUNCATED)
        version = 4 if len(addresses) == 8 else 6
        icmp_type, code, _, rest = _LAYOUT.unpack_from(buffer, offset)
        if icmp_type not in _TYPES[version]:
            raise WireError(Malformation.UNSUPPORTED_PROTOCOL)
        if checksum(buffer[offset:], _initial_sum(addresses, available)) != 0:
            raise WireError(Malformation.BAD_CHECKSUM)
        return cls(version, icmp_type, code, rest, bytes(buffer[offset + HEADER_BYTES :]))

    def emit(self, addresses: bytes) -> bytes:
        """The whole message. `addresses` as for `parse`."""
        assert len(addresses) == (8 if self.version == 4 else 32)
        initial = _initial_sum(addresses, HEADER_BYTES + len(self.quote))
        value = checksum(_LAYOUT.pack(self.icmp_type, self.code, 0, self.rest) + self.quote, initial)
        return _LAYOUT.pack(self.icmp_type, self.code, value, self.rest) + self.quote

    @property
    def next_hop_mtu(self) -> int | None:
        """The MTU that a "too big" reports, in bytes; None for other errors.

        0 comes from routers older than RFC 1191. Nothing is trusted here: the caller sets its floor.
        """
        if self.version == 6:
            return self.rest if self.icmp_type == PACKET_TOO_BIG_6 else None
        is_too_big = self.icmp_type == UNREACHABLE and self.code == FRAGMENTATION_NEEDED_CODE
        return self.rest & 0xFFFF if is_too_big else None

    @property
    def packet_in_error(self) -> bytes:
        """The quote without the extensions that may follow it (RFC 4884 section 5)."""
        if self.version == 4:
            length = (self.rest >> 16 & 0xFF) * 4
        elif self.icmp_type in _EXTENSIBLE_6:
            length = (self.rest >> 24) * 8
        else:
            length = 0
        return self.quote[:length] if length >= _EXTENSIBLE_BYTES_MIN else self.quote

    def quoted_packet(self) -> QuotedPacket:
        """What the quote says. Raises `WireError` as listed above."""
        return QuotedPacket.parse(self.packet_in_error, self.version)


def packet_too_big(packet: bytes, mtu: int) -> IcmpError:
    """The error for a whole IP packet that is larger than `mtu` bytes and may not be cut.

    IPv4: type 3 code 4 with the next-hop MTU (RFC 1191 section 4). IPv6: type 2 (RFC 4443 section 3.2).
    """
    if packet[0] >> 4 == 4:
        assert mtu < 1 << 16, "the field has 16 bits"
        return IcmpError(4, UNREACHABLE, FRAGMENTATION_NEEDED_CODE, mtu, packet[:QUOTE_BYTES_MAX])
    return IcmpError(6, PACKET_TOO_BIG_6, 0, mtu, packet[:QUOTE_BYTES_MAX_6])


def port_unreachable(packet: bytes) -> IcmpError:
    """The error for a whole IP packet whose receiver has nothing to hand it to.

    IPv4: type 3 code 3 (RFC 1122 section 3.2.2.1). IPv6: type 1 code 4 (RFC 4443 section 3.1).
    """
    if packet[0] >> 4 == 4:
        return IcmpError(4, UNREACHABLE, PORT_UNREACHABLE_CODE, 0, packet[:QUOTE_BYTES_MAX])
    return IcmpError(6, UNREACHABLE_6, PORT_UNREACHABLE_CODE_6, 0, packet[:QUOTE_BYTES_MAX_6])


def time_exceeded(packet: bytes) -> IcmpError:
    """The error for a whole IP packet whose time to live, or hop limit, ran out in transit.

    IPv4: type 11 code 0 (RFC 792). IPv6: type 3 code 0 (RFC 4443 section 3.3).
    """
    if packet[0] >> 4 == 4:
        return IcmpError(4, TIME_EXCEEDED, 0, 0, packet[:QUOTE_BYTES_MAX])
    return IcmpError(6, TIME_EXCEEDED_6, 0, 0, packet[:QUOTE_BYTES_MAX_6])


def _initial_sum(addresses: bytes, length: int) -> int:
    """ICMPv6 sums a pseudo-header (RFC 4443 section 2.3), ICMP does not (RFC 792)."""
    return 0 if len(addresses) == 8 else pseudo_sum(addresses, ICMPV6, length)
