"""Numbers of a stream that is longer by a header: two maps, inverse, in order, wrapping; windows stay inside."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperplane.nat.sequence import (
    distance,
    narrowed,
    put_acknowledgment,
    put_flags,
    put_sequence,
    put_window,
    to_client,
    to_target,
    unacknowledged,
)
from hyperplane.wire.packet import ChecksumState, Packet
from tests.cases import ACK, AE, CLIENT, CLIENT_6, CWR, ECE, FIN, PSH, TARGET, TARGET_6, URG, tcp
from tests.dissection import dissect
from tests.fields import unsigned

NUMBERS = 1 << 32
HALF = 1 << 31
EDGES = (0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FF9B, 0xFFFF_FFE0, 0xFFFF_FFFE, 0xFFFF_FFFF)

numbers = st.sampled_from(EDGES) | unsigned(32)
lengths = st.sampled_from([28, 52, 54, 78, 100, 124, 1, 536, 4096]) | st.integers(1, 4096)
places = st.sampled_from([-2, -1, 0, 1, 99, 100, 101, HALF - 1, -HALF]) | st.integers(-HALF, HALF - 1)
"""Of a number, seen from the first byte."""


@given(numbers, places)
def test_a_distance_is_signed_and_wraps(origin: int, place: int) -> None:
    assert distance((origin + place) % NUMBERS, origin) == place


@given(numbers, places, lengths)
def test_what_the_target_knows_of_a_number_is_the_same_number_for_the_client(
    first: int, place: int, length: int
) -> None:
    """From the first byte on, as far as signed distances reach. Before it nothing was sent that could be acknowledged,
    but for the SYN."""
    sequence = (first + place) % NUMBERS
    if 0 <= place < HALF - length:
        assert to_client(to_target(sequence, first, length), first, length) == sequence
    if place < -1:
        assert to_client(to_target(sequence, first, length), first, length) == sequence
    if place == -1:
        assert to_target(sequence, first, length) == (first + length - 1) % NUMBERS
        assert to_client(sequence, first, length) == sequence


@given(numbers, places, lengths)
def test_only_what_is_behind_the_header_moves_and_by_its_length(first: int, place: int, length: int) -> None:
    number = (first + place) % NUMBERS
    assert to_target(number, first, length) == (number if place < -1 else (number + length) % NUMBERS)
    if place <= 0:
        expected = number
    elif place <= length:
        expected = first
    else:
        expected = (number - length) % NUMBERS
    assert to_client(number, first, length) == expected


@given(numbers, places, places, lengths)
def test_acknowledgments_never_go_back(first: int, one: int, other: int, length: int) -> None:
    """What was not less for the target is not less for the client, and nothing is ahead of what the client sent."""
    lower, higher = sorted((one, other))
    mapped = [
        distance(to_client((first + place) % NUMBERS, first, length), first) for place in (lower, higher)
    ]  # fmt: skip
    assert mapped[0] <= mapped[1]
    assert all(after <= max(place, 0) for after, place in zip(mapped, (lower, higher), strict=True))


@given(numbers, st.integers(-1, HALF - 5000), st.integers(-1, HALF - 5000), lengths)
def test_the_order_of_the_clients_segments_stays(first: int, one: int, other: int, length: int) -> None:
    known = [to_target((first + place) % NUMBERS, first, length) for place in (one, other)]
    assert distance(known[1], known[0]) == other - one


@given(numbers, places, lengths)
def test_the_rest_of_the_header_is_what_is_not_acknowledged(first: int, place: int, length: int) -> None:
    missing = unacknowledged((first + place) % NUMBERS, first, length)
    assert missing == (length if place <= 0 else max(length - place, 0))


@given(unsigned(16), lengths, st.integers(0, 14))
def test_a_narrowed_window_never_passes_the_right_edge_and_loses_less_than_a_unit(
    window: int, missing: int, scale: int
) -> None:
    offered = narrowed(window, missing, scale)
    assert 0 <= offered <= window
    if offered:
        assert (offered << scale) + missing <= window << scale
        assert (offered + 1 << scale) + missing > window << scale, "no more could have been offered"
    else:
        assert (window << scale) - missing < 1 << scale, "not a whole unit was left"


@given(unsigned(16), st.integers(0, 14))
def test_without_a_header_to_come_the_window_is_the_targets(window: int, scale: int) -> None:
    assert narrowed(window, 0, scale) == window


@given(numbers, st.integers(0, 99), unsigned(16), st.integers(0, 14))
def test_pp_18_the_edge_that_the_client_sees_does_not_move_while_the_header_is_taken(
    first: int, got: int, window: int, scale: int
) -> None:
    """The target takes a part of the header and its window closes by as much: for the client nothing has changed."""
    length = 100
    known = (first + got) % NUMBERS
    assert to_client(known, first, length) == first
    offered = narrowed(window, unacknowledged(known, first, length), scale)
    edge = got + (window << scale) - length
    assert max(edge, 0) - (1 << scale) < offered << scale <= max(edge, 0)


# --- in a packet ----------------------------------------------------------------------------------------

FAMILIES = [(CLIENT, TARGET), (CLIENT_6, TARGET_6)]
CHANGES = [
    (put_sequence, "sequence", 32),
    (put_acknowledgment, "acknowledgment", 32),
    (put_window, "window", 16),
    (put_flags, "flags", 9),
]


@pytest.mark.parametrize(("change", "name", "bits"), CHANGES, ids=[name for _, name, _ in CHANGES])
@pytest.mark.parametrize("ends", FAMILIES, ids=["IPv4", "IPv6"])
@given(st.data())
def test_a_number_is_changed_in_place_and_nothing_else_but_the_sum(
    change: object, name: str, bits: int, ends: tuple[tuple[str, int], tuple[str, int]], data: st.DataObject
) -> None:
    before, after = data.draw(unsigned(bits)), data.draw(unsigned(bits))
    fields: dict[str, Any] = {name: before | (ACK if name == "flags" else 0)}
    if name == "flags":
        fields = {name: data.draw(st.sampled_from([ACK, PSH | ACK, ACK | URG | ECE | CWR | AE, FIN | ACK]))}
        after |= ACK
    came = tcp(*ends, options=b"\x01" * 8, payload=b"odd", **fields)
    buffer = bytearray(b"\xee" * 5 + came + b"\xee" * 5)
    packet = Packet()
    packet.load(buffer, 5, len(came), ChecksumState.FINISHED)
    assert callable(change)
    change(packet, after)
    field = packet.transport + 16
    buffer[field : field + 2] = (packet.checksum % 0xFFFF).to_bytes(2, "big")
    out = bytes(buffer[5:-5])
    expected = tcp(*ends, options=b"\x01" * 8, payload=b"odd", **(fields | {name: after}))
    seen, wanted = dissect(out), dissect(expected)
    assert seen.sums_are_right
    assert out[:field - 5] + out[field - 3 :] == expected[: field - 5] + expected[field - 3 :]  # fmt: skip
    assert (seen.checksum - wanted.checksum) % 0xFFFF == 0
    assert buffer[:5] == buffer[-5:] == b"\xee" * 5
