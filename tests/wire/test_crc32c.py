"""CRC32C: the vectors of RFC 3720, and the same number by division of polynomials, bit by bit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperplane.wire.crc32c import changes, crc32c

GENERATOR = 0x11EDC6F41


def crc_by_division(data: bytes) -> int:
    """RFC 3720 section 12.1 to the letter: bits in the order of the wire, first 32 inverted, remainder inverted.

    Shares nothing with the code under test: no table, no reflected polynomial, one number for the whole message.
    """
    bits = "".join(f"{byte:08b}"[::-1] for byte in data)
    message = int(bits or "0", 2) << 32
    message ^= 0xFFFFFFFF << len(bits)
    for place in reversed(range(len(bits))):
        if message >> place + 32 & 1:
            message ^= GENERATOR << place
    return int(f"{message ^ 0xFFFFFFFF:032b}"[::-1], 2)


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
        (
            bytes.fromhex(
                "01c00000 00000000 00000000 00000000 14000000 00000400"
                "00000014 00000018 28000000 00000000 02000000 00000000"
            ),
            0xD9963A56,
        ),
    ],
    ids=["zeros", "ones", "rising", "falling", "an iSCSI SCSI Read (10) command"],
)
def test_the_examples_of_rfc_3720(data: bytes, crc: int) -> None:
    """Appendix B.4. It prints the CRC as it is sent, lowest byte first."""
    assert crc32c(data) == crc == crc_by_division(data)


def test_nothing_has_the_crc_zero() -> None:
    assert crc32c(b"") == 0 == crc_by_division(b"")


@given(st.binary(max_size=64))
def test_the_crc_is_the_remainder_of_the_division(data: bytes) -> None:
    assert crc32c(data) == crc32c(bytearray(data)) == crc32c(memoryview(data)) == crc_by_division(data)


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_a_text_may_be_taken_in_pieces(first: bytes, second: bytes) -> None:
    assert crc32c(second, crc32c(first)) == crc32c(first + second)


@given(st.binary(max_size=32), st.integers(0, 255), st.binary(max_size=130))
def test_one_byte_changes_the_crc_by_what_the_table_says(before: bytes, byte: int, behind: bytes) -> None:
    with_zero, with_byte = (before + bytes([value]) + behind for value in (0, byte))
    assert crc32c(with_byte) == crc32c(with_zero) ^ changes(len(behind))[byte]


def test_the_table_of_each_place_has_an_entry_for_each_byte() -> None:
    assert len(set(changes(0))) == len(set(changes(99))) == 256
    assert changes(7)[0] == 0
