"""`Ipv6Header`: round trip, and each refusal by name."""

import pytest
from hypothesis import given

from hyperplane.errors import Malformation, WireError
from hyperplane.wire.ipv6 import Ipv6Header
from tests.cases import CLIENT_6, TARGET_6, Ip, packed, tcp
from tests.fields import ipv6_headers


@given(ipv6_headers)
def test_what_was_emitted_is_parsed(header: Ipv6Header) -> None:
    data = header.emit()
    assert len(data) == 40
    assert Ipv6Header.parse(data, quoted=True) == header
    assert Ipv6Header.parse(memoryview(b"\xaa" * 3 + data), 3, quoted=True) == header


def test_every_field_stands_where_rfc_8200_puts_it() -> None:
    data = tcp(CLIENT_6, TARGET_6, ip=Ip(ttl=3, traffic_class=0x8D, flow_label=0xBEEF5))
    header = Ipv6Header.parse(data)
    assert header == Ipv6Header(
        source=packed(CLIENT_6[0]),
        destination=packed(TARGET_6[0]),
        next_header=6,
        payload_length=20,
        hop_limit=3,
        traffic_class=0x8D,
        flow_label=0xBEEF5,
    )
    assert header.emit() == data[:40]


@pytest.mark.parametrize(
    ("description", "data", "malformation"),
    [
        ("empty", b"", Malformation.TRUNCATED),
        ("39 bytes", tcp(CLIENT_6, TARGET_6)[:39], Malformation.TRUNCATED),
        ("payload cut", tcp(CLIENT_6, TARGET_6)[:-1], Malformation.TRUNCATED),
        ("version 4", tcp(CLIENT_6, TARGET_6, ip=Ip(version=4)), Malformation.BAD_VERSION),
    ],
)
def test_refusals(description: str, data: bytes, malformation: Malformation) -> None:
    with pytest.raises(WireError) as refusal:
        Ipv6Header.parse(data)
    assert refusal.value.malformation is malformation, description


def test_a_quoted_header_may_promise_more_than_is_there() -> None:
    assert Ipv6Header.parse(tcp(CLIENT_6, TARGET_6, payload=b"x" * 100)[:48], quoted=True).payload_length == 120
