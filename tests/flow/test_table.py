"""The flow table: both keys always agree, every flow ends in time, nothing that is over is kept."""

import gc
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hyperplane.flow.entry import GONE, FlowEntry
from hyperplane.flow.table import FlowTable
from hyperplane.flow.tcp_state import State, is_half_open
from hyperplane.wire.packet import UDP
from tests.flow.flows import Flows

MANY = 1_000_000
HALF_OPEN_S, IDLE_S, CLOSING_S = 60, 350, 120


def expire(table: FlowTable, now: float, at_most: int = MANY) -> list[FlowEntry]:
    """What a node does with flows that are due."""
    ended = table.due(now, at_most)
    for entry in ended:
        table.remove(entry)
    return ended


def test_a_flow_is_found_by_both_keys_until_it_is_removed() -> None:
    table, entry = FlowTable(), Flows().entry()
    table.insert(entry)
    assert table.original[entry.original_key] is table.translated[entry.translated_key] is entry
    assert (len(table), list(table), entry.endpoint.flow_count) == (1, [entry], 1)
    table.remove(entry)
    assert (len(table), len(table.translated), entry.endpoint.flow_count, entry.state) == (0, 0, 0, GONE)


def test_a_key_that_is_taken_is_our_own_bug() -> None:
    flows, table = Flows(), FlowTable()
    table.insert(flows.entry(1, snat_port=1))
    for same in (flows.entry(1, snat_port=2), flows.entry(2, snat_port=1)):
        with pytest.raises(AssertionError):
            table.insert(same)


@pytest.mark.parametrize(
    ("state", "timeout_s"),
    [
        (State.SYN_SENT, HALF_OPEN_S),
        (State.SYN_RECEIVED, HALF_OPEN_S),
        (State.ESTABLISHED, IDLE_S),
        (State.ORIGINAL_CLOSED, IDLE_S),
        (State.CLOSED, CLOSING_S),
        (State.RESET, CLOSING_S),
    ],
)
def test_a_flow_ends_when_its_time_is_over(state: State, timeout_s: int) -> None:
    table, entry = FlowTable(), Flows().entry(now=10.0)
    entry.enter(state)
    table.insert(entry)
    for now in range(11, 10 + timeout_s):
        assert expire(table, float(now)) == []
    assert expire(table, 10.0 + timeout_s + 1.0) == [entry]
    assert table.next_timeout() is None


def test_nat_33_datagrams_have_a_timer_of_their_own() -> None:
    table, entry = FlowTable(), Flows().entry(now=10.0, protocol=UDP)
    table.insert(entry)
    assert all(expire(table, float(now)) == [] for now in range(11, 130))
    assert expire(table, 131.0) == [entry]


def test_a_packet_moves_the_end_without_touching_the_table() -> None:
    table, entry = FlowTable(), Flows().entry(now=10.0)
    entry.enter(State.ESTABLISHED)
    table.insert(entry)
    for now in range(11, 2000):
        entry.seen_at = float(now)
        assert expire(table, float(now)) == []
    assert expire(table, 1999.0 + IDLE_S + 1) == [entry]


def test_a_change_of_state_brings_the_end_nearer() -> None:
    table, entry = FlowTable(), Flows(idle_timeout_s=6000.0).entry(now=10.0)
    entry.enter(State.ESTABLISHED)
    table.insert(entry)
    for now in range(11, 1000):
        assert expire(table, float(now)) == []
    entry.seen_at = 1000.0
    entry.enter(State.CLOSED)
    table.state_changed(entry)
    assert all(expire(table, float(now)) == [] for now in range(1000, 1000 + CLOSING_S))
    assert expire(table, 1000.0 + CLOSING_S + 1) == [entry]


def test_work_is_bounded_and_all_of_it_gets_done() -> None:
    flows, table = Flows(), FlowTable()
    for number in range(1000):
        table.insert(flows.entry(number, now=10.0 + number % 3))
    taken = [len(expire(table, 500.0, at_most=64)) for _ in range(17)]
    assert max(taken) <= 64
    assert (sum(taken), len(table), table.next_timeout()) == (1000, 0, None)


def test_what_is_over_is_let_go() -> None:
    """However long its timer was once: a closed flow may not stay in memory until its idle time would have ended."""
    flows, table = Flows(idle_timeout_s=6000.0), FlowTable()
    for number in range(100):
        entry = flows.entry(number, now=10.0)
        table.insert(entry)
        entry.enter(State.ESTABLISHED)
        table.state_changed(entry)
    for now in range(11, 100):
        expire(table, float(now))
    for entry in list(table):
        entry.seen_at = 100.0
        entry.enter(State.RESET)
        table.state_changed(entry)
    for now in range(100, 100 + 2 * CLOSING_S + 2):
        expire(table, float(now))
    del entry
    assert len(table) == 0
    kept = [entry for entry in gc.get_objects() if isinstance(entry, FlowEntry) and entry.endpoint is flows.endpoint]
    assert kept == []
    assert table.next_timeout() is None


def test_a_flow_is_looked_at_once_a_minute_whatever_happened_to_it() -> None:
    """Looks are what the table costs; a flow with a past may not cost more than one without."""
    table = FlowTable()
    entry = Flows().entry(now=10.0)
    table.insert(entry)
    now = 10.0
    for state in (State.SYN_RECEIVED, State.ESTABLISHED, State.ORIGINAL_CLOSED) * 10:
        entry.seen_at = now = now + 0.1
        entry.enter(state)
        table.state_changed(entry)
    looks = 0
    schedule = table.schedule

    def counting(entry: FlowEntry, now: float) -> None:
        nonlocal looks
        looks += 1
        schedule(entry, now)

    table.schedule = counting  # type: ignore[method-assign]
    for second in range(11, 3611):
        entry.seen_at = float(second)
        expire(table, float(second))
    assert 40 <= looks <= 70


def test_half_open_flows_are_listed_oldest_first() -> None:
    flows, table = Flows(), FlowTable()
    entries = [flows.entry(number) for number in range(4)]
    for entry in entries:
        table.insert(entry)
    answered, acknowledged = entries[1], entries[0]
    answered.enter(State.SYN_RECEIVED)
    acknowledged.enter(State.ACKNOWLEDGED)
    for entry in (answered, acknowledged):
        table.state_changed(entry)
    half_open = flows.endpoint.half_open
    assert list(half_open) == [entries[number].original_key for number in (0, 2, 3)]
    table.remove(entries[2])
    assert list(half_open) == [entries[number].original_key for number in (0, 3)]
    answered.reopen()
    table.state_changed(answered)
    assert list(half_open) == [entries[number].original_key for number in (0, 3, 1)]


class Life(RuleBasedStateMachine):
    """Whatever happens to flows, the table says the truth and ends each within two seconds of its time."""

    def __init__(self) -> None:
        super().__init__()
        self.flows, self.table, self.now = Flows(), FlowTable(), 10.0
        self.numbers = count()

    @rule(protocol=st.sampled_from([6, UDP]))
    def begin(self, protocol: int) -> None:
        self.table.insert(self.flows.entry(next(self.numbers), now=self.now, protocol=protocol))

    @precondition(lambda self: len(self.table) > 0)
    @rule(draw=st.data(), state=st.sampled_from(State))
    def change(self, draw: st.DataObject, state: State) -> None:
        entry = draw.draw(st.sampled_from(list(self.table)))
        entry.seen_at = self.now
        entry.enter(state)
        self.table.state_changed(entry)

    @precondition(lambda self: len(self.table) > 0)
    @rule(draw=st.data())
    def carry(self, draw: st.DataObject) -> None:
        draw.draw(st.sampled_from(list(self.table))).seen_at = self.now

    @rule(seconds=st.sampled_from([0.3, 5.0, 61.0, 400.0]), at_most=st.integers(1, 3))
    def pass_time(self, seconds: float, at_most: int) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 1.0)
            while (at := self.table.next_timeout()) is not None and at <= self.now:
                for entry in self.table.due(self.now, at_most):
                    assert entry.expires_at() <= self.now
                    self.table.remove(entry)

    @invariant()
    def the_truth(self) -> None:
        table = self.table
        assert set(table.original.values()) == set(table.translated.values())
        assert all(table.original[entry.original_key] is entry for entry in table)
        assert self.flows.endpoint.flow_count == len(table)
        half_open = {entry.original_key for entry in table if is_half_open(entry.state)}
        assert set(self.flows.endpoint.half_open) == half_open

    @invariant()
    def nobody_outlives_his_time(self) -> None:
        assert all(entry.expires_at() > self.now - 2.0 for entry in self.table)
        assert (self.table.next_timeout() is None) <= (len(self.table) == 0)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=30)
