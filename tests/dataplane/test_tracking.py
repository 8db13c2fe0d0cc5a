"""What a flow may do, what keeps it alive, and what its nodes know together."""

import pytest

from hyperplane.dataplane.verdict import DropReason
from hyperplane.flow.tcp_state import State
from tests.cases import ACK, CLIENT, ENDPOINT, FIN, PSH, RST, SYN, linux_syn, tcp
from tests.conversation import Conversation
from tests.dissection import dissect
from tests.nodes import DOOR, MemoryZone, Node

IDLE_S, HALF_OPEN_S, CLOSING_S = 350, 60, 120


def state_at(node: Node) -> State:
    (entry,) = node.dataplane.plane.table
    return State(entry.state)


def two_nodes() -> tuple[Node, Node]:
    zone = MemoryZone()
    return zone.node(0), zone.node(1)


# --- nodes that see different halves ---------------------------------------------------------------


def test_a_handshake_whose_halves_two_nodes_see_is_established() -> None:
    """The client's ACK passes by a node that has not heard of the SYN-ACK yet, and then nobody says a word."""
    here, there = two_nodes()
    talk = Conversation()
    talk.open(here, 1.0, back=there)
    for node in (here, there):
        node.dataplane.receive_deltas(1.1)
        assert state_at(node) is State.ESTABLISHED
        node.pass_time(1.0 + HALF_OPEN_S + 5)
    assert talk.up(here, 1.0 + IDLE_S - 1, PSH | ACK, b"late").accepted


def test_a_conversation_that_was_reopened_elsewhere_is_answered_here() -> None:
    """The SYN-ACK of a new conversation comes to a node that still holds the end of the old one."""
    here, there = two_nodes()
    talk = Conversation()
    talk.open(here, 1.0, back=there)
    talk.close(here, 2.0, back=there)
    there.dataplane.settle(2.0)
    again = Conversation(client_isn=2_000_000, target_isn=9_000_000)
    again.open(here, 3.0, back=there)
    for node in (here, there):
        node.dataplane.settle(3.1)
        assert state_at(node) is State.ESTABLISHED


def test_the_last_ack_of_a_handshake_passes_a_node_that_knows_only_the_end_before() -> None:
    """Every packet of the new conversation by whatever node it meets."""
    here, there = two_nodes()
    old = Conversation()
    old.open(here, 1.0, back=there)
    old.close(here, 2.0, back=there)
    new = Conversation(client_isn=2_000_000, target_isn=9_000_000)
    assert new.up(here, 3.0, SYN, options=linux_syn()).accepted
    assert new.down(here, 3.0, SYN | ACK, options=linux_syn()).accepted
    assert new.up(there, 3.0).accepted
    for node in (here, there):
        node.dataplane.settle(3.1)
        assert state_at(node) is State.ESTABLISHED


@pytest.mark.parametrize("known", [True, False], ids=["its delta taken in", "its delta unread"])
def test_a_reopened_conversation_that_the_target_refuses(known: bool) -> None:
    """The reset's sequence number has nothing to do with the old conversation's."""
    here, there = two_nodes()
    talk = Conversation()
    talk.open(here, 1.0, back=there)
    talk.exchange(here, 1.5, back=there)
    talk.close(here, 2.0, back=there)
    there.dataplane.settle(2.0)
    again = Conversation(client_isn=2_000_000)
    assert again.up(here, 3.0, SYN, options=linux_syn()).accepted
    if known:
        there.dataplane.settle(3.0)
    assert again.down(there, 3.0, RST | ACK, sequence=3_000_000_000).accepted


def test_a_window_scale_is_told_whatever_the_flow_is_in() -> None:
    """A reset and the SYN-ACK that it overtook, by two nodes: both must judge later resets alike."""
    here, there = two_nodes()
    talk = Conversation()
    assert talk.up(here, 1.0, SYN, options=linux_syn()).accepted
    assert talk.up(here, 1.0, RST).accepted
    assert talk.down(there, 1.0, SYN | ACK, options=linux_syn()).accepted
    for node in (here, there):
        node.dataplane.settle(1.1)
    scales = {entry.scales for node in (here, there) for entry in node.dataplane.plane.table}
    assert len(scales) == 1


# --- resets -------------------------------------------------------------------------------------------


def test_nat_23_resets_in_and_out_of_the_window() -> None:
    node, _ = two_nodes()
    talk = Conversation()
    talk.open(node, 1.0)
    talk.exchange(node, 1.0)
    far = talk.up(node, 2.0, RST, sequence=talk.client_next + (1 << 30))
    assert (far.reason, far.moved) == (
        DropReason.RST_OUT_OF_WINDOW,
        {"packets_dropped": 1, "dropped_rst_out_of_window": 1},
    )
    assert state_at(node) is State.ESTABLISHED
    near = talk.up(node, 2.0, RST, sequence=talk.client_next + 1000)
    assert near.accepted, "the target answers it with a challenge ACK"
    assert talk.down(node, 2.0).accepted, "and the flow lives"
    talk.exchange(node, 3.0)
    assert talk.up(node, 4.0, RST).accepted


def test_nat_23_no_scaling_means_a_small_window() -> None:
    """Neither SYN carries a window scale: the receiver's window has 16 bits."""
    node, _ = two_nodes()
    talk = Conversation()
    assert talk.up(node, 1.0, SYN).accepted
    assert talk.down(node, 1.0, SYN | ACK).accepted
    talk.exchange(node, 1.0)
    for distance, passes in ((65_000, True), (70_000, False), (1 << 29, False)):
        assert talk.up(node, 2.0, RST, sequence=talk.client_next + distance).accepted is passes
        assert talk.down(node, 2.0, RST, sequence=talk.target_next + distance).accepted is passes


def test_a_client_that_has_forgotten_everything_gets_its_old_connection_out_of_the_way() -> None:
    """RFC 5961 section 4: the target challenges the SYN, the client resets what the challenge acknowledges."""
    node, _ = two_nodes()
    old = Conversation()
    old.open(node, 1.0)
    old.exchange(node, 1.0)
    new = Conversation(client_isn=3_000_000_000)
    assert new.up(node, 2.0, SYN, options=linux_syn()).accepted
    assert old.down(node, 2.0).accepted, "the challenge"
    assert old.up(node, 2.0, RST, acknowledgment=0).accepted, "the answer"
    new = Conversation(client_isn=3_000_000_000)
    new.open(node, 3.0)


def test_a_reset_that_refuses_a_syn_passes_whatever_was_said_before() -> None:
    """RFC 9293 section 3.10.7.1: a target that has forgotten everything answers a SYN with sequence number 0."""
    node, _ = two_nodes()
    old = Conversation()
    old.open(node, 1.0)
    old.exchange(node, 1.0)
    new = Conversation(client_isn=3_000_000_000)
    assert new.up(node, 2.0, SYN, options=linux_syn()).accepted
    assert new.down(node, 2.0, RST | ACK, sequence=0).accepted


# --- what keeps a flow alive --------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["closed", "reset"])
def test_s_03_a_target_cannot_keep_a_flow_that_is_over(ending: str) -> None:
    node, _ = two_nodes()
    talk = Conversation()
    talk.open(node, 1.0)
    if ending == "closed":
        talk.close(node, 2.0)
    else:
        assert talk.up(node, 2.0, RST).accepted
    for now in range(3, 2 + CLOSING_S, 20):
        assert talk.down(node, now, FIN | ACK).accepted, "a repeated last segment passes"
    late = talk.down(node, 2.0 + CLOSING_S + 1, FIN | ACK)
    assert late.reason is DropReason.NO_FLOW
    assert node.flows == 0


def test_a_target_cannot_keep_a_flow_half_open() -> None:
    node, _ = two_nodes()
    talk = Conversation()
    assert talk.up(node, 1.0, SYN, options=linux_syn()).accepted
    for now in range(2, HALF_OPEN_S, 10):
        assert talk.down(node, now, SYN | ACK, sequence=7).accepted
    assert talk.down(node, 2 + HALF_OPEN_S + 1, SYN | ACK, sequence=7).reason is DropReason.NO_FLOW


def test_nat_23_a_client_keeps_its_flow_after_a_reset_that_was_none() -> None:
    """Whoever gets a reset may challenge it. Then the conversation goes on, and so does the flow."""
    node, there = two_nodes()
    talk = Conversation()
    talk.open(node, 1.0)
    talk.exchange(node, 1.0)
    assert talk.down(node, 2.0, RST, sequence=talk.target_next + 100).accepted
    assert state_at(node) is State.RESET
    talk.exchange(node, 3.0)
    assert state_at(node) is State.ESTABLISHED
    there.dataplane.settle(3.0)
    assert state_at(there) is State.ESTABLISHED
    for now in (300.0, 600.0):
        for it in (node, there):
            it.pass_time(now)
        talk.exchange(node, now)


def test_nat_23_a_client_that_only_listens_keeps_its_flow_too() -> None:
    """It has closed its half, and a reset in its name makes the target send a challenge ACK: it answers data."""
    node, there = two_nodes()
    talk = Conversation()
    talk.open(node, 1.0)
    assert talk.up(node, 2.0, FIN | ACK).accepted
    assert talk.up(there, 3.0, RST, sequence=talk.client_next + 100).accepted
    assert talk.down(there, 3.0).accepted, "the challenge"
    assert state_at(there) is State.RESET
    for now in (100.0, 400.0, 700.0):
        for it in (node, there):
            it.dataplane.settle(now)
            it.pass_time(now)
        assert talk.down(there, now, PSH | ACK, b"more of it").accepted
        assert talk.up(node, now).accepted
        assert state_at(node) is State.ESTABLISHED


def test_a_reset_that_nobody_believed_ends_a_conversation_that_rests() -> None:
    """The documented choice: the client has the closing timer to show that the reset was none."""
    in_time, too_late = 2.0 + CLOSING_S - 1, 2.0 + CLOSING_S + 1
    for now, goes_on in ((in_time, True), (too_late, False)):
        node, _ = two_nodes()
        talk = Conversation()
        talk.open(node, 1.0)
        assert talk.down(node, 2.0, RST, sequence=talk.target_next + 100).accepted
        node.pass_time(now)
        out = talk.up(node, now, PSH | ACK, b"still here")
        assert out.accepted is goes_on
        if not goes_on:
            assert (out.eni, dissect(out.packet).flags) == (DOOR, RST), "and is told"


def test_what_was_on_its_way_behind_a_reset_keeps_nothing() -> None:
    """The target has forgotten the connection: it answers each of them with a reset."""
    node, _ = two_nodes()
    talk = Conversation()
    talk.open(node, 1.0)
    talk.exchange(node, 1.0)
    assert talk.down(node, 2.0, RST | ACK).accepted
    for _ in range(3):
        assert talk.up(node, 2.0, PSH | ACK, b"too late").accepted
        assert talk.down(node, 2.0, RST, acknowledgment=0).accepted
    assert state_at(node) is State.RESET
    node.pass_time(2.0 + CLOSING_S + 1)
    assert node.flows == 0


def test_a_target_cannot_bring_a_flow_back_that_was_reset() -> None:
    node, _ = two_nodes()
    talk = Conversation()
    talk.open(node, 1.0)
    assert talk.up(node, 2.0, RST).accepted
    for _ in range(3):
        assert talk.down(node, 3.0, PSH | ACK, b"hello?").accepted
    assert state_at(node) is State.RESET


def test_a_syn_with_broken_options_opens_nothing_again() -> None:
    node, _ = two_nodes()
    talk = Conversation()
    talk.open(node, 1.0)
    talk.close(node, 2.0)
    out = node.send(tcp(CLIENT, ENDPOINT, flags=SYN, options=b"\x03\x00\x00\x00"), DOOR, 3.0)
    assert out.reason is DropReason.BAD_TCP_OPTIONS
    assert state_at(node) is State.CLOSED


def test_a_client_answers_no_syn_and_resets_nothing_with_the_number_zero() -> None:
    """Only a target that remembers nothing answers so: from a client it would be a way to call any flow over."""
    node, talk = MemoryZone().node(0), Conversation(client_isn=3_000_000_000)
    talk.open(node, 1.0)
    assert talk.up(node, 2.0, RST | ACK, sequence=0).reason is DropReason.RST_OUT_OF_WINDOW
