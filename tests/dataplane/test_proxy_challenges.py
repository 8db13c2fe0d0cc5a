"""A SYN inside a stream whose target gets a header: it is asked about in the target's name, and never forwarded."""

from collections.abc import Iterator

import pytest

from hyperplane.dataplane.verdict import DropReason, Reply
from hyperplane.flow.tcp_state import State
from tests import cases
from tests.cases import ACK, FIN, PSH, RST, Ip
from tests.dataplane.beginnings import (
    GOING_ON,
    OTHERS,
    banner,
    begins_again,
    brought_to,
    goes_well,
    send,
    syn_of,
    the_flow,
    the_injection,
)
from tests.dataplane.header_road import FIRST, NUMBERS, PLAIN_WAYS, HeaderRoad, Way, WrappingRoad, name_of, tells, ways
from tests.dataplane.story import Step
from tests.dissection import dissect
from tests.nodes import DOOR, EXIT, Node

NODES = pytest.mark.parametrize("nodes", [1, 2], ids=["one node", "by a node that has seen nothing"])


def challenge(road: HeaderRoad, known: int) -> bytes:
    """What the target would send, if it had to say where it stands: nothing new, and an old number."""
    return cases.tcp(
        road.endpoint, road.client, flags=ACK, sequence=1999, acknowledgment=known, window=0,
        ip=Ip(ttl=64, identification=0),
    )  # fmt: skip


def asked(road: HeaderRoad, another: HeaderRoad, known: int) -> Step:
    """A SYN of another road's number on this road's stream."""
    return road.answered(syn_of(another), DropReason.ANOTHER_SYN, challenge(road, known), flows=1)


SENT_MAX = {"SYN_RECEIVED": 0, "ESTABLISHED": 8, "ORIGINAL_CLOSED": 1, "REPLY_CLOSED": 8}
"""How far the client has come, by beginning."""


def told_of(node: Node) -> tuple[object, ...]:
    entry = the_flow(node)
    return entry.told_state, entry.epoch, entry.scales, entry.seen_at, entry.sequence_original, entry.sequence_reply


@NODES
@pytest.mark.parametrize("first", OTHERS)
@pytest.mark.parametrize("name", GOING_ON)
@pytest.mark.parametrize("way", ways(), ids=name_of)
def test_pp_27_a_syn_inside_a_stream_is_asked_about(way: Way, name: str, first: int, nodes: int) -> None:
    """Byte for byte. It acknowledges nothing that the client has not sent (INV-6), and changes nothing of the flow."""
    road, another = HeaderRoad(*way), WrappingRoad(way, first)
    zone = road.zone(ports=2)
    brought_to(name, road, zone.node(0))
    node = zone.node(nodes - 1)
    node.dataplane.settle(1.0)
    before = told_of(node)
    came = syn_of(another)
    out = node.send(came, DOOR, road.now, road.state_of(came))
    known = dissect(out.packet).acknowledgment
    assert 0 <= known - FIRST <= SENT_MAX[name]
    assert out.verdict == Reply(DropReason.ANOTHER_SYN, challenge(road, known), DOOR)
    assert out.moved == {"packets_dropped": 1, "replies": 1, "dropped_another_syn": 1}
    assert told_of(node) == before


@pytest.mark.parametrize("way", ways(), ids=name_of)
def test_pp_27_the_challenge_names_the_last_number_that_is_known(way: Way) -> None:
    """First none but the SYN's, then what the target has acknowledged, as the client knows it."""
    road, another = HeaderRoad(*way), WrappingRoad(way, OTHERS[0])
    node = road.zone().node(0)
    send(node, road, [road.syn(), road.syn_ack(), asked(road, another, FIRST)])
    send(node, road, list(road.asked())[2:])
    send(node, road, [asked(road, another, FIRST)])
    known = FIRST + road.length + 8
    send(node, road, [road.mapped({"acknowledgment": known}, {"acknowledgment": FIRST + 8})])
    send(node, road, [asked(road, another, FIRST + 8)])


@pytest.mark.parametrize("way", ways(), ids=name_of)
def test_pp_27_the_same_syn_is_asked_about_once_the_target_has_the_header(way: Way) -> None:
    """As it once was: it was forwarded, and to a target that had been reset it began a second stream at the same
    number, before which nobody would have put the header."""
    road = HeaderRoad(*way)
    node = road.zone().node(0)
    send(node, road, road.answered_once())
    send(node, road, [asked(road, road, FIRST + 8)])
    send(node, road, [road.shifted(RST | ACK, sequence=FIRST + 8), road.shifted(ACK, sequence=FIRST + 8)])
    out = node.send(syn_of(road), DOOR, road.now, road.state_of(syn_of(road)))
    assert out.reason is DropReason.ANOTHER_SYN


@NODES
@pytest.mark.parametrize("first", OTHERS)
@pytest.mark.parametrize("name", GOING_ON)
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_pp_27_a_clients_reset_that_answers_the_challenge_leads_to_a_new_stream(
    way: Way, name: str, first: int, nodes: int
) -> None:
    """A client that has forgotten the stream (RFC 9293 section 3.10.7.3): a reset with the number that was named, which
    passes and ends the flow, whether the target believes it or not; then the SYN comes again."""
    road, new = HeaderRoad(*way), WrappingRoad(way, first)
    zone = road.zone(ports=2)
    here, there = zone.node(0), zone.node(nodes - 1)
    brought_to(name, road, here)
    named = dissect(there.send(syn_of(new), DOOR).packet).acknowledgment
    reset = here.send(cases.tcp(road.client, road.endpoint, flags=RST, sequence=named, window=0), DOOR)
    assert reset.accepted and dissect(reset.packet).flags == RST
    assert the_flow(here).state == State.RESET
    begins_again(there, new, road)
    goes_well(here, there, new)


@NODES
@pytest.mark.parametrize("way", ways(), ids=name_of)
def test_pp_27_its_own_syn_leaves_a_stream_undisturbed_that_both_ends_have_closed(way: Way, nodes: int) -> None:
    """As it once was: it waited in the queue of a node that was killed, while its client asked again, was answered by
    another node, and both ends said their last. It began a second stream, the client's next ACK went there, and was
    answered with a reset; what the target had said was still on its way."""
    road = HeaderRoad(*way)
    zone = road.zone(ports=2)
    here, there = zone.node(0), zone.node(nodes - 1)
    brought_to("CLOSED", road, here)
    out = there.send(syn_of(road), DOOR, road.now, road.state_of(syn_of(road)))
    assert out.reason is DropReason.ANOTHER_SYN
    assert dissect(out.packet).sequence == 1999, "an old number: whoever knows the stream just repeats itself"
    again = road.mapped(
        {"acknowledgment": FIRST + road.length + 1}, {"acknowledgment": FIRST + 1}, PSH | ACK, payload=b"the answer"
    )
    send(here, road, [again, road.shifted(ACK, sequence=FIRST + 1, acknowledgment=2012)])


@NODES
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_pp_27_a_client_that_has_forgotten_a_closed_stream_begins_with_its_number_again(way: Way, nodes: int) -> None:
    """No kernel does, programs that make their own packets do: it answers the challenge with a reset, too."""
    road, new = HeaderRoad(*way), HeaderRoad(*way)
    zone = road.zone(ports=2)
    here, there = zone.node(0), zone.node(nodes - 1)
    brought_to("CLOSED", road, here)
    named = dissect(there.send(syn_of(new), DOOR).packet).acknowledgment
    assert here.send(cases.tcp(road.client, road.endpoint, flags=RST, sequence=named, window=0), DOOR).accepted
    begins_again(there, new, road)
    goes_well(here, there, new)


@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_pp_27_the_reset_that_answers_the_challenge_is_exact(way: Way) -> None:
    """It has the target's next number, or the target would not believe it (RFC 5961 section 3.2)."""
    road, new = HeaderRoad(*way), WrappingRoad(way, OTHERS[1])
    node = road.zone(ports=2).node(0)
    brought_to("ESTABLISHED", road, node)
    named = dissect(node.send(syn_of(new), DOOR).packet).acknowledgment
    send(node, road, [road.shifted(RST, sequence=named)])
    assert named + road.length == FIRST + road.length + 8


@tells()
def test_pp_27_a_syn_inside_a_stream_leaves_the_stream_undisturbed(road: HeaderRoad) -> Iterator[Step]:
    """Blind SYNs, and very late ones. The client answers the challenge with what it has acknowledged already."""
    yield from road.answered_once()
    way = (road.family, road.state, road.placement)
    said = 8
    for first in OTHERS:
        yield asked(road, WrappingRoad(way, first), FIRST + said)
        yield road.shifted(ACK, sequence=FIRST + said)
        yield road.mapped(
            {"acknowledgment": FIRST + road.length + said}, {"acknowledgment": FIRST + said}, PSH | ACK, payload=b"220"
        )
        yield road.shifted(PSH | ACK, sequence=FIRST + said, payload=b"the stream goes on")
        said += 18
        yield road.mapped({"acknowledgment": FIRST + road.length + said}, {"acknowledgment": FIRST + said})
    yield road.shifted(FIN | ACK, sequence=FIRST + said)


@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_s_03_challenges_keep_no_flow_alive(way: Way) -> None:
    """Whoever sends SYNs for ever, the stream of which nobody else speaks ends in its time."""
    road, another = HeaderRoad(*way), WrappingRoad(way, OTHERS[1])
    node = road.zone().node(0)
    brought_to("ESTABLISHED", road, node)
    for now in range(2, 1 + 350 + 4, 4):
        node.pass_time(float(now))
        if not node.flows:
            break
        assert node.send(syn_of(another), DOOR, float(now)).reason is DropReason.ANOTHER_SYN
    assert not node.flows and now >= 350


@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_challenges_are_limited_like_all_answers(way: Way) -> None:
    road, another = HeaderRoad(*way), WrappingRoad(way, OTHERS[1])
    node = road.zone().node(0)
    brought_to("ESTABLISHED", road, node)
    outcomes = [node.send(syn_of(another), DOOR) for _ in range(2000)]
    assert not any(out.accepted for out in outcomes)
    answered = sum(bool(out.packet) for out in outcomes)
    assert 0 < answered < len(outcomes)
    send(node, road, [banner(road)])


@pytest.mark.parametrize("answer", [2000, 0, 1, NUMBERS - 1])
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_pp_32_the_challenges_numbers_wrap(way: Way, answer: int) -> None:
    road, another = WrappingRoad(way, NUMBERS - 1), WrappingRoad(way, 5)
    node = road.zone().node(0)
    send(node, road, [road.syn(sequence=road.first - 1), road.syn_ack(sequence=(answer - 1) % NUMBERS)])
    seen = dissect(node.send(syn_of(another), DOOR).packet)
    assert (seen.sequence, seen.acknowledgment) == ((answer - 1) % NUMBERS, NUMBERS - 1)
    assert the_injection(node).answer == answer
    assert seen.sums_are_right and (seen.source, seen.destination) == (road.endpoint, road.client)
    said = cases.tcp(road.target, road.balancer, sequence=answer, acknowledgment=road.first)
    assert node.send(said, EXIT).accepted
