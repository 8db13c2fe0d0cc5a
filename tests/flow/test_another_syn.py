"""What becomes of a SYN on the tuple of a flow: every case by name, so that the rule is read here a second time."""

from itertools import product

import pytest

from hyperplane.flow.another_syn import Syn, becomes_of_syn
from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.injector import ANSWERED, HEADER_ACKED, HEADER_PAST
from hyperplane.flow.tcp_state import State
from hyperplane.snapshot import HeaderPlacement
from tests.flow.flows import Flows

NUMBERS = 1 << 32
FIRSTS = (1000, 0, 1, NUMBERS - 1, 1 << 31)
OTHERS = (1, -1, 2, 700, -700, 65_536, (1 << 31) - 1, 1 << 31, 1 - (1 << 31))
"""How far another SYN's number is from the flow's own."""

OVER = {State.CLOSED, State.RESET}
UNANSWERED, OPEN, HAS_HEADER, CLOSED, RESET = "unanswered", "open", "has the header", "closed", "reset"
RULE: dict[str, tuple[str, str]] = {
    RESET: ("begins", "begins"),
    CLOSED: ("is asked", "begins"),
    UNANSWERED: ("goes on", "begins"),
    OPEN: ("goes on", "is asked"),
    HAS_HEADER: ("is asked", "is asked"),
}
"""What becomes of a SYN with the flow's own number, and of one with another."""


def flow(state: State, placement: HeaderPlacement | None, first: int = 1000, marks: int = 0) -> FlowEntry:
    entry = Flows().entry()
    if placement is not None:
        entry.get_header(placement, first)
        assert entry.injection is not None
        entry.injection.mark(marks)
    entry.enter(state)
    return entry


def kind_of(state: State, marks: int) -> str:
    if state in OVER:
        return CLOSED if state is State.CLOSED else RESET
    if marks & HEADER_ACKED:
        return HAS_HEADER
    return OPEN if marks & ANSWERED else UNANSWERED


def test_every_kind_of_flow_has_a_rule() -> None:
    kinds = {kind_of(state, marks) for state in State for marks in (0, ANSWERED, ANSWERED | HEADER_ACKED)}
    assert kinds == set(RULE)
    assert {Syn(word) for row in RULE.values() for word in row} == set(Syn)


@pytest.mark.parametrize("gets_header", [False, True])
@pytest.mark.parametrize("marks", [0, ANSWERED, ANSWERED | HEADER_ACKED, ANSWERED | HEADER_ACKED | HEADER_PAST])
@pytest.mark.parametrize("placement", list(HeaderPlacement))
@pytest.mark.parametrize("state", list(State))
def test_a_flow_with_a_header(state: State, placement: HeaderPlacement, marks: int, gets_header: bool) -> None:
    """Whatever its target would get now, and wherever the numbers wrap."""
    own, another = RULE[kind_of(state, marks)]
    for first in FIRSTS:
        entry = flow(state, placement, first, marks)
        assert becomes_of_syn(entry, (first - 1) % NUMBERS, gets_header) is Syn(own)
        for far in OTHERS:
            sequence = (first - 1 + far) % NUMBERS
            assert becomes_of_syn(entry, sequence, gets_header) is Syn(another), (first, far)


@pytest.mark.parametrize(("state", "gets_header"), list(product(State, [False, True])))
def test_a_flow_without_one_goes_on_unless_it_gets_one_now(state: State, gets_header: bool) -> None:
    entry = flow(state, None)
    begins = state in OVER or state in (State.SYN_SENT, State.SYN_RECEIVED, State.ACKNOWLEDGED)
    now = Syn.BEGINS if begins else Syn.IS_ASKED
    for sequence in (0, 999, 1000, 1 << 31, NUMBERS - 1):
        assert becomes_of_syn(entry, sequence, gets_header) is (now if gets_header else Syn.GOES_ON)


def test_asking_changes_nothing_of_the_flow() -> None:
    entry = flow(State.ESTABLISHED, HeaderPlacement.ON_FIRST_ACK, marks=ANSWERED)
    before = entry.told_state, entry.epoch, entry.born_ms, entry.seen_at
    assert becomes_of_syn(entry, 5, True) is Syn.IS_ASKED
    assert (entry.told_state, entry.epoch, entry.born_ms, entry.seen_at) == before
