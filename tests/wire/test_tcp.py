"""`TcpHeader`: round trip and refusals; and RFC 9293's rule for resets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperplane.errors import Malformation, WireError
from hyperplane.wire.tcp import TcpHeader, reset_for
from hyperplane.wire.tcp_options import MaximumSegmentSize, NoOperation, SackPermitted, Timestamps, WindowScale
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
    Sum,
    linux_syn,
    packed,
    tcp,
)
from tests.fields import address_pairs, payloads, tcp_flags, tcp_headers, unsigned

ADDRESSES = packed(CLIENT[0]) + packed(TARGET[0])
ADDRESSES_6 = packed(CLIENT_6[0]) + packed(TARGET_6[0])


@given(tcp_headers(), payloads, address_pairs)
def test_what_was_emitted_is_parsed(header: TcpHeader, payload: bytes, addresses: bytes) -> None:
    data = header.emit(addresses, payload)
    assert data[header.header_bytes :] == payload
    assert TcpHeader.parse(data, addresses=addresses) == header
    assert TcpHeader.parse(memoryview(b"\xaa" * 3 + data), 3, addresses=addresses) == header


@pytest.mark.parametrize(
    ("packet", "header_bytes", "addresses"),
    [
        (tcp(CLIENT, TARGET, flags=SYN | ECE | CWR | AE, options=linux_syn(), urgent_pointer=7), 20, ADDRESSES),
        (tcp(CLIENT_6, TARGET_6, flags=SYN | ECE | CWR | AE, options=linux_syn(), urgent_pointer=7), 40, ADDRESSES_6),
    ],
)
def test_every_field_stands_where_rfc_9293_puts_it(packet: bytes, header_bytes: int, addresses: bytes) -> None:
    header = TcpHeader.parse(packet, header_bytes, addresses=addresses)
    assert header == TcpHeader(
        source_port=40000,
        destination_port=8080,
        sequence=1000,
        acknowledgment=0,
        flags=SYN | ECE | CWR | AE,
        window=502,
        urgent_pointer=7,
        options=(MaximumSegmentSize(1460), SackPermitted(), Timestamps(1, 0), NoOperation(), WindowScale(7)),
    )
    assert header.emit(addresses) == packet[header_bytes:]


@pytest.mark.parametrize(
    ("description", "segment", "addresses", "malformation"),
    [
        ("empty", b"", None, Malformation.TRUNCATED),
        ("19 bytes", tcp(CLIENT, TARGET)[20:39], None, Malformation.TRUNCATED),
        ("data offset 4", tcp(CLIENT, TARGET, data_offset=4)[20:], None, Malformation.BAD_LENGTH),
        ("data offset 6", tcp(CLIENT, TARGET, data_offset=6)[20:], None, Malformation.BAD_LENGTH),
        *(
            (f"reserved {bit}", tcp(CLIENT, TARGET, reserved=bit)[20:], None, Malformation.BAD_TCP_FLAGS)
            for bit in (1, 4)
        ),
        ("option of length 0", tcp(CLIENT, TARGET, options=b"\x02\0")[20:], None, Malformation.BAD_TCP_OPTIONS),
        ("wrong sum", tcp(CLIENT, TARGET, checksum=Sum.WRONG)[20:], ADDRESSES, Malformation.BAD_CHECKSUM),
        ("wrong sum, IPv6", tcp(CLIENT_6, TARGET_6, checksum=Sum.WRONG)[40:], ADDRESSES_6, Malformation.BAD_CHECKSUM),
        ("other addresses", tcp(CLIENT, TARGET)[20:], bytes(8), Malformation.BAD_CHECKSUM),
    ],
)
def test_refusals(description: str, segment: bytes, addresses: bytes | None, malformation: Malformation) -> None:
    with pytest.raises(WireError) as refusal:
        TcpHeader.parse(segment, addresses=addresses)
    assert refusal.value.malformation is malformation, description


def test_padding_is_not_kept() -> None:
    padded = TcpHeader.parse(tcp(CLIENT, TARGET, options=bytes(40)), 20)
    assert padded == TcpHeader.parse(tcp(CLIENT, TARGET), 20)


def reset(flags: int, payload_bytes: int = 0, sequence: int = 1000, acknowledgment: int = 5000) -> TcpHeader | None:
    return reset_for(
        source_port=40000,
        destination_port=443,
        sequence=sequence,
        acknowledgment=acknowledgment,
        flags=flags,
        payload_bytes=payload_bytes,
    )


@pytest.mark.parametrize(
    ("flags", "payload_bytes", "expected"),
    [
        (SYN, 0, (0, 1001, RST | ACK)),
        (SYN, 100, (0, 1101, RST | ACK)),  # fast open
        (FIN, 0, (0, 1001, RST | ACK)),
        (SYN | FIN, 10, (0, 1012, RST | ACK)),
        (0, 10, (0, 1010, RST | ACK)),
        (PSH | URG, 1, (0, 1001, RST | ACK)),
        (ACK, 0, (5000, 0, RST)),
        (PSH | ACK, 100, (5000, 0, RST)),
        (FIN | ACK, 0, (5000, 0, RST)),
        (SYN | ACK, 0, (5000, 0, RST)),
        (ACK | ECE | CWR | AE, 0, (5000, 0, RST)),
    ],
)
def test_a_reset_follows_from_the_segment(flags: int, payload_bytes: int, expected: tuple[int, int, int]) -> None:
    sequence, acknowledgment, reset_flags = expected
    assert reset(flags, payload_bytes) == TcpHeader(443, 40000, sequence, acknowledgment, reset_flags)


def test_the_acknowledgment_wraps() -> None:
    header = reset(SYN, sequence=0xFFFFFFFF)
    assert header is not None and header.acknowledgment == 0


@given(tcp_flags.map(lambda flags: flags | RST), unsigned(16))
def test_a_reset_is_never_answered(flags: int, payload_bytes: int) -> None:
    assert reset(flags, payload_bytes) is None


@given(tcp_flags.filter(lambda flags: not flags & RST), unsigned(16), unsigned(32), unsigned(32))
def test_a_reset_is_acceptable_to_the_sender(flags: int, length: int, sequence: int, acknowledgment: int) -> None:
    """RFC 9293 section 3.10.7: in SYN-SENT by its ACK of the SYN, otherwise by the exact expected sequence number."""
    header = reset(flags, length, sequence, acknowledgment)
    assert header is not None and header.flags & RST
    if flags & ACK:
        assert (header.sequence, header.flags & ACK) == (acknowledgment, 0)
    else:
        consumed = (header.acknowledgment - sequence) % (1 << 32)
        assert header.flags & ACK and consumed == length + bool(flags & SYN) + bool(flags & FIN)


@given(st.sampled_from([SYN, ACK]), unsigned(32))
def test_a_reset_answers_no_reset_of_its_own(flags: int, sequence: int) -> None:
    """Two of us on one wire must not talk for ever."""
    header = reset(flags, sequence=sequence)
    assert header is not None
    assert reset(header.flags, 0, header.sequence, header.acknowledgment) is None
