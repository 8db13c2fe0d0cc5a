"""`UdpHeader`: round trip, the two zeros of its checksum, and each refusal by name."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperplane.errors import Malformation, WireError
from hyperplane.wire.udp import UdpHeader
from tests.cases import CLIENT, CLIENT_6, TARGET, TARGET_6, Sum, packed, udp
from tests.fields import address_pairs, payloads, unsigned

ADDRESSES = packed(CLIENT[0]) + packed(TARGET[0])
ADDRESSES_6 = packed(CLIENT_6[0]) + packed(TARGET_6[0])


@given(unsigned(16), unsigned(16), payloads, address_pairs, st.booleans())
def test_what_was_emitted_is_parsed(
    source: int, destination: int, payload: bytes, addresses: bytes, checksummed: bool
) -> None:
    header = UdpHeader(source, destination, 8 + len(payload), checksummed or len(addresses) == 32)
    data = header.emit(addresses, payload)
    assert data[8:] == payload
    assert UdpHeader.parse(data, addresses=addresses) == header
    assert UdpHeader.parse(memoryview(b"\xaa" * 3 + data), 3, addresses=addresses) == header


@pytest.mark.parametrize(
    ("packet", "header_bytes", "addresses"),
    [
        (udp(CLIENT, TARGET, b"query"), 20, ADDRESSES),
        (udp(CLIENT, TARGET, b"query", checksum=Sum.ABSENT), 20, ADDRESSES),
        (udp(CLIENT_6, TARGET_6, b"query"), 40, ADDRESSES_6),
    ],
)
def test_the_bytes_are_those_of_the_word_by_word_sum(packet: bytes, header_bytes: int, addresses: bytes) -> None:
    header = UdpHeader.parse(packet, header_bytes, addresses=addresses)
    assert (header.source_port, header.destination_port, header.length) == (40000, TARGET[1], 13)
    assert header.emit(addresses, b"query") == packet[header_bytes:]


def test_a_computed_zero_is_sent_as_the_other_zero() -> None:
    """RFC 768. The payload is chosen so that all words sum to ffff."""
    bare = UdpHeader(1, 2, 10).emit(ADDRESSES, b"\0\0")
    payload = bare[6:8]
    data = UdpHeader(1, 2, 10).emit(ADDRESSES, payload)
    assert data[6:8] == b"\xff\xff"
    assert UdpHeader.parse(data, addresses=ADDRESSES).checksummed


@pytest.mark.parametrize(
    ("description", "data", "addresses", "malformation"),
    [
        ("empty", b"", None, Malformation.TRUNCATED),
        ("7 bytes", bytes(7), None, Malformation.TRUNCATED),
        ("length 7", struct.pack("!HHHH", 1, 2, 7, 0), None, Malformation.BAD_LENGTH),
        ("length one short", struct.pack("!HHHHB", 1, 2, 8, 0, 0), None, Malformation.BAD_LENGTH),
        ("length one long", struct.pack("!HHHH", 1, 2, 9, 0), None, Malformation.BAD_LENGTH),
        ("wrong sum", udp(CLIENT, TARGET, b"x", checksum=Sum.WRONG)[20:], ADDRESSES, Malformation.BAD_CHECKSUM),
        ("no sum over IPv6", udp(CLIENT_6, TARGET_6, checksum=Sum.ABSENT)[40:], ADDRESSES_6, Malformation.BAD_CHECKSUM),
    ],
)
def test_refusals(description: str, data: bytes, addresses: bytes | None, malformation: Malformation) -> None:
    with pytest.raises(WireError) as refusal:
        UdpHeader.parse(data, addresses=addresses)
    assert refusal.value.malformation is malformation, description


def test_without_addresses_the_sum_is_not_looked_at() -> None:
    assert UdpHeader.parse(udp(CLIENT, TARGET, b"x", checksum=Sum.WRONG), 20).length == 9


def test_over_ipv6_a_zero_is_no_checksum_even_where_it_would_be_the_right_one() -> None:
    """RFC 8200 section 8.1. The words sum to ffff with either zero in the field; only ffff may be sent."""
    payload = UdpHeader(1, 2, 10).emit(ADDRESSES_6, b"\0\0")[6:8]
    data = UdpHeader(1, 2, 10).emit(ADDRESSES_6, payload)
    assert UdpHeader.parse(data, addresses=ADDRESSES_6).checksummed
    with pytest.raises(WireError) as refusal:
        UdpHeader.parse(data[:6] + b"\0\0" + data[8:], addresses=ADDRESSES_6)
    assert refusal.value.malformation is Malformation.BAD_CHECKSUM
