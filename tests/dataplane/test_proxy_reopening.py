"""Another SYN on the tuple of a stream with a header: whose numbers count, and that the header is never left out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from hyperplane.dataplane.verdict import DropReason
from hyperplane.flow.tcp_state import State
from tests import cases
from tests.cases import ACK, FIN, PSH, RST, SYN, linux_syn
from tests.dataplane.header_road import (
    AT_ONCE,
    FIRST,
    PLAIN_WAYS,
    REPEATED,
    HeaderRoad,
    Way,
    WrappingRoad,
    name_of,
    tells,
    ways,
)
from tests.dataplane.story import Step, play
from tests.nodes import EXIT, Node

HALF_OPEN_S = 60
OTHERS = (FIRST - 700, FIRST + 1_000_000, FIRST + (1 << 31) + 5, FIRST - (1 << 30))
"""First bytes of another stream: near before, behind, far behind and far before the first stream's."""


def send(node: Node, road: HeaderRoad, steps: Sequence[Step] | Iterator[Step]) -> None:
    """Play these steps at this node."""
    play(lambda _: iter(list(steps)), road, node)


def another_syn(road: HeaderRoad) -> Step:
    return road.up(SYN, sequence=road.first - 1, options=linux_syn(1400))


def reopening(road: HeaderRoad) -> Step:
    step = another_syn(road)
    return replace(step, moved=step.moved | {"flows_reopened": 1}, flows=1)


def with_header(road: HeaderRoad, shares: bool = True) -> Step:
    """The stream's first data, with the header of this stream. A node that has not seen the SYN-ACK does not know how
    large the target's segments may be."""
    return road.shared() if shares else road.led(payload=b"question")


def closed_by_client(road: HeaderRoad) -> Iterator[Step]:
    yield from road.opened()
    yield road.led(FIN | ACK, counted=REPEATED if road.placement is AT_ONCE else "headers_sent")


def closed(road: HeaderRoad) -> Iterator[Step]:
    yield from closed_by_client(road)
    known = FIRST + road.length + 1
    yield road.mapped({"acknowledgment": known}, {"acknowledgment": FIRST + 1}, FIN | ACK)
    yield road.shifted(ACK, sequence=FIRST + 1, acknowledgment=2001)


def closed_by_target(road: HeaderRoad) -> Iterator[Step]:
    yield from road.answered_once()
    known = FIRST + road.length + 8
    yield road.mapped({"acknowledgment": known}, {"acknowledgment": FIRST + 8}, FIN | ACK)


def reset(road: HeaderRoad) -> Iterator[Step]:
    yield from road.answered_once()
    yield road.shifted(RST | ACK, sequence=FIRST + 8)


def acknowledged(road: HeaderRoad) -> Iterator[Step]:
    """The client answers a SYN-ACK that this node has not seen."""
    yield road.syn()
    yield road.replaced() if road.placement is AT_ONCE else road.up(ACK)


BEGINNINGS: dict[State, Callable[[HeaderRoad], Iterator[Step]]] = {
    State.SYN_SENT: lambda road: iter([road.syn()]),
    State.SYN_RECEIVED: lambda road: iter([road.syn(), road.syn_ack()]),
    State.ACKNOWLEDGED: acknowledged,
    State.ESTABLISHED: HeaderRoad.answered_once,
    State.ORIGINAL_CLOSED: closed_by_client,
    State.REPLY_CLOSED: closed_by_target,
    State.CLOSED: closed,
    State.RESET: reset,
}
OVER = (State.CLOSED, State.RESET)


def brought_to(state: State, road: HeaderRoad, node: Node) -> None:
    send(node, road, BEGINNINGS[state](road))
    (entry,) = node.dataplane.plane.table
    assert entry.state == state


def test_every_state_has_a_beginning() -> None:
    assert set(BEGINNINGS) == set(State)


@tells()
def test_pp_27_the_same_syn_again_changes_nothing(road: HeaderRoad) -> Iterator[Step]:
    yield road.syn()
    for _ in range(2):
        yield another_syn(road)
        yield road.syn_ack()
    yield road.shared()
    yield another_syn(road)
    yield road.led(counted=REPEATED, payload=b"question")


@pytest.mark.parametrize("nodes", [1, 2], ids=["one node", "replies by another node"])
@pytest.mark.parametrize("first", OTHERS)
@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_pp_27_a_syn_that_the_target_answers_begins_a_stream_with_a_header(
    way: Way, state: State, first: int, nodes: int
) -> None:
    """In whatever state the flow is believed to be: the target knows better, it may have been restarted."""
    zone = HeaderRoad(*way).zone()
    here, there = zone.node(0), zone.node(nodes - 1)
    brought_to(state, HeaderRoad(*way), here)
    road = WrappingRoad(way, first % (1 << 32))
    send(here, road, [reopening(road) if state in OVER else another_syn(road)])
    send(there, road, [road.syn_ack()])
    send(here, road, [with_header(road, nodes == 1)])
    known = road.first + road.length + 8
    send(there, road, [road.mapped({"acknowledgment": known}, {"acknowledgment": road.first + 8})])
    send(here, road, [road.shifted(FIN | ACK, sequence=road.first + 8)])


@pytest.mark.parametrize("nodes", [1, 2], ids=["one node", "replies by another node"])
@pytest.mark.parametrize("first", OTHERS)
@pytest.mark.parametrize("state", [State.SYN_SENT, State.SYN_RECEIVED, State.ACKNOWLEDGED])
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_pp_27_a_syn_that_the_target_does_not_answer_begins_nothing(
    way: Way, state: State, first: int, nodes: int
) -> None:
    """It answers the one before: that one's numbers count."""
    road, lost = HeaderRoad(*way), WrappingRoad(way, first % (1 << 32))
    zone = road.zone()
    here, there = zone.node(0), zone.node(nodes - 1)
    brought_to(state, road, here)
    send(here, road, [another_syn(lost)])
    send(there, road, [road.syn_ack()])
    before = state is State.ACKNOWLEDGED and road.placement is AT_ONCE
    shares = nodes == 1 or state is State.SYN_RECEIVED
    counted = REPEATED if before else "headers_sent"
    step = road.shared(counted=counted) if shares else road.led(counted=counted, payload=b"question")
    send(here, road, [step])


@pytest.mark.parametrize("nodes", [1, 2], ids=["one node", "replies by another node"])
@pytest.mark.parametrize("first", OTHERS)
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_pp_27_a_challenge_reaches_the_client_and_its_reset_is_exact(way: Way, first: int, nodes: int) -> None:
    """The target has the old connection still (RFC 5961 section 4.2): the client's reset must have the number that the
    target named, or it is not believed. Then the SYN comes again."""
    road, new = HeaderRoad(*way), WrappingRoad(way, first % (1 << 32))
    zone = road.zone()
    here, there = zone.node(0), zone.node(nodes - 1)
    brought_to(State.ESTABLISHED, road, here)
    known = FIRST + road.length + 8
    send(here, road, [another_syn(new)])
    send(there, road, [road.mapped({"acknowledgment": known}, {"acknowledgment": FIRST + 8})])
    send(here, road, [road.shifted(RST, sequence=FIRST + 8), reopening(new)])
    send(there, road, [new.syn_ack()])
    send(here, road, [with_header(new, nodes == 1)])


@tells()
def test_a_syn_inside_a_stream_changes_nothing_unless_the_target_answers_it(road: HeaderRoad) -> Iterator[Step]:
    """Blind SYNs, and very late ones."""
    yield from road.answered_once()
    for first in OTHERS:
        yield another_syn(WrappingRoad((road.family, road.state, road.placement), first % (1 << 32)))
        known = FIRST + road.length + 8
        yield road.mapped({"acknowledgment": known}, {"acknowledgment": FIRST + 8})
        yield road.shifted(PSH | ACK, sequence=FIRST + 8, payload=b"the stream goes on")


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_an_answer_to_a_syn_that_nobody_sent_does_not_pass(way: Way, state: State) -> None:
    """What would follow it reaches the target with its own numbers, and without a header."""
    road = HeaderRoad(*way)
    node = road.zone().node(0)
    brought_to(state, road, node)
    for first in OTHERS:
        came = cases.tcp(road.target, road.balancer, flags=SYN | ACK, sequence=1999, acknowledgment=first)
        send(node, road, [road.dropped(came, DropReason.STRAY_SYN_ACK, EXIT, flows=1)])


@pytest.mark.parametrize("nodes", [1, 2], ids=["one node", "replies by another node"])
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_a_client_cannot_get_rid_of_the_header_by_a_reset_that_it_takes_back(way: Way, nodes: int) -> None:
    """As it once was: RST, ACK and SYN at once. The ACK takes the reset back, so the SYN is inside a stream, but the
    target has believed the reset and answers the SYN. Its stream went on with the numbers of the one before."""
    road, new = HeaderRoad(*way), WrappingRoad(way, FIRST - 700)
    zone = road.zone()
    here, there = zone.node(0), zone.node(nodes - 1)
    brought_to(State.ESTABLISHED, road, here)
    rst, ack = (road.shifted(flags, sequence=FIRST + 8) for flags in (RST | ACK, ACK))
    send(here, road, [rst, ack, another_syn(new)])
    told = cases.tcp(road.target, road.balancer, flags=RST, sequence=2000)
    send(there, road, [road.passes(told, cases.tcp(road.endpoint, road.client, flags=RST, sequence=2000), EXIT)])
    send(there, new, [new.syn_ack()])
    send(here, new, [with_header(new, nodes == 1)])


@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_s_03_a_target_keeps_no_door_open_by_answering_again_and_again(way: Way) -> None:
    """With another number each time, each of which the client has sent, and long ago."""
    road = HeaderRoad(*way)
    node = road.zone().node(0)
    send(node, road, [road.syn()])
    syns = [WrappingRoad(way, FIRST + number * 1_000_000) for number in (1, 2)]
    send(node, road, [another_syn(syn) for syn in syns])
    passed = 0
    for now in range(2, 600, 10):
        node.pass_time(float(now))
        for syn in (*syns, road):
            answer = cases.tcp(road.target, road.balancer, flags=SYN | ACK, sequence=1999, acknowledgment=syn.first)
            passed += node.send(answer, EXIT, float(now)).accepted
        if not node.flows:
            break
    assert now <= 2 * HALF_OPEN_S + 12 and passed


@pytest.mark.parametrize("ended_by", ["both ends", "a reset"])
@pytest.mark.parametrize("way", ways(roads=((4, PLAIN_WAYS[0][1]),)), ids=name_of)
def test_pp_34_a_third_node_that_knows_only_the_stream_before(way: Way, ended_by: str) -> None:
    """It believes the old stream alive, has read nothing since, and the new stream's first data comes to it: as it
    once was, with the old stream's numbers and without a header."""
    road, new = HeaderRoad(*way), WrappingRoad(way, FIRST - 700)
    zone = road.zone()
    here, third = zone.node(0), zone.node(2)
    send(here, road, road.answered_once())
    third.dataplane.settle(1.0)
    assert third.flows == 1
    if ended_by == "a reset":
        send(here, road, [road.shifted(RST | ACK, sequence=FIRST + 8)])
    else:
        known = FIRST + road.length + 8
        send(here, road, [road.shifted(FIN | ACK, sequence=FIRST + 8)])
        send(here, road, [road.mapped({"acknowledgment": known}, {"acknowledgment": FIRST + 8}, FIN | ACK)])
    send(here, new, [reopening(new), new.syn_ack()])
    send(third, new, [with_header(new, shares=False)])


@pytest.mark.parametrize("state", [State.SYN_SENT, State.ESTABLISHED, State.CLOSED])
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_the_source_port_goes_over_to_the_new_stream_and_back_once(way: Way, state: State) -> None:
    """Whichever node began it: nobody else gets the port as long as it lives, and it is free a minute after its end."""
    road, new = HeaderRoad(*way), WrappingRoad(way, FIRST + 1_000_000)
    zone = road.zone()
    here, there = zone.node(0), zone.node(1)
    brought_to(state, road, here)
    there.dataplane.settle(1.0)
    beginning = there if state is State.CLOSED else here
    send(beginning, road, [reopening(new) if state is State.CLOSED else another_syn(new)])
    send(there, road, [new.syn_ack()])
    send(here, road, [with_header(new, shares=False)])
    for now in range(2, 240, 4):
        for node in (here, there):
            node.dataplane.receive_deltas(float(now))
            node.pass_time(float(now))
        ack = cases.tcp(road.client, road.endpoint, sequence=new.first + 8)
        assert here.send(ack, 1, float(now)).accepted
        other = cases.tcp((road.client[0], 50_000), road.endpoint, flags=SYN)
        assert there.send(other, 1, float(now)).reason is DropReason.PORT_ALLOCATION
        assert zone.ports_taken() == 1
    for now in range(240, 240 + 350 + 120, 4):
        for node in (here, there):
            node.dataplane.receive_deltas(float(now))
            node.pass_time(float(now))
    assert (here.flows, there.flows, zone.ports_taken()) == (0, 0, 0)
