"""The target's window while the header needs its room (PP rows of the checklist in the names)."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest

from hyperplane.snapshot import HeaderPlacement
from tests import cases
from tests.cases import ACK, FIN, PSH, RST, linux_syn
from tests.dataplane.header_road import AT_ONCE, FIRST, REPEATED, RESENT, SENT, WITH_PAYLOAD, HeaderRoad, tells
from tests.dataplane.narrow_target import Case, Narrow
from tests.dataplane.story import BOTH_FAMILIES, PLAIN, Step
from tests.header_oracle import proxy_header
from tests.nodes import EXIT, MemoryZone, snapshot_of

HEADER = proxy_header(cases.CLIENT, cases.ENDPOINT, "vpce-1")
TINY = (0, 1, 20, 28, 99, 100, 101)


@tells()
def test_pp_18_the_client_is_offered_what_the_header_leaves(road: HeaderRoad) -> Iterator[Step]:
    """To the byte in the SYN-ACK, afterwards in whole units, rounded down; all once the header is acknowledged."""
    yield road.syn()
    for window in (0, 1, road.length - 1, road.length, road.length + 1, 65_535, 502):
        yield road.syn_ack(window, max(window - road.length, 0))
    yield road.shared(payload=b"q" * (502 - road.length))
    yield road.acked(0, window=128, offered=127)
    yield road.acked(50, window=128, offered=127)
    yield road.acked(window=128, offered=128)
    known = FIRST + 502
    yield road.mapped({"acknowledgment": known, "window": 0}, {"acknowledgment": known - road.length, "window": 0})


@pytest.mark.parametrize("shift", range(15))
@pytest.mark.parametrize("placement", list(HeaderPlacement))
def test_pp_19_no_scale_lets_the_client_beyond_the_targets_right_edge(placement: HeaderPlacement, shift: int) -> None:
    """And none loses more than a unit. Every window that is near the header's length, in the target's own units."""
    road = HeaderRoad(*PLAIN[0], placement)
    node = road.zone().node(0)

    def seen(packet: bytes) -> int:
        out = node.send(packet, EXIT)
        assert out.moved == {"packets_reply": 1, "bytes_reply": len(packet)}
        return int.from_bytes(out.packet[34:36], "big")

    for step in (road.syn(options=linux_syn(1400)), road.syn_ack(options=linux_syn(1400, shift=shift))):
        assert step.packet is not None and node.send(step.packet, step.eni).packet == step.out
    ack = cases.tcp(road.client, road.endpoint)
    assert node.send(ack, 1).accepted
    units = -(-road.length >> shift)
    for got in (0, 1, 50, 99):
        for window in (0, 1, 2, units - 1, units, units + 1, 502, 65_535):
            said = cases.tcp(road.target, road.balancer, sequence=2000, acknowledgment=FIRST + got, window=window)
            offered = seen(said)
            edge, offered_edge = got + (window << shift), road.length + (offered << shift)
            assert offered == 0 or offered_edge <= edge, "beyond the right edge"
            assert offered == 0 or edge - offered_edge < 1 << shift, "more than a unit lost"
            assert offered > 0 or edge - road.length < 1 << shift, "closed without need"
    for window in (0, 1, 65_535):
        said = cases.tcp(road.target, road.balancer, sequence=2000, acknowledgment=FIRST + road.length, window=window)
        assert seen(said) == window


@tells(roads=BOTH_FAMILIES)
def test_pp_18_a_reset_has_no_window(road: HeaderRoad) -> Iterator[Step]:
    yield from road.opened()
    yield road.mapped({"window": 0}, {"window": 0}, RST | ACK)


@tells(AT_ONCE)
def test_pp_19_the_header_goes_as_far_as_the_window_allows(road: HeaderRoad) -> Iterator[Step]:
    """What the target acknowledges makes room for more; the client sees a closed window and no header."""
    yield road.syn(options=cases.mss(1400))
    yield road.syn_ack(20, 0, options=cases.mss(1400))
    yield road.replaced(end=20)
    for got in range(20, road.length - 20, 20):
        step = road.acked(got, window=20, offered=0)
        yield replace(step, leading=(road.segment(got, got + 20),))
    got = road.length - road.length % 20 - (0 if road.length % 20 else 20)
    yield replace(road.acked(got, window=20, offered=max(got + 20 - road.length, 0)), leading=(road.segment(got),))
    yield road.acked(window=20, offered=20)
    yield road.shifted(PSH | ACK, payload=b"q" * 20)


@tells(WITH_PAYLOAD)
def test_pp_19_a_client_that_sees_no_window_brings_the_header_by_asking(road: HeaderRoad) -> Iterator[Step]:
    """Only the header's room is in its way. Linux asks with the number before its first byte, and with no data."""
    yield road.syn(options=cases.mss(1400))
    yield road.syn_ack(road.length, 0, options=cases.mss(1400))
    yield road.up(ACK)
    yield road.replaced(sequence=FIRST - 1)
    yield road.acked(window=road.length, offered=road.length)
    yield road.shifted(PSH | ACK, payload=b"question")


@tells(WITH_PAYLOAD)
def test_pp_19_a_window_that_is_closed_by_its_own_units_is_no_dead_end(road: HeaderRoad) -> Iterator[Step]:
    """As it once was: the target's window has room for header and data, but not for a whole unit behind the header. The
    client saw none, asked for ever, and was never heard."""
    yield road.syn()
    yield road.syn_ack(16_384, options=linux_syn(1400, shift=14))
    yield road.up(ACK)
    yield road.mapped({"window": 1}, {"window": 0}, payload=b"banner")
    yield road.replaced(sequence=FIRST - 1)


@tells(WITH_PAYLOAD)
def test_pp_19_a_byte_too_many_does_not_cost_the_header_its_place(road: HeaderRoad) -> Iterator[Step]:
    """BSD asks with a byte more than allowed. Linux drops a segment whole if it ends beyond the window."""
    yield road.syn()
    yield road.syn_ack(road.length, 0)
    yield road.up(ACK)
    yield road.led(flags=ACK, payload=b"q")
    yield road.mapped({"acknowledgment": FIRST + road.length, "window": 1}, {"acknowledgment": FIRST, "window": 1})


@tells(AT_ONCE)
def test_pp_19_into_a_closed_window_goes_the_ack_and_later_a_byte(road: HeaderRoad) -> Iterator[Step]:
    """Nothing is counted that was not sent. The timer asks with the header's first byte, like a window probe."""
    yield road.syn(options=cases.mss(1400))
    yield road.syn_ack(0, 0, options=cases.mss(1400))
    yield road.up(ACK)
    yield replace(road.later(1.0), leading=(road.segment(0, 1),), moved={SENT: 1})
    yield road.acked(0, window=0, offered=0)
    yield replace(road.later(2.0), leading=(road.segment(0, 1),), moved={RESENT: 1})
    yield replace(road.acked(1, window=500, offered=501 - road.length), leading=(road.segment(1),))
    yield road.acked()


@tells(AT_ONCE)
def test_pp_19_a_window_that_opens_gets_the_header_at_once(road: HeaderRoad) -> Iterator[Step]:
    yield road.syn(options=cases.mss(1400))
    yield road.syn_ack(0, 0, options=cases.mss(1400))
    yield road.up(ACK)
    step = road.acked(0, window=500, offered=500 - road.length)
    yield replace(step, leading=(road.segment(),), moved=step.moved | {SENT: 1})
    yield road.acked(window=500)


@tells(WITH_PAYLOAD)
def test_pp_19_data_into_a_closed_window_is_counted_as_what_it_is(road: HeaderRoad) -> Iterator[Step]:
    """No byte of the header has room, so none is sent: the data behind it is dropped and comes again."""
    yield road.syn(options=cases.mss(1400))
    yield road.syn_ack(0, 0, options=cases.mss(1400))
    yield road.up(ACK)
    yield road.shifted(PSH | ACK, payload=b"q")
    step = road.acked(0, window=500, offered=500 - road.length)
    yield replace(step, leading=(road.segment(),), moved=step.moved | {SENT: 1})
    yield road.shared(counted=REPEATED)


@tells()
def test_pp_21_both_ends_ask_for_a_window_and_are_answered(road: HeaderRoad) -> Iterator[Step]:
    """Probes with the last number, probes with a byte; the answers are mapped as any acknowledgment."""
    yield from road.answered_once()
    last = FIRST + 8
    for payload in (b"", b"?"):
        yield road.mapped({"acknowledgment": last + road.length, "window": 0}, {"acknowledgment": last, "window": 0})
        yield road.shifted(ACK, sequence=last - 1, payload=payload)
        yield road.shifted(ACK, sequence=last, payload=payload)
        yield road.mapped(
            {"acknowledgment": last + road.length}, {"acknowledgment": last}, sequence=1999, payload=payload
        )
        yield road.shifted(ACK, sequence=last, window=0)
    yield road.mapped({"acknowledgment": last + road.length}, {"acknowledgment": last})
    yield road.shifted(FIN | ACK, sequence=last)


NARROW = list(product(TINY[1:], (0, 1, 6, 7, 14), (False, True)))


@pytest.mark.parametrize(("window", "shift", "cuts"), NARROW)
@pytest.mark.parametrize("placement", list(HeaderPlacement))
def test_pp_19_a_target_that_only_takes_what_it_has_room_for_gets_everything(
    placement: HeaderPlacement, window: int, shift: int, cuts: bool
) -> None:
    """Header and question, however small its window is for ever, whether it opens late and who speaks first."""
    questions = [b"", b"q" * 20] if placement is AT_ONCE else [b"q" * 20]
    for opens_at, banner, question, bsd in product((0.0, 4.0), (b"", b"banner"), questions, (False, True)):
        node = MemoryZone(snapshot_of(placement=placement)).node(0)
        ends = Narrow(Case(window, shift, cuts, opens_at, banner, question, bsd), node, node)
        ends.run(len(HEADER + question))
        assert ends.got == HEADER + question, ends.case


@pytest.mark.parametrize("window", [500, 65_535])
@pytest.mark.parametrize("placement", list(HeaderPlacement))
def test_pp_19_a_window_with_room_for_the_header_needs_nobody_who_sees_both_ways(
    placement: HeaderPlacement, window: int
) -> None:
    """The node on the way in never learns how large the window is. One smaller than the header, at the very beginning
    of a connection, no TCP offers by itself: there a node that does not see it cannot cut the header to size."""
    zone = MemoryZone(snapshot_of(placement=placement))
    ends = Narrow(Case(window, question=b"q" * 2000), zone.node(0), zone.node(1))
    ends.run(len(HEADER) + 2000)
    assert ends.got == HEADER + b"q" * 2000
    assert not ends.lost
