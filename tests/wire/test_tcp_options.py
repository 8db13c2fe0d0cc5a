"""TCP options: values round trip, and the changes in place keep the length, the rest and the checksum."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperplane.errors import Malformation, WireError
from hyperplane.wire.checksum import adjusted
from hyperplane.wire.tcp_options import (
    AUTHENTICATION,
    FAST_OPEN,
    MD5_SIGNATURE,
    MULTIPATH,
    MaximumSegmentSize,
    NoOperation,
    OptionArea,
    Sack,
    SackPermitted,
    TcpOption,
    Timestamps,
    UnknownOption,
    WindowScale,
    emit_options,
    parse_options,
)
from tests.cases import (
    CLIENT,
    END,
    NOP,
    SACK_PERMITTED,
    SYN,
    TARGET,
    linux_syn,
    mss,
    option,
    sack,
    tcp,
    timestamps,
    window_scale,
)
from tests.dissection import dissect
from tests.fields import option_lists, unsigned

MPTCP_CAPABLE = option(30, b"\x01\x01")
MD5 = option(19, bytes(16))
AO = option(29, bytes(14))
TFO_REQUEST = option(34)
TFO_COOKIE = option(34, b"cookie12")
TFO_EXPERIMENT = option(254, b"\xf9\x89cookie12")
OTHER_EXPERIMENT = option(254, b"\xe2\xd4\xc3\xd9")

BROKEN = [
    ("length 0", option(2, b"\x05\xb4", length=0)),
    ("length 1", option(2, b"\x05\xb4", length=1)),
    ("length 1 before what could be NOPs", option(77, length=1) + NOP * 2),
    ("unknown kind of length 0", option(77, b"ab", length=0)),
    ("runs over the end by one", option(2, b"\x05\xb4", length=5)),
    ("runs over the end by far", option(8, bytes(2), length=255)),
    ("no room for a length", NOP * 3 + b"\x02"),
    ("broken behind good ones", linux_syn() + NOP + option(5, b"\0", length=0)),
    ("broken behind NOPs", NOP * 38 + b"\x08\x0a"),
]


def around(area: bytes) -> tuple[bytearray, int, int]:
    """The options between bytes that nobody may look at or touch."""
    return bytearray(b"\x02\x00\xfe" + area + b"\x02\x04\xff\xff"), 3, 3 + len(area)


@given(option_lists)
def test_what_was_emitted_is_parsed(options: tuple[TcpOption, ...]) -> None:
    area = emit_options(options)
    assert len(area) % 4 == 0
    assert parse_options(area) == options


@pytest.mark.parametrize(
    ("area", "expected"),
    [
        (b"", ()),
        (bytes(40), ()),
        (END + b"\xff" * 3, ()),
        (NOP * 4, (NoOperation(),) * 4),
        (NOP + END + NOP + NOP, (NoOperation(),)),
        (mss(1460), (MaximumSegmentSize(1460),)),
        (
            linux_syn(),
            (MaximumSegmentSize(1460), SackPermitted(), Timestamps(1, 0), NoOperation(), WindowScale(7)),
        ),
        (
            NOP + NOP + sack((1, 2), (0xFFFFFFFF, 3)),
            (NoOperation(), NoOperation(), Sack(((1, 2), (0xFFFFFFFF, 3)))),
        ),
        (mss(0) + mss(9), (MaximumSegmentSize(0), MaximumSegmentSize(9))),
        (window_scale(255) + END, (WindowScale(255),)),
        (option(3, b"ab"), (UnknownOption(3, b"ab"),)),
        (option(4, b"\0") + END, (UnknownOption(4, b"\0"),)),
        (option(5) + NOP + NOP, (UnknownOption(5, b""), NoOperation(), NoOperation())),
        (option(5, bytes(9)) + END, (UnknownOption(5, bytes(9)),)),
        (option(200, b"odd") + NOP * 3, (UnknownOption(200, b"odd"), *(NoOperation(),) * 3)),
        (option(255, bytes(38)), (UnknownOption(255, bytes(38)),)),
    ],
)
def test_every_legal_layout_is_read(area: bytes, expected: tuple[TcpOption, ...]) -> None:
    assert parse_options(area) == expected


READERS: list[Callable[[bytearray, int, int], object]] = [
    OptionArea,
    lambda buffer, start, end: parse_options(bytes(buffer[start:end])),
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(("description", "area"), BROKEN, ids=[description for description, _ in BROKEN])
def test_broken_options_are_refused_and_left_alone(
    read: Callable[[bytearray, int, int], object], description: str, area: bytes
) -> None:
    buffer, start, end = around(area)
    before = bytes(buffer)
    with pytest.raises(WireError) as refusal:
        read(buffer, start, end)
    assert refusal.value.malformation is Malformation.BAD_TCP_OPTIONS
    assert bytes(buffer) == before


def test_what_stands_behind_the_end_of_the_list_is_not_an_option() -> None:
    buffer, start, end = around(NOP + END + mss(9000) + window_scale(7) + option(2, length=0))
    before = bytes(buffer)
    options = OptionArea(buffer, start, end)
    assert options.kinds == frozenset()
    assert options.window_scale() is None
    assert options.clamp_mss(536) == 0
    assert options.blank({2, 3}) == 0
    assert bytes(buffer) == before


@pytest.mark.parametrize(
    ("area", "expected"),
    [
        (b"", frozenset()),
        (linux_syn(), frozenset({2, 4, 8, 3})),
        (MD5 + NOP * 2, frozenset({MD5_SIGNATURE})),
        (NOP + AO + mss(1460), frozenset({AUTHENTICATION, 2})),
        (MPTCP_CAPABLE + TFO_REQUEST, frozenset({MULTIPATH, FAST_OPEN})),
        (TFO_COOKIE, frozenset({FAST_OPEN})),
        (TFO_EXPERIMENT, frozenset({FAST_OPEN})),
        (OTHER_EXPERIMENT, frozenset({254})),
        (option(254) + option(254, b"\xf9"), frozenset({254})),
    ],
)
def test_the_kinds_that_are_present(area: bytes, expected: frozenset[int]) -> None:
    assert OptionArea(*around(area)).kinds == expected


@pytest.mark.parametrize(
    ("area", "expected"),
    [
        (b"", None),
        (mss(1460), None),
        (window_scale(0), 0),
        (linux_syn(shift=7), 7),
        (window_scale(14), 14),
        (window_scale(15), 14),  # RFC 7323 section 2.3
        (window_scale(255), 14),
        (window_scale(3) + window_scale(9), 9),
        (option(3) + option(3, b"\x05\x05"), None),
    ],
)
def test_the_window_scale(area: bytes, expected: int | None) -> None:
    assert OptionArea(*around(area)).window_scale() == expected


@pytest.mark.parametrize(
    ("area", "size_bytes_max", "expected"),
    [
        (mss(8960), 1460, mss(1460)),
        (mss(1460), 1460, mss(1460)),
        (mss(536), 1460, mss(536)),
        (mss(0), 1460, mss(0)),
        (mss(0xFFFF), 0, mss(0)),
        (SACK_PERMITTED + NOP * 2, 1460, SACK_PERMITTED + NOP * 2),
        (NOP + mss(9000) + NOP * 3, 1400, NOP + mss(1400) + NOP * 3),
        (linux_syn(65495), 1440, linux_syn(1440)),
        (mss(9000) + mss(100) + mss(2000), 1000, mss(1000) + mss(100) + mss(1000)),
        (option(2, b"\xff\xff\xff"), 536, option(2, b"\xff\xff\xff")),
        (option(77, mss(9000)), 536, option(77, mss(9000))),
        (mss(9000) + END, 536, mss(536) + END),
    ],
)
def test_the_clamp_lowers_and_never_raises_or_adds(area: bytes, size_bytes_max: int, expected: bytes) -> None:
    buffer, start, end = around(area)
    OptionArea(buffer, start, end).clamp_mss(size_bytes_max)
    assert bytes(buffer) == bytes(around(expected)[0])


@pytest.mark.parametrize(
    ("area", "kinds", "expected"),
    [
        (b"", {30}, b""),
        (linux_syn(), {30, 34}, linux_syn()),
        (mss(1460) + MPTCP_CAPABLE, {30}, mss(1460) + NOP * 4),
        (NOP + MPTCP_CAPABLE + NOP * 3, {30}, NOP * 8),
        (TFO_REQUEST + NOP * 2, {FAST_OPEN}, NOP * 4),
        (TFO_COOKIE + TFO_EXPERIMENT + NOP * 2, {FAST_OPEN}, NOP * 24),
        (OTHER_EXPERIMENT + TFO_REQUEST, {FAST_OPEN}, OTHER_EXPERIMENT + NOP * 2),
        (MPTCP_CAPABLE + mss(1) + MPTCP_CAPABLE, {30}, NOP * 4 + mss(1) + NOP * 4),
        (timestamps(1) + option(30, bytes(28)), {30}, timestamps(1) + NOP * 30),
        (option(77, MPTCP_CAPABLE), {30}, option(77, MPTCP_CAPABLE)),
        (OTHER_EXPERIMENT, {254}, NOP * 6),
    ],
)
def test_blanking_leaves_everything_else_where_it_is(area: bytes, kinds: set[int], expected: bytes) -> None:
    buffer, start, end = around(area)
    OptionArea(buffer, start, end).blank(kinds)
    assert bytes(buffer) == bytes(around(expected)[0])


@given(option_lists, unsigned(16), st.frozensets(st.integers(2, 255)), st.binary(max_size=9))
def test_the_returned_growth_keeps_the_checksum_right(
    options: tuple[TcpOption, ...], size_bytes_max: int, kinds: frozenset[int], payload: bytes
) -> None:
    """A checksum adjusted by what both changes return is that of a new sum over the changed segment."""
    packet = bytearray(tcp(CLIENT, TARGET, flags=SYN, options=emit_options(options), payload=payload))
    end = len(packet) - len(payload)
    area = OptionArea(packet, 40, end)
    growth = area.clamp_mss(size_bytes_max) + area.blank(kinds)
    packet[36:38] = adjusted(int.from_bytes(packet[36:38], "big"), growth).to_bytes(2, "big")
    seen = dissect(packet)
    assert seen.transport_sum_is_right and seen.payload == payload
    for left in parse_options(seen.options):
        assert not isinstance(left, MaximumSegmentSize) or left.size_bytes <= size_bytes_max
    assert not OptionArea(packet, 40, end).kinds & kinds


@given(st.binary(max_size=40))
def test_any_bytes_are_either_options_or_refused(area: bytes) -> None:
    buffer, start, end = around(area)
    before = bytes(buffer)
    try:
        options = parse_options(area)
    except WireError as refusal:
        assert refusal.malformation is Malformation.BAD_TCP_OPTIONS
        return
    found = OptionArea(buffer, start, end)
    assert found.clamp_mss(0xFFFF) == found.blank(()) == 0
    assert bytes(buffer) == before
    assert len(found.kinds) <= sum(not isinstance(option, NoOperation) for option in options)
