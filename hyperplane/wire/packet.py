"""One IP packet in a buffer: parsed once, changed in place.

A `Packet` is a view that a node uses again for every packet; nothing is allocated per packet
but the tuple's bytes. `load` reads everything the stages need in one go and refuses what the
packet plane never forwards (RFC 791, RFC 8200, RFC 9293, RFC 768, RFC 792):

    0        8        12                 24 20+          40
    +--------+--------+---------+--------+----------------+------
    | IPv4 ..| ttl .. | source  | dest.  | source | dest. | TCP ..
    +--------+--------+---------+--------+----------------+------
                      |<------- tuple, 12 bytes --------->|

IPv4 options are refused, so the addresses and the ports stand side by side and the "tuple" is
one slice: 12 bytes for IPv4, 36 for IPv6 (extension headers are refused too). ICMP has no ports:
its tuple ends in zeros, and what an error is about is found in its quote (`wire/icmp.py`).

Checksums. The kernel hands over three kinds of packets, and `ChecksumState` says which:
a finished one is verified here, one that a local sender left unfinished is finished here
(only the pseudo-header was summed), and one that the kernel will cut into segments later is
finished by the kernel then. `checksum` holds the right value for the header as it came; the
rewrite adjusts it. So a packet that came in corrupt is refused and can never leave with a good
checksum.
"""

from enum import IntEnum
from struct import Struct

from hyperplane.errors import Malformation, WireError
from hyperplane.wire.checksum import MODULUS

ICMP = 1
TCP = 6
UDP = 17
ICMPV6 = 58

FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20

_IPV4 = Struct("!BBHHHBBH12s")
_IPV4_TCP = Struct("!BBHHHBBH12sIIHHHH")
_IPV4_UDP = Struct("!BBHHHBBH12sHH")
_IPV6 = Struct("!IHBB36s")
_TCP_REST = Struct("!IIHHHH")
_UDP_REST = Struct("!HH")
_ADDRESSES_AND_PORTS = Struct("!4s4s2s2s")
_ADDRESSES_AND_PORTS_6 = Struct("!16s16s2s2s")

_RESERVED_BITS = 0x0E00
_NO_PORTS = bytes(4)


class ChecksumState(IntEnum):
    """What the kernel says about the transport checksum (NFQA_SKB_INFO, linux/netfilter/nfnetlink_queue.h)."""

    FINISHED = 0
    """The field holds a full checksum, good or bad: verify it."""
    UNFINISHED = 1
    """A local sender summed only the pseudo-header: finish it."""
    SEGMENTED = 2
    """The kernel will cut this packet into segments and finish each."""


_UNFINISHED, _SEGMENTED = ChecksumState.UNFINISHED, ChecksumState.SEGMENTED  # looked up once, not per packet


def _valid_flags() -> bytes:
    """1 for each combination of URG ACK PSH RST SYN FIN that a TCP may send (RFC 9293 section 3.10)."""
    valid = bytearray(64)
    for flags in (SYN, SYN | URG, SYN | ACK, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG):
        valid[flags] = valid[flags | PSH] = 1
    return bytes(valid)


_VALID_FLAGS = _valid_flags()


def flipped(tuple_bytes: bytes) -> bytes:
    """The tuple of the opposite direction: source and destination change places."""
    layout = _ADDRESSES_AND_PORTS if len(tuple_bytes) == 12 else _ADDRESSES_AND_PORTS_6
    source, destination, source_port, destination_port = layout.unpack(tuple_bytes)
    return layout.pack(destination, source, destination_port, source_port)


class Packet:
    """A parsed view of one IP packet. All offsets are absolute in `buffer`."""

    __slots__ = (
        "acknowledgment",
        "buffer",
        "checksum",
        "dont_fragment",
        "flags",
        "header_checksum",
        "identification",
        "length",
        "payload",
        "protocol",
        "sequence",
        "start",
        "state",
        "transport",
        "ttl",
        "tuple_bytes",
        "version",
        "window",
    )

    buffer: bytearray
    start: int
    """Offset of the IP header."""
    length: int
    """Bytes of the whole IP packet."""
    version: int
    protocol: int
    transport: int
    """Offset of the transport header."""
    payload: int
    """Offset of the first byte after the transport header."""
    tuple_bytes: bytes
    """Source, destination, source port, destination port, as on the wire: 12 or 36 bytes."""
    ttl: int
    """Time to live, or hop limit."""
    identification: int
    dont_fragment: bool
    header_checksum: int
    """IPv4 header checksum as it came; 0 for IPv6, which has none."""
    state: ChecksumState
    checksum: int
    """Right transport checksum for the header as it came; -1 where UDP has none; 0 where `state` is SEGMENTED. Who
    changes a TCP segment adds to it and reduces nothing: what is congruent is as good until it is stored."""
    flags: int
    """TCP flags, 0 for others."""
    sequence: int
    acknowledgment: int
    window: int

    def load(self, buffer: bytearray, start: int, length: int, state: ChecksumState) -> None:
        """Parse the packet of `length` bytes at `start`. Raises `WireError`; no field is to be trusted then."""
        self.buffer = buffer
        self.start = start
        self.length = length
        self.state = state
        if length < 20:
            raise WireError(Malformation.TRUNCATED)
        first = buffer[start]
        if first >> 4 == 4:
            self._load_ipv4(first, buffer[start + 9])
        elif first >> 4 == 6:
            self._load_ipv6()
        else:
            raise WireError(Malformation.BAD_VERSION)

    def _load_ipv4(self, first: int, protocol: int) -> None:
        if first != 0x45:
            raise WireError(Malformation.BAD_LENGTH if first < 0x45 else Malformation.IP_OPTIONS)
        buffer, start, length = self.buffer, self.start, self.length
        self.version = 4
        self.protocol = protocol
        self.transport = start + 20
        if protocol == TCP:
            if length < 40:
                raise WireError(Malformation.TRUNCATED)
            (
                _,
                _,
                total_length,
                self.identification,
                fragment,
                self.ttl,
                _,
                self.header_checksum,
                self.tuple_bytes,
                self.sequence,
                self.acknowledgment,
                offset_flags,
                self.window,
                field,
                _,
            ) = _IPV4_TCP.unpack_from(buffer, start)
            if total_length != length or fragment & 0xBFFF:
                self._check_ipv4(total_length, fragment)
            self.dont_fragment = fragment != 0
            self._check_tcp(offset_flags, field)
        elif protocol == UDP:
            if length < 28:
                raise WireError(Malformation.TRUNCATED)
            (
                _,
                _,
                total_length,
                self.identification,
                fragment,
                self.ttl,
                _,
                self.header_checksum,
                self.tuple_bytes,
                udp_length,
                field,
            ) = _IPV4_UDP.unpack_from(buffer, start)
            self._check_ipv4(total_length, fragment)
            self._check_udp(udp_length, field)
        elif protocol == ICMP:
            if length < 28:
                raise WireError(Malformation.TRUNCATED)
            _, _, total_length, self.identification, fragment, self.ttl, _, self.header_checksum, addresses = (
                _IPV4.unpack_from(buffer, start)
            )
            self.tuple_bytes = addresses[:8] + _NO_PORTS
            self._check_ipv4(total_length, fragment)
            self._check_icmp()
        else:
            raise WireError(Malformation.UNSUPPORTED_PROTOCOL)

    def _check_ipv4(self, total_length: int, fragment: int) -> None:
        if total_length != self.length:
            raise WireError(Malformation.BAD_LENGTH)
        if fragment & 0xBFFF:
            # A piece has no ports and no sum: `reassembly.py` makes it whole first.
            raise WireError(Malformation.FRAGMENT)
        self.dont_fragment = fragment != 0

    def _load_ipv6(self) -> None:
        buffer, start = self.buffer, self.start
        if self.length < 48:
            raise WireError(Malformation.TRUNCATED)
        _, payload_length, self.protocol, self.ttl, self.tuple_bytes = _IPV6.unpack_from(buffer, start)
        if payload_length + 40 != self.length:
            raise WireError(Malformation.BAD_LENGTH)
        self.version = 6
        self.transport = start + 40
        self.identification = 0
        self.dont_fragment = True
        self.header_checksum = 0
        if self.protocol == TCP:
            if self.length < 60:
                raise WireError(Malformation.TRUNCATED)
            self.sequence, self.acknowledgment, offset_flags, self.window, field, _ = _TCP_REST.unpack_from(
                buffer, start + 44
            )
            self._check_tcp(offset_flags, field)
        elif self.protocol == UDP:
            udp_length, field = _UDP_REST.unpack_from(buffer, start + 44)
            if field == 0 and self.state is ChecksumState.FINISHED:
                raise WireError(Malformation.BAD_CHECKSUM)  # RFC 8200 section 8.1: not optional
            self._check_udp(udp_length, field)
        else:
            raise WireError(Malformation.UNSUPPORTED_PROTOCOL)

    def _check_tcp(self, offset_flags: int, field: int) -> None:
        header_bytes = offset_flags >> 12 << 2
        transport = self.transport
        if header_bytes < 20 or transport + header_bytes > self.start + self.length:
            raise WireError(Malformation.BAD_LENGTH)
        if offset_flags & _RESERVED_BITS or not _VALID_FLAGS[offset_flags & 0x3F]:
            raise WireError(Malformation.BAD_TCP_FLAGS)
        self.flags = offset_flags & 0x1FF
        self.payload = transport + header_bytes
        if self.state is _SEGMENTED:
            self.checksum = 0
        else:
            self._settle_checksum(field)

    def _check_udp(self, udp_length: int, field: int) -> None:
        if udp_length != self.start + self.length - self.transport:
            raise WireError(Malformation.BAD_LENGTH)
        self.flags = self.sequence = self.acknowledgment = self.window = 0
        self.payload = self.transport + 8
        if field == 0 and self.state is ChecksumState.FINISHED:
            self.checksum = -1
        else:
            self._settle_checksum(field)

    def _check_icmp(self) -> None:
        self.flags = self.sequence = self.acknowledgment = self.window = 0
        self.payload = self.transport + 8
        self.checksum = 0
        if int.from_bytes(self._transport_bytes(), "big") % MODULUS:
            raise WireError(Malformation.BAD_CHECKSUM)

    def _transport_bytes(self) -> bytes | bytearray:
        """The transport header and payload, padded to whole words."""
        end = self.start + self.length
        data = self.buffer[self.transport : end]
        return data if (end - self.transport) % 2 == 0 else data + b"\0"

    def _settle_checksum(self, field: int) -> None:
        """Verify or finish the checksum, as `state` says. One sum answers both questions."""
        if self.state is _SEGMENTED:
            self.checksum = 0
            return
        transport = self.transport
        end = self.start + self.length
        length = end - transport
        data = self.buffer[transport:end]
        if length % 2:
            data.append(0)
        # The pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1): addresses, protocol, length.
        from_bytes = int.from_bytes
        total = from_bytes(self.tuple_bytes[:-4], "big") + self.protocol + length + from_bytes(data, "big")
        if self.state is _UNFINISHED:
            self.checksum = (field - total) % MODULUS
        elif total % MODULUS:
            raise WireError(Malformation.BAD_CHECKSUM)
        else:
            self.checksum = field

    @property
    def end(self) -> int:
        """Offset of the first byte behind the packet."""
        return self.start + self.length

    def data(self) -> bytes:
        """A copy of the whole packet. For replies, tests and people; never for a packet on its way."""
        return bytes(self.buffer[self.start : self.start + self.length])
