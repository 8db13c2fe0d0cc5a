"""Interface numbers: stable while they are used, not given again while old flows may live."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hyperplane import limits
from hyperplane.control.numbering import NUMBER_REST_S, Numbering
from hyperplane.errors import ConfigurationError
from tests.snapshots import small_snapshot

ZONE = "us-east-2a"


def renewed(numbering: Numbering, eni_ids: list[str], now: float = 0.0) -> Numbering:
    return numbering.renewed({ZONE: eni_ids}, now)


def numbers(numbering: Numbering) -> dict[str, int]:
    return dict(numbering.zones[ZONE].numbers)


def test_in_order_from_one() -> None:
    assert numbers(renewed(Numbering(), ["c", "a", "b"])) == {"c": 1, "a": 2, "b": 3}


def test_each_zone_counts_for_itself() -> None:
    both = Numbering().renewed({"a": ["x", "y"], "b": ["z"]}, 0.0)
    assert (both.number("a", "y"), both.number("b", "z")) == (2, 1)


def test_others_keep_theirs() -> None:
    first = renewed(Numbering(), ["a", "b", "c"])
    assert numbers(renewed(first, ["c", "x", "a"])) == {"a": 1, "c": 3, "x": 4}


def test_a_number_rests_before_it_comes_again() -> None:
    """All numbers but one are in use, so the free one is the only choice."""
    everybody = [f"e{number}" for number in range(limits.ENI_NUMBER_MAX)]
    full = renewed(Numbering(), everybody)
    left = renewed(full, everybody[1:], now=100.0)
    with pytest.raises(ConfigurationError, match="taken or resting"):
        renewed(left, [*everybody[1:], "new"], now=100.0 + NUMBER_REST_S - 1)
    assert numbers(renewed(left, [*everybody[1:], "new"], now=100.0 + NUMBER_REST_S))["new"] == 1


def test_fresh_numbers_come_before_rested_ones() -> None:
    first = renewed(renewed(Numbering(), ["a", "b"]), ["b"])
    later = renewed(first, ["b", "c"], now=10 * NUMBER_REST_S)
    assert numbers(later) == {"b": 2, "c": 3}


def test_who_comes_back_is_new() -> None:
    """Its flows were cut when it went."""
    gone = renewed(renewed(Numbering(), ["a", "b"]), ["b"])
    assert numbers(renewed(gone, ["a", "b"])) == {"b": 2, "a": 3}


def test_a_clock_that_starts_again_does_not_end_a_rest_nor_prolong_it_for_ever() -> None:
    everybody = [f"e{number}" for number in range(limits.ENI_NUMBER_MAX)]
    left = renewed(renewed(Numbering(), everybody), everybody[1:], now=1_000_000.0)
    rebooted = renewed(left, everybody[1:], now=5.0)
    with pytest.raises(ConfigurationError):
        renewed(rebooted, [*everybody[1:], "new"], now=5.0 + NUMBER_REST_S - 1)
    assert numbers(renewed(rebooted, [*everybody[1:], "new"], now=5.0 + NUMBER_REST_S))["new"] == 1


def test_a_zone_that_goes_rests_its_numbers() -> None:
    both = Numbering().renewed({"a": ["x"], "b": ["y"]}, 0.0)
    one = both.renewed({"a": ["x"]}, 1.0)
    again = one.renewed({"a": ["x"], "b": ["z"]}, 2.0)
    assert again.number("b", "z") == 2


def test_of_snapshot() -> None:
    snapshot = small_snapshot(endpoints=3)
    known = Numbering.of_snapshot(snapshot)
    assert numbers(known) == {eni.eni_id: eni.number for eni in snapshot.zones[0].enis}
    assert renewed(known, [*numbers(known), "new"]).number(ZONE, "new") == 5


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), max_size=8))
def test_renewing_twice_changes_nothing(steps: list[list[str]]) -> None:
    numbering = Numbering()
    for step in steps:
        numbering = renewed(numbering, step)
        assert renewed(numbering, step) == numbering


class Neighbours(RuleBasedStateMachine):
    """Interfaces come and go while time passes: no two share a number, nobody's number changes, none returns early."""

    def __init__(self) -> None:
        super().__init__()
        self.numbering = Numbering()
        self.present: list[str] = []
        self.left_at: dict[int, float] = {}
        self.now = 0.0

    @rule(names=st.lists(st.sampled_from("abcdefghijkl"), unique=True), pause=st.floats(0, NUMBER_REST_S))
    def change(self, names: list[str], pause: float) -> None:
        self.now += pause
        before = numbers(self.numbering) if self.present else {}
        self.numbering = renewed(self.numbering, names, self.now)
        after = numbers(self.numbering)
        assert set(after) == set(names)
        for name in before.keys() & after.keys():
            assert before[name] == after[name]
        for name in after.keys() - before.keys():
            assert self.now - self.left_at.get(after[name], -2 * NUMBER_REST_S) >= NUMBER_REST_S
        self.left_at |= {before[name]: self.now for name in before.keys() - after.keys()}
        self.present = names

    @invariant()
    def numbers_are_unique_and_in_range(self) -> None:
        if self.present:
            given_out = list(numbers(self.numbering).values())
            assert len(set(given_out)) == len(given_out)
            assert all(1 <= number <= limits.ENI_NUMBER_MAX for number in given_out)


test_neighbours = Neighbours.TestCase
