"""The token bucket: never more than a second's worth at once, never more than the rate for long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperplane.dataplane.limiter import TokenBucket


def test_a_second_worth_at_once_and_no_more() -> None:
    bucket = TokenBucket(10, 100.0)
    assert [bucket.take(100.0) for _ in range(12)] == [True] * 10 + [False] * 2
    assert [bucket.take(100.11) for _ in range(2)] == [True, False]
    assert sum(bucket.take(500.0) for _ in range(100)) == 10, "silence saves up one second at most"


@given(st.lists(st.floats(0, 3), max_size=60), st.sampled_from([1, 5, 1000]))
def test_never_more_than_burst_and_rate(pauses: list[float], per_s: int) -> None:
    bucket, now, taken = TokenBucket(per_s, 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.take(now)
        assert taken <= per_s + now * per_s + 1e-6


@pytest.mark.parametrize("now", [0.0, -1.0])
def test_a_clock_that_stands_still_gives_nothing(now: float) -> None:
    bucket = TokenBucket(1, 0.0)
    assert bucket.take(0.0)
    assert not bucket.take(now)
