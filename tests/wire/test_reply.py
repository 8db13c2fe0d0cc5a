"""Whole replies: where they go, what they carry, and when there is none."""

import pytest

from hyperplane.wire.icmp import packet_too_big, time_exceeded
from hyperplane.wire.packet import ChecksumState, Packet
from hyperplane.wire.reply import error_packet, reset_packet
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
    Ip,
    SocketAddress,
    icmp_error,
    linux_syn,
    packed,
    tcp,
    udp,
)
from tests.dissection import dissect

FAMILIES = pytest.mark.parametrize(("client", "target"), [(CLIENT, TARGET), (CLIENT_6, TARGET_6)], ids=["4", "6"])
ENI, ENI_6 = "10.0.1.10", "fd00:0:1::10"


def load(data: bytes, state: ChecksumState = ChecksumState.FINISHED) -> Packet:
    packet = Packet()
    packet.load(bytearray(data), 0, len(data), state)
    return packet


@FAMILIES
@pytest.mark.parametrize(
    ("flags", "payload", "expected"),
    [
        (SYN, b"", (0, 1001, RST | ACK)),
        (SYN, b"early", (0, 1006, RST | ACK)),
        (ACK, b"", (2000, 0, RST)),
        (PSH | ACK, b"x" * 60_000, (2000, 0, RST)),
        (FIN | ACK, b"", (2000, 0, RST)),
    ],
)
def test_a_reset_goes_back_the_way_the_segment_came(
    client: SocketAddress, target: SocketAddress, flags: int, payload: bytes, expected: tuple[int, int, int]
) -> None:
    data = tcp(client, target, flags=flags, options=linux_syn(), payload=payload, ip=Ip(ttl=3, traffic_class=3))
    reply = reset_packet(load(data))
    assert reply is not None
    seen = dissect(reply)
    assert (seen.source, seen.destination) == (target, client)
    assert (seen.sequence, seen.acknowledgment, seen.flags) == expected
    assert (seen.window, seen.options, seen.payload) == (0, b"", b"")
    assert (seen.ttl, seen.traffic_class, seen.identification, seen.dont_fragment) == (64, 0, 0, True)
    assert seen.sums_are_right
    assert load(reply).flags == expected[2]


@FAMILIES
@pytest.mark.parametrize("flags", [RST, RST | ACK])
def test_a_reset_gets_no_reset(client: SocketAddress, target: SocketAddress, flags: int) -> None:
    assert reset_packet(load(tcp(client, target, flags=flags))) is None


def test_a_super_packet_is_reset_by_its_own_numbers() -> None:
    reply = reset_packet(load(tcp(CLIENT, TARGET, payload=b"x" * 60_000), ChecksumState.SEGMENTED))
    assert reply is not None and dissect(reply).sequence == 2000


@FAMILIES
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_an_error_goes_to_the_sender_from_our_own_address(
    client: SocketAddress, target: SocketAddress, protocol: str
) -> None:
    data = tcp(client, target, payload=b"x" * 99) if protocol == "tcp" else udp(client, target, b"x" * 99)
    source = ENI if client is CLIENT else ENI_6
    reply = error_packet(load(data), packet_too_big(data, 1400), packed(source))
    assert reply is not None
    seen = dissect(reply)
    assert (seen.source[0], seen.destination[0]) == (source, client[0])
    assert (seen.icmp_type, seen.icmp_code, seen.icmp_rest) == ((3, 4, 1400) if client is CLIENT else (2, 0, 1400))
    assert seen.payload == data
    assert seen.traffic_class == (0xC0 if client is CLIENT else 0)
    assert seen.sums_are_right


@pytest.mark.parametrize(
    ("description", "data"),
    [
        ("an ICMP error", icmp_error("192.0.2.1", CLIENT[0], tcp(CLIENT, TARGET), 3, 1)),
        ("to all hosts", udp(CLIENT, ("255.255.255.255", 53), b"x")),
        ("to a group", udp(CLIENT, ("224.0.0.251", 5353), b"x")),
        ("from nobody", udp(("0.0.0.0", 68), TARGET, b"x")),
        ("from a group", udp(("239.0.0.1", 68), TARGET, b"x")),
        ("from all hosts", udp(("255.255.255.255", 68), TARGET, b"x")),
        ("from loopback", udp(("127.0.0.1", 68), TARGET, b"x")),
        ("to a group, IPv6", udp(CLIENT_6, ("ff02::fb", 5353), b"x")),
        ("from a group, IPv6", udp(("ff02::1", 5353), TARGET_6, b"x")),
        ("from nobody, IPv6", udp(("::", 5353), TARGET_6, b"x")),
        ("from loopback, IPv6", udp(("::1", 5353), TARGET_6, b"x")),
    ],
)
def test_some_packets_get_no_error(description: str, data: bytes) -> None:
    source = packed(ENI if data[0] >> 4 == 4 else ENI_6)
    assert error_packet(load(data), time_exceeded(data), source) is None, description


def test_the_neighbours_of_refused_addresses_do_get_one() -> None:
    for source in ("1.0.0.1", "126.255.255.255", "128.0.0.1", "223.255.255.255", "fe80::1", "::2"):
        is_4 = "." in source
        data = udp((source, 9), TARGET if is_4 else TARGET_6, b"x")
        assert error_packet(load(data), time_exceeded(data), packed(ENI if is_4 else ENI_6)) is not None, source
