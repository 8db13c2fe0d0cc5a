"""`Packet`: what it reads, what it refuses, and what it makes of the three kinds of checksums."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperplane.errors import Malformation, WireError
from hyperplane.wire.packet import ChecksumState, Packet, flipped
from tests.cases import (
    ACK,
    AE,
    CLIENT,
    CLIENT_6,
    CWR,
    ECE,
    FIN,
    PSH,
    RST,
    SYN,
    TARGET,
    TARGET_6,
    URG,
    Ip,
    SocketAddress,
    Sum,
    icmp,
    icmp_error,
    linux_syn,
    packed,
    tcp,
    udp,
)
from tests.malformed import MALFORMED, Malformed

FAMILIES = pytest.mark.parametrize(("source", "destination"), [(CLIENT, TARGET), (CLIENT_6, TARGET_6)], ids=["4", "6"])


def load(data: bytes, state: ChecksumState = ChecksumState.FINISHED, start: int = 0) -> Packet:
    packet = Packet()
    packet.load(bytearray(bytes(start) + data + b"\xee" * 7), start, len(data), state)
    return packet


def tuple_of(source: SocketAddress, destination: SocketAddress) -> bytes:
    ports = source[1].to_bytes(2, "big") + destination[1].to_bytes(2, "big")
    return packed(source[0]) + packed(destination[0]) + ports


def transport_field(data: bytes, offset: int) -> int:
    at = (20 if data[0] >> 4 == 4 else 40) + offset
    return int.from_bytes(data[at : at + 2], "big")


@FAMILIES
@pytest.mark.parametrize("start", [0, 1, 40])
def test_a_tcp_segment_is_read_in_one_go(source: SocketAddress, destination: SocketAddress, start: int) -> None:
    data = tcp(
        source,
        destination,
        flags=PSH | ACK,
        sequence=0xFFFFFFF0,
        acknowledgment=7,
        window=512,
        options=linux_syn(),
        payload=b"hello",
        ip=Ip(ttl=9, identification=77),
    )
    packet = load(data, start=start)
    header_bytes = 20 if source is CLIENT else 40
    assert packet.version == (4 if source is CLIENT else 6)
    assert packet.protocol == 6
    assert packet.tuple_bytes == tuple_of(source, destination)
    assert (packet.transport, packet.payload, packet.end) == (
        start + header_bytes,
        start + header_bytes + 40,
        start + len(data),
    )
    assert (packet.sequence, packet.acknowledgment, packet.window) == (0xFFFFFFF0, 7, 512)
    assert (packet.flags, packet.ttl) == (PSH | ACK, 9)
    assert (packet.identification, packet.dont_fragment) == (77 if source is CLIENT else 0, True)
    assert packet.checksum == transport_field(data, 16)
    assert packet.data() == data


@FAMILIES
def test_a_udp_datagram_is_read(source: SocketAddress, destination: SocketAddress) -> None:
    data = udp(source, destination, b"hello", ip=Ip(dont_fragment=False))
    packet = load(data)
    assert packet.protocol == 17
    assert packet.tuple_bytes == tuple_of(source, destination)
    assert packet.payload == packet.transport + 8
    assert packet.dont_fragment is (source is CLIENT_6)
    assert (packet.flags, packet.sequence, packet.acknowledgment, packet.window) == (0, 0, 0, 0)
    assert packet.checksum == transport_field(data, 6)


def test_an_icmp_error_has_addresses_and_no_ports() -> None:
    packet = load(icmp_error("192.0.2.1", CLIENT[0], tcp(CLIENT, TARGET), 3, 1))
    assert packet.protocol == 1
    assert packet.tuple_bytes == packed("192.0.2.1") + packed(CLIENT[0]) + bytes(4)


def test_one_view_serves_many_packets_and_keeps_nothing() -> None:
    """A node reuses the view: what one packet set must not be seen in the next."""
    packet = Packet()
    segment = tcp(CLIENT, TARGET, flags=SYN, sequence=9, window=9)
    packet.load(bytearray(segment), 0, len(segment), ChecksumState.FINISHED)
    for data in (udp(CLIENT, TARGET, b"x"), icmp(TARGET[0], CLIENT[0], 3), udp(CLIENT_6, TARGET_6, b"x")):
        packet.load(bytearray(data), 0, len(data), ChecksumState.FINISHED)
        fresh = load(data)
        for name in Packet.__slots__:
            if name != "buffer":
                assert getattr(packet, name) == getattr(fresh, name), name


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case.description)
def test_malformed_packets_are_refused_with_their_reason(case: Malformed) -> None:
    with pytest.raises(WireError) as refusal:
        load(case.packet)
    assert refusal.value.malformation is case.malformation


@FAMILIES
@pytest.mark.parametrize("extra", [0, PSH, ECE, CWR, AE, ECE | CWR | AE])
@pytest.mark.parametrize("flags", [SYN, SYN | ACK, ACK, FIN | ACK, RST, RST | ACK, ACK | URG, FIN | ACK | URG])
def test_every_set_of_flags_that_a_tcp_sends_passes(
    source: SocketAddress, destination: SocketAddress, flags: int, extra: int
) -> None:
    assert load(tcp(source, destination, flags=flags | extra)).flags == flags | extra


@pytest.mark.parametrize("words", range(5, 16))
def test_every_data_offset_passes(words: int) -> None:
    packet = load(tcp(CLIENT, TARGET, options=bytes((words - 5) * 4), payload=b"x"))
    assert packet.payload - packet.transport == words * 4


@pytest.mark.parametrize("size", [0, 1, 2, 1472, 1473, 65507])
def test_udp_of_every_size_passes(size: int) -> None:
    packet = load(udp(CLIENT, TARGET, b"x" * size))
    assert packet.end - packet.payload == size


def test_udp_without_a_checksum_stays_without() -> None:
    assert load(udp(CLIENT, TARGET, b"x", checksum=Sum.ABSENT)).checksum == -1


@FAMILIES
@given(payload=st.binary(max_size=40))
def test_an_unfinished_checksum_is_finished(source: SocketAddress, destination: SocketAddress, payload: bytes) -> None:
    unfinished = tcp(source, destination, payload=payload, checksum=Sum.UNFINISHED)
    right = transport_field(tcp(source, destination, payload=payload), 16)
    assert load(unfinished, ChecksumState.UNFINISHED).checksum % 0xFFFF == right % 0xFFFF


@FAMILIES
def test_an_unfinished_udp_checksum_is_finished(source: SocketAddress, destination: SocketAddress) -> None:
    unfinished = udp(source, destination, b"hello", checksum=Sum.UNFINISHED)
    right = transport_field(udp(source, destination, b"hello"), 6)
    assert load(unfinished, ChecksumState.UNFINISHED).checksum == right


@FAMILIES
def test_a_super_packet_is_not_summed(source: SocketAddress, destination: SocketAddress) -> None:
    data = tcp(source, destination, payload=b"x" * 60_000, checksum=Sum.UNFINISHED)
    packet = load(data, ChecksumState.SEGMENTED)
    assert (packet.checksum, packet.end - packet.payload) == (0, 60_000)


@FAMILIES
def test_flipping_is_its_own_inverse(source: SocketAddress, destination: SocketAddress) -> None:
    there = tuple_of(source, destination)
    assert flipped(there) == tuple_of(destination, source)
    assert flipped(flipped(there)) == there


@given(st.sampled_from([CLIENT, CLIENT_6]), st.binary(min_size=1, max_size=30), st.data())
def test_no_single_bit_error_in_a_segment_passes(source: SocketAddress, payload: bytes, draw: st.DataObject) -> None:
    """NAT must never make a corrupt packet valid: behind the IP header every single flipped bit is noticed."""
    destination = TARGET if source is CLIENT else TARGET_6
    data = bytearray(tcp(source, destination, payload=payload))
    first = (20 if source is CLIENT else 40) * 8
    bit = draw.draw(st.integers(first, len(data) * 8 - 1))
    data[bit // 8] ^= 0x80 >> bit % 8
    with pytest.raises(WireError) as refusal:
        load(bytes(data))
    assert refusal.value.malformation in (
        Malformation.BAD_CHECKSUM,
        Malformation.BAD_LENGTH,
        Malformation.BAD_TCP_FLAGS,
    )
