"""What is passed over is remembered up to a bound, the youngest first, until it is read again."""

import pytest

from hyperplane.flow import passed_over
from hyperplane.flow.passed_over import PassedOver


def test_the_oldest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passed_over, "FLOWS_PASSED_OVER_MAX", 2)
    flows = PassedOver()
    for key in (b"one", b"two", b"one", b"three"):  # what is told again is no older for that, and no younger
        flows.add(key)
    assert [key in flows for key in (b"one", b"two", b"three")] == [False, True, True]
    assert flows.unknown and not flows.foreign


def test_nothing_is_left_once_all_is_read_again() -> None:
    flows = PassedOver()
    flows.add(b"one")
    flows.foreign = True
    flows.clear()
    assert not flows.unknown and not flows.foreign and b"one" not in flows
