"""HMARK computed again, against what a kernel did (Linux 6.18, iptables 1.8.9)."""

import pytest

from hyperplane.balance.steering_hash import ReplySteering, jhash_3words
from netns.steer import HASH_SEED

ADDRESS, TARGET = bytes((10, 9, 0, 7)), bytes((10, 9, 3, 20))


@pytest.mark.parametrize(("port", "place"), [(48254, 3), (14128, 3), (34430, 3), (12697, 2), (8692, 3), (17781, 1)])
def test_a_port_leads_where_the_kernel_led_it(port: int, place: int) -> None:
    """Observed: the counters of a mark rule for each of four places."""
    found = [
        candidate
        for candidate in range(4)
        if ReplySteering(ADDRESS, TARGET, 8080, HASH_SEED, candidate, 4).comes_back(port)
    ]
    assert found == [place]


def test_ports_are_dealt_evenly() -> None:
    steering = ReplySteering(ADDRESS, TARGET, 8080, HASH_SEED, 0, 2)
    back = sum(steering.comes_back(port) for port in range(1024, 56024))
    assert abs(back / 55_000 - 0.5) < 0.01


def test_direction_does_not_matter() -> None:
    there = ReplySteering(ADDRESS, TARGET, 8080, HASH_SEED, 1, 3)
    back = ReplySteering(TARGET, ADDRESS, 8080, HASH_SEED, 1, 3)
    assert all(there.comes_back(port) == back.comes_back(port) for port in range(1024, 2048))


def test_words_wrap() -> None:
    assert 0 <= jhash_3words(0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF) <= 0xFFFFFFFF
