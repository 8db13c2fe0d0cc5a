"""The IPv6 header as a value (RFC 8200 section 3).

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-------+---------------+---------------------------------------+
    |   6   | Traffic class |              Flow label               |
    +-------+---------------+-------+---------------+---------------+
    |        Payload length         |  Next header  |   Hop limit   |
    +-------------------------------+---------------+---------------+
    |                  Source address, 16 bytes                     |
    +---------------------------------------------------------------+
    |                Destination address, 16 bytes                  |
    +---------------------------------------------------------------+

For building replies, for tests and for printing; packets on their way are a `Packet`.

Accepted: every complete fixed header. Refused:

    TRUNCATED      less than 40 bytes, or less than the payload length says (the last not for
                   a packet that an ICMP error quotes, which is cut by design)
    BAD_VERSION    the version is not 6

Extension headers are not walked: `next_header` names the first one, and the packet plane
forwards none of them. Jumbograms (RFC 2675) are an extension header too, so a payload length
of 0 means an empty payload here. IPv6 has no header checksum.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Self

from hyperplane.errors import Malformation, WireError

HEADER_BYTES = 40

_LAYOUT = Struct("!IHBB16s16s")


@dataclass(slots=True, frozen=True)
class Ipv6Header:
    """One fixed header."""

    source: bytes
    """16 bytes."""
    destination: bytes
    """16 bytes."""
    next_header: int
    payload_length: int
    """Bytes behind this header, extension headers included."""
    hop_limit: int = 64
    traffic_class: int = 0
    """DSCP in the upper 6 bits, ECN in the lower 2."""
    flow_label: int = 0
    """20 bits (RFC 6437)."""

    def __post_init__(self) -> None:
        assert len(self.source) == len(self.destination) == 16
        assert 0 <= self.traffic_class < 1 << 8 and 0 <= self.flow_label < 1 << 20

    @classmethod
    def parse(cls, buffer: bytes | bytearray | memoryview, offset: int = 0, *, quoted: bool = False) -> Self:
        """Read the header at `offset`. `quoted`: it stands in an ICMP error, its payload may be cut off."""
        available = len(buffer) - offset
        if available < HEADER_BYTES:
            raise WireError(Malformation.TRUNCATED)
        first, payload_length, next_header, hop_limit, source, destination = _LAYOUT.unpack_from(buffer, offset)
        if first >> 28 != 6:
            raise WireError(Malformation.BAD_VERSION)
        if available < HEADER_BYTES + payload_length and not quoted:
            raise WireError(Malformation.TRUNCATED)
        return cls(
            source=source,
            destination=destination,
            next_header=next_header,
            payload_length=payload_length,
            hop_limit=hop_limit,
            traffic_class=first >> 20 & 0xFF,
            flow_label=first & 0xFFFFF,
        )

    def emit(self) -> bytes:
        """The header's 40 bytes."""
        first = 6 << 28 | self.traffic_class << 20 | self.flow_label
        return _LAYOUT.pack(first, self.payload_length, self.next_header, self.hop_limit, self.source, self.destination)
