"""A TCP segment of our own: the very bytes that a sender with these numbers would have sent."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperplane.wire.packet import ChecksumState, Packet
from hyperplane.wire.segment import tcp_packet
from tests.cases import ACK, CLIENT, CLIENT_6, PSH, TARGET, TARGET_6, Ip, SocketAddress, packed, tcp
from tests.dissection import dissect
from tests.fields import payloads, unsigned

FAMILIES = [(CLIENT, TARGET), (CLIENT_6, TARGET_6)]


def tuple_of(source: SocketAddress, destination: SocketAddress) -> bytes:
    ports = source[1].to_bytes(2, "big") + destination[1].to_bytes(2, "big")
    return packed(source[0]) + packed(destination[0]) + ports


def built(ends: tuple[SocketAddress, SocketAddress], **fields: Any) -> bytes:
    numbers: dict[str, Any] = {
        "sequence": 1,
        "acknowledgment": 2,
        "flags": PSH | ACK,
        "window": 3,
        "options": b"",
        "payload": b"",
    }
    return tcp_packet(tuple_of(*ends), **({"ttl": 63} | numbers | fields))


options = st.integers(0, 10).flatmap(lambda words: st.binary(min_size=words * 4, max_size=words * 4))


@pytest.mark.parametrize("ends", FAMILIES, ids=["IPv4", "IPv6"])
@given(unsigned(32), unsigned(32), unsigned(9), unsigned(16), options, payloads, st.integers(1, 255), unsigned(8))
def test_every_field_stands_where_it_belongs(
    ends: tuple[SocketAddress, SocketAddress],
    sequence: int,
    acknowledgment: int,
    flags: int,
    window: int,
    area: bytes,
    payload: bytes,
    ttl: int,
    traffic_class: int,
) -> None:
    flags |= ACK  # without it a segment acknowledges nothing, and the field is not looked at
    packet = built(
        ends, sequence=sequence, acknowledgment=acknowledgment, flags=flags, window=window, options=area,
        payload=payload, ttl=ttl, traffic_class=traffic_class,
    )  # fmt: skip
    assert packet == tcp(
        *ends, sequence=sequence, acknowledgment=acknowledgment, flags=flags, window=window, options=area,
        payload=payload, ip=Ip(ttl=ttl, traffic_class=traffic_class, identification=0),
    )  # fmt: skip
    assert dissect(packet).sums_are_right


@pytest.mark.parametrize("ends", FAMILIES, ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("size", [0, 1, 99, 100, 124, 1460])
def test_we_read_what_we_write(ends: tuple[SocketAddress, SocketAddress], size: int) -> None:
    data = built(ends, payload=bytes(range(256))[:size] + bytes(max(size - 256, 0)), options=b"\x01" * 12)
    packet = Packet()
    packet.load(bytearray(data), 0, len(data), ChecksumState.FINISHED)
    assert (packet.sequence, packet.acknowledgment, packet.window, packet.flags) == (1, 2, 3, PSH | ACK)
    assert packet.tuple_bytes == tuple_of(*ends)
    assert packet.end - packet.payload == size
    assert packet.dont_fragment and packet.ttl == 63


def test_it_is_never_cut_and_needs_no_identification() -> None:
    """RFC 6864 section 4: an atomic datagram."""
    seen = dissect(built(FAMILIES[0], payload=b"x"))
    assert (seen.dont_fragment, seen.identification) == (True, 0)
