"""The Proxy Protocol header, version 2: who the client is, written before its first byte.

Sources: [PP] HAProxy, "The PROXY protocol", sections 2, 2.2 and 2.2.1 to 2.2.8. [AWS] Network Load
Balancer guide, "Proxy protocol". [ELB] the header in the tests of AWS's own parser, github.com/aws/
elastic-load-balancing-tools, proprot, Compatibility_AwsNetworkLoadBalancerTest. What a real load
balancer sends to a target for a client behind a PrivateLink endpoint over IPv4, 100 bytes [ELB]:

         0               1               2               3
        +---------------+---------------+---------------+---------------+
      0 |                    Signature, 12 bytes:                       |
        |                    0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A        |
        +-------+-------+-------+-------+-------------------------------+
     12 | ver 2 | cmd 1 | fam 1 | TCP 1 |    Bytes that follow: 84      |
        +-------+-------+-------+-------+-------------------------------+
     16 |                        Client address                         |
     20 |             Endpoint's address in the consumer's VPC          |
        +-------------------------------+-------------------------------+
     24 |          Client port          |         Listener port         |
        +---------------+---------------+---------------+---------------+
     28 |   CRC32C 03   |           Length 4            |   CRC of all  |
     32 |     100 bytes with zeros here, big-endian     |     AWS EA    |
        +---------------+---------------+---------------+---------------+
     36 |           Length 23           |  Subtype 01   |      "v"      |
        |    22 characters of ASCII, "vpce-" and 17 hexadecimal digits  |
     60 |      ...      |    NOOP 04    |           Length 36           |
        +---------------+---------------+---------------+---------------+
     64 |                        36 bytes of zeros                      |
        +---------------------------------------------------------------+

Byte 12: command 0 is LOCAL (a health check, no client), 1 is PROXY. Byte 13: family 1 is IPv4, 2 is
IPv6, whose addresses make the block from byte 16 on 36 bytes long instead of 12; 1 is TCP, 2 is UDP.
The rest are TLVs: type, 16 bit length of the value, value.

Read strictly. `IncompleteHeader`: right so far, but more bytes are needed. `ProxyHeaderError`, at the
first byte that gives it away: another signature, version or command; in a PROXY header any family but
11, 12, 21, 22 ([PP] lets a receiver refuse 00; nobody here sends UNIX sockets'); a length that does
not hold the addresses or is over our limit; TLVs that do not fill the rest exactly; a CRC32C that is
wrong, not 4 bytes long, or there twice; a UNIQUE_ID over 128 bytes; an AWS TLV of subtype 01 that is
no endpoint id, or a second one (which would be believed?). Other TLVs are kept as they are. What
follows 16 bytes of a LOCAL header is skipped, family included ([PP] 2.2: it must be accepted),
except that a CRC32C in it counts too.

The checksum is no field: `emit` computes it, and a parsed `Tlv` of type CRC32C holds four zeros.
Not supported: version 1 (load balancers send only 2 [AWS]), and a look inside the SSL TLV.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from struct import Struct
from typing import Self

from hyperplane.wire.crc32c import CRC_BYTES, crc32c
from hyperplane.wire.packet import TCP, UDP

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
START_BYTES = 16
"""Signature, command, family and length."""

HEADER_BYTES_MAX = 4096
"""Our choice, because nginx takes as much (NGX_PROXY_PROTOCOL_MAX_HEADER). [PP] section 2 designs a header to fit 536
bytes, but a sender that adds a client's certificate goes beyond, and a peer must not make a reader wait for 64 KiB."""

UNIQUE_ID_BYTES_MAX = 128
"""[PP] 2.2.5."""

CRC32C, NOOP, UNIQUE_ID, AWS = 0x03, 0x04, 0x05, 0xEA
"""Types of TLVs that mean something here."""

LOCAL_HEADER = SIGNATURE + b"\x20\x00\x00\x00"
"""For health checks. AWS says that they carry a header, but not its exact bytes: these are what [PP] 2.2 wants in a
LOCAL header, no family and no addresses."""

_VERSION_2 = 0x20
_START = Struct("!12sBBH")
_TLV_START = Struct("!BH")
TLV_START_BYTES = _TLV_START.size
_ADDRESS_BLOCKS = {4: Struct("!4s4sHH"), 16: Struct("!16s16sHH")}
_FAMILIES = {(TCP, 4): 0x11, (UDP, 4): 0x12, (TCP, 16): 0x21, (UDP, 16): 0x22}
_PROTOCOLS = {family: pair for pair, family in _FAMILIES.items()}
_BLOCK_BYTES_LOCAL = {0x0: 0, 0x1: 12, 0x2: 36, 0x3: 216}
"""By the family's high half: unspecified, IPv4, IPv6, UNIX."""

_ENDPOINT_ID_SUBTYPE = b"\x01"
_ENDPOINT_ID = re.compile(rb"vpce-[0-9a-f]+")

_Place = tuple[int, int, int]
"""A TLV in a header: type, start and end of its value."""


class ProxyHeaderError(ValueError):
    """These bytes are no header, or a wrong one. The text says what is wrong."""


class IncompleteHeader(Exception):
    """The header may be right, but does not end here."""

    def __init__(self, bytes_needed: int) -> None:
        super().__init__(f"at least {bytes_needed} more bytes are needed")
        self.bytes_needed = bytes_needed
        """At least so many more: exact once the first 16 are there."""


class Command(Enum):
    """On whose behalf the connection was made."""

    LOCAL = 0
    """The sender's own."""
    PROXY = 1
    """A client's."""


@dataclass(slots=True, frozen=True)
class Tlv:
    """One type-length-value."""

    type: int
    value: bytes

    @classmethod
    def for_endpoint(cls, endpoint_id: str) -> Self:
        """AWS's TLV with the id of the endpoint that the client used."""
        return cls(AWS, _ENDPOINT_ID_SUBTYPE + endpoint_id.encode("ascii"))

    @property
    def is_endpoint_id(self) -> bool:
        """AWS's TLV of subtype 1."""
        return self.type == AWS and self.value[:1] == _ENDPOINT_ID_SUBTYPE


_VERSION_COMMANDS = {_VERSION_2 | command.value: command for command in Command}

CHECKSUM = Tlv(CRC32C, bytes(CRC_BYTES))
"""Where it stands in a header's TLVs, `emit` writes the checksum."""


@dataclass(slots=True, frozen=True)
class ProxyHeader:
    """One header. LOCAL: nothing but the command."""

    command: Command
    protocol: int | None = None
    """6 for TCP, 17 for UDP."""
    source: bytes = b""
    """The client's address, 4 or 16 bytes."""
    destination: bytes = b""
    """The address that the client spoke to."""
    source_port: int = 0
    destination_port: int = 0
    tlvs: tuple[Tlv, ...] = ()

    def __post_init__(self) -> None:
        if self.command is Command.LOCAL:
            assert (self.protocol, self.source, self.destination, self.tlvs) == (None, b"", b"", ())
            assert self.source_port == self.destination_port == 0
        else:
            assert (self.protocol, len(self.source)) in _FAMILIES and len(self.source) == len(self.destination)
            assert [tlv for tlv in self.tlvs if tlv.type == CRC32C] in ([], [CHECKSUM]), "emit computes the checksum"
            assert (fault := _fault_in(self.tlvs)) is None, fault

    @property
    def endpoint_id(self) -> str | None:
        """The PrivateLink endpoint that the client used; None if it came another way."""
        return next((tlv.value[1:].decode("ascii") for tlv in self.tlvs if tlv.is_endpoint_id), None)

    @classmethod
    def parse(cls, buffer: bytes | bytearray | memoryview, offset: int = 0) -> tuple[Self, int]:
        """The header that begins at `offset`, and its length in bytes. What follows it is the client's data.

        Raises `IncompleteHeader` as long as the bytes may become a header, else `ProxyHeaderError`.
        """
        command, family, header_bytes = _read_start(bytes(buffer[offset : offset + START_BYTES]))
        missing = header_bytes - (len(buffer) - offset)
        if missing > 0:
            raise IncompleteHeader(missing)
        header = bytes(buffer[offset : offset + header_bytes])
        if command is Command.LOCAL:
            _verify_local(header, family)
            return cls(command), header_bytes
        protocol, address_bytes = _PROTOCOLS[family]
        block = _ADDRESS_BLOCKS[address_bytes]
        places = list(_walk(header, START_BYTES + block.size))
        tlvs = [Tlv(kind, header[start:end]) for kind, start, end in places]
        if fault := _fault_in(tlvs):
            raise ProxyHeaderError(fault)
        _verify_checksum(header, places)
        source, destination, source_port, destination_port = block.unpack_from(header, START_BYTES)
        kept = tuple(CHECKSUM if tlv.type == CRC32C else tlv for tlv in tlvs)
        return cls(command, protocol, source, destination, source_port, destination_port, kept), header_bytes

    def emit(self) -> bytes:
        """The header's bytes."""
        if self.command is Command.LOCAL:
            return LOCAL_HEADER
        assert self.protocol is not None
        family = _FAMILIES[self.protocol, len(self.source)]
        block = _ADDRESS_BLOCKS[len(self.source)]
        addresses = block.pack(self.source, self.destination, self.source_port, self.destination_port)
        tlvs = b"".join(_TLV_START.pack(tlv.type, len(tlv.value)) + tlv.value for tlv in self.tlvs)
        following = addresses + tlvs
        assert START_BYTES + len(following) <= HEADER_BYTES_MAX
        header = _START.pack(SIGNATURE, _VERSION_2 | self.command.value, family, len(following)) + following
        for kind, start, end in _walk(header, START_BYTES + block.size):
            if kind == CRC32C:
                return header[:start] + crc32c(header).to_bytes(CRC_BYTES, "big") + header[end:]
        return header


def _read_start(start: bytes) -> tuple[Command, int, int]:
    """Command, family byte and length of the whole header, from its first 16 bytes or as many as there are."""
    for place, (byte, expected) in enumerate(zip(start, SIGNATURE, strict=False)):
        if byte != expected:
            raise ProxyHeaderError(f"not a Proxy Protocol v2 header: byte {place} is {byte:#04x}, not {expected:#04x}")
    if len(start) > 12 and start[12] not in _VERSION_COMMANDS:
        raise ProxyHeaderError(f"version {start[12] >> 4}, command {start[12] & 0xF}: not 2, not 0 or 1")
    is_proxy = len(start) > 12 and _VERSION_COMMANDS[start[12]] is Command.PROXY
    if is_proxy and len(start) > 13 and start[13] not in _PROTOCOLS:
        raise ProxyHeaderError(f"family and transport {start[13]:#04x} are not TCP or UDP over IPv4 or IPv6")
    if len(start) < START_BYTES:
        raise IncompleteHeader(START_BYTES - len(start))
    _, version_command, family, following = _START.unpack(start)
    if START_BYTES + following > HEADER_BYTES_MAX:
        raise ProxyHeaderError(f"{START_BYTES + following} bytes long, more than {HEADER_BYTES_MAX}")
    if is_proxy and following < _ADDRESS_BLOCKS[_PROTOCOLS[family][1]].size:
        raise ProxyHeaderError(f"a length of {following} has no room for the addresses and ports")
    return _VERSION_COMMANDS[version_command], family, START_BYTES + following


def _walk(header: bytes, at: int) -> Iterator[_Place]:
    """Each TLV from `at` to the header's end."""
    while at < len(header):
        if len(header) - at < _TLV_START.size:
            raise ProxyHeaderError(f"{len(header) - at} bytes behind the last TLV are none")
        kind, value_bytes = _TLV_START.unpack_from(header, at)
        at += _TLV_START.size
        if value_bytes > len(header) - at:
            raise ProxyHeaderError(f"TLV {kind:#04x} has {value_bytes} bytes, of which {len(header) - at} are there")
        yield kind, at, at + value_bytes
        at += value_bytes


def _fault_in(tlvs: Sequence[Tlv]) -> str | None:
    """What is wrong with these TLVs, checksums apart."""
    for tlv in tlvs:
        if tlv.type == UNIQUE_ID and len(tlv.value) > UNIQUE_ID_BYTES_MAX:
            return f"a unique id of {len(tlv.value)} bytes, more than {UNIQUE_ID_BYTES_MAX}"
        if tlv.is_endpoint_id and not _ENDPOINT_ID.fullmatch(tlv.value, len(_ENDPOINT_ID_SUBTYPE)):
            return f"{tlv.value[len(_ENDPOINT_ID_SUBTYPE) :]!r} is no endpoint id"
    return "two endpoint ids" if sum(tlv.is_endpoint_id for tlv in tlvs) > 1 else None


def _verify_checksum(header: bytes, places: list[_Place]) -> None:
    """If there is a checksum, it is one, and right: over the header with zeros in its own place ([PP] 2.2.3)."""
    checksums = [(start, end) for kind, start, end in places if kind == CRC32C]
    if not checksums:
        return
    (start, end), *others = checksums
    if others or end - start != CRC_BYTES:
        raise ProxyHeaderError(f"{len(checksums)} checksums, the first of {end - start} bytes: not one of {CRC_BYTES}")
    expected = crc32c(header[:start] + bytes(CRC_BYTES) + header[end:]).to_bytes(CRC_BYTES, "big")
    if header[start:end] != expected:
        raise ProxyHeaderError(f"the checksum is {header[start:end].hex()}, not {expected.hex()}")


def _verify_local(header: bytes, family: int) -> None:
    """Look for a checksum where the family says that the TLVs begin. What cannot be read says nothing."""
    block_bytes = _BLOCK_BYTES_LOCAL.get(family >> 4, len(header))
    try:
        places = list(_walk(header, START_BYTES + block_bytes))
    except ProxyHeaderError:
        return
    _verify_checksum(header, places)
