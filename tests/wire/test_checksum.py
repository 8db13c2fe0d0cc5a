"""The checksum arithmetic, against RFC 1071's words added one by one and RFC 1624's own example."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from hyperplane.wire.checksum import adjusted, checksum, ones_sum, pseudo_sum, udp_checksum
from tests.cases import internet_sum, packed, pseudo_header

words = st.integers(0, 0xFFFF)


def test_the_example_of_rfc_1071() -> None:
    """Section 3: the words 0001 f203 f4f5 f6f7 sum to ddf2."""
    data = bytes.fromhex("0001f203f4f5f6f7")
    assert ones_sum(data) == 0xDDF2
    assert checksum(data) == 0x220D


def test_the_example_of_rfc_1624() -> None:
    """Section 4: HC dd2f, m 5555, m' 3285. Equation 3 gives 0000, where equation 2 of RFC 1141 gave ffff."""
    assert adjusted(0xDD2F, 0x3285 - 0x5555) == 0x0000


@given(st.binary(max_size=200), st.integers(0, 0xFFFE))
def test_the_sum_is_the_sum_of_words(data: bytes, initial: int) -> None:
    """0 and 65535 are the same number in ones' complement; all others are one number each."""
    assert ones_sum(data) == internet_sum(data) % 0xFFFF
    naive = internet_sum(data + bytes(len(data) % 2) + struct.pack("!H", initial)) ^ 0xFFFF
    assert checksum(data, initial) % 0xFFFF == naive % 0xFFFF


@given(st.binary(min_size=2, max_size=200))
def test_all_kinds_of_buffers_have_the_same_sum(data: bytes) -> None:
    assert ones_sum(bytearray(data)) == ones_sum(memoryview(data)) == ones_sum(data)


@given(st.binary(min_size=1, max_size=100))
def test_a_field_filled_with_the_checksum_makes_the_words_sum_to_zero(data: bytes) -> None:
    """As every receiver checks it; and never the other zero, so the bytes are those of other stacks."""
    even = data + bytes(len(data) % 2)
    value = checksum(data)
    assert ones_sum(even + struct.pack("!H", value)) == 0
    if any(data):
        assert value == internet_sum(data) ^ 0xFFFF


@given(st.lists(words, min_size=2, max_size=20), st.data())
def test_an_update_equals_a_new_computation(before: list[int], draw: st.DataObject) -> None:
    """RFC 1624 for any changed word, also by way of 0 and ffff."""
    position = draw.draw(st.integers(0, len(before) - 1))
    after = list(before)
    after[position] = draw.draw(words | st.sampled_from([0, 0xFFFF]))
    old = checksum(struct.pack(f"!{len(before)}H", *before))
    new = checksum(struct.pack(f"!{len(after)}H", *after))
    assert adjusted(old, after[position] - before[position]) == new


@given(words, words, words)
def test_an_update_keeps_a_packet_exactly_as_corrupt_as_it_was(word: int, new_word: int, error: int) -> None:
    right = checksum(struct.pack("!H", word))
    corrupt = (right + error) % 0xFFFF
    new_right = checksum(struct.pack("!H", new_word))
    assert (adjusted(corrupt, new_word - word) - new_right) % 0xFFFF == error % 0xFFFF


@given(st.sampled_from([6, 17, 58]), st.integers(0, 0xFFFF), st.data())
def test_the_pseudo_header_has_one_sum_for_both_families(protocol: int, length: int, draw: st.DataObject) -> None:
    size = draw.draw(st.sampled_from([4, 16]))
    source, destination = (draw.draw(st.binary(min_size=size, max_size=size)) for _ in range(2))
    naive = internet_sum(pseudo_header(source, destination, protocol, length))
    assert pseudo_sum(source + destination, protocol, length) == naive % 0xFFFF


def test_only_a_computed_zero_of_udp_becomes_the_other_zero() -> None:
    assert [udp_checksum(value) for value in (0, 1, 0x8000, 0xFFFE, 0xFFFF)] == [0xFFFF, 1, 0x8000, 0xFFFE, 0xFFFF]


def test_a_full_sum_of_ones_is_the_kept_zero() -> None:
    assert ones_sum(b"\xff\xff" * 10) == ones_sum(b"") == ones_sum(bytes(4)) == 0
    assert ones_sum(packed("255.255.255.255") + b"\x01") == 0x0100
