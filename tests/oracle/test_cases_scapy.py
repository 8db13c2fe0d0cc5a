"""scapy against the test packets themselves: a builder that is wrong would make every test blind."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.packet import Raw

from tests import cases
from tests.dissection import dissect
from tests.fields import payloads, tcp_flags, unsigned

FAMILIES = st.sampled_from([(cases.CLIENT, cases.TARGET), (cases.CLIENT_6, cases.TARGET_6)])
Family = tuple[cases.SocketAddress, cases.SocketAddress]
ip_fields = st.builds(
    cases.Ip,
    ttl=unsigned(8),
    traffic_class=unsigned(8),
    identification=unsigned(16),
    dont_fragment=st.booleans(),
    more_fragments=st.booleans(),
    reserved_flag=st.booleans(),
    fragment_offset=unsigned(13),
    flow_label=unsigned(20),
)


def scapy_ip(family: Family, fields: cases.Ip) -> Any:
    source, destination = family[0][0], family[1][0]
    if family[0] is cases.CLIENT:
        flags = fields.reserved_flag << 2 | fields.dont_fragment << 1 | fields.more_fragments
        return IP(
            src=source,
            dst=destination,
            ttl=fields.ttl,
            tos=fields.traffic_class,
            id=fields.identification,
            flags=flags,
            frag=fields.fragment_offset,
        )
    return IPv6(src=source, dst=destination, hlim=fields.ttl, tc=fields.traffic_class, fl=fields.flow_label)


@settings(max_examples=300)
@given(FAMILIES, ip_fields, tcp_flags, unsigned(32), unsigned(32), payloads)
def test_tcp(family: Family, fields: cases.Ip, flags: int, sequence: int, acknowledgment: int, payload: bytes) -> None:
    source, destination = family
    ours = cases.tcp(
        source,
        destination,
        flags=flags,
        sequence=sequence,
        acknowledgment=acknowledgment,
        options=cases.linux_syn(1400, 9, 88),
        payload=payload,
        ip=fields,
    )
    theirs = TCP(
        sport=source[1],
        dport=destination[1],
        flags=flags,
        seq=sequence,
        ack=acknowledgment if flags & cases.ACK else 0,
        window=502,
        options=[("MSS", 1400), ("SAckOK", b""), ("Timestamp", (88, 0)), ("NOP", None), ("WScale", 9)],
    )
    assert ours == bytes(scapy_ip(family, fields) / theirs / Raw(payload))
    seen = dissect(ours)
    assert seen.sums_are_right and seen.payload == payload and (seen.source, seen.destination) == family


@settings(max_examples=200)
@given(FAMILIES, ip_fields, payloads)
def test_udp(family: Family, fields: cases.Ip, payload: bytes) -> None:
    source, destination = family
    ours = cases.udp(source, destination, payload, ip=fields)
    assert ours == bytes(scapy_ip(family, fields) / UDP(sport=source[1], dport=destination[1]) / Raw(payload))
    assert dissect(ours).sums_are_right


@given(FAMILIES, unsigned(16))
def test_too_big(family: Family, mtu: int) -> None:
    inner = cases.tcp(*family, payload=b"x" * 9)
    ours = cases.too_big(family[1][0], family[0][0], inner, mtu)
    if family[0] is cases.CLIENT:
        layers = IP(src=family[1][0], dst=family[0][0], id=0x1234, flags="DF") / ICMP(type=3, code=4, nexthopmtu=mtu)
    else:
        layers = IPv6(src=family[1][0], dst=family[0][0]) / ICMPv6PacketTooBig(mtu=mtu)
    assert ours == bytes(layers / Raw(inner))
    assert dissect(ours).sums_are_right


@given(FAMILIES, payloads)
def test_wrong_sums_are_wrong(family: Family, payload: bytes) -> None:
    assert not dissect(cases.tcp(*family, payload=payload, checksum=cases.Sum.WRONG)).transport_sum_is_right
    assert not dissect(cases.tcp(*family, payload=b"odd", checksum=cases.Sum.UNFINISHED)).transport_sum_is_right
    assert not dissect(cases.udp(*family, payload, checksum=cases.Sum.WRONG)).transport_sum_is_right
    corrupt = cases.tcp(*family, ip=cases.Ip(header_checksum=cases.Sum.WRONG))
    assert dissect(corrupt).header_sum_is_right is (family[0] is cases.CLIENT_6)
