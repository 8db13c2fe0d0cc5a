"""How streams with a header end: FIN and RST of either side (PP rows of the checklist in the names)."""

from collections.abc import Iterator
from dataclasses import replace

from tests import cases
from tests.cases import ACK, FIN, PSH, RST
from tests.dataplane.header_road import AT_ONCE, FIRST, REPEATED, SENT, WITH_PAYLOAD, HeaderRoad, tells
from tests.dataplane.story import Step
from tests.nodes import EXIT


def counted(road: HeaderRoad) -> str:
    """What the first segment after the handshake counts."""
    return REPEATED if road.placement is AT_ONCE else SENT


@tells()
def test_pp_22_a_client_that_only_closes(road: HeaderRoad) -> Iterator[Step]:
    """The header, then the FIN behind it; a FIN that is lost comes again, with the header before it."""
    yield from road.opened()
    yield road.led(FIN | ACK, counted=counted(road))
    for _ in range(2):
        yield road.led(FIN | ACK, counted=REPEATED)
    yield road.mapped(
        {"acknowledgment": FIRST + road.length + 1}, {"acknowledgment": FIRST + 1}, FIN | ACK, payload=b"bye"
    )
    yield road.shifted(sequence=FIRST + 1, acknowledgment=2004)
    yield road.shifted(FIN | ACK)
    yield road.later(121.5, flows=0, flows_expired=1)


@tells()
def test_pp_22_data_and_end_in_one_segment(road: HeaderRoad) -> Iterator[Step]:
    yield from road.opened()
    yield road.shared(PSH | FIN | ACK, counted=counted(road), payload=b"all I have to say")
    yield road.led(PSH | FIN | ACK, counted=REPEATED, payload=b"all I have to say")
    yield road.mapped({"acknowledgment": FIRST + road.length + 18}, {"acknowledgment": FIRST + 18})
    yield road.shifted(sequence=FIRST + 18)


@tells()
def test_pp_22_the_end_before_the_data(road: HeaderRoad) -> Iterator[Step]:
    """The FIN overtakes: it is shifted, and brings no header, for it does not start at the first byte."""
    yield from road.opened()
    yield road.shifted(FIN | ACK, sequence=FIRST + 8)
    yield road.shared(counted=counted(road))


@tells()
def test_pp_22_the_target_closes_first(road: HeaderRoad) -> Iterator[Step]:
    """Half-closed, the client's first data still brings the header."""
    yield from road.opened()
    yield road.acked(0, flags=FIN | ACK)
    yield road.shared(counted=counted(road), acknowledgment=2001)
    yield road.mapped({"acknowledgment": FIRST + road.length + 8}, {"acknowledgment": FIRST + 8}, sequence=2001)
    yield road.shifted(FIN | ACK, sequence=FIRST + 8, acknowledgment=2001)


@tells()
def test_pp_23_a_reset_before_any_data_comes_behind_the_header(road: HeaderRoad) -> Iterator[Step]:
    """Exactly the next number for a target that has got the header, so it is believed at once (RFC 5961)."""
    yield from road.opened()
    yield road.led(RST | ACK, counted=counted(road))
    yield road.led(RST | ACK, counted=REPEATED)


@tells()
def test_pp_23_a_reset_with_a_text(road: HeaderRoad) -> Iterator[Step]:
    yield from road.opened()
    yield road.led(RST | ACK, counted=counted(road), payload=b"no room")


@tells()
def test_pp_23_a_client_that_answers_the_syn_ack_with_a_reset(road: HeaderRoad) -> Iterator[Step]:
    """It wanted no connection, and acknowledges nothing: a header in its name could not either. Another node may have
    sent one, so the reset goes before it and behind it. As it once was: before it only, and a target that had the
    header went on for ever."""
    yield road.syn()
    yield road.syn_ack()
    for payload in (b"", b"no such socket"):
        yield replace(road.shifted(RST, payload=payload), leading=(road.reset_before(),))


@tells(AT_ONCE)
def test_pp_23_a_reset_without_ack_after_the_header(road: HeaderRoad) -> Iterator[Step]:
    """The header went before and may be lost: it is sent again, with what the client acknowledged then."""
    yield road.syn()
    yield road.syn_ack()
    yield road.replaced(acknowledgment=2000, window=77)
    step = road.shifted(RST)
    yield replace(step, leading=(road.reset_before(), road.segment(window=77)), moved=step.moved | {REPEATED: 1})


@tells(AT_ONCE)
def test_pp_23_a_reset_that_an_answer_to_the_header_brings_does_not_bring_the_header(
    road: HeaderRoad,
) -> Iterator[Step]:
    """A target with SYN cookies that has forgotten the stream takes the header beside the reset for another one, and
    answers; the client knows of nothing, and resets that. As it once was: for ever, and each time more."""
    yield road.syn()
    yield road.syn_ack()
    yield road.replaced(acknowledgment=2000, window=77)
    step = road.shifted(RST)
    yield replace(step, leading=(road.reset_before(), road.segment(window=77)), moved=step.moved | {REPEATED: 1})
    for _ in range(3):
        yield road.acked(40)
        yield replace(road.shifted(RST), leading=(road.reset_before(40),))


@tells()
def test_pp_23_a_reset_in_the_middle(road: HeaderRoad) -> Iterator[Step]:
    yield from road.answered_once()
    yield road.shifted(RST, sequence=FIRST + 8)
    yield road.shifted(RST | ACK, sequence=FIRST + 8)


@tells(WITH_PAYLOAD)
def test_pp_23_a_reset_where_the_target_has_a_part_of_the_header(road: HeaderRoad) -> Iterator[Step]:
    yield from road.asked()
    yield road.acked(40)
    step = road.shifted(RST)
    yield replace(step, leading=(road.reset_before(40), road.segment(40)), moved=step.moved | {REPEATED: 1})


@tells()
def test_pp_24_a_refused_connection(road: HeaderRoad) -> Iterator[Step]:
    """A reset that acknowledges the SYN: its number is the client's own, and it has no window."""
    yield road.syn()
    yield road.mapped({"window": 0}, {"window": 0}, RST | ACK, sequence=0)


@tells()
def test_pp_24_a_reset_of_the_targets_in_the_middle(road: HeaderRoad) -> Iterator[Step]:
    yield from road.answered_once()
    for window in (0, 502):
        yield road.mapped(
            {"acknowledgment": FIRST + road.length + 8, "window": window},
            {"acknowledgment": FIRST + 8, "window": window},
            RST | ACK,
        )
    came = cases.tcp(road.target, road.balancer, flags=RST, sequence=2000, checksum=road.sum)
    yield road.passes(came, cases.tcp(road.endpoint, road.client, flags=RST, sequence=2000), EXIT)


@tells()
def test_pp_24_a_reset_that_acknowledges_a_part_of_the_header(road: HeaderRoad) -> Iterator[Step]:
    """A proxy that does not like what it reads: the client is told that nothing of its own arrived."""
    yield from road.asked()
    for got in (0, 16, road.length):
        yield road.mapped(
            {"acknowledgment": FIRST + got, "window": 0}, {"acknowledgment": FIRST, "window": 0}, RST | ACK
        )
