"""When a header that took an ACK's place is sent again: after 1, 2, 4, 8, 16 and 32 s, and then never."""

import pytest

from hyperplane.flow import header_timers
from hyperplane.flow.entry import GONE, FlowEntry
from hyperplane.flow.header_timers import HeaderTimers
from hyperplane.flow.injector import HEADER_ACKED
from hyperplane.flow.opening import Opening
from hyperplane.limits import HEADER_RESENDS_MAX, HEADER_RESENT_AFTER_S
from hyperplane.snapshot import HeaderPlacement
from tests.flow.flows import Flows

MANY = 1000


def flow(number: int = 0) -> tuple[FlowEntry, Opening]:
    entry = Flows().entry(number)
    entry.get_header(HeaderPlacement.ON_FIRST_ACK, 1000)
    assert entry.injection is not None and entry.injection.opening is not None
    return entry, entry.injection.opening


def due(timers: HeaderTimers, now: float, at_most: int = MANY) -> list[FlowEntry]:
    return list(timers.due(now, at_most))


def test_nothing_is_due_where_nothing_waits() -> None:
    timers = HeaderTimers()
    assert timers.next_timeout() is None
    assert due(timers, 1e9) == []


def test_pp_04_each_pause_is_twice_as_long_and_there_are_six() -> None:
    assert (HEADER_RESENT_AFTER_S, HEADER_RESENDS_MAX) == (1.0, 6)
    timers, (entry, opening) = HeaderTimers(), flow()
    now = 100.0
    timers.start(entry, opening, now)
    for pause in (1, 2, 4, 8, 16, 32):
        assert timers.next_timeout() == now + pause
        assert due(timers, now + pause - 0.001) == []
        now += pause
        assert due(timers, now) == [entry]
        assert due(timers, now) == [], "its next time is not set yet"
        timers.start(entry, opening, now)
    assert timers.next_timeout() is None
    assert opening.resends == HEADER_RESENDS_MAX


def test_a_late_look_sends_once_and_waits_from_then() -> None:
    timers, (entry, opening) = HeaderTimers(), flow()
    timers.start(entry, opening, 0.0)
    assert due(timers, 50.0) == [entry]
    timers.start(entry, opening, 50.0)
    assert timers.next_timeout() == 52.0


def test_flows_come_in_the_order_of_their_times_a_bounded_number_at_once() -> None:
    timers, flows = HeaderTimers(), [flow(number) for number in range(10)]
    for late, (entry, opening) in enumerate(flows):
        timers.start(entry, opening, float(-late))
    assert due(timers, 1.0, 4) == [entry for entry, _ in flows[:-5:-1]]
    assert due(timers, 1.0, 4) == [entry for entry, _ in flows[5:1:-1]]
    assert due(timers, 1.0, 4) == [flows[1][0], flows[0][0]]
    assert timers.next_timeout() is None


def test_two_of_one_moment_do_not_have_to_be_compared() -> None:
    timers, first, second = HeaderTimers(), flow(1), flow(2)
    for entry, opening in (first, second):
        timers.start(entry, opening, 1.0)
    assert due(timers, 2.0) == [first[0], second[0]]


@pytest.mark.parametrize("over", ["acknowledged", "acknowledged elsewhere", "flow gone", "another stream"])
def test_what_is_over_is_let_go_of_and_never_due(over: str) -> None:
    timers, (entry, opening) = HeaderTimers(), flow()
    timers.start(entry, opening, 1.0)
    injection = entry.injection
    assert injection is not None
    if over == "acknowledged":
        injection.news_of(1000 + injection.length)
    elif over == "acknowledged elsewhere":
        injection.join_marks(HEADER_ACKED, 0)
    elif over == "flow gone":
        entry.state = GONE
    else:
        entry.get_header(HeaderPlacement.ON_FIRST_ACK, 5000)
    assert due(timers, 2.0) == []
    assert timers.next_timeout() is None
    assert opening.resends == 0


def test_what_is_over_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """One client may leave many streams behind whose headers were never acknowledged, but not without end."""
    timers, (living, its) = HeaderTimers(), flow(0)
    for number in range(1, 20):
        entry, opening = flow(number)
        timers.start(entry, opening, 0.0)
        entry.state = GONE
    timers.start(living, its, 0.5)
    assert due(timers, 10.0, at_most=1) == [living]
    monkeypatch.setattr(header_timers, "FLOWS_PER_NODE_MAX", 3)
    for number in range(5):
        timers.start(*flow(number), 20.0)
    assert len(due(timers, 30.0)) == 3
