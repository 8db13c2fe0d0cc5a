"""`Ipv4Header`: round trip, and each refusal by name."""

import pytest
from hypothesis import given

from hyperplane.errors import Malformation, WireError
from hyperplane.wire.ipv4 import DONT_FRAGMENT, MORE_FRAGMENTS, Ipv4Header
from tests.cases import CLIENT, TARGET, Ip, Sum, packed, tcp
from tests.fields import ipv4_headers


@given(ipv4_headers)
def test_what_was_emitted_is_parsed(header: Ipv4Header) -> None:
    data = header.emit()
    assert len(data) == header.header_bytes
    assert Ipv4Header.parse(data, quoted=True) == header
    assert Ipv4Header.parse(memoryview(b"\xaa" * 3 + data), 3, quoted=True) == header


def test_every_field_stands_where_rfc_791_puts_it() -> None:
    data = tcp(CLIENT, TARGET, ip=Ip(ttl=3, traffic_class=0x8D, identification=0xBEEF, options=b"\x94\x04\0\0"))
    header = Ipv4Header.parse(data)
    assert header == Ipv4Header(
        source=packed(CLIENT[0]),
        destination=packed(TARGET[0]),
        protocol=6,
        total_length=44,
        ttl=3,
        traffic_class=0x8D,
        identification=0xBEEF,
        flags=DONT_FRAGMENT,
        options=b"\x94\x04\0\0",
    )
    assert header.emit() == data[:24]


def test_fragments_are_kept_as_they_are() -> None:
    header = Ipv4Header.parse(
        tcp(CLIENT, TARGET, ip=Ip(dont_fragment=False, more_fragments=True, fragment_offset=8191))
    )
    assert (header.flags, header.fragment_offset) == (MORE_FRAGMENTS, 8191)


@pytest.mark.parametrize(
    ("description", "data", "malformation"),
    [
        ("empty", b"", Malformation.TRUNCATED),
        ("19 bytes", tcp(CLIENT, TARGET)[:19], Malformation.TRUNCATED),
        ("options cut", tcp(CLIENT, TARGET, ip=Ip(options=bytes(4), total_length=24))[:23], Malformation.TRUNCATED),
        ("payload cut", tcp(CLIENT, TARGET)[:-1], Malformation.TRUNCATED),
        ("version 6", tcp(CLIENT, TARGET, ip=Ip(version=6)), Malformation.BAD_VERSION),
        ("IHL 4", tcp(CLIENT, TARGET, ip=Ip(header_words=4)), Malformation.BAD_LENGTH),
        ("total length 19", tcp(CLIENT, TARGET, ip=Ip(total_length=19)), Malformation.BAD_LENGTH),
        ("bad sum", tcp(CLIENT, TARGET, ip=Ip(header_checksum=Sum.WRONG)), Malformation.BAD_CHECKSUM),
        ("no sum", tcp(CLIENT, TARGET, ip=Ip(header_checksum=Sum.ABSENT)), Malformation.BAD_CHECKSUM),
    ],
)
def test_refusals(description: str, data: bytes, malformation: Malformation) -> None:
    with pytest.raises(WireError) as refusal:
        Ipv4Header.parse(data)
    assert refusal.value.malformation is malformation, description


def test_a_quoted_header_may_promise_more_than_is_there() -> None:
    assert Ipv4Header.parse(tcp(CLIENT, TARGET, payload=b"x" * 100)[:28], quoted=True).total_length == 140
