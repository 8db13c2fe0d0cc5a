"""The TCP header as a value, and the rule for a reset (RFC 9293 sections 3.1 and 3.10.7.1).

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-------------------------------+-------------------------------+
    |          Source port          |       Destination port        |
    +-------------------------------+-------------------------------+
    |                        Sequence number                        |
    +---------------------------------------------------------------+
    |                    Acknowledgment number                      |
    +-------+-----+-----------------+-------------------------------+
    | Data  |0 0 0|A C E U A P R S F|                               |
    | offset|     |E W C R C S S Y I|            Window             |
    |       |     |  R E G K H T N N|                               |
    +-------+-----+-----------------+-------------------------------+
    |           Checksum            |        Urgent pointer         |
    +-------------------------------+-------------------------------+
    |         Options, 0 to 40 bytes, padded with END (0)           |
    +---------------------------------------------------------------+

For building replies, for tests and for printing; packets on their way are a `Packet`.
CWR and ECE are RFC 3168's, AE is RFC 9768's (once NS).

Accepted: every complete header, with any combination of flags: which of them a TCP may send
is the parse stage's business. Refused:

    TRUNCATED        less than 20 bytes
    BAD_LENGTH       a data offset below 5 or behind the end of the segment
    BAD_TCP_FLAGS    one of the three reserved bits is set (our choice: nobody has a use for them,
                     and what we cannot read we do not repeat)
    BAD_TCP_OPTIONS  options that cannot be walked, see `tcp_options`
    BAD_CHECKSUM     with `addresses` given: a wrong checksum

The data offset and the checksum are no fields: `emit` computes them. Padding is not kept, so a
header that was padded with more than it needs becomes shorter when it is emitted again.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Self

from hyperplane.errors import Malformation, WireError
from hyperplane.wire.checksum import checksum, ones_sum, pseudo_sum
from hyperplane.wire.packet import ACK, FIN, RST, SYN, TCP
from hyperplane.wire.tcp_options import TcpOption, emit_options, parse_options

HEADER_BYTES_MIN = 20

ECE, CWR, AE = 0x040, 0x080, 0x100

_LAYOUT = Struct("!HHIIHHHH")
_RESERVED_BITS = 0x0E00
_FLAGS = 0x01FF
_SEQUENCE_NUMBERS = 1 << 32


@dataclass(slots=True, frozen=True)
class TcpHeader:
    """One header with its options."""

    source_port: int
    destination_port: int
    sequence: int = 0
    acknowledgment: int = 0
    flags: int = 0
    """9 bits, AE to FIN."""
    window: int = 0
    """As sent, not scaled."""
    urgent_pointer: int = 0
    options: tuple[TcpOption, ...] = ()

    def __post_init__(self) -> None:
        assert 0 <= self.flags <= _FLAGS

    @property
    def header_bytes(self) -> int:
        """Bytes of the header as `emit` writes it."""
        return HEADER_BYTES_MIN + len(emit_options(self.options))

    @classmethod
    def parse(cls, buffer: bytes | bytearray | memoryview, offset: int = 0, *, addresses: bytes | None = None) -> Self:
        """Read the header of the segment that fills `buffer` from `offset` to its end.

        `addresses`: source and destination, 8 or 32 bytes; given, the checksum is verified.
        """
        available = len(buffer) - offset
        if available < HEADER_BYTES_MIN:
            raise WireError(Malformation.TRUNCATED)
        source_port, destination_port, sequence, acknowledgment, offset_flags, window, _, urgent_pointer = (
            _LAYOUT.unpack_from(buffer, offset)
        )
        header_bytes = (offset_flags >> 12) * 4
        if not HEADER_BYTES_MIN <= header_bytes <= available:
            raise WireError(Malformation.BAD_LENGTH)
        if offset_flags & _RESERVED_BITS:
            raise WireError(Malformation.BAD_TCP_FLAGS)
        if addresses is not None and checksum(buffer[offset:], pseudo_sum(addresses, TCP, available)) != 0:
            raise WireError(Malformation.BAD_CHECKSUM)
        return cls(
            source_port=source_port,
            destination_port=destination_port,
            sequence=sequence,
            acknowledgment=acknowledgment,
            flags=offset_flags & _FLAGS,
            window=window,
            urgent_pointer=urgent_pointer,
            options=parse_options(bytes(buffer[offset + HEADER_BYTES_MIN : offset + header_bytes])),
        )

    def emit(self, addresses: bytes, payload: bytes = b"") -> bytes:
        """The whole segment. `addresses`: source and destination, 8 or 32 bytes, for the checksum."""
        area = emit_options(self.options)
        header_bytes = HEADER_BYTES_MIN + len(area)
        before = (
            self.source_port,
            self.destination_port,
            self.sequence,
            self.acknowledgment,
            header_bytes // 4 << 12 | self.flags,
            self.window,
        )
        initial = pseudo_sum(addresses, TCP, header_bytes + len(payload)) + ones_sum(payload)
        value = checksum(_LAYOUT.pack(*before, 0, self.urgent_pointer) + area, initial)
        return _LAYOUT.pack(*before, value, self.urgent_pointer) + area + payload


def reset_for(
    *,
    source_port: int,
    destination_port: int,
    sequence: int,
    acknowledgment: int,
    flags: int,
    payload_bytes: int,
) -> TcpHeader | None:
    """The reset that answers a segment of a connection that does not exist; None for a reset, which is never answered.

    The arguments are the segment's own fields; the answer travels the other way. It follows from
    the segment alone, so it is right for a flow that is long forgotten (RFC 9293 section 3.10.7.1):
    a segment with ACK gets `<SEQ=SEG.ACK><CTL=RST>`, any other
    `<SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>`, where SYN and FIN count one each in SEG.LEN.
    """
    if flags & RST:
        return None
    if flags & ACK:
        return TcpHeader(destination_port, source_port, sequence=acknowledgment, flags=RST)
    length = payload_bytes + bool(flags & SYN) + bool(flags & FIN)
    return TcpHeader(
        destination_port, source_port, acknowledgment=(sequence + length) % _SEQUENCE_NUMBERS, flags=RST | ACK
    )
