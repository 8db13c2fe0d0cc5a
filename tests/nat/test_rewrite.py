"""Rewriting in place gives the bytes of a packet built with the new addresses. scapy is the judge too."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet as ScapyPacket

from hyperplane.nat.rewrite import address_delta, rewrite, transport_delta
from hyperplane.wire.checksum import adjusted
from hyperplane.wire.packet import ChecksumState, Packet
from tests.cases import (
    CLIENT,
    CLIENT_6,
    ENDPOINT,
    TARGET,
    TARGET_6,
    Ip,
    SocketAddress,
    Sum,
    linux_syn,
    packed,
    tcp,
    udp,
)
from tests.dissection import dissect
from tests.fields import unsigned
from tests.nodes import BALANCER_6, ENDPOINT_6

STATES = pytest.mark.parametrize("state", [ChecksumState.FINISHED, ChecksumState.UNFINISHED], ids=lambda it: it.name)
SUMS = {ChecksumState.FINISHED: Sum.RIGHT, ChecksumState.UNFINISHED: Sum.UNFINISHED}

hosts = st.tuples(st.integers(0, (1 << 32) - 1).map(lambda value: value.to_bytes(4, "big")), unsigned(16))


def tuple_of(source: SocketAddress, destination: SocketAddress) -> bytes:
    ports = source[1].to_bytes(2, "big") + destination[1].to_bytes(2, "big")
    return packed(source[0]) + packed(destination[0]) + ports


def rewritten(
    data: bytes, old: bytes, new: bytes, state: ChecksumState = ChecksumState.FINISHED, identification: int = 0
) -> bytes:
    packet, buffer = Packet(), bytearray(b"\x99" * 3 + data)
    packet.load(buffer, 3, len(data), state)
    assert packet.tuple_bytes == old
    rewrite(packet, new, address_delta(old, new), transport_delta(old, new), identification)
    return bytes(buffer[3:])


def back(data: bytes, old: bytes, new: bytes) -> bytes:
    """The reply direction: the same numbers, negative."""
    packet, buffer = Packet(), bytearray(data)
    packet.load(buffer, 0, len(data), ChecksumState.FINISHED)
    rewrite(packet, old, -address_delta(old, new), -transport_delta(old, new), packet.identification)
    return bytes(buffer)


ROADS = [
    (CLIENT, ENDPOINT, ("10.9.0.7", 20000), TARGET),
    (("10.9.3.20", 8080), ("10.9.3.10", 443), ("10.9.0.7", 1024), ("10.9.3.20", 8080)),
    (("0.0.0.0", 0), ("0.0.0.0", 0), ("255.255.255.255", 65_535), ("255.255.255.255", 65_535)),
    (CLIENT_6, ENDPOINT_6, BALANCER_6, TARGET_6),
]


@STATES
@pytest.mark.parametrize("road", ROADS, ids=["plain", "hairpin", "edges", "6"])
@pytest.mark.parametrize("size", [0, 1, 7, 1000, 1001])
@pytest.mark.parametrize("build", [tcp, udp], ids=["tcp", "udp"])
def test_the_bytes_are_those_of_a_packet_built_with_the_new_tuple(
    build: type, road: tuple[SocketAddress, ...], size: int, state: ChecksumState
) -> None:
    client, endpoint, balancer, target = road
    payload = bytes(range(256)) * 4
    options = {"options": linux_syn()} if build is tcp else {}
    data = build(client, endpoint, payload=payload[:size], checksum=SUMS[state], **options)
    expected = build(balancer, target, payload=payload[:size], **options)
    assert rewritten(data, tuple_of(client, endpoint), tuple_of(balancer, target), state) == expected


@given(hosts, hosts, hosts, hosts, st.binary(max_size=40), st.booleans(), st.booleans())
def test_nat_36_incremental_equals_full_recomputation(
    client: tuple[bytes, int],
    endpoint: tuple[bytes, int],
    balancer: tuple[bytes, int],
    target: tuple[bytes, int],
    payload: bytes,
    is_udp: bool,
    dont_fragment: bool,
) -> None:
    """RFC 1624, for every header there is; and the way back restores every byte."""
    ends = [(f"{a[0]}.{a[1]}.{a[2]}.{a[3]}", port) for a, port in (client, endpoint, balancer, target)]
    build = udp if is_udp else tcp
    fields = Ip(dont_fragment=dont_fragment, identification=77)
    data = build(ends[0], ends[1], payload=payload, ip=fields)
    old, new = tuple_of(ends[0], ends[1]), tuple_of(ends[2], ends[3])
    out = rewritten(data, old, new, identification=77)
    assert out == build(ends[2], ends[3], payload=payload, ip=fields)
    assert back(out, old, new) == data


def test_nat_36_the_vector_of_rfc_1624() -> None:
    """Header checksum DD2F, a word changes from 5555 to 3285: the sum becomes 0000, not FFFF."""
    assert adjusted(0xDD2F, 0x3285 - 0x5555) == 0x0000


def test_nat_35_no_checksum_stays_none_and_a_computed_zero_is_sent_as_ffff() -> None:
    old, new = tuple_of(CLIENT, TARGET), tuple_of(("10.9.0.7", 20000), TARGET)
    absent = rewritten(udp(CLIENT, TARGET, b"x", checksum=Sum.ABSENT), old, new)
    assert dissect(absent).checksum == 0
    base = int.from_bytes(udp(("10.9.0.7", 20000), TARGET, b"\0\0")[26:28], "big")
    payload = base.to_bytes(2, "big")  # makes the sum of all come out as 0
    zero = rewritten(udp(CLIENT, TARGET, payload), old, new)
    assert dissect(zero).checksum == 0xFFFF
    assert dissect(zero).sums_are_right


def test_nat_51_datagrams_that_may_be_cut_get_an_identification_and_others_keep_theirs() -> None:
    old, new = tuple_of(CLIENT, TARGET), tuple_of(("10.9.0.7", 20000), TARGET)
    for dont_fragment, identification in ((False, 0xBEEF), (True, 0x1234)):
        out = dissect(
            rewritten(udp(CLIENT, TARGET, b"x", ip=Ip(dont_fragment=dont_fragment)), old, new, identification=0xBEEF)
        )
        assert (out.identification, out.header_sum_is_right) == (identification, True)


def test_nat_50_traffic_class_and_congestion_bits_are_kept() -> None:
    old, new = tuple_of(CLIENT, TARGET), tuple_of(("10.9.0.7", 20000), TARGET)
    for traffic_class in (0x8C, 0x03, 0xFF):
        fields = Ip(traffic_class=traffic_class)
        out = rewritten(tcp(CLIENT, TARGET, ip=fields), old, new)
        assert out == tcp(("10.9.0.7", 20000), TARGET, ip=fields)


@pytest.mark.parametrize("family", [4, 6])
def test_a_super_packet_keeps_its_unfinished_sum_to_the_kernel(family: int) -> None:
    """The kernel finishes each segment; we change addresses and ports only."""
    road = ROADS[0] if family == 4 else ROADS[3]
    client, endpoint, balancer, target = road
    data = tcp(client, endpoint, payload=b"x" * 60_000, checksum=Sum.UNFINISHED)
    out = rewritten(data, tuple_of(client, endpoint), tuple_of(balancer, target), ChecksumState.SEGMENTED)
    expected = tcp(balancer, target, payload=b"x" * 60_000)
    field = (20 if family == 4 else 40) + 16
    assert out[:field] + out[field + 2 :] == expected[:field] + expected[field + 2 :]


# --- scapy ----------------------------------------------------------------------------------------------


def _scapy(road: tuple[SocketAddress, ...], layer: ScapyPacket) -> bytes:
    source, destination = road
    layer.sport, layer.dport = source[1], destination[1]
    ip = IPv6(src=source[0], dst=destination[0]) if ":" in source[0] else IP(src=source[0], dst=destination[0])
    return bytes(ip / layer)


@pytest.mark.parametrize("road", [ROADS[0], ROADS[1], ROADS[3]], ids=["plain", "hairpin", "6"])
@pytest.mark.parametrize(
    "layer",
    [TCP(flags="S", options=[("MSS", 1460), ("Timestamp", (1, 0))]), TCP(flags="PA") / b"odd", UDP() / b"even"],
    ids=["syn", "data", "datagram"],
)
def test_scapy_builds_the_same_bytes_both_ways(layer: ScapyPacket, road: tuple[SocketAddress, ...]) -> None:
    client, endpoint, balancer, target = road
    data, expected = _scapy((client, endpoint), layer.copy()), _scapy((balancer, target), layer.copy())
    old, new = tuple_of(client, endpoint), tuple_of(balancer, target)
    assert rewritten(data, old, new, identification=1) == expected
    assert back(expected, old, new) == data
