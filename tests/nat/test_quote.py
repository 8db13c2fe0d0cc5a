"""ICMP errors: outside like any packet, and the quote again what its receiver once sent."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, ICMPerror, IPerror, TCPerror

from hyperplane.limits import PATH_MTU_MIN
from hyperplane.nat.quote import translate_error
from hyperplane.wire.icmp import IcmpError
from hyperplane.wire.packet import ChecksumState, Packet
from tests.cases import (
    BALANCER,
    CLIENT,
    ENDPOINT,
    TARGET,
    Ip,
    SocketAddress,
    Sum,
    icmp_error,
    packed,
    tcp,
    too_big,
    udp,
)
from tests.dissection import dissect

ROUTER = "10.9.9.9"


def tuple_of(source: SocketAddress, destination: SocketAddress) -> bytes:
    ports = source[1].to_bytes(2, "big") + destination[1].to_bytes(2, "big")
    return packed(source[0]) + packed(destination[0]) + ports


def translated(data: bytes) -> bytes:
    """The error on its way to the client, who sent CLIENT -> ENDPOINT and knows nobody else."""
    packet, buffer = Packet(), bytearray(data)
    packet.load(buffer, 0, len(data), ChecksumState.FINISHED)
    error = IcmpError.parse(data[20:], addresses=data[12:20])
    addresses = packed(ENDPOINT[0]) + packed(CLIENT[0])
    translate_error(packet, error, error.quoted_packet(), addresses, tuple_of(CLIENT, ENDPOINT))
    return bytes(buffer)


@pytest.mark.parametrize("build", [tcp, udp], ids=["tcp", "udp"])
@pytest.mark.parametrize(("icmp_type", "code"), [(3, 0), (3, 1), (3, 3), (3, 13), (11, 0), (12, 0)])
@pytest.mark.parametrize("quote_bytes", [28, 40, 548])
def test_nat_40_the_client_gets_the_error_about_its_own_packet(
    build: type, icmp_type: int, code: int, quote_bytes: int
) -> None:
    """Byte for byte the error that a router on a path without a translator would have sent."""
    sent_by_us, sent_by_client = build(BALANCER, TARGET, payload=b"hello"), build(CLIENT, ENDPOINT, payload=b"hello")
    came = icmp_error(ROUTER, BALANCER[0], sent_by_us, icmp_type, code, quote_bytes=quote_bytes)
    expected = icmp_error(ENDPOINT[0], CLIENT[0], sent_by_client, icmp_type, code, quote_bytes=quote_bytes)
    assert translated(came) == expected
    assert dissect(translated(came)).sums_are_right


def test_nat_40_options_of_the_quoted_packet_stay() -> None:
    options = Ip(options=b"\x94\x04\x00\x00")
    came = icmp_error(ROUTER, BALANCER[0], udp(BALANCER, TARGET, b"x", ip=options), 3, 3)
    assert translated(came) == icmp_error(ENDPOINT[0], CLIENT[0], udp(CLIENT, ENDPOINT, b"x", ip=options), 3, 3)


def test_nat_35_a_quoted_datagram_without_a_checksum_stays_without() -> None:
    came = icmp_error(ROUTER, BALANCER[0], udp(BALANCER, TARGET, b"x", checksum=Sum.ABSENT), 3, 3)
    expected = icmp_error(ENDPOINT[0], CLIENT[0], udp(CLIENT, ENDPOINT, b"x", checksum=Sum.ABSENT), 3, 3)
    assert translated(came) == expected


def test_a_quoted_sum_that_is_wrong_stays_wrong_by_as_much() -> None:
    """RFC 5508 REQ-3c: it is not judged, and never repaired."""
    came = icmp_error(ROUTER, BALANCER[0], tcp(BALANCER, TARGET, checksum=Sum.WRONG), 3, 1)
    right = icmp_error(ENDPOINT[0], CLIENT[0], tcp(CLIENT, ENDPOINT), 3, 1)
    out = translated(came)
    assert out != right
    assert dissect(out).sums_are_right, "the error itself is whole"


@pytest.mark.parametrize(("told", "passed_on"), [(1400, 1400), (552, 552), (551, 552), (68, 552), (0, 552)])
def test_s_04_a_next_hop_mtu_is_never_below_the_floor(told: int, passed_on: int) -> None:
    assert PATH_MTU_MIN == 552
    out = dissect(translated(too_big(ROUTER, BALANCER[0], tcp(BALANCER, TARGET), told)))
    assert (out.icmp_type, out.icmp_code, out.icmp_rest) == (3, 4, passed_on)
    assert out.sums_are_right


def test_scapy_reads_what_we_made_of_it() -> None:
    came = bytes(IP(src=ROUTER, dst=BALANCER[0]) / ICMP(type=3, code=4, nexthopmtu=1400) / tcp(BALANCER, TARGET))
    seen = IP(translated(came))
    assert (seen.src, seen.dst, seen[ICMP].nexthopmtu) == (ENDPOINT[0], CLIENT[0], 1400)
    assert (seen[IPerror].src, seen[IPerror].dst) == (CLIENT[0], ENDPOINT[0])
    assert (seen[TCPerror].sport, seen[TCPerror].dport) == (CLIENT[1], ENDPOINT[1])
    sums = seen[IP].chksum, seen[ICMP].chksum, seen[IPerror].chksum, seen[TCPerror].chksum
    for layer in (seen, seen[ICMP], seen[IPerror], seen[TCPerror]):
        del layer.chksum
    fresh = IP(bytes(seen))
    assert sums == (fresh[IP].chksum, fresh[ICMP].chksum, fresh[IPerror].chksum, fresh[TCPerror].chksum)
    assert not fresh.haslayer(ICMPerror) and not fresh.haslayer(TCP) and not fresh.haslayer(UDP)
