"""Packets that must be refused, each with the malformation that names the reason.

Every row is a right packet with one thing wrong, so a check that is missing lets its row pass.
`tests/wire/test_packet.py` holds the parser to this table; tests of the packet plane use it to
see that each of them is dropped, counted under its reason, and leaves no state.
"""

import struct
from dataclasses import dataclass

from hyperplane.errors import Malformation
from tests.cases import (
    ACK,
    CLIENT,
    CLIENT_6,
    FIN,
    PSH,
    RST,
    SYN,
    TARGET,
    TARGET_6,
    URG,
    Ip,
    Sum,
    icmp_error,
    ip_packet,
    tcp,
    udp,
)


@dataclass(frozen=True, slots=True)
class Malformed:
    """One row."""

    description: str
    packet: bytes
    malformation: Malformation


_A, _B = CLIENT[0], TARGET[0]
_A6, _B6 = CLIENT_6[0], TARGET_6[0]
_TCP = tcp(CLIENT, TARGET, payload=b"x" * 40)
_UDP = udp(CLIENT, TARGET, b"x" * 40)
_TCP_6 = tcp(CLIENT_6, TARGET_6, payload=b"x" * 40)
_UDP_6 = udp(CLIENT_6, TARGET_6, b"x" * 40)
_LSRR = b"\x83\x07\x04" + bytes([10, 0, 0, 1]) + b"\x00"
_ROUTER_ALERT = b"\x94\x04\x00\x00"

_LENGTHS = [
    ("nothing", b"", Malformation.TRUNCATED),
    ("one byte", _TCP[:1], Malformation.TRUNCATED),
    ("less than an IPv4 header", _TCP[:19], Malformation.TRUNCATED),
    ("no TCP header", ip_packet(_A, _B, 6, b""), Malformation.TRUNCATED),
    ("TCP header cut at 19 bytes", ip_packet(_A, _B, 6, _TCP[20:39]), Malformation.TRUNCATED),
    ("UDP header cut at 7 bytes", ip_packet(_A, _B, 17, _UDP[20:27]), Malformation.TRUNCATED),
    ("ICMP header cut at 7 bytes", ip_packet(_A, _B, 1, bytes(7)), Malformation.TRUNCATED),
    ("less than an IPv6 header", _TCP_6[:39], Malformation.TRUNCATED),
    ("TCP header cut over IPv6", ip_packet(_A6, _B6, 6, _TCP_6[40:59]), Malformation.TRUNCATED),
    ("UDP header cut over IPv6", ip_packet(_A6, _B6, 17, _UDP_6[40:47]), Malformation.TRUNCATED),
    ("packet cut behind the TCP header", _TCP[:60], Malformation.BAD_LENGTH),
    ("packet cut over IPv6", _TCP_6[:80], Malformation.BAD_LENGTH),
    ("surplus behind the packet", _TCP + b"\0", Malformation.BAD_LENGTH),
    ("surplus over IPv6", _TCP_6 + b"\0", Malformation.BAD_LENGTH),
    ("total length 0", tcp(CLIENT, TARGET, ip=Ip(total_length=0)), Malformation.BAD_LENGTH),
    ("total length 65535", tcp(CLIENT, TARGET, ip=Ip(total_length=65535)), Malformation.BAD_LENGTH),
    ("IHL 4", tcp(CLIENT, TARGET, ip=Ip(header_words=4)), Malformation.BAD_LENGTH),
    ("data offset 0", tcp(CLIENT, TARGET, data_offset=0), Malformation.BAD_LENGTH),
    ("data offset 4", tcp(CLIENT, TARGET, data_offset=4), Malformation.BAD_LENGTH),
    ("data offset behind the end", tcp(CLIENT, TARGET, data_offset=6), Malformation.BAD_LENGTH),
    ("data offset behind the end, IPv6", tcp(CLIENT_6, TARGET_6, data_offset=15), Malformation.BAD_LENGTH),
    ("UDP length 0", udp(CLIENT, TARGET, b"x", length=0), Malformation.BAD_LENGTH),
    ("UDP length 7", udp(CLIENT, TARGET, b"x", length=7), Malformation.BAD_LENGTH),
    ("UDP length one short", udp(CLIENT, TARGET, b"x", length=8), Malformation.BAD_LENGTH),
    ("UDP length one long", udp(CLIENT, TARGET, b"x", length=10), Malformation.BAD_LENGTH),
    ("UDP length 0 over IPv6", udp(CLIENT_6, TARGET_6, b"x", length=0), Malformation.BAD_LENGTH),
]

_HEADERS = [
    ("version 0", tcp(CLIENT, TARGET, ip=Ip(version=0)), Malformation.BAD_VERSION),
    ("version 5", tcp(CLIENT, TARGET, ip=Ip(version=5)), Malformation.BAD_VERSION),
    ("version 15", tcp(CLIENT_6, TARGET_6, ip=Ip(version=15)), Malformation.BAD_VERSION),
    ("loose source route", tcp(CLIENT, TARGET, ip=Ip(options=_LSRR)), Malformation.IP_OPTIONS),
    ("router alert", udp(CLIENT, TARGET, b"x", ip=Ip(options=_ROUTER_ALERT)), Malformation.IP_OPTIONS),
    ("first fragment", udp(CLIENT, TARGET, b"x" * 8, ip=Ip(more_fragments=True)), Malformation.FRAGMENT),
    ("last fragment", udp(CLIENT, TARGET, b"x" * 8, ip=Ip(fragment_offset=1)), Malformation.FRAGMENT),
    ("furthest fragment", tcp(CLIENT, TARGET, ip=Ip(fragment_offset=8191)), Malformation.FRAGMENT),
    ("DF and more fragments", tcp(CLIENT, TARGET, ip=Ip(more_fragments=True)), Malformation.FRAGMENT),
    ("reserved fragment bit", tcp(CLIENT, TARGET, ip=Ip(reserved_flag=True)), Malformation.FRAGMENT),
    ("SCTP", ip_packet(_A, _B, 132, bytes(40)), Malformation.UNSUPPORTED_PROTOCOL),
    ("GRE", ip_packet(_A, _B, 47, bytes(40)), Malformation.UNSUPPORTED_PROTOCOL),
    ("hop-by-hop options", ip_packet(_A6, _B6, 0, bytes([6, 0]) + bytes(46)), Malformation.UNSUPPORTED_PROTOCOL),
    ("IPv6 fragment", ip_packet(_A6, _B6, 44, bytes([17, 0]) + bytes(46)), Malformation.UNSUPPORTED_PROTOCOL),
]

_BAD_FLAGS = [
    (0, "null scan"),
    (FIN, "FIN scan"),
    (FIN | PSH | URG, "Christmas tree"),
    (SYN | FIN, "SYN and FIN"),
    (SYN | RST, "SYN and RST"),
    (FIN | RST | ACK, "FIN and RST"),
    (SYN | FIN | ACK, "SYN, FIN and ACK"),
    (PSH, "PSH alone"),
    (URG, "URG alone"),
    (0x3F, "all six"),
]

_FLAGS = [
    *((name, tcp(CLIENT, TARGET, flags=flags), Malformation.BAD_TCP_FLAGS) for flags, name in _BAD_FLAGS),
    *(
        (f"{name}, IPv6", tcp(CLIENT_6, TARGET_6, flags=flags), Malformation.BAD_TCP_FLAGS)
        for flags, name in _BAD_FLAGS
    ),
    *((f"reserved bit {bit}", tcp(CLIENT, TARGET, reserved=bit), Malformation.BAD_TCP_FLAGS) for bit in (1, 2, 4)),
]

_SUMS = [
    ("corrupt TCP", tcp(CLIENT, TARGET, flags=ACK, payload=b"hello", checksum=Sum.WRONG), Malformation.BAD_CHECKSUM),
    ("corrupt SYN", tcp(CLIENT, TARGET, flags=SYN, checksum=Sum.WRONG), Malformation.BAD_CHECKSUM),
    (
        "unfinished TCP that claims to be finished",
        tcp(CLIENT, TARGET, checksum=Sum.UNFINISHED),
        Malformation.BAD_CHECKSUM,
    ),
    ("corrupt TCP, IPv6", tcp(CLIENT_6, TARGET_6, checksum=Sum.WRONG), Malformation.BAD_CHECKSUM),
    ("corrupt UDP", udp(CLIENT, TARGET, b"hello", checksum=Sum.WRONG), Malformation.BAD_CHECKSUM),
    ("corrupt UDP, IPv6", udp(CLIENT_6, TARGET_6, b"hello", checksum=Sum.WRONG), Malformation.BAD_CHECKSUM),
    ("no UDP checksum over IPv6", udp(CLIENT_6, TARGET_6, b"x", checksum=Sum.ABSENT), Malformation.BAD_CHECKSUM),
    ("one payload bit turned over", _TCP[:-1] + bytes([_TCP[-1] ^ 0x80]), Malformation.BAD_CHECKSUM),
    ("corrupt ICMP error", icmp_error(_B, _A, _TCP, 3, 3, checksum=Sum.WRONG), Malformation.BAD_CHECKSUM),
    (
        "ICMP without a checksum",
        ip_packet(_B, _A, 1, struct.pack("!BBHI", 3, 3, 0, 0) + _TCP),
        Malformation.BAD_CHECKSUM,
    ),
]

MALFORMED = tuple(Malformed(*row) for row in (*_LENGTHS, *_HEADERS, *_FLAGS, *_SUMS))
