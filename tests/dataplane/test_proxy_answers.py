"""The target's answer to the SYN of a stream with a header: until it is known nothing passes, and it never changes."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from hyperplane.dataplane.verdict import DropReason
from hyperplane.flow.tcp_state import State
from tests import cases
from tests.cases import ACK, FIN, PSH, RST, SYN, URG, linux_syn
from tests.dataplane.beginnings import (
    BEGINNINGS,
    GOING_ON,
    OTHERS,
    begins,
    begins_again,
    brought_to,
    goes_well,
    send,
    syn_of,
    the_flow,
    the_injection,
)
from tests.dataplane.header_road import FIRST, PLAIN_WAYS, HeaderRoad, Way, name_of, tells
from tests.dataplane.story import Step
from tests.nodes import DOOR, EXIT, MemoryZone, Node

HALF_OPEN_S = 60
NODES = pytest.mark.parametrize("nodes", [1, 2], ids=["one node", "two nodes"])
WAYS = pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)


def two_of(zone: MemoryZone, nodes: int) -> tuple[Node, Node]:
    return zone.node(0), zone.node(nodes - 1)


# --- before it ----------------------------------------------------------------------------------


def unanswered(road: HeaderRoad, flags: int, sequence: int = FIRST, payload: bytes = b"") -> Step:
    came = cases.tcp(
        road.client, road.endpoint, flags=flags, sequence=sequence, payload=payload, checksum=road.sum
    )  # fmt: skip
    return road.dropped(came, DropReason.NOT_ANSWERED, flows=1)


def whatever_is_not_syn_or_reset(road: HeaderRoad) -> Iterator[Step]:
    for sequence in (FIRST, FIRST - 1, FIRST - 2, FIRST + 1, FIRST + road.length, FIRST + 1_000_000):
        yield unanswered(road, ACK, sequence)
        yield unanswered(road, PSH | ACK, sequence, b"GET / HTTP/1.1")
        yield unanswered(road, FIN | ACK, sequence)
        yield unanswered(road, URG | ACK, sequence, b"x")
        yield unanswered(road, SYN | ACK, sequence)
        yield unanswered(road, SYN | ACK, sequence, b"x")


@tells()
def test_nothing_of_the_clients_passes_before_the_answer(road: HeaderRoad) -> Iterator[Step]:
    """It could complete the handshake of another stream than the one whose first byte we know."""
    yield road.syn()
    yield from whatever_is_not_syn_or_reset(road)
    yield replace(road.up(SYN, sequence=FIRST - 1, options=linux_syn(1400)), flows=1)
    yield road.syn_ack()
    yield road.shared()


@NODES
@WAYS
def test_what_does_not_pass_before_the_answer_moves_nothing(way: Way, nodes: int) -> None:
    """At a node that has seen the SYN, and at one that has only been told of it."""
    road = HeaderRoad(*way)
    here, there = two_of(road.zone(), nodes)
    begins(here, road)
    there.dataplane.settle(1.0)
    entry = the_flow(there)
    before = entry.told_state, entry.epoch, entry.seen_at, entry.scales
    road.now = 1.5
    send(there, road, whatever_is_not_syn_or_reset(road))
    assert (entry.told_state, entry.epoch, entry.seen_at, entry.scales) == before
    send(here, road, [road.syn_ack()])
    send(there, road, [road.shared()])


@WAYS
def test_the_answer_is_told_before_the_client_can_have_it(way: Way) -> None:
    """Whichever node has let it pass: the client's next segment is too early for none, and each knows what the target
    takes in one segment."""
    road = HeaderRoad(*way)
    zone = road.zone()
    begins(zone.node(0), road)
    zone.node(2).dataplane.settle(1.0)
    send(zone.node(1), road, [road.syn_ack()])
    for index in (2, 0):
        send(zone.node(index), road, [road.shared()])


@WAYS
def test_a_client_cannot_answer_for_the_target(way: Way) -> None:
    """SYN, reset, and SYN-ACK of its own, which would take the reset back: no stream was ever answered."""
    road = HeaderRoad(*way)
    node = road.zone().node(0)
    brought_to("RESET before the answer", road, node)
    for flags in (SYN | ACK, ACK, PSH | ACK, FIN | ACK):
        send(node, road, [unanswered(road, flags, FIRST), unanswered(road, flags, FIRST, b"GET / HTTP/1.1")])
    assert the_flow(node).state == State.RESET


@NODES
@WAYS
def test_a_reset_of_the_clients_passes_before_the_answer(way: Way, nodes: int) -> None:
    road = HeaderRoad(*way)
    here, there = two_of(road.zone(), nodes)
    begins(here, road)
    send(there, road, [replace(road.shifted(RST), leading=(road.reset_before(),))])
    assert the_flow(there).state == State.RESET


@NODES
@WAYS
def test_a_reset_of_an_older_stream_reaches_the_target_and_ends_nothing_here(way: Way, nodes: int) -> None:
    """The target holds a stream by this port of which no node knows any more. It challenges the SYN, and the client's
    reset must reach it with the number that it named. As it once was: it did not, and no client ever got through."""
    road = HeaderRoad(*way)
    here, there = two_of(road.zone(), nodes)
    begins(here, road)
    late = FIRST + 1_000_000
    named = {"acknowledgment": late - road.length, "sequence": 9000}
    send(there, road, [road.mapped({"acknowledgment": late, "sequence": 9000}, named)])
    send(here, road, [road.shifted(RST, sequence=late - road.length, window=0)])
    assert the_flow(here).state == State.SYN_SENT
    send(here, road, [replace(road.up(SYN, sequence=FIRST - 1, options=linux_syn(1400)), flows=1), road.syn_ack()])
    send(here, road, [road.shared()])


@NODES
@WAYS
def test_what_a_target_says_before_its_answer_passes_and_moves_nothing(way: Way, nodes: int) -> None:
    """A challenge of a target that has an older stream, or that stream's very late segments."""
    road = HeaderRoad(*way)
    here, there = two_of(road.zone(), nodes)
    begins(here, road)
    there.dataplane.settle(1.0)
    entry = the_flow(there)
    before = entry.told_state, entry.epoch, entry.seen_at
    late = FIRST + 1_000_000
    shown = {"acknowledgment": late - road.length, "sequence": 9000}
    for flags in (ACK, PSH | ACK, FIN | ACK):
        send(there, road, [road.mapped({"acknowledgment": late, "sequence": 9000}, shown, flags)])
    assert (entry.told_state, entry.epoch, entry.seen_at) == before
    send(there, road, [road.syn_ack()])
    send(here, road, [road.shared()])


# --- other answers ------------------------------------------------------------------------------


def syn_ack(road: HeaderRoad, acknowledgment: int, sequence: int = 1999) -> bytes:
    return cases.tcp(
        road.target, road.balancer, flags=SYN | ACK, sequence=sequence, acknowledgment=acknowledgment,
        options=linux_syn(1400), checksum=road.sum,
    )  # fmt: skip


@NODES
@pytest.mark.parametrize("name", BEGINNINGS)
@WAYS
def test_an_answer_to_a_syn_that_nobody_sent_does_not_pass(way: Way, name: str, nodes: int) -> None:
    """What would follow it reaches the target with its own numbers, and without a header."""
    road = HeaderRoad(*way)
    here, there = two_of(road.zone(), nodes)
    brought_to(name, road, here)
    there.dataplane.settle(1.0)
    entry = the_flow(there)
    before = entry.told_state, entry.epoch, entry.seen_at, entry.scales
    for first in (*OTHERS, FIRST - 1, FIRST + 1, FIRST + road.length):
        for sequence in (1999, 5000):
            stray = road.dropped(syn_ack(road, first, sequence), DropReason.STRAY_SYN_ACK, EXIT, flows=1)
            send(there, road, [stray])
    assert (entry.told_state, entry.epoch, entry.seen_at, entry.scales) == before


@NODES
@pytest.mark.parametrize("sequence", [2000, 1998, 1999 + (1 << 31), 0])
@pytest.mark.parametrize("name", GOING_ON)
@WAYS
def test_pp_27_another_answer_to_the_same_syn_is_the_end_of_the_stream(
    way: Way, name: str, sequence: int, nodes: int
) -> None:
    """The target has forgotten the first, and met a late copy of the SYN. It does not pass; every node knows that the
    flow is over, and the client's next SYN, the same or another, begins a stream with a header."""
    road = HeaderRoad(*way)
    zone = road.zone(ports=3)
    here, there = two_of(zone, nodes)
    brought_to(name, road, here)
    stray = road.dropped(syn_ack(road, FIRST, sequence), DropReason.STRAY_SYN_ACK, EXIT, flows=1)
    send(there, road, [stray, stray])
    for node in (here, there, zone.node(2)):
        node.dataplane.settle(1.0)
        assert the_flow(node).state == State.RESET
        assert the_injection(node).answer == 2000
    new = HeaderRoad(*way)
    begins_again(here, new, road)
    goes_well(here, there, new)


@NODES
@pytest.mark.parametrize("name", GOING_ON)
@WAYS
def test_pp_27_the_same_answer_again_passes(way: Way, name: str, nodes: int) -> None:
    """It is repeated because it was lost, or is a late copy: the client knows what to do with it."""
    road = HeaderRoad(*way)
    here, there = two_of(road.zone(), nodes)
    brought_to(name, road, here)
    there.dataplane.settle(1.0)
    state = the_flow(there).state
    again = cases.tcp(
        road.endpoint, road.client, flags=SYN | ACK, sequence=1999, acknowledgment=FIRST, window=502 - road.length,
        options=linux_syn(1400),
    )  # fmt: skip
    out = there.send(syn_ack(road, FIRST), EXIT, road.now, road.state_of(again))
    assert out.accepted and out.packet == again
    assert the_flow(there).state == state


@WAYS
def test_s_03_a_target_keeps_no_door_open_by_answering_again_and_again(way: Way) -> None:
    """Neither with the right answer nor with others, whatever the client has sent long ago."""
    road = HeaderRoad(*way)
    node = road.zone().node(0)
    begins(node, road)
    passed = 0
    for now in range(2, 600, 10):
        node.pass_time(float(now))
        if not node.flows:
            break
        for first in (FIRST, *OTHERS):
            passed += node.send(syn_ack(road, first), EXIT, float(now)).accepted
    assert now <= 2 * HALF_OPEN_S + 12 and passed


@WAYS
def test_a_syn_that_the_target_resets_begins_again_and_the_refusal_passes(way: Way) -> None:
    """A closed port, as the client must see it: each try from another port of ours."""
    first, second = HeaderRoad(*way), HeaderRoad(*way)
    node = first.zone(ports=2).node(0)
    brought_to("RESET, refused", first, node)
    begins_again(node, second, first)
    send(node, second, [second.mapped({}, {}, RST | ACK, sequence=0)])
    assert the_flow(node).state == State.RESET
    assert node.send(syn_of(HeaderRoad(*way)), DOOR).reason is DropReason.PORT_ALLOCATION
