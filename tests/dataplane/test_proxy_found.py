"""Packets that the simulator came upon, each reduced to the least that shows what was wrong."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from hyperplane.dataplane.verdict import DropReason
from hyperplane.flow.entry import FlowEntry
from hyperplane.snapshot import HeaderPlacement
from tests.cases import ACK, FIN, NOP, RST, SYN, linux_syn, tcp, timestamps
from tests.dataplane.beginnings import begins, begins_again, brought_to, follow, goes_well, send, syn_of
from tests.dataplane.header_road import AT_ONCE, FIRST, REPEATED, RESENT, SENT, HeaderRoad, WrappingRoad, tells
from tests.dataplane.story import PLAIN, Step
from tests.nodes import DOOR, EXIT, door, snapshot_of, way_out


@tells()
def test_pp_23_a_reset_goes_behind_as_much_of_the_header_as_there_is_room_for(road: HeaderRoad) -> Iterator[Step]:
    """As it once was: behind the whole header, so out of the window, and never believed. Client and target asked each
    other for ever who is right, as fast as packets travel: each of the target's answers to the header was answered with
    a reset, and each reset brought the header again."""
    window = 40
    yield road.syn()
    yield road.syn_ack(window, 0)
    counted = SENT
    if road.placement is AT_ONCE:
        yield road.replaced(0, window)
        counted = REPEATED
    for flags, before in ((RST | ACK, ()), (RST, (road.reset_before(),))):
        step = road.shifted(flags, by=window)
        yield replace(step, leading=(*before, road.segment(0, window)), moved=step.moved | {counted: 1})
        counted = REPEATED


@tells(AT_ONCE)
def test_pp_23_what_a_target_has_is_learned_after_a_reset_too(road: HeaderRoad) -> Iterator[Step]:
    """The reset came before the header, and was not believed. As it once was: what the target said then was not heard,
    so the next resets had the same numbers, and the header before each brought another answer."""
    window = 60
    yield road.syn()
    yield road.syn_ack(window, 0)
    yield road.replaced(0, window)
    step = road.shifted(RST | ACK, by=window)
    yield replace(step, leading=(road.segment(0, window),), moved=step.moved | {REPEATED: 1})
    yield road.mapped(
        {"acknowledgment": FIRST + road.length, "window": window}, {"acknowledgment": FIRST, "window": window}
    )
    yield road.shifted(RST)


@tells(AT_ONCE)
def test_pp_19_where_a_client_asks_for_a_window_the_target_is_asked(road: HeaderRoad) -> Iterator[Step]:
    """The header waits for a window that is closed, and the news of its opening are lost. As it once was: the client's
    question went on with the next number, which no target answers, and once the timer had ended nobody asked."""
    yield road.syn()
    yield road.syn_ack(20, 0)
    yield road.replaced(0, 20)
    yield road.mapped({"acknowledgment": FIRST + 20, "window": 0}, {"acknowledgment": FIRST, "window": 0})
    yield road.shifted(sequence=FIRST - 1, by=20)


@tells(AT_ONCE)
def test_pp_19_a_target_that_answers_the_syn_again_has_nothing_of_the_header(road: HeaderRoad) -> Iterator[Step]:
    """It was reset, and met a late copy of the SYN. As it once was: what it had before was not sent again, and a reset
    went behind that, where it was not believed."""
    yield road.syn()
    yield road.syn_ack(20, 0)
    yield road.replaced(0, 20)
    yield road.mapped({"acknowledgment": FIRST + 20, "window": 0}, {"acknowledgment": FIRST, "window": 0})
    yield road.syn_ack(20, 0)
    yield road.replaced(0, 20, counted=REPEATED)


@tells(AT_ONCE)
def test_pp_13_a_segment_that_was_overtaken_does_not_stamp_the_timers_header(road: HeaderRoad) -> Iterator[Step]:
    """As it once was: the header went with the timestamp of whatever came last, and a target that had seen a younger
    one dropped every repetition (RFC 7323 section 5.3)."""
    young, old = (NOP + NOP + timestamps(clock, 1) for clock in (5, 0xFFFF_FFFE))
    yield road.syn()
    yield road.syn_ack()
    yield road.replaced(options=young)
    yield road.replaced(options=old, counted=REPEATED)
    yield replace(road.later(1), leading=(road.segment(options=young),), moved={RESENT: 1})


def test_pp_04_a_door_that_is_closed_for_a_while_ends_no_timer() -> None:
    """As it once was: a timer that ran out meanwhile never ran again, and a silent client had nobody else."""
    road = HeaderRoad(*PLAIN[0], AT_ONCE)
    zone = road.zone()
    node = zone.node(0)
    for step in road.opened():
        assert step.packet is not None and node.send(step.packet, step.eni).packet == step.out
    closed = snapshot_of(door(available=False), way_out(), placement=AT_ONCE, version=2)
    zone.load(closed, 1.5)
    assert node.pass_time(2.5) == {}
    zone.load(replace(road.zone().snapshot, version=3), 3.0)
    assert node.pass_time(4.5) == {RESENT: 1}
    assert node.dataplane.packets_to_send() == [(road.segment(), EXIT)]


@pytest.mark.parametrize("placement", list(HeaderPlacement))
def test_pp_18_the_same_syn_again_after_a_reset_forgets_no_window_scale(placement: HeaderPlacement) -> None:
    """A reset that nobody believed, and the SYN that was late: the target goes on, and its windows mean what they did.
    As it once was: in units that were not known, so that the client could send past the target's right edge. Now the
    SYN begins a flow of its own, and what the target says of the old stream is of no flow any more."""
    road, new = HeaderRoad(*PLAIN[0], placement), HeaderRoad(*PLAIN[0], placement)
    node = road.zone(ports=2).node(0)
    begins(node, road)
    send(node, road, [road.syn_ack(options=linux_syn(1400, shift=0))])
    assert node.send(tcp(road.client, road.endpoint, flags=RST | ACK, sequence=FIRST), DOOR).accepted
    begins_again(node, new, road)
    came = tcp(road.target, road.balancer, flags=ACK, sequence=2000, acknowledgment=FIRST, window=500)
    assert node.send(came, EXIT).reason is DropReason.NO_FLOW
    send(node, new, [new.syn_ack(options=linux_syn(1400, shift=0))])
    came = tcp(new.target, new.balancer, flags=ACK, sequence=2000, acknowledgment=FIRST, window=500)
    shown = tcp(new.endpoint, new.client, flags=ACK, sequence=2000, acknowledgment=FIRST, window=500 - new.length)
    assert node.send(came, EXIT).packet == shown


@tells()
def test_pp_27_very_late_segments_during_a_handshake_say_nothing_of_the_header(road: HeaderRoad) -> Iterator[Step]:
    """The client has begun again on the tuple, and has not answered the SYN-ACK yet. As it once was: such a segment
    opened the flow, and what it acknowledged was taken for the header, which then never went."""
    yield road.syn()
    older = {"acknowledgment": FIRST + 1_000_000, "sequence": 9000}
    shown = {"acknowledgment": FIRST + 1_000_000 - road.length, "sequence": 9000}
    yield road.mapped(older, shown, FIN | ACK)
    yield road.syn_ack()
    yield road.mapped(older, shown)
    counted = SENT
    if road.placement is AT_ONCE:
        yield road.replaced()
        counted = REPEATED
    yield road.shared(counted=counted)


@tells()
def test_pp_27_very_late_segments_of_both_ends_say_nothing_of_the_header(road: HeaderRoad) -> Iterator[Step]:
    """The same, when the older stream's client says something, too: the two together opened the flow."""
    yield road.syn()
    late = tcp(road.client, road.endpoint, sequence=FIRST + 1_000_000, checksum=road.sum)
    yield road.dropped(late, DropReason.NOT_ANSWERED)
    yield road.mapped(
        {"acknowledgment": FIRST + 1_000_000}, {"acknowledgment": FIRST + 1_000_000 - road.length}, FIN | ACK
    )
    yield road.syn_ack()
    counted = SENT
    if road.placement is AT_ONCE:
        yield road.replaced()
        counted = REPEATED
    yield road.shared(counted=counted)


@tells()
def test_pp_27_a_very_late_segment_after_the_handshake_says_nothing_of_the_header(road: HeaderRoad) -> Iterator[Step]:
    """A node that has seen the SYN-ACK knows the numbers of this stream's target."""
    yield from road.opened()
    older = {"acknowledgment": FIRST + 1_000_000, "sequence": 1 << 25}
    yield road.mapped(older, older | {"acknowledgment": FIRST + 1_000_000 - road.length})
    yield road.shared(counted=REPEATED if road.placement is AT_ONCE else SENT)


@tells()
def test_pp_18_while_no_node_knows_the_window_scale_the_header_takes_all_its_bytes(road: HeaderRoad) -> Iterator[Step]:
    """What comes before the SYN-ACK is of no use to the client, but it may come late and be believed. As it once was:
    the header took one unit of the largest scale, and the client could send past the target's right edge."""
    yield road.syn()
    yield road.mapped({"window": 500}, {"window": 500 - road.length})


@pytest.mark.parametrize("instant", ["before the old row is free", "before the new flow is told of"])
@pytest.mark.parametrize("placement", list(HeaderPlacement))
def test_pp_33_a_node_that_is_killed_while_a_stream_begins_again_lets_it_begin(
    placement: HeaderPlacement, instant: str
) -> None:
    """The SYN has not reached its target. It comes again, by another node, and either the new flow is known, whose row
    was written first, or the old one, in whose place another begins. Ports that nobody's flow has any more are found
    and rest."""
    road, new = HeaderRoad(*PLAIN[0], placement), WrappingRoad((*PLAIN[0], placement), 700_001)
    zone = road.zone(ports=3)
    node, other = zone.node(0), zone.node(1)
    brought_to("RESET", road, node)
    other.dataplane.settle(1.0)
    writer = node.dataplane.plane.replication._writer
    if instant == "before the old row is free":
        writer.forget = killed  # type: ignore[method-assign]
    else:
        writer.write = killed  # type: ignore[method-assign]
    with pytest.raises(Killed):
        node.send(syn_of(new), DOOR)
    young = zone.restart(0, 1.0)
    young.dataplane.settle(1.0)
    assert young.flows == 1
    if instant == "before the old row is free":
        follow(new, young)
        send(other, new, [new.up(SYN, sequence=new.first - 1, options=linux_syn(1400))])
    else:
        begins_again(other, new, road)
    goes_well(young, other, new)
    for now in range(2, 300, 2):
        for each in (young, other):
            each.dataplane.receive_deltas(float(now))
            each.pass_time(float(now))
        assert young.send(tcp(new.client, new.endpoint, sequence=new.first + 9), DOOR, float(now)).accepted
    assert zone.ports_taken() == 1


class Killed(BaseException):
    """The node is no more."""


def killed(entry: FlowEntry) -> None:
    raise Killed
