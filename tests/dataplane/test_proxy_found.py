"""Packets that the simulator came upon, each reduced to the least that shows what was wrong."""

from collections.abc import Iterator
from dataclasses import replace

from tests.cases import ACK, NOP, RST, timestamps
from tests.dataplane.header_road import AT_ONCE, FIRST, REPEATED, RESENT, SENT, HeaderRoad, tells
from tests.dataplane.story import Step


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
def test_pp_19_where_a_client_asks_for_a_window_the_target_is_asked(road: HeaderRoad) -> Iterator[Step]:
    """The header waits for a window that is closed, and the news of its opening are lost. As it once was: the client's
    question went on with the next number, which no target answers, and once the timer had ended nobody asked."""
    yield road.syn()
    yield road.syn_ack(20, 0)
    yield road.replaced(0, 20)
    yield road.mapped({"acknowledgment": FIRST + 20, "window": 0}, {"acknowledgment": FIRST, "window": 0})
    yield road.shifted(sequence=FIRST - 1, by=20)


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
