"""scapy against our ICMP errors: the same fields give the same bytes, and each reads the other's."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, TCPerror, UDPerror
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPerror6,
    IPv6,
)
from scapy.packet import Raw

from hyperplane.wire.icmp import IcmpError, packet_too_big, time_exceeded
from hyperplane.wire.packet import ChecksumState, Packet
from hyperplane.wire.reply import error_packet
from tests import cases
from tests.fields import unsigned

ROUTER, ROUTER_6 = "192.0.2.1", "2001:db8::1"
ADDRESSES = cases.packed(ROUTER) + cases.packed(cases.CLIENT[0])
ADDRESSES_6 = cases.packed(ROUTER_6) + cases.packed(cases.CLIENT_6[0])
V6_TYPES = {1: ICMPv6DestUnreach, 2: ICMPv6PacketTooBig, 3: ICMPv6TimeExceeded, 4: ICMPv6ParamProblem}
QUOTE = bytes(IP(src=cases.CLIENT[0], dst=cases.TARGET[0]) / TCP(sport=40000, dport=8080, seq=77) / Raw(b"x" * 30))
QUOTE_6 = bytes(IPv6(src=cases.CLIENT_6[0], dst=cases.TARGET_6[0]) / UDP(sport=40000, dport=8080) / Raw(b"x" * 30))


@settings(max_examples=200)
@given(st.sampled_from([3, 11, 12]), unsigned(8), unsigned(16), st.sampled_from([28, 29, 40, len(QUOTE)]))
def test_scapy_builds_the_same_ipv4_error(icmp_type: int, code: int, mtu: int, quote_bytes: int) -> None:
    fields: dict[str, Any] = {"type": icmp_type, "code": code}
    rest = 0
    if (icmp_type, code) == (3, 4):
        fields["nexthopmtu"] = rest = mtu
    elif icmp_type == 12:
        fields["ptr"], rest = mtu & 0xFF, (mtu & 0xFF) << 24
    packet = bytes(IP(src=ROUTER, dst=cases.CLIENT[0]) / ICMP(**fields) / Raw(QUOTE[:quote_bytes]))
    error = IcmpError(4, icmp_type, code, rest, QUOTE[:quote_bytes])
    assert IcmpError.parse(packet, 20, addresses=ADDRESSES) == error
    assert error.emit(ADDRESSES) == packet[20:]
    assert error.quoted_packet().sequence == 77


@settings(max_examples=200)
@given(st.sampled_from(sorted(V6_TYPES)), unsigned(8), unsigned(32), st.sampled_from([48, 50, len(QUOTE_6)]))
def test_scapy_builds_the_same_ipv6_error(icmp_type: int, code: int, word: int, quote_bytes: int) -> None:
    fields: dict[str, Any] = {"code": code}
    if icmp_type in (2, 4):
        fields["mtu" if icmp_type == 2 else "ptr"] = word
    rest = word if icmp_type in (2, 4) else 0
    message = V6_TYPES[icmp_type](**fields)
    packet = bytes(IPv6(src=ROUTER_6, dst=cases.CLIENT_6[0]) / message / Raw(QUOTE_6[:quote_bytes]))
    error = IcmpError(6, icmp_type, code, rest, QUOTE_6[:quote_bytes])
    assert IcmpError.parse(packet, 40, addresses=ADDRESSES_6) == error
    assert error.emit(ADDRESSES_6) == packet[40:]
    assert error.quoted_packet().tuple_bytes[-4:] == QUOTE_6[40:44]


def load(data: bytes) -> Packet:
    packet = Packet()
    packet.load(bytearray(data), 0, len(data), ChecksumState.FINISHED)
    return packet


@pytest.mark.parametrize("size", [0, 500, 1400])
@pytest.mark.parametrize("inner", [TCP(sport=40000, dport=8080, seq=77), UDP(sport=40000, dport=8080)])
def test_scapy_reads_our_ipv4_errors(inner: Any, size: int) -> None:
    data = bytes(IP(src=cases.CLIENT[0], dst=cases.TARGET[0]) / inner / Raw(b"x" * size))
    for error, expected in ((packet_too_big(data, 1400), (3, 4)), (time_exceeded(data), (11, 0))):
        reply = error_packet(load(data), error, cases.packed(ROUTER))
        assert reply is not None and len(reply) <= 576
        seen = IP(reply)
        assert (seen.src, seen.dst, seen.len) == (ROUTER, cases.CLIENT[0], len(reply))
        assert (seen[ICMP].type, seen[ICMP].code) == expected
        if expected == (3, 4):
            assert seen[ICMP].nexthopmtu == 1400
        assert (seen[IPerror].src, seen[IPerror].dst) == (cases.CLIENT[0], cases.TARGET[0])
        quoted = seen[TCPerror] if isinstance(inner, TCP) else seen[UDPerror]
        assert (quoted.sport, quoted.dport) == (40000, 8080)
        sums = seen.chksum, seen[ICMP].chksum
        del seen.chksum, seen[ICMP].chksum
        again = IP(bytes(seen))
        assert (again.chksum, again[ICMP].chksum) == sums


@pytest.mark.parametrize("size", [0, 500, 1400])
def test_scapy_reads_our_ipv6_errors(size: int) -> None:
    inner = TCP(sport=40000, dport=8080, seq=77)
    data = bytes(IPv6(src=cases.CLIENT_6[0], dst=cases.TARGET_6[0]) / inner / Raw(b"x" * size))
    for error, layer in ((packet_too_big(data, 1400), ICMPv6PacketTooBig), (time_exceeded(data), ICMPv6TimeExceeded)):
        reply = error_packet(load(data), error, cases.packed(ROUTER_6))
        assert reply is not None and len(reply) <= 1280
        seen = IPv6(reply)
        assert (seen.src, seen.dst, seen.plen) == (ROUTER_6, cases.CLIENT_6[0], len(reply) - 40)
        assert seen[layer].code == 0
        if layer is ICMPv6PacketTooBig:
            assert seen[layer].mtu == 1400
        assert (seen[IPerror6].src, seen[IPerror6].dst) == (cases.CLIENT_6[0], cases.TARGET_6[0])
        assert (seen[TCPerror].sport, seen[TCPerror].dport, seen[TCPerror].seq) == (40000, 8080, 77)
        checksum = seen[layer].cksum
        del seen[layer].cksum
        assert IPv6(bytes(seen))[layer].cksum == checksum
