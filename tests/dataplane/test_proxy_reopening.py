"""Another SYN on the tuple of a stream with a header: another flow, from another port, that never lacks its header."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from hyperplane.dataplane.verdict import DropReason
from hyperplane.flow.injector import ANSWERED
from hyperplane.flow.tcp_state import State
from hyperplane.snapshot import Snapshot
from tests import cases
from tests.cases import ACK, FIN, RST, SYN, linux_syn
from tests.dataplane.beginnings import (
    BEGINNINGS,
    OTHERS,
    OVER,
    begins,
    begins_again,
    brought_to,
    follow,
    goes_well,
    port_of,
    send,
    syn_of,
    the_flow,
    the_injection,
    with_header,
)
from tests.dataplane.header_road import FIRST, PLAIN_WAYS, REPEATED, HeaderRoad, Way, WrappingRoad, name_of, tells, ways
from tests.dataplane.story import Step
from tests.nodes import DOOR, EXIT, MemoryZone, door, snapshot_of, way_out

HALF_OPEN_S, CLOSING_S, REST_S = 60, 120, 60
ENDS = [
    (name, first)
    for name in OVER
    for first in (FIRST, *OTHERS)
    if BEGINNINGS[name][0] != State.CLOSED or first != FIRST
]
"""But a SYN with the number of a stream that is closed: that is its own, and late (`test_proxy_challenges.py`)."""
NODES = pytest.mark.parametrize("nodes", [1, 2], ids=["one node", "replies by another node"])
WAYS = pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)


def test_every_state_has_a_beginning() -> None:
    """But ACKNOWLEDGED: no ACK of the client's passes before the target's answer is known."""
    assert {state for state, _, _ in BEGINNINGS.values()} == set(State) - {State.ACKNOWLEDGED}
    assert {BEGINNINGS[name][0] for name in OVER} == {State.CLOSED, State.RESET}


@tells()
def test_pp_27_the_same_syn_again_changes_nothing(road: HeaderRoad) -> Iterator[Step]:
    again = road.up(SYN, sequence=road.first - 1, options=linux_syn(1400))
    yield road.syn()
    for _ in range(2):
        yield replace(again, flows=1)
        yield road.syn_ack()
    yield road.shared()
    yield replace(again, flows=1)
    yield road.led(counted=REPEATED, payload=b"question")


@NODES
@pytest.mark.parametrize(("name", "first"), ENDS)
@WAYS
def test_pp_27_a_syn_after_the_end_begins_a_stream_with_a_header(way: Way, name: str, first: int, nodes: int) -> None:
    """Whatever its number, that of one that was reset, too: nobody knows what the target keeps of it."""
    old, new = HeaderRoad(*way), WrappingRoad(way, first)
    zone = old.zone(ports=2)
    here, there = zone.node(0), zone.node(nodes - 1)
    brought_to(name, old, here)
    begins_again(here, new, old)
    goes_well(here, there, new)


@pytest.mark.parametrize(("name", "first"), ENDS)
@WAYS
def test_pp_27_a_syn_after_the_end_may_come_by_a_node_that_has_seen_nothing(way: Way, name: str, first: int) -> None:
    """And the new stream's segments by the one that has seen the stream before, or by a third one."""
    old, new = HeaderRoad(*way), WrappingRoad(way, first)
    zone = old.zone(ports=2)
    brought_to(name, old, zone.node(0))
    begins_again(zone.node(1), new, old)
    goes_well(zone.node(0), zone.node(2), new)


@NODES
@pytest.mark.parametrize("first", OTHERS)
@WAYS
def test_pp_27_a_client_that_gives_up_before_the_answer_begins_another_stream(way: Way, first: int, nodes: int) -> None:
    """What the target answers to the SYN before comes to a port that has no flow: it is told so."""
    old, new = HeaderRoad(*way), WrappingRoad(way, first)
    zone = old.zone(ports=2)
    here, there = zone.node(0), zone.node(nodes - 1)
    brought_to("SYN_SENT", old, here)
    begins_again(here, new, old)
    late = cases.tcp(old.target, old.balancer, flags=SYN | ACK, sequence=1999, acknowledgment=old.first)
    no_flow = cases.tcp(
        old.balancer, old.target, flags=RST, sequence=old.first, window=0, ip=cases.Ip(identification=0)
    )  # fmt: skip
    send(there, old, [old.answered(late, DropReason.NO_FLOW, no_flow, EXIT, flows=1)])
    goes_well(here, there, new)


@WAYS
def test_pp_27_two_streams_of_one_millisecond_are_settled_alike_on_all_nodes(way: Way) -> None:
    """Begun by different nodes, each after the other's: the last is the flow, in whatever order it is told."""
    roads = [WrappingRoad(way, first) for first in (FIRST, *OTHERS)]
    zone = roads[0].zone(ports=8)
    begins(zone.node(0), roads[0])
    for number, (old, new) in enumerate(pairwise(roads)):
        begins_again(zone.node((number + 1) % 3), new, old)
    late = zone.restart(2, 1.0)
    for node in (zone.node(1), zone.node(0), late):
        node.dataplane.settle(1.0)
        assert the_injection(node).first == roads[-1].first
    assert len({(the_flow(node).translated_key, the_flow(node).born_ms) for node in zone.nodes.values()}) == 1
    goes_well(zone.node(0), late, roads[-1])


@NODES
@WAYS
def test_a_client_cannot_get_rid_of_the_header_by_a_reset_that_it_takes_back(way: Way, nodes: int) -> None:
    """As it once was: RST, ACK and SYN at once. The ACK takes the reset back, so the SYN is inside a stream, but the
    target has believed the reset and answers the SYN. Its stream went on with the numbers of the one before. Now such
    a SYN does not reach a target, unless as another flow."""
    old, new = HeaderRoad(*way), WrappingRoad(way, FIRST - 700)
    zone = old.zone(ports=2)
    here, there = zone.node(0), zone.node(nodes - 1)
    brought_to("ESTABLISHED", old, here)
    send(here, old, [old.shifted(RST | ACK, sequence=FIRST + 8), old.shifted(ACK, sequence=FIRST + 8)])
    asked = here.send(syn_of(new), DOOR)
    assert asked.reason is DropReason.ANOTHER_SYN
    told = cases.tcp(old.target, old.balancer, flags=RST, sequence=2000)
    send(there, old, [old.passes(told, cases.tcp(old.endpoint, old.client, flags=RST, sequence=2000), EXIT)])
    begins_again(here, new, old)
    goes_well(here, there, new)


@pytest.mark.parametrize("ended_by", ["both ends", "a reset"])
@pytest.mark.parametrize("way", ways(roads=((4, PLAIN_WAYS[0][1]),)), ids=name_of)
def test_pp_34_a_third_node_that_knows_only_the_stream_before(way: Way, ended_by: str) -> None:
    """It believes the old stream alive, has read nothing since, and the new stream's first data comes to it: as it
    once was, with the old stream's numbers and without a header."""
    road, new = HeaderRoad(*way), WrappingRoad(way, FIRST - 700)
    zone = road.zone(ports=2)
    here, third = zone.node(0), zone.node(2)
    brought_to("ESTABLISHED", road, here)
    third.dataplane.settle(1.0)
    assert third.flows == 1
    if ended_by == "a reset":
        send(here, road, [road.shifted(RST | ACK, sequence=FIRST + 8)])
    else:
        known = FIRST + road.length + 8
        send(here, road, [road.shifted(FIN | ACK, sequence=FIRST + 8)])
        send(here, road, [road.mapped({"acknowledgment": known}, {"acknowledgment": FIRST + 8}, FIN | ACK)])
    begins_again(here, new, road)
    send(here, new, [new.syn_ack()])
    send(third, new, [with_header(new)])


# --- ports --------------------------------------------------------------------------------------


@pytest.mark.parametrize("beginning", [0, 1], ids=["by the same node", "by another node"])
@pytest.mark.parametrize(
    ("name", "early_s"), [("SYN_SENT", HALF_OPEN_S), ("CLOSED", CLOSING_S), ("RESET", CLOSING_S)]
)  # fmt: skip
@WAYS
def test_the_port_of_a_flow_that_made_way_rests_longer_and_none_leaks(
    way: Way, name: str, early_s: int, beginning: int
) -> None:
    """As long as the flow would have been remembered, and a minute: whichever node ended it, and no matter who is busy
    with the new stream meanwhile."""
    old, new = HeaderRoad(*way), WrappingRoad(way, FIRST + 1_000_000)
    zone = old.zone(ports=2)
    here, there = zone.node(0), zone.node(1)
    brought_to(name, old, here)
    begins_again(zone.node(beginning), new, old)
    goes_well(here, there, new)
    free_at = 1 + early_s + REST_S
    for now in range(2, 240, 2):
        for node in (here, there):
            node.dataplane.receive_deltas(float(now))
            node.pass_time(float(now))
        ack = cases.tcp(new.client, new.endpoint, sequence=new.first + 9)
        assert here.send(ack, DOOR, float(now)).accepted
        assert zone.ports_taken() == (2 if now < free_at else 1), now
    other = cases.tcp((old.client[0], 50_000), old.endpoint, flags=SYN)
    assert here.send(other, DOOR, 240.0).accepted
    assert {port_of(entry) for entry in here.dataplane.plane.table} == {old.balancer[1], new.balancer[1]}
    for now in range(240, 240 + 350 + 120, 4):
        for node in (here, there):
            node.dataplane.receive_deltas(float(now))
            node.pass_time(float(now))
    assert (here.flows, there.flows, zone.ports_taken()) == (0, 0, 0)


# --- what the admission says --------------------------------------------------------------------


def changed(zone: MemoryZone, **changes: Any) -> Snapshot:
    return replace(zone.snapshot, version=2, **changes)


@pytest.mark.parametrize("why", ["no port", "no target", "no listener", "signed"])
@pytest.mark.parametrize("name", ["SYN_SENT", *OVER])
@WAYS
def test_a_flow_that_cannot_begin_leaves_the_old_one_as_it_is(way: Way, name: str, why: str) -> None:
    old, new = HeaderRoad(*way), WrappingRoad(way, OTHERS[0])
    zone = old.zone(ports=1 if why == "no port" else 2)
    node = zone.node(0)
    brought_to(name, old, node)
    entry = the_flow(node)
    before = entry.told_state, entry.epoch, entry.born_ms, entry.translated_key, entry.pool, entry.seen_at
    came = syn_of(new)
    if why == "no target":
        empty = tuple(replace(group, targets=()) for group in zone.snapshot.target_groups)
        zone.load(changed(zone, target_groups=empty), 1.0)
    elif why == "no listener":
        (balancer,) = zone.snapshot.load_balancers
        zone.load(changed(zone, load_balancers=(replace(balancer, listeners=balancer.listeners[1:]),)), 1.0)
    elif why == "signed":
        came = cases.tcp(old.client, old.endpoint, flags=SYN, sequence=7, options=cases.option(19, bytes(16)) + b"\0\0")
    reason = {
        "no port": DropReason.PORT_ALLOCATION,
        "no target": DropReason.NO_TARGET,
        "no listener": DropReason.NO_LISTENER,
        "signed": DropReason.SIGNED_SEGMENT,
    }[why]
    assert node.send(came, DOOR).reason is reason
    assert the_flow(node) is entry
    assert (entry.told_state, entry.epoch, entry.born_ms, entry.translated_key, entry.pool, entry.seen_at) == before
    peer = zone.node(1)
    peer.dataplane.settle(1.0)
    assert the_flow(peer).translated_key == entry.translated_key
    if name == "RESET":  # nobody believed it, and the stream goes on
        send(node, old, [old.shifted(ACK, sequence=FIRST + 8)])


@pytest.mark.parametrize("full", ["the node", "the endpoint", "the journal", "the half open"])
@pytest.mark.parametrize("name", ["SYN_SENT", *OVER])
def test_where_there_is_no_room_for_another_flow_a_tuple_begins_again(name: str, full: str) -> None:
    """The new flow has the old one's place: one flow less, one more."""
    way = PLAIN_WAYS[0]
    old, new = HeaderRoad(*way), WrappingRoad(way, OTHERS[0])
    bound = {"the node": "flows_per_node_max", "the endpoint": "flows_per_endpoint_max"}.get(full)
    changes: dict[str, Any] = {"half_open_per_endpoint_max": 1} | ({bound: 1} if bound else {})
    snapshot = snapshot_of(placement=way[2], **changes)
    zone = MemoryZone(snapshot, ports=4, rows=1 if full == "the journal" else 256)
    node = zone.node(0)
    brought_to(name, old, node)
    begins_again(node, new, old)
    if full != "the half open":
        other = cases.tcp((old.client[0], 50_000), old.endpoint, flags=SYN)
        reason = DropReason.ENDPOINT_FLOWS_FULL if full == "the endpoint" else DropReason.FLOW_TABLE_FULL
        assert node.send(other, DOOR).reason is reason
    goes_well(node, zone.node(1), new)


def test_a_door_that_is_closed_begins_nothing_again() -> None:
    road = HeaderRoad(*PLAIN_WAYS[0])
    zone = road.zone(ports=2)
    node = zone.node(0)
    brought_to("CLOSED", road, node)
    zone.load(snapshot_of(door(available=False), way_out(), placement=road.placement, version=2), 1.0)
    assert node.send(syn_of(road), DOOR).reason is DropReason.NOT_AVAILABLE
    assert zone.ports_taken() == 1


# --- what nodes tell each other -----------------------------------------------------------------


@WAYS
def test_pp_34_who_has_seen_nothing_shares_header_and_data(way: Way) -> None:
    """How large the target's segments may be is told with its answer, whichever node has read it when."""
    road = HeaderRoad(*way)
    zone = road.zone()
    here, there, third = (zone.node(index) for index in range(3))
    send(here, road, [road.syn()])
    third.dataplane.settle(1.0)
    assert the_injection(third).offer == 0
    send(there, road, [road.syn_ack()])
    send(third, road, [with_header(road)])
    late = zone.restart(0, 1.0)
    late.dataplane.settle(1.0)
    for node in (late, there, third):
        injection = the_injection(node)
        assert (injection.answer, injection.offer & 0xFFFF, injection.marks & ANSWERED) == (2000, 1400, ANSWERED)
    young = zone.next_generation(zone.snapshot, 2, 1.0)
    follow(road, young.node(1))
    assert the_injection(young.node(1)).answer == 2000
    send(young.node(1), road, [road.shared(counted="headers_sent")])
