"""Packets for tests, as bytes, of either family: right ones, and wrong ones on purpose.

    tcp(CLIENT, TARGET, flags=SYN, options=linux_syn())            a SYN as Linux sends it
    tcp(CLIENT, TARGET, flags=PSH | ACK, sequence=1, payload=b"hello")
    tcp(CLIENT_6, TARGET_6, flags=SYN)                             the same over IPv6
    udp(CLIENT, TARGET, b"query", checksum=Sum.ABSENT)
    too_big("192.0.2.1", "10.0.1.50", packet, mtu=1400)            an ICMP error about `packet`
    tcp(CLIENT, TARGET, checksum=Sum.WRONG)                        corrupt
    tcp(CLIENT, TARGET, checksum=Sum.UNFINISHED)                   as a local sender leaves it
    tcp(CLIENT, TARGET, ip=Ip(ttl=1, dont_fragment=False))         any IP field
    tcp(CLIENT, TARGET, data_offset=15)                            a lie; so is Ip(total_length=...)

A socket address is a pair of text and port; its family decides the packet's. Defaults are those
of a normal packet, every field can be set, and nothing is checked: what you ask for is built.
Nothing here uses the product's code: the sums are added word by word, as RFC 1071 section 4.1
does it, so these packets judge the product. `dissection.py` reads packets back the same way,
`malformed.py` is the table of packets that must be refused. About 5 us per small packet.
"""

import struct
from dataclasses import dataclass
from enum import Enum
from functools import cache
from ipaddress import ip_address

SocketAddress = tuple[str, int]

CLIENT: SocketAddress = ("10.0.1.50", 40000)
ENDPOINT: SocketAddress = ("10.0.1.10", 443)
BALANCER: SocketAddress = ("10.9.0.7", 20000)
TARGET: SocketAddress = ("10.9.3.20", 8080)
CLIENT_6: SocketAddress = ("fd00:0:1::50", 40000)
TARGET_6: SocketAddress = ("fd00:9:3::20", 8080)

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, AE = 0x001, 0x002, 0x004, 0x008, 0x010, 0x020, 0x040, 0x080, 0x100

NOP = b"\x01"
END = b"\x00"
SACK_PERMITTED = b"\x04\x02"


class Sum(Enum):
    """What stands in a checksum field."""

    RIGHT = "right"
    WRONG = "wrong"
    """Never the right one, and never 0, which would mean "none" to UDP."""
    UNFINISHED = "unfinished"
    """The sum of the pseudo-header alone, as the kernel leaves it for a network card to finish."""
    ABSENT = "absent"
    """0. For UDP over IPv4 it means "none"."""


@dataclass(frozen=True, slots=True)
class Ip:
    """The IP header's fields. None is "what belongs there". Fields that a family lacks are left out."""

    ttl: int = 64
    traffic_class: int = 0
    identification: int = 0x1234
    dont_fragment: bool = True
    more_fragments: bool = False
    reserved_flag: bool = False
    fragment_offset: int = 0
    """In units of 8 bytes."""
    options: bytes = b""
    """IPv4 only, a multiple of 4 bytes."""
    flow_label: int = 0
    version: int | None = None
    header_words: int | None = None
    total_length: int | None = None
    """Header and payload; IPv6 writes 40 less."""
    protocol: int | None = None
    header_checksum: Sum = Sum.RIGHT


PLAIN = Ip()


def internet_sum(data: bytes) -> int:
    """The sum of 16 bit words with end-around carry, added one by one (RFC 1071 section 4.1)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@cache
def packed(address: str) -> bytes:
    """The 4 or 16 bytes of an address."""
    return ip_address(address).packed


def pseudo_header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    """RFC 9293 section 3.1, or RFC 8200 section 8.1."""
    if len(source) == 4:
        return source + destination + struct.pack("!BBH", 0, protocol, length)
    return source + destination + struct.pack("!IHBB", length, 0, 0, protocol)


def _field(state: Sum, summed: bytes, pseudo: bytes) -> int:
    right = internet_sum(pseudo + summed) ^ 0xFFFF
    match state:
        case Sum.RIGHT:
            return right
        case Sum.WRONG:
            return right ^ 1 or 2
        case Sum.UNFINISHED:
            return internet_sum(pseudo)
        case Sum.ABSENT:
            return 0


def ip_packet(source: str, destination: str, protocol: int, payload: bytes, fields: Ip = PLAIN) -> bytes:
    """An IP packet around any payload."""
    if len(packed(source)) == 16:
        return _ip_6(source, destination, protocol, payload, fields)
    header_bytes = 20 + len(fields.options)
    words = fields.header_words if fields.header_words is not None else header_bytes // 4
    before = struct.pack(
        "!BBHHHBB",
        (4 if fields.version is None else fields.version) << 4 | words,
        fields.traffic_class,
        header_bytes + len(payload) if fields.total_length is None else fields.total_length,
        fields.identification,
        fields.reserved_flag << 15 | fields.dont_fragment << 14 | fields.more_fragments << 13 | fields.fragment_offset,
        fields.ttl,
        protocol if fields.protocol is None else fields.protocol,
    )
    after = packed(source) + packed(destination) + fields.options
    value = _field(fields.header_checksum, before + bytes(2) + after, b"")
    return before + struct.pack("!H", value) + after + payload


def _ip_6(source: str, destination: str, protocol: int, payload: bytes, fields: Ip) -> bytes:
    header = struct.pack(
        "!IHBB",
        (6 if fields.version is None else fields.version) << 28 | fields.traffic_class << 20 | fields.flow_label,
        len(payload) if fields.total_length is None else fields.total_length - 40,
        protocol if fields.protocol is None else fields.protocol,
        fields.ttl,
    )
    return header + packed(source) + packed(destination) + payload


def tcp(
    source: SocketAddress,
    destination: SocketAddress,
    *,
    flags: int = ACK,
    sequence: int = 1000,
    acknowledgment: int = 2000,
    window: int = 502,
    urgent_pointer: int = 0,
    options: bytes = b"",
    payload: bytes = b"",
    data_offset: int | None = None,
    reserved: int = 0,
    checksum: Sum = Sum.RIGHT,
    ip: Ip = PLAIN,
) -> bytes:
    """A TCP segment in its packet. `options` are padded with END to whole words; `data_offset` counts words."""
    options += END * (-len(options) % 4)
    words = 5 + len(options) // 4 if data_offset is None else data_offset
    before = struct.pack(
        "!HHIIHH",
        source[1],
        destination[1],
        sequence % (1 << 32),
        acknowledgment % (1 << 32) if flags & ACK else 0,
        words << 12 | reserved << 9 | flags,
        window,
    )
    after = struct.pack("!H", urgent_pointer) + options + payload
    return _transport(source[0], destination[0], TCP, before, after, checksum, ip)


def udp(
    source: SocketAddress,
    destination: SocketAddress,
    payload: bytes = b"",
    *,
    length: int | None = None,
    checksum: Sum = Sum.RIGHT,
    ip: Ip = PLAIN,
) -> bytes:
    """A UDP datagram in its packet. `length` is the header field, right by default."""
    before = struct.pack("!HHH", source[1], destination[1], 8 + len(payload) if length is None else length)
    return _transport(source[0], destination[0], UDP, before, payload, checksum, ip)


def _transport(
    source: str, destination: str, protocol: int, before: bytes, after: bytes, state: Sum, fields: Ip
) -> bytes:
    """Put the checksum between `before` and `after`, and the whole into a packet."""
    pseudo = pseudo_header(packed(source), packed(destination), protocol, len(before) + 2 + len(after))
    value = _field(state, before + bytes(2) + after, pseudo)
    if protocol == UDP and state is Sum.RIGHT:
        value = value or 0xFFFF
    return ip_packet(source, destination, protocol, before + struct.pack("!H", value) + after, fields)


def icmp(
    source: str,
    destination: str,
    icmp_type: int,
    code: int = 0,
    rest: int = 0,
    body: bytes = b"",
    *,
    checksum: Sum = Sum.RIGHT,
    ip: Ip = PLAIN,
) -> bytes:
    """Any ICMP or ICMPv6 message in its packet. `rest` is the second word: 32 bits."""
    is_6 = len(packed(source)) == 16
    before = struct.pack("!BB", icmp_type, code)
    after = struct.pack("!I", rest) + body
    pseudo = pseudo_header(packed(source), packed(destination), ICMPV6, len(after) + 4) if is_6 else b""
    value = _field(checksum, before + bytes(2) + after, pseudo)
    return ip_packet(source, destination, ICMPV6 if is_6 else ICMP, before + struct.pack("!H", value) + after, ip)


def icmp_error(
    router: str,
    receiver: str,
    packet: bytes,
    icmp_type: int,
    code: int = 0,
    rest: int = 0,
    *,
    quote_bytes: int = 548,
    checksum: Sum = Sum.RIGHT,
) -> bytes:
    """An ICMP error that `router` sends to `receiver` and that quotes the first bytes of `packet`."""
    return icmp(router, receiver, icmp_type, code, rest, packet[:quote_bytes], checksum=checksum)


def too_big(router: str, receiver: str, packet: bytes, mtu: int, *, quote_bytes: int = 548) -> bytes:
    """IPv4 type 3 code 4, or IPv6 type 2, about `packet`."""
    icmp_type, code = (2, 0) if packet[0] >> 4 == 6 else (3, 4)
    return icmp_error(router, receiver, packet, icmp_type, code, mtu, quote_bytes=quote_bytes)


def option(kind: int, body: bytes = b"", length: int | None = None) -> bytes:
    """One TCP option. `length` is the length byte, right by default."""
    return bytes([kind, len(body) + 2 if length is None else length]) + body


def mss(size_bytes: int) -> bytes:
    """The maximum segment size option, 4 bytes."""
    return option(2, struct.pack("!H", size_bytes))


def window_scale(shift: int) -> bytes:
    """The window scale option, 3 bytes."""
    return option(3, bytes([shift]))


def timestamps(value: int, echo_reply: int = 0) -> bytes:
    """The timestamps option, 10 bytes."""
    return option(8, struct.pack("!II", value, echo_reply))


def sack(*blocks: tuple[int, int]) -> bytes:
    """The SACK option, 2 bytes and 8 for each block."""
    return option(5, b"".join(struct.pack("!II", *block) for block in blocks))


def linux_syn(size_bytes: int = 1460, shift: int = 7, timestamp: int = 1) -> bytes:
    """The options of a Linux SYN, in Linux's order (tcp_options_write): 20 bytes."""
    return mss(size_bytes) + SACK_PERMITTED + timestamps(timestamp) + NOP + window_scale(shift)
