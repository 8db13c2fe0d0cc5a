"""Packets that the simulator came upon, each reduced to the least that shows what was wrong."""

from collections.abc import Iterator
from dataclasses import replace

from tests.cases import ACK, RST
from tests.dataplane.header_road import AT_ONCE, REPEATED, SENT, HeaderRoad, tells
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
