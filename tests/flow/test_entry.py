"""One flow: a translation that never changes, and knowledge that joins in any order."""

from itertools import permutations
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperplane.flow.entry import BORN_MODULUS, EPOCHS, STATE_BITS, FlowEntry
from hyperplane.flow.injector import ANSWERED, HEADER_ACKED, HEADER_PAST
from hyperplane.flow.tcp_state import State
from hyperplane.snapshot import HeaderPlacement
from hyperplane.wire.packet import UDP
from tests.cases import internet_sum
from tests.flow.flows import Flows

MODULUS = 0xFFFF


class View(NamedTuple):
    """What one node knows."""

    epoch: int
    state: State
    seen_at: float
    scales: int


views = st.builds(View, st.integers(0, 3), st.sampled_from(State), st.integers(0, 500).map(float), st.integers(0, 255))


def knowledge(entry: FlowEntry) -> View:
    return View(entry.epoch, State(entry.state), entry.seen_at, entry.scales)


def entry_of(view: View) -> FlowEntry:
    entry = Flows().entry(now=view.seen_at)
    entry.epoch, entry.scales = view.epoch, view.scales
    entry.enter(view.state)
    return entry


@given(st.lists(views, min_size=1, max_size=4))
def test_views_join_in_any_order_and_any_number_of_times(known: list[View]) -> None:
    """Commutative, associative, idempotent."""
    ends = set()
    for order in permutations(known):
        entry = entry_of(order[0])
        for view in (*order, *order):
            entry.join(*view, 0)
        ends.add(knowledge(entry))
    assert len(ends) == 1


@given(views, views)
def test_joining_never_forgets(mine: View, theirs: View) -> None:
    entry = entry_of(mine)
    changed = entry.join(*theirs, 0)
    after = knowledge(entry)
    assert after.epoch == max(mine.epoch, theirs.epoch)
    assert after.seen_at == max(mine.seen_at, theirs.seen_at)
    for view in (mine, theirs):
        if view.epoch == after.epoch:
            assert after.state | view.state == after.state
            assert after.scales | view.scales == after.scales
    assert changed == (after.state != mine.state or after.epoch != mine.epoch)


def test_epochs_wrap() -> None:
    entry = entry_of(View(EPOCHS - 1, State.CLOSED, 1.0, 0))
    assert entry.join(0, State.SYN_SENT, 2.0, 0, 0)
    assert (entry.epoch, entry.state) == (0, State.SYN_SENT)
    assert not entry.join(EPOCHS - 1, State.RESET, 1.5, 0, 0)
    assert (entry.epoch, entry.state) == (0, State.SYN_SENT)


def test_a_higher_epoch_wins_whole() -> None:
    """Numbers of the conversation before say nothing about this one."""
    entry = entry_of(View(0, State.RESET, 1.0, 0x77))
    entry.sequence_original = entry.sequence_reply = 12345
    entry.join(1, State.SYN_RECEIVED, 2.0, 0x20, 0)
    assert knowledge(entry) == View(1, State.SYN_RECEIVED, 2.0, 0x20)
    assert (entry.sequence_original, entry.sequence_reply) == (-1, -1)


def test_reopening_keeps_the_translation_and_nothing_else() -> None:
    entry = entry_of(View(0, State.RESET, 1.0, 0x77))
    entry.sequence_original = entry.sequence_reply = 12345
    keys = entry.original_key, entry.translated_key, entry.addresses, entry.transport, entry.born_ms
    entry.reopen()
    assert keys == (entry.original_key, entry.translated_key, entry.addresses, entry.transport, entry.born_ms)
    assert knowledge(entry) == View(1, State.SYN_SENT, 1.0, 0)
    assert (entry.sequence_original, entry.sequence_reply) == (-1, -1)
    for _ in range(EPOCHS):
        entry.reopen()
    assert entry.epoch == 1


def test_the_timer_follows_the_state() -> None:
    entry = Flows(idle_timeout_s=777.0).entry(now=5.0)
    timeouts = []
    for state in State:
        entry.enter(state)
        timeouts.append(entry.timeout_s)
    assert timeouts == [60, 60, 60, 777, 777, 777, 120, 120]
    entry.enter(State.ESTABLISHED)
    assert entry.expires_at() == 782.0


def test_a_datagram_flow_has_one_timer() -> None:
    entry = Flows().entry(protocol=UDP)
    for state in (State.SYN_SENT, State.SYN_RECEIVED):
        entry.enter(state)
        assert entry.timeout_s == 120


@pytest.mark.parametrize("family", [4, 6])
def test_the_sums_are_those_of_the_two_tuples(family: int) -> None:
    entry = Flows(family).entry(snat_port=54_321)
    original, translated = entry.original_key[:-3], entry.translated_key[:-3]
    assert entry.addresses % MODULUS == (internet_sum(translated[:-4]) - internet_sum(original[:-4])) % MODULUS
    assert entry.transport % MODULUS == (internet_sum(translated) - internet_sum(original)) % MODULUS


def test_the_moment_of_birth_wraps() -> None:
    assert Flows().entry(now=BORN_MODULUS / 1000 + 1.5).born_ms == 1500


@given(st.integers(0, BORN_MODULUS - 1), st.integers(-(1 << 31), (1 << 31) - 1))
def test_who_takes_anothers_place_is_younger_also_within_one_millisecond(born_ms: int, later_ms: int) -> None:
    """A clock that stands, or that another node has read a little later: the successor is after, and else unchanged."""
    standing, comer = Flows().entry(), Flows().entry()
    standing.born_ms = born_ms
    comer.born_ms = own = (born_ms + later_ms) % BORN_MODULUS
    comer.succeed(standing)
    assert comer.born_ms == (own if later_ms > 0 else (born_ms + 1) % BORN_MODULUS)
    assert standing.born_ms == born_ms


OFFER = 2_000_000_000 << 32 | 1400
MARKS = (0, HEADER_ACKED, ANSWERED, ANSWERED | HEADER_ACKED, ANSWERED | HEADER_ACKED | HEADER_PAST)


@given(st.lists(st.tuples(views, st.sampled_from(MARKS)), min_size=1, max_size=4))
def test_what_the_target_answered_joins_in_any_order(known: list[tuple[View, int]]) -> None:
    """Told beside the mark, by every node that has it; beside no mark it is nobody's word."""
    ends = set()
    for order in permutations(known):
        entry = Flows().entry(now=0.0)
        entry.get_header(HeaderPlacement.ON_FIRST_ACK, 1000)
        injection = entry.injection
        assert injection is not None
        for view, marks in (*order, *order):
            told = OFFER if marks & ANSWERED else 7 << 32 | 1
            entry.join(view.epoch, view.state | marks << STATE_BITS, view.seen_at, view.scales, told)
        ends.add((*knowledge(entry), injection.marks, injection.offer, injection.is_cookie(1000, OFFER >> 32)))
    ((*_, marks, offer, knows_cookies),) = ends
    answered = any(told & ANSWERED for _, told in known)
    assert (offer, bool(marks & ANSWERED), knows_cookies) == (OFFER if answered else 0, answered, answered)
