"""A header that is lost comes again: nobody's retransmission queue holds it (PP rows of the checklist in the names)."""

from collections.abc import Iterator
from dataclasses import replace

from tests import cases
from tests.cases import ACK, FIN, NOP, PSH, RST, timestamps
from tests.dataplane.header_road import AT_ONCE, FIRST, REPEATED, RESENT, SENT, WITH_PAYLOAD, HeaderRoad, tells
from tests.dataplane.story import Step
from tests.nodes import EXIT

PAUSES_S = (1, 2, 4, 8, 16, 32)


def resent(road: HeaderRoad, seconds: float, *leading: bytes) -> Step:
    """The timer runs out; a packet for each header, however many pieces it has."""
    return replace(road.later(seconds), leading=leading or (road.segment(),), moved={RESENT: 1})


@tells()
def test_pp_02_the_clients_first_data_brings_the_header_until_it_is_acknowledged(road: HeaderRoad) -> Iterator[Step]:
    yield from road.asked()
    for _ in range(3):
        yield road.led(counted=REPEATED, payload=b"question")
    yield road.mapped({"acknowledgment": FIRST + road.length + 8}, {"acknowledgment": FIRST + 8})
    yield road.shifted(PSH | ACK, payload=b"question")
    yield road.shifted(PSH | ACK, sequence=FIRST + 8, payload=b"next")


@tells(AT_ONCE)
def test_pp_03_the_targets_syn_ack_again_makes_the_client_bring_the_header_again(road: HeaderRoad) -> Iterator[Step]:
    """The server speaks first and the client is silent. The bare ACK was never forwarded, so the target still waits."""
    yield from road.opened()
    for _ in range(3):
        yield road.syn_ack()
        yield road.replaced(counted=REPEATED)
    yield road.acked()
    yield road.mapped({"acknowledgment": FIRST + road.length}, {"acknowledgment": FIRST}, payload=b"banner")
    yield road.shifted(acknowledgment=2006)


@tells(AT_ONCE)
def test_pp_04_a_target_that_repeats_nothing_gets_it_by_the_timer(road: HeaderRoad) -> Iterator[Step]:
    """A target with SYN cookies. After 1, 2, 4, 8, 16 and 32 s, then there is silence until the client speaks."""
    yield from road.opened()
    yield road.later(0.9)
    yield resent(road, 0.1)
    for pause in PAUSES_S[1:]:
        yield road.later(pause - 0.1)
        yield resent(road, 0.1)
    for _ in range(8):
        yield road.later(30)
    yield road.shared(counted=REPEATED)
    yield road.later(30)


@tells(AT_ONCE)
def test_pp_04_the_timer_stops_when_the_header_is_acknowledged(road: HeaderRoad) -> Iterator[Step]:
    yield from road.opened()
    yield resent(road, 1)
    yield road.acked()
    for _ in range(7):
        yield road.later(32)


@tells(AT_ONCE)
def test_pp_04_the_timer_sends_what_is_not_acknowledged(road: HeaderRoad) -> Iterator[Step]:
    yield from road.opened()
    yield road.acked(60)
    yield resent(road, 1, road.segment(60))
    yield road.acked(99)
    yield resent(road, 2, road.segment(99))
    yield road.acked()
    yield road.later(60)


@tells(AT_ONCE)
def test_pp_13_the_timer_speaks_with_the_clients_last_words(road: HeaderRoad) -> Iterator[Step]:
    """What its last segment acknowledged, offered and was stamped with (PAWS, RFC 7323 section 5)."""

    def stamp(value: int) -> bytes:
        return NOP * 2 + timestamps(value, 5)

    yield road.syn()
    yield road.syn_ack()
    yield road.replaced(options=stamp(100), acknowledgment=2000, window=500)
    yield resent(road, 1, road.segment(options=stamp(100), window=500))
    yield road.mapped({}, {"window": 501}, payload=b"banner")
    yield road.replaced(counted=REPEATED, options=stamp(1100), acknowledgment=2006, window=499)
    yield resent(road, 2, road.segment(options=stamp(1100), acknowledgment=2006, window=499))
    yield road.shared(counted=REPEATED, options=stamp(3000), acknowledgment=2006, window=498)
    yield resent(road, 4, road.segment(options=stamp(3000), acknowledgment=2006, window=498))


@tells(WITH_PAYLOAD)
def test_pp_04_where_the_client_repeats_its_data_there_is_no_timer(road: HeaderRoad) -> Iterator[Step]:
    yield from road.asked()
    for _ in range(7):
        yield road.later(32)
    yield road.led(counted=REPEATED, payload=b"question")


@tells(AT_ONCE)
def test_pp_04_nobody_is_sent_a_header_after_a_reset(road: HeaderRoad) -> Iterator[Step]:
    yield from road.opened()
    came = cases.tcp(road.target, road.balancer, flags=RST, sequence=2000, checksum=road.sum)
    out = cases.tcp(road.endpoint, road.client, flags=RST, sequence=2000)
    yield road.passes(came, out, EXIT)
    for _ in range(3):
        yield road.later(32, flows=1)


@tells()
def test_pp_05_the_headers_acknowledgment_was_lost(road: HeaderRoad) -> Iterator[Step]:
    """The target has everything and gets the header once more: it answers with what it has, the client goes on."""
    yield from road.asked()
    yield road.led(counted=REPEATED, payload=b"question")
    twice = {"options": cases.sack((FIRST, FIRST + road.length))}
    yield road.mapped(
        {"acknowledgment": FIRST + road.length + 8} | twice, {"acknowledgment": FIRST + 8, "options": NOP * 10}
    )
    yield road.shifted(FIN | ACK, sequence=FIRST + 8)


@tells()
def test_pp_06_retransmissions_of_any_size_and_place(road: HeaderRoad) -> Iterator[Step]:
    """Only what starts at the first byte brings the header; the rest is shifted, and fits behind it."""
    yield from road.opened()
    data = bytes(range(200))
    yield road.shared(counted=REPEATED if road.placement is AT_ONCE else SENT, payload=data)
    yield road.led(counted=REPEATED, payload=data[:10])
    yield road.shifted(PSH | ACK, sequence=FIRST + 5, payload=data[5:20])
    yield road.led(counted=REPEATED, payload=data + bytes(1000))
    yield road.shifted(PSH | ACK, sequence=FIRST + 1, payload=data[1:])
    yield road.mapped({"acknowledgment": FIRST + road.length + 20}, {"acknowledgment": FIRST + 20})
    yield road.shifted(PSH | ACK, payload=data[:10])
    yield road.shifted(PSH | ACK, sequence=FIRST + 19, payload=data[19:])


@tells()
def test_pp_06_what_was_acknowledged_in_part_is_not_sent_again(road: HeaderRoad) -> Iterator[Step]:
    yield from road.asked()
    yield road.acked(30)
    yield road.led(counted=REPEATED, payload=b"question", leading=(road.segment(30),))
    yield road.acked(10, window=500)  # an older acknowledgment, overtaken by the newer one
    yield road.led(counted=REPEATED, payload=b"question", leading=(road.segment(30),))


@tells()
def test_pp_17_the_headers_own_acknowledgment_is_one_duplicate_and_no_more(road: HeaderRoad) -> Iterator[Step]:
    """The client sees what it has acknowledged already, with the window that it knew: three would be a sign of loss."""
    yield from road.asked()
    yield road.acked(window=502, offered=502)
    yield road.mapped({"acknowledgment": FIRST + road.length + 8}, {"acknowledgment": FIRST + 8})
    yield road.shifted(sequence=FIRST + 8)
