"""The TCP table: every pair, and the order in which nodes learn does not matter."""

from itertools import permutations, product

import pytest

from hyperplane.flow.tcp_state import (
    INPUTS,
    NEXT_STATE,
    REFUSED,
    TIMERS,
    TRANSITIONS,
    Input,
    State,
    Timer,
    is_half_open,
    plausible,
    window_max,
)
from tests.cases import ACK, FIN, PSH, RST, SYN, URG

PAIRS = list(product(State, Input))
REOPENINGS = {
    (State.CLOSED, Input.ORIGINAL_SYN): State.SYN_SENT,
    (State.RESET, Input.ORIGINAL_SYN): State.SYN_SENT,
    (State.RESET, Input.ORIGINAL_ACK): State.ESTABLISHED,
}
"""The steps that are not additions: each starts an epoch."""

# Every pair once more, by hand: rows are states, columns inputs in the order of `Input`.
#                     SYN  ACK  FIN  RST | SYN-ACK ACK  FIN  RST
EXPECTED = {
    State.SYN_SENT: (0, 2, 7, 31, 1, 0, 11, 31),
    State.SYN_RECEIVED: (1, 3, 7, 31, 1, 3, 11, 31),
    State.ACKNOWLEDGED: (2, 2, 7, 31, 3, 3, 11, 31),
    State.ESTABLISHED: (3, 3, 7, 31, 3, 3, 11, 31),
    State.ORIGINAL_CLOSED: (7, 7, 7, 31, 7, 7, 15, 31),
    State.REPLY_CLOSED: (11, 11, 15, 31, 11, 11, 11, 31),
    State.CLOSED: (0, 15, 15, 31, 15, 15, 15, 31),
    State.RESET: (0, 3, 31, 31, 31, 31, 31, 31),
}


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=lambda value: value.name)
def test_every_pair(state: State, event: Input) -> None:
    assert TRANSITIONS[state, event] == EXPECTED[state][event]
    assert NEXT_STATE[state << 3 | event] == EXPECTED[state][event]


def test_the_table_holds_these_pairs_and_no_other() -> None:
    assert set(TRANSITIONS) == set(PAIRS)
    others = set(range(32 * 8)) - {state << 3 | event for state, event in PAIRS}
    assert {NEXT_STATE[place] for place in others} == {REFUSED}


def test_joining_needs_no_order() -> None:
    for first, second, third in product(State, repeat=3):
        assert first | second == second | first
        assert (first | second) | third == first | (second | third)
        assert first | first == first
        assert first | second in set(State), "a join is a state"


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=lambda value: value.name)
def test_a_step_only_adds(state: State, event: Input) -> None:
    after = TRANSITIONS[state, event]
    if (state, event) in REOPENINGS:
        assert after == REOPENINGS[state, event]
        assert after < state, "which is how a node knows"
    else:
        assert after | state == after


@pytest.mark.parametrize("event", Input, ids=lambda event: event.name)
def test_a_step_may_be_taken_before_or_after_a_join(event: Input) -> None:
    """A target's bare ACK alone is understood better by who knows more. It comes again with every segment."""
    for state, other in product(State, repeat=2):
        joined = State(state | other)
        if {(state, event), (joined, event), (other, event)} & REOPENINGS.keys():
            continue
        late, early = TRANSITIONS[joined, event], TRANSITIONS[state, event] | other
        if event is Input.REPLY_ACK:
            assert late | early == late
        else:
            assert late == early


CONVERSATION = (
    Input.ORIGINAL_SYN,
    Input.REPLY_SYN_ACK,
    Input.ORIGINAL_ACK,
    Input.ORIGINAL_FIN,
    Input.REPLY_FIN,
)


@pytest.mark.parametrize("length", range(1, len(CONVERSATION) + 1))
def test_nodes_that_share_the_segments_know_together_what_one_node_would_know(length: int) -> None:
    """Each segment by any of three nodes, and nobody hears of the others before the end."""
    alone = State.SYN_SENT
    for event in CONVERSATION[:length]:
        alone = TRANSITIONS[alone, event]
    for nodes in product(range(3), repeat=length):
        views = [State.SYN_SENT] * 3
        for node, event in zip(nodes, CONVERSATION, strict=False):
            views[node] = TRANSITIONS[views[node], event]
        assert views[0] | views[1] | views[2] == alone, nodes


def test_segments_of_a_handshake_in_any_order_end_the_same() -> None:
    for order in permutations((Input.ORIGINAL_SYN, Input.REPLY_SYN_ACK, Input.ORIGINAL_ACK)):
        state = State.SYN_SENT
        for event in order:
            state = TRANSITIONS[state, event]
        assert state is State.ESTABLISHED, order


def test_every_state_has_its_timer() -> None:
    half_open = {State.SYN_SENT, State.SYN_RECEIVED, State.ACKNOWLEDGED}
    closing = {State.CLOSED, State.RESET}
    for state in State:
        expected = Timer.HALF_OPEN if state in half_open else Timer.CLOSING if state in closing else Timer.IDLE
        assert TIMERS[state] is expected


def test_half_open_is_what_the_target_has_not_answered() -> None:
    assert {state for state in State if is_half_open(state)} == {State.SYN_SENT, State.ACKNOWLEDGED}


def test_what_flags_mean() -> None:
    original, reply = INPUTS
    for extra in (0, PSH, URG, PSH | URG):
        assert original[SYN | extra] == Input.ORIGINAL_SYN
        assert original[ACK | extra] == original[SYN | ACK | extra] == Input.ORIGINAL_ACK
        assert original[FIN | ACK | extra] == Input.ORIGINAL_FIN
        assert original[RST | extra] == original[RST | ACK | extra] == Input.ORIGINAL_RST
        assert reply[SYN | extra] == REFUSED, "the provider never opens a connection"
        assert reply[SYN | ACK | extra] == Input.REPLY_SYN_ACK
        assert reply[ACK | extra] == Input.REPLY_ACK
        assert reply[FIN | ACK | extra] == Input.REPLY_FIN
        assert reply[RST | extra] == reply[RST | ACK | extra] == Input.REPLY_RST


@pytest.mark.parametrize("seen", [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF])
def test_nat_25_plausible_wraps(seen: int) -> None:
    for distance, expected in ((0, True), (1000, True), (-1000, True), (1001, False), (-1001, False), (1 << 31, False)):
        assert plausible((seen + distance) % (1 << 32), seen, 1000) is expected


def test_windows() -> None:
    assert [window_max(scale) for scale in (0, 1, 14, 15)] == [65_535, 131_070, 65_535 << 14, 65_535 << 14]
