"""Flow keys: nothing of a tuple is lost, and equal addresses behind different ENIs never meet."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from hyperplane.flow.key import SUFFIX_BYTES, Direction, parts_of, suffix, tuple_of
from tests.cases import packed
from tests.fields import unsigned

addresses = st.integers(0, 1).flatmap(
    lambda six: st.tuples(*[st.binary(min_size=4 + 12 * six, max_size=4 + 12 * six)] * 2)
)


@given(addresses, unsigned(16), unsigned(16))
def test_a_tuple_comes_apart_into_what_it_was_made_of(
    pair: tuple[bytes, bytes], source_port: int, destination_port: int
) -> None:
    made = tuple_of(*pair, source_port, destination_port)
    assert len(made) in (12, 36)
    assert parts_of(made) == (*pair, source_port, destination_port)


def test_a_tuple_is_as_on_the_wire() -> None:
    made = tuple_of(packed("10.0.1.50"), packed("10.0.1.10"), 40000, 443)
    assert made.hex() == "0a0001320a00010a9c4001bb"


def test_nat_03_keys_tell_enis_and_protocols_apart() -> None:
    made = tuple_of(packed("10.0.1.50"), packed("10.0.1.10"), 40000, 443)
    keys = {made + suffix(eni, protocol) for eni, protocol in product((1, 2, 256, 65_535), (6, 17))}
    assert len(keys) == 8
    assert suffix(0x0102, 6) == b"\x01\x02\x06"
    assert len(suffix(1, 6)) == SUFFIX_BYTES


def test_directions_are_netfilters() -> None:
    assert [direction.name for direction in Direction] == ["ORIGINAL", "REPLY"]
