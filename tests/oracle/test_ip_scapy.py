"""scapy against our IP headers: the same fields give the same bytes, and each reads the other's."""

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, IPOption_LSRR, IPOption_NOP, IPOption_Router_Alert, IPOption_RR, IPOption_Timestamp
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from hyperplane.wire.ipv4 import Ipv4Header
from hyperplane.wire.ipv6 import Ipv6Header
from tests.fields import ipv4_headers, ipv6_headers

ODD = st.binary(max_size=30)


def scapy_ipv4(header: Ipv4Header, **changed: Any) -> Any:
    return IP(
        src=str(IPv4Address(header.source)),
        dst=str(IPv4Address(header.destination)),
        proto=header.protocol,
        tos=header.traffic_class,
        ttl=header.ttl,
        id=header.identification,
        flags=header.flags,
        frag=header.fragment_offset,
        **changed,
    )


@settings(max_examples=300)
@given(ipv4_headers.filter(lambda header: not header.options), ODD)
def test_scapy_builds_the_same_ipv4_header(header: Ipv4Header, payload: bytes) -> None:
    """Lengths and checksum are scapy's own on its side and ours on ours."""
    data = bytes(scapy_ipv4(header) / Raw(payload))
    expected = Ipv4Header.parse(data)
    assert expected.total_length == 20 + len(payload)
    assert expected.emit() == data[:20]
    assert bytes(scapy_ipv4(header, len=header.total_length, ihl=5)) == header.emit()


@settings(max_examples=300)
@given(ipv4_headers)
def test_scapy_reads_our_ipv4_header(header: Ipv4Header) -> None:
    seen = IP(header.emit())
    assert (seen.src, seen.dst) == (str(IPv4Address(header.source)), str(IPv4Address(header.destination)))
    assert (seen.proto, seen.tos, seen.ttl, seen.id) == (
        header.protocol,
        header.traffic_class,
        header.ttl,
        header.identification,
    )
    assert (int(seen.flags), seen.frag, seen.len, seen.ihl) == (
        header.flags,
        header.fragment_offset,
        header.total_length,
        header.header_bytes // 4,
    )
    if not header.options:
        ours = seen.chksum
        del seen.chksum
        assert IP(bytes(seen)).chksum == ours


@pytest.mark.parametrize(
    "options",
    [
        [IPOption_NOP()] * 4,
        [IPOption_RR(routers=["10.0.0.1", "10.0.0.2"])],
        [IPOption_LSRR(routers=["10.0.0.1"] * 9)],
        [IPOption_Router_Alert()],
        [IPOption_Timestamp(flg=0)],
        [IPOption_NOP(), IPOption_RR(routers=["1.2.3.4"]), IPOption_Router_Alert()],
    ],
)
def test_ipv4_options_are_kept_byte_for_byte(options: list[Any]) -> None:
    data = bytes(IP(src="10.0.0.1", dst="10.0.0.2", proto=17, options=options) / Raw(b"12345678"))
    header = Ipv4Header.parse(data)
    assert header.options and header.emit() == data[: header.header_bytes]
    assert data[header.header_bytes :] == b"12345678"


@settings(max_examples=300)
@given(ipv6_headers, ODD)
def test_scapy_builds_and_reads_the_same_ipv6_header(header: Ipv6Header, payload: bytes) -> None:
    fields = {
        "src": str(IPv6Address(header.source)),
        "dst": str(IPv6Address(header.destination)),
        "nh": header.next_header,
        "hlim": header.hop_limit,
        "tc": header.traffic_class,
        "fl": header.flow_label,
    }
    built = bytes(IPv6(**fields) / Raw(payload))
    expected = Ipv6Header.parse(built)
    assert expected.payload_length == len(payload)
    assert expected.emit() == built[:40]
    assert bytes(IPv6(**fields, plen=header.payload_length)) == header.emit()
    seen = IPv6(header.emit())
    assert seen.plen == header.payload_length
    for name in ("nh", "hlim", "tc", "fl"):
        assert getattr(seen, name) == fields[name], name
    assert (IPv6Address(seen.src).packed, IPv6Address(seen.dst).packed) == (header.source, header.destination)
