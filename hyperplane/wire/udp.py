"""The UDP header as a value (RFC 768; RFC 8200 section 8.1 for IPv6).

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-------------------------------+-------------------------------+
    |          Source port          |       Destination port        |
    +-------------------------------+-------------------------------+
    |            Length             |           Checksum            |
    +-------------------------------+-------------------------------+

For building datagrams, for tests and for printing; packets on their way are a `Packet`.

The checksum has one special value: 0 means that the sender computed none. So a computed 0 is
sent as 0xFFFF, and `checksummed` remembers which of the two it was. IPv6 allows no datagram
without a checksum; the tunnels that RFC 6935 excepts never come here.

Accepted: a length that is exactly what stands in the buffer. Refused:

    TRUNCATED      less than 8 bytes
    BAD_LENGTH     any other length. Shorter ones would leave a surplus area (RFC 9868), which
                   the packet plane does not forward
    BAD_CHECKSUM   with `addresses` given: a wrong checksum, or none over IPv6
"""

from dataclasses import dataclass
from struct import Struct
from typing import Self

from hyperplane.errors import Malformation, WireError
from hyperplane.wire.checksum import checksum, pseudo_sum, udp_checksum
from hyperplane.wire.packet import UDP

HEADER_BYTES = 8

_LAYOUT = Struct("!HHHH")
_IPV4_ADDRESSES_BYTES = 8


@dataclass(slots=True, frozen=True)
class UdpHeader:
    """One header. `length` belongs to the payload: 8 more than its bytes."""

    source_port: int
    destination_port: int
    length: int = HEADER_BYTES
    checksummed: bool = True
    """False where the checksum field is 0: IPv4 only."""

    @classmethod
    def parse(cls, buffer: bytes | bytearray | memoryview, offset: int = 0, *, addresses: bytes | None = None) -> Self:
        """Read the header of the datagram that fills `buffer` from `offset` to its end.

        `addresses`: source and destination, 8 or 32 bytes; given, the checksum is verified.
        """
        available = len(buffer) - offset
        if available < HEADER_BYTES:
            raise WireError(Malformation.TRUNCATED)
        source_port, destination_port, length, field = _LAYOUT.unpack_from(buffer, offset)
        if length != available:
            raise WireError(Malformation.BAD_LENGTH)
        if addresses is not None and (field or len(addresses) != _IPV4_ADDRESSES_BYTES):
            is_right = field != 0 and checksum(buffer[offset:], pseudo_sum(addresses, UDP, length)) == 0
            if not is_right:
                raise WireError(Malformation.BAD_CHECKSUM)
        return cls(source_port, destination_port, length, checksummed=field != 0)

    def emit(self, addresses: bytes, payload: bytes = b"") -> bytes:
        """The whole datagram. `addresses`: source and destination, 8 or 32 bytes, for the checksum."""
        assert self.length == HEADER_BYTES + len(payload)
        ports_and_length = (self.source_port, self.destination_port, self.length)
        value = 0
        if self.checksummed:
            initial = pseudo_sum(addresses, UDP, self.length)
            value = udp_checksum(checksum(_LAYOUT.pack(*ports_and_length, 0) + payload, initial))
        else:
            assert len(addresses) == _IPV4_ADDRESSES_BYTES, "over IPv6 the checksum is not optional"
        return _LAYOUT.pack(*ports_and_length, value) + payload
