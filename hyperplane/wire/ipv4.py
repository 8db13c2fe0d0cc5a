"""The IPv4 header as a value (RFC 791 section 3.1, RFC 2474 and RFC 3168 for the second byte).

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-------+-------+---------------+-------------------------------+
    |   4   |  IHL  | Traffic class |         Total length          |
    +-------+-------+---------------+-----+-------------------------+
    |        Identification         |Flags|     Fragment offset     |
    +---------------+---------------+-----+-------------------------+
    | Time to live  |   Protocol    |        Header checksum        |
    +---------------+---------------+-------------------------------+
    |                        Source address                         |
    +---------------------------------------------------------------+
    |                      Destination address                      |
    +---------------------------------------------------------------+
    |                  Options, 0 to 40 bytes, padded               |
    +---------------------------------------------------------------+

For building replies, for tests and for printing; packets on their way are a `Packet`.

Accepted: every header that is complete and whose checksum is right. Options and fragments are
kept as they are: this is a value, and what may pass is the parse stage's decision. Refused:

    TRUNCATED      less than 20 bytes, or less than IHL says, or less than the total length says
                   (the last not for a packet that an ICMP error quotes, which is cut by design)
    BAD_VERSION    the version is not 4
    BAD_LENGTH     IHL below 5, or a total length shorter than the header
    BAD_CHECKSUM   the words of the header do not sum to zero

The checksum is no field: `emit` computes it. Options are bytes and not taken apart.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Self

from hyperplane.errors import Malformation, WireError
from hyperplane.wire.checksum import checksum, ones_sum

HEADER_BYTES_MIN = 20
OPTIONS_BYTES_MAX = 40

DONT_FRAGMENT = 0b010
MORE_FRAGMENTS = 0b001

_LAYOUT = Struct("!BBHHHBBH4s4s")


@dataclass(slots=True, frozen=True)
class Ipv4Header:
    """One header. The defaults are those of an atomic datagram (RFC 6864 section 4)."""

    source: bytes
    """4 bytes."""
    destination: bytes
    """4 bytes."""
    protocol: int
    total_length: int
    """Bytes of the whole packet, header included."""
    ttl: int = 64
    traffic_class: int = 0
    """DSCP in the upper 6 bits, ECN in the lower 2."""
    identification: int = 0
    flags: int = DONT_FRAGMENT
    """3 bits. The highest is reserved; it is kept, not judged."""
    fragment_offset: int = 0
    """In units of 8 bytes, as on the wire."""
    options: bytes = b""
    """A multiple of 4 bytes."""

    def __post_init__(self) -> None:
        assert len(self.source) == len(self.destination) == 4
        assert len(self.options) % 4 == 0 and len(self.options) <= OPTIONS_BYTES_MAX
        assert 0 <= self.flags < 1 << 3 and 0 <= self.fragment_offset < 1 << 13
        assert self.header_bytes <= self.total_length

    @property
    def header_bytes(self) -> int:
        return HEADER_BYTES_MIN + len(self.options)

    @classmethod
    def parse(cls, buffer: bytes | bytearray | memoryview, offset: int = 0, *, quoted: bool = False) -> Self:
        """Read the header at `offset`. `quoted`: it stands in an ICMP error, its payload may be cut off."""
        available = len(buffer) - offset
        if available < HEADER_BYTES_MIN:
            raise WireError(Malformation.TRUNCATED)
        first, traffic_class, total_length, identification, fragment, ttl, protocol, _, source, destination = (
            _LAYOUT.unpack_from(buffer, offset)
        )
        if first >> 4 != 4:
            raise WireError(Malformation.BAD_VERSION)
        header_bytes = (first & 0xF) * 4
        if header_bytes < HEADER_BYTES_MIN or total_length < header_bytes:
            raise WireError(Malformation.BAD_LENGTH)
        if available < header_bytes or (available < total_length and not quoted):
            raise WireError(Malformation.TRUNCATED)
        header = bytes(buffer[offset : offset + header_bytes])
        if ones_sum(header) != 0:
            raise WireError(Malformation.BAD_CHECKSUM)
        return cls(
            source=source,
            destination=destination,
            protocol=protocol,
            total_length=total_length,
            ttl=ttl,
            traffic_class=traffic_class,
            identification=identification,
            flags=fragment >> 13,
            fragment_offset=fragment & 0x1FFF,
            options=header[HEADER_BYTES_MIN:],
        )

    def emit(self) -> bytes:
        """The header's bytes, with the right checksum."""
        before = (
            4 << 4 | self.header_bytes // 4,
            self.traffic_class,
            self.total_length,
            self.identification,
            self.flags << 13 | self.fragment_offset,
            self.ttl,
            self.protocol,
        )
        value = checksum(_LAYOUT.pack(*before, 0, self.source, self.destination) + self.options)
        return _LAYOUT.pack(*before, value, self.source, self.destination) + self.options
