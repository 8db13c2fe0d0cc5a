"""`IcmpError` and the packet it quotes: round trip, refusals by name, and the errors that we make ourselves."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperplane.errors import Malformation, WireError
from hyperplane.wire.icmp import IcmpError, QuotedPacket, packet_too_big, port_unreachable, time_exceeded
from tests.cases import (
    CLIENT,
    CLIENT_6,
    TARGET,
    TARGET_6,
    Ip,
    SocketAddress,
    Sum,
    icmp,
    icmp_error,
    ip_packet,
    packed,
    tcp,
    too_big,
    udp,
)
from tests.dissection import dissect
from tests.fields import icmp_errors, ipv4_addresses, ipv6_addresses, unsigned

ROUTER, ROUTER_6 = "192.0.2.1", "2001:db8::1"
ADDRESSES = packed(ROUTER) + packed(CLIENT[0])
ADDRESSES_6 = packed(ROUTER_6) + packed(CLIENT_6[0])
SEGMENT = tcp(CLIENT, TARGET, sequence=0xDEADBEEF, payload=b"x" * 1000)
SEGMENT_6 = tcp(CLIENT_6, TARGET_6, sequence=0xDEADBEEF, payload=b"x" * 1400)


def ports(source: SocketAddress, destination: SocketAddress) -> bytes:
    return struct.pack("!HH", source[1], destination[1])


TUPLE = packed(CLIENT[0]) + packed(TARGET[0]) + ports(CLIENT, TARGET)
TUPLE_6 = packed(CLIENT_6[0]) + packed(TARGET_6[0]) + ports(CLIENT_6, TARGET_6)


@given(icmp_errors, st.data())
def test_what_was_emitted_is_parsed(error: IcmpError, draw: st.DataObject) -> None:
    one = ipv4_addresses if error.version == 4 else ipv6_addresses
    addresses = draw.draw(one) + draw.draw(one)
    data = error.emit(addresses)
    assert IcmpError.parse(data, addresses=addresses) == error
    assert IcmpError.parse(memoryview(b"\xaa" * 3 + data), 3, addresses=addresses) == error


@pytest.mark.parametrize("icmp_type", [3, 11, 12])
@pytest.mark.parametrize("code", [0, 1, 4, 13, 255])
def test_every_code_of_the_ipv4_errors_is_kept(icmp_type: int, code: int) -> None:
    packet = icmp_error(ROUTER, CLIENT[0], SEGMENT, icmp_type, code, 0x01020304)
    error = IcmpError.parse(packet, 20, addresses=ADDRESSES)
    assert (error.version, error.icmp_type, error.code, error.rest) == (4, icmp_type, code, 0x01020304)
    assert error.emit(ADDRESSES) == packet[20:]


@pytest.mark.parametrize("icmp_type", [1, 2, 3, 4])
def test_every_ipv6_error_is_read(icmp_type: int) -> None:
    packet = icmp_error(ROUTER_6, CLIENT_6[0], SEGMENT_6, icmp_type, 5, 1280)
    error = IcmpError.parse(packet, 40, addresses=ADDRESSES_6)
    assert (error.version, error.icmp_type, error.code, error.rest) == (6, icmp_type, 5, 1280)
    assert error.emit(ADDRESSES_6) == packet[40:]


@pytest.mark.parametrize(
    ("packet", "header_bytes", "addresses", "mtu"),
    [
        (too_big(ROUTER, CLIENT[0], SEGMENT, 1400), 20, ADDRESSES, 1400),
        (too_big(ROUTER, CLIENT[0], SEGMENT, 0), 20, ADDRESSES, 0),
        (icmp_error(ROUTER, CLIENT[0], SEGMENT, 3, 4, 0xFFFF05DC), 20, ADDRESSES, 1500),
        (icmp_error(ROUTER, CLIENT[0], SEGMENT, 3, 3, 1400), 20, ADDRESSES, None),
        (icmp_error(ROUTER, CLIENT[0], SEGMENT, 11, 4, 1400), 20, ADDRESSES, None),
        (too_big(ROUTER_6, CLIENT_6[0], SEGMENT_6, 70_000), 40, ADDRESSES_6, 70_000),
        (icmp_error(ROUTER_6, CLIENT_6[0], SEGMENT_6, 3, 4, 1400), 40, ADDRESSES_6, None),
    ],
)
def test_the_next_hop_mtu(packet: bytes, header_bytes: int, addresses: bytes, mtu: int | None) -> None:
    assert IcmpError.parse(packet, header_bytes, addresses=addresses).next_hop_mtu == mtu


@pytest.mark.parametrize(
    ("description", "message", "addresses", "malformation"),
    [
        ("empty", b"", ADDRESSES, Malformation.TRUNCATED),
        ("7 bytes", bytes([3]) + bytes(6), ADDRESSES, Malformation.TRUNCATED),
        *(
            (f"type {kind}", icmp(ROUTER, CLIENT[0], kind)[20:], ADDRESSES, Malformation.UNSUPPORTED_PROTOCOL)
            for kind in (0, 1, 2, 4, 5, 8, 9, 13, 14, 17, 42, 255)
        ),
        *(
            (f"type {kind}", icmp(ROUTER_6, CLIENT_6[0], kind)[40:], ADDRESSES_6, Malformation.UNSUPPORTED_PROTOCOL)
            for kind in (0, 5, 11, 12, 128, 129, 133, 136, 137)
        ),
        ("wrong sum", icmp(ROUTER, CLIENT[0], 3, checksum=Sum.WRONG)[20:], ADDRESSES, Malformation.BAD_CHECKSUM),
        ("wrong sum", icmp(ROUTER_6, CLIENT_6[0], 1, checksum=Sum.WRONG)[40:], ADDRESSES_6, Malformation.BAD_CHECKSUM),
        ("summed without pseudo-header", icmp(ROUTER, CLIENT[0], 3)[20:], ADDRESSES_6, Malformation.BAD_CHECKSUM),
    ],
)
def test_refusals(description: str, message: bytes, addresses: bytes, malformation: Malformation) -> None:
    with pytest.raises(WireError) as refusal:
        IcmpError.parse(message, addresses=addresses)
    assert refusal.value.malformation is malformation, description


@pytest.mark.parametrize(
    ("quote", "expected"),
    [
        (SEGMENT[:28], QuotedPacket(4, 6, 20, TUPLE, 0xDEADBEEF)),
        (SEGMENT, QuotedPacket(4, 6, 20, TUPLE, 0xDEADBEEF)),
        (udp(CLIENT, TARGET, b"x" * 99)[:28], QuotedPacket(4, 17, 20, TUPLE, None)),
        (tcp(CLIENT, TARGET, checksum=Sum.WRONG), QuotedPacket(4, 6, 20, TUPLE, 1000)),
        (tcp(CLIENT, TARGET, ip=Ip(options=bytes(12))), QuotedPacket(4, 6, 32, TUPLE, 1000)),
        (tcp(CLIENT, TARGET, ip=Ip(more_fragments=True)), QuotedPacket(4, 6, 20, TUPLE, 1000)),
        (tcp(CLIENT, TARGET, ip=Ip(ttl=0)), QuotedPacket(4, 6, 20, TUPLE, 1000)),
        (SEGMENT_6[:48], QuotedPacket(6, 6, 40, TUPLE_6, 0xDEADBEEF)),
        (udp(CLIENT_6, TARGET_6), QuotedPacket(6, 17, 40, TUPLE_6, None)),
    ],
)
def test_a_quote_is_read_as_far_as_it_goes(quote: bytes, expected: QuotedPacket) -> None:
    assert QuotedPacket.parse(quote, expected.version) == expected


@pytest.mark.parametrize(
    ("description", "quote", "version", "malformation"),
    [
        ("empty", b"", 4, Malformation.BAD_ICMP),
        ("IPv6 in ICMP", SEGMENT_6, 4, Malformation.BAD_ICMP),
        ("IPv4 in ICMPv6", SEGMENT, 6, Malformation.BAD_ICMP),
        ("7 bytes of TCP", SEGMENT[:27], 4, Malformation.BAD_ICMP),
        ("7 bytes of TCP behind options", tcp(CLIENT, TARGET, ip=Ip(options=bytes(8)))[:35], 4, Malformation.BAD_ICMP),
        ("7 bytes of UDP, IPv6", udp(CLIENT_6, TARGET_6)[:47], 6, Malformation.BAD_ICMP),
        ("less than an IPv4 header", SEGMENT[:19], 4, Malformation.TRUNCATED),
        ("less than an IPv6 header", SEGMENT_6[:39], 6, Malformation.TRUNCATED),
        ("later fragment", udp(CLIENT, TARGET, b"x", ip=Ip(fragment_offset=1)), 4, Malformation.FRAGMENT),
        ("bad sum", tcp(CLIENT, TARGET, ip=Ip(header_checksum=Sum.WRONG)), 4, Malformation.BAD_CHECKSUM),
        ("IHL 4", tcp(CLIENT, TARGET, ip=Ip(header_words=4)), 4, Malformation.BAD_LENGTH),
        ("ICMP inside", icmp(CLIENT[0], TARGET[0], 8), 4, Malformation.UNSUPPORTED_PROTOCOL),
        ("SCTP inside", ip_packet(CLIENT[0], TARGET[0], 132, bytes(40)), 4, Malformation.UNSUPPORTED_PROTOCOL),
        ("IPv6 fragment", ip_packet(CLIENT_6[0], TARGET_6[0], 44, bytes(40)), 6, Malformation.UNSUPPORTED_PROTOCOL),
    ],
)
def test_bad_quotes(description: str, quote: bytes, version: int, malformation: Malformation) -> None:
    with pytest.raises(WireError) as refusal:
        QuotedPacket.parse(quote, version)
    assert refusal.value.malformation is malformation, description


@pytest.mark.parametrize(
    ("version", "icmp_type", "rest", "kept_bytes"),
    [
        (4, 11, 32 << 16, 128),
        (4, 3, 33 << 16 | 1400, 132),
        (4, 12, 0, 200),
        (4, 11, 31 << 16, 200),  # less than RFC 4884 allows: not a length
        (4, 11, 255 << 16, 200),
        (4, 11, 32 << 24, 200),
        (6, 1, 16 << 24, 128),
        (6, 3, 17 << 24, 136),
        (6, 3, 15 << 24, 200),
        (6, 2, 17 << 24, 200),  # the MTU fills the word: no room for a length
        (6, 4, 17 << 24, 200),
    ],
)
def test_extensions_are_no_part_of_the_packet_in_error(
    version: int, icmp_type: int, rest: int, kept_bytes: int
) -> None:
    quote = (SEGMENT if version == 4 else SEGMENT_6)[:200]
    error = IcmpError(version, icmp_type, 0, rest, quote)
    assert error.packet_in_error == quote[:kept_bytes]
    assert error.quoted_packet().sequence == 0xDEADBEEF


@given(unsigned(16))
def test_our_too_big_carries_the_mtu(mtu: int) -> None:
    assert packet_too_big(SEGMENT, mtu) == IcmpError(4, 3, 4, mtu, SEGMENT[:548])
    assert packet_too_big(SEGMENT_6, mtu) == IcmpError(6, 2, 0, mtu, SEGMENT_6[:1232])
    assert packet_too_big(SEGMENT, mtu).next_hop_mtu == packet_too_big(SEGMENT_6, mtu).next_hop_mtu == mtu


@pytest.mark.parametrize("packet", [tcp(CLIENT, TARGET), udp(CLIENT, TARGET, b"x")])
def test_our_time_exceeded_quotes_a_short_packet_whole(packet: bytes) -> None:
    assert time_exceeded(packet) == IcmpError(4, 11, 0, 0, packet)


@pytest.mark.parametrize("packet", [tcp(CLIENT, TARGET), udp(CLIENT, TARGET, b"x")])
def test_our_port_unreachable_is_of_the_packets_family(packet: bytes) -> None:
    assert port_unreachable(packet) == IcmpError(4, 3, 3, 0, packet)
    assert port_unreachable(SEGMENT_6) == IcmpError(6, 1, 4, 0, SEGMENT_6[:1232])


def test_our_errors_stay_below_the_smallest_mtu() -> None:
    assert 20 + len(time_exceeded(SEGMENT).emit(ADDRESSES)) == 576
    assert time_exceeded(SEGMENT_6) == IcmpError(6, 3, 0, 0, SEGMENT_6[:1232])
    assert 40 + len(time_exceeded(SEGMENT_6).emit(ADDRESSES_6)) == 1280


def test_our_errors_have_right_sums() -> None:
    message = ip_packet(ROUTER_6, CLIENT_6[0], 58, time_exceeded(SEGMENT_6).emit(ADDRESSES_6))
    assert dissect(message).sums_are_right
    assert dissect(ip_packet(ROUTER, CLIENT[0], 1, packet_too_big(SEGMENT, 9).emit(ADDRESSES))).sums_are_right
