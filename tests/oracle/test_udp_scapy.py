"""scapy against our UDP: the same fields give the same bytes, and each reads the other's."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from hyperplane.wire.packet import ChecksumState, Packet
from hyperplane.wire.udp import UdpHeader
from tests import cases
from tests.fields import unsigned

FAMILIES = st.sampled_from([(cases.CLIENT, cases.TARGET), (cases.CLIENT_6, cases.TARGET_6)])
Family = tuple[cases.SocketAddress, cases.SocketAddress]
PAYLOADS = st.binary(max_size=64) | st.binary(min_size=1400, max_size=1473)


def scapy_ip(family: Family) -> Any:
    layer = IP if family[0] is cases.CLIENT else IPv6
    return layer(src=family[0][0], dst=family[1][0])


@settings(max_examples=400)
@given(unsigned(16), unsigned(16), PAYLOADS, FAMILIES)
def test_scapy_builds_and_reads_the_same_datagram(
    source_port: int, destination_port: int, payload: bytes, family: Family
) -> None:
    addresses = cases.packed(family[0][0]) + cases.packed(family[1][0])
    packet = bytes(scapy_ip(family) / UDP(sport=source_port, dport=destination_port) / Raw(payload))
    datagram = packet[20 if family[0] is cases.CLIENT else 40 :]
    header = UdpHeader(source_port, destination_port, 8 + len(payload))
    assert UdpHeader.parse(datagram, addresses=addresses) == header
    assert header.emit(addresses, payload) == datagram
    seen = UDP(datagram)
    assert (seen.sport, seen.dport, seen.len) == (source_port, destination_port, 8 + len(payload))
    view = Packet()
    view.load(bytearray(packet), 0, len(packet), ChecksumState.FINISHED)
    assert view.tuple_bytes == addresses + datagram[:4]


@given(unsigned(16), unsigned(16), PAYLOADS)
def test_a_datagram_without_a_checksum(source_port: int, destination_port: int, payload: bytes) -> None:
    family = (cases.CLIENT, cases.TARGET)
    packet = bytes(scapy_ip(family) / UDP(sport=source_port, dport=destination_port, chksum=0) / Raw(payload))
    addresses = cases.packed(family[0][0]) + cases.packed(family[1][0])
    header = UdpHeader.parse(packet, 20, addresses=addresses)
    assert not header.checksummed
    assert header.emit(addresses, payload) == packet[20:]


@given(FAMILIES)
def test_the_payload_that_sums_to_zero(family: Family) -> None:
    """RFC 768: scapy too sends ffff for a computed 0."""
    addresses = cases.packed(family[0][0]) + cases.packed(family[1][0])
    payload = UdpHeader(5, 6, 10).emit(addresses, b"\0\0")[6:8]
    packet = bytes(scapy_ip(family) / UDP(sport=5, dport=6) / Raw(payload))
    datagram = packet[20 if family[0] is cases.CLIENT else 40 :]
    assert datagram[6:8] == b"\xff\xff"
    assert UdpHeader(5, 6, 10).emit(addresses, payload) == datagram
