"""scapy against our own segments: from the same fields, every sum and length left to it, it makes the same bytes."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from hyperplane.wire.packet import ChecksumState, Packet
from hyperplane.wire.segment import tcp_packet
from hyperplane.wire.tcp_options import timestamps_of
from tests.cases import ACK, CLIENT, CLIENT_6, NOP, PSH, TARGET, TARGET_6, SocketAddress, option, packed, timestamps
from tests.fields import payloads, unsigned

FAMILIES = st.sampled_from([(CLIENT, TARGET), (CLIENT_6, TARGET_6)])
NO_OPTIONS: list[Any] = []
STAMPED = [("NOP", None), ("NOP", None), ("Timestamp", (0xFFFFFFFF, 7))]


def scapy_packet(ends: tuple[SocketAddress, SocketAddress], ttl: int, traffic_class: int, segment: Any) -> bytes:
    (source, _), (destination, _) = ends
    if ":" in source:
        return bytes(IPv6(src=source, dst=destination, hlim=ttl, tc=traffic_class) / segment)
    return bytes(IP(src=source, dst=destination, ttl=ttl, tos=traffic_class, id=0, flags="DF") / segment)


@given(FAMILIES, unsigned(32), unsigned(32), unsigned(16), st.booleans(), payloads, st.integers(1, 255), unsigned(8))
def test_scapy_builds_the_same_bytes(
    ends: tuple[SocketAddress, SocketAddress],
    sequence: int,
    acknowledgment: int,
    window: int,
    is_stamped: bool,
    payload: bytes,
    ttl: int,
    traffic_class: int,
) -> None:
    source, destination = ends
    segment = TCP(
        sport=source[1], dport=destination[1], seq=sequence, ack=acknowledgment, flags="PA", window=window,
        options=STAMPED if is_stamped else NO_OPTIONS,
    )  # fmt: skip
    ports = source[1].to_bytes(2, "big") + destination[1].to_bytes(2, "big")
    ours = tcp_packet(
        packed(source[0]) + packed(destination[0]) + ports,
        sequence,
        acknowledgment,
        PSH | ACK,
        window,
        NOP * 2 + timestamps(0xFFFFFFFF, 7) if is_stamped else b"",
        payload,
        ttl,
        traffic_class,
    )
    assert ours == scapy_packet(ends, ttl, traffic_class, segment / Raw(payload) if payload else segment)


@given(unsigned(32), unsigned(32), st.integers(0, 4), st.integers(0, 2))
def test_scapy_reads_the_timestamps_that_a_header_segment_takes_over(
    value: int, echo: int, nops: int, others: int
) -> None:
    """From options in any order, with whatever else is among them."""
    area = NOP * nops + option(77, b"ab") * others + timestamps(value, echo) + option(4) * others
    area += b"\0" * (-len(area) % 4)
    taken = timestamps_of(area, 0, len(area))
    packet = tcp_packet(bytes(12), 1, 2, PSH | ACK, 3, taken, b"", 64)
    assert IP(packet)[TCP].options == [("NOP", None), ("NOP", None), ("Timestamp", (value, echo))]
    ours = Packet()
    ours.load(bytearray(packet), 0, len(packet), ChecksumState.FINISHED)
    assert ours.payload == ours.end == 52
