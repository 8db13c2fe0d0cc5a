"""Whose turn it is: nobody gains by the order."""

from collections import Counter
from itertools import permutations

import pytest

from benchmark.rounds import in_turn


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_everyone_is_as_often_before_any_other_as_behind(count: int) -> None:
    those = [f"lane {place}" for place in range(count)]
    orders = [in_turn(those, number) for number in range(1, 2 * count + 1)]
    assert all(sorted(order) == those for order in orders)
    assert Counter(order[0] for order in orders) == dict.fromkeys(those, 2)
    before = Counter(
        pair for order in orders for pair in permutations(those, 2) if order.index(pair[0]) < order.index(pair[1])
    )
    assert before == dict.fromkeys(permutations(those, 2), count)


def test_nobody_takes_no_turn() -> None:
    assert in_turn([], 1) == []
