"""Sizes, options and flags of a header's segment (PP rows of the checklist in the names)."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from hyperplane.dataplane.verdict import DropReason
from hyperplane.limits import HEADER_SEGMENT_BYTES_MIN
from hyperplane.wire.packet import ChecksumState
from tests import cases
from tests.cases import ACK, AE, CWR, ECE, NOP, PSH, SYN, URG, Ip, Sum, mss, option, timestamps
from tests.dataplane.header_road import (
    AT_ONCE,
    FIRST,
    PLAIN_WAYS,
    REPEATED,
    SENT,
    WITH_PAYLOAD,
    HeaderRoad,
    Way,
    judged,
    name_of,
    tells,
)
from tests.dataplane.story import BOTH_FAMILIES, Step
from tests.dissection import dissect

STAMP = NOP * 2 + timestamps(7, 9)


def shaken(road: HeaderRoad, size: int, window: int = 65_535) -> Iterator[Step]:
    """A handshake with a target whose segments are at most so large. The client's ACK is still to come."""
    yield road.syn(options=mss(1400))
    yield road.syn_ack(window, options=mss(size))


@tells()
def test_pp_08_a_first_segment_of_full_size_stays_as_it_is(road: HeaderRoad) -> Iterator[Step]:
    """The header is another segment, so nothing is larger than the way allows."""
    size = 1460 if road.family == 4 else 1440
    yield from shaken(road, size)
    step = road.led(payload=bytes(size))
    assert len(step.out) == 1500 and all(len(packet) <= 1500 for packet in step.leading)
    yield step


@tells(WITH_PAYLOAD)
def test_pp_08_header_and_data_are_one_segment_if_they_fit_to_the_byte(road: HeaderRoad) -> Iterator[Step]:
    """A segment's options are part of its size (RFC 6691)."""
    yield from shaken(road, 536)
    yield road.led(payload=bytes(536 - road.length + 1))
    yield road.led(counted=REPEATED, payload=bytes(536 - road.length - 11), options=STAMP, stamp=STAMP)
    yield road.shared(counted=REPEATED, payload=bytes(536 - road.length - 12), options=STAMP)


@tells(WITH_PAYLOAD)
def test_pp_08_header_and_data_are_one_segment_if_there_is_room_for_both(road: HeaderRoad) -> Iterator[Step]:
    yield from shaken(road, 1400, window=502)
    yield road.led(payload=bytes(503 - road.length))
    yield road.shared(counted=REPEATED, payload=bytes(502 - road.length))


@tells(WITH_PAYLOAD)
def test_pp_08_where_the_targets_segment_size_is_not_known_nothing_grows(road: HeaderRoad) -> Iterator[Step]:
    yield road.syn(options=mss(1400))
    yield road.syn_ack(options=b"")
    yield road.led(payload=b"q")


@pytest.mark.parametrize("field", [Sum.UNFINISHED, Sum.ABSENT], ids=["pseudo-header summed", "nothing summed"])
@pytest.mark.parametrize("size", [1401, 20_000, 65_000])
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_pp_09_a_super_packet_as_the_first_segment(way: Way, size: int, field: Sum) -> None:
    """The kernel cuts it afterwards, by its sender's segment size, and makes each piece's sum anew. So it is shifted,
    and the header has no part in it."""

    def told(road: HeaderRoad) -> Iterator[Step]:
        yield from shaken(road, 1400)
        for counted in (SENT, REPEATED):
            step = road.led(counted=counted, payload=bytes(size))
            came = cases.tcp(road.client, road.endpoint, flags=PSH | ACK, payload=bytes(size), checksum=field)
            out = step.out[:36] + came[36:38] + step.out[38:]
            yield replace(step, packet=came, state=ChecksumState.SEGMENTED, out=out)
        known = FIRST + road.length + size
        yield road.mapped({"acknowledgment": known}, {"acknowledgment": FIRST + size})

    judged(told, HeaderRoad(*way))


@tells(WITH_PAYLOAD)
def test_pp_09_a_small_super_packet_is_not_joined_with_the_header(road: HeaderRoad) -> Iterator[Step]:
    if road.state is ChecksumState.UNFINISHED:
        yield from shaken(road, 1400)
        step = road.led(payload=b"question")
        assert step.packet is not None
        at = (20 if road.family == 4 else 40) + 16
        out = step.out[:at] + step.packet[at : at + 2] + step.out[at + 2 :]
        yield replace(step, state=ChecksumState.SEGMENTED, out=out)


def pieces(road: HeaderRoad, size: int, stamp: bytes = b"") -> tuple[bytes, ...]:
    """The header cut for segments of `size` bytes of data."""
    return tuple(
        road.segment(at, min(at + size, road.length), options=stamp) for at in range(0, road.length, size)
    )  # fmt: skip


@tells(WITH_PAYLOAD)
def test_pp_11_a_target_with_tiny_segments_gets_the_header_in_pieces(road: HeaderRoad) -> Iterator[Step]:
    """In order, and a timestamp takes its bytes from each."""
    yield from shaken(road, 88)
    yield road.led(payload=b"question", leading=pieces(road, 88))
    yield road.led(
        counted=REPEATED, payload=b"question", leading=pieces(road, 76, STAMP), options=STAMP, stamp=STAMP
    )  # fmt: skip
    yield road.acked(88, window=512, offered=512 - (road.length - 88))
    yield road.led(counted=REPEATED, payload=b"question", leading=(road.segment(88),))


@tells(AT_ONCE)
def test_pp_11_the_last_piece_takes_the_acks_place(road: HeaderRoad) -> Iterator[Step]:
    yield from shaken(road, 88)
    for options, size in ((b"", 88), (STAMP, 76), (STAMP + option(77, bytes(26)), 48), (NOP * 40, 48)):
        stamp = STAMP if options.startswith(STAMP) else b""
        *before, _ = pieces(road, size, stamp)
        step = road.replaced(len(before) * size, counted=SENT if not options else REPEATED, options=options)
        step = replace(step, leading=tuple(before))
        assert all(len(dissect(it).payload + dissect(it).options) <= 88 for it in (step.out, *step.leading))
        yield step


@pytest.mark.parametrize("size", [1, 2, 12, 13, 40, 48, 49, 87, 100])
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_pp_11_every_segment_size_gives_the_same_header(way: Way, size: int) -> None:
    """And none makes more than a few segments of one packet of a client's."""

    def told(road: HeaderRoad) -> Iterator[Step]:
        yield from shaken(road, size)
        yield road.led(payload=b"question" * 20, leading=pieces(road, max(size, HEADER_SEGMENT_BYTES_MIN)))

    judged(told, HeaderRoad(*way))


@pytest.mark.parametrize("words", range(11))
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_pp_12_headers_of_every_length(way: Way, words: int) -> None:
    """5 to 15 words, timestamps among them or not: Windows has none, and its first segments are of 5."""
    fillings = [NOP * (4 * words)]
    if words >= 3:
        fillings += [STAMP + NOP * (4 * words - 12), NOP * (4 * words - 10) + timestamps(7, 9)]

    def told(road: HeaderRoad) -> Iterator[Step]:
        yield from shaken(road, 1400)
        counted = SENT
        for options in fillings:
            stamp = STAMP if timestamps(7, 9) in options else b""
            if road.placement is AT_ONCE:
                yield road.replaced(counted=counted, options=options)
                counted = REPEATED
            yield road.led(counted=counted, payload=bytes(1400), options=options, stamp=stamp)
            counted = REPEATED
        yield road.shared(counted=REPEATED, payload=b"odd", options=fillings[-1])
        size = road.length
        yield road.mapped(
            {"acknowledgment": FIRST + size + 3}, {"acknowledgment": FIRST + 3}, options=NOP * (4 * words)
        )
        yield road.shifted(PSH | ACK, sequence=FIRST + 3, payload=b"more", options=fillings[-1])

    for state in (ChecksumState.FINISHED, ChecksumState.UNFINISHED):
        for family in (4, 6):
            judged(told, HeaderRoad(family, state, way[2]))


@tells()
def test_pp_13_the_header_is_stamped_as_the_clients_segment_is(road: HeaderRoad) -> Iterator[Step]:
    """Wherever the stamp stands among the options; where none was agreed on there is none."""
    yield from shaken(road, 1400)
    if road.placement is AT_ONCE:
        yield road.replaced(options=STAMP)
    counted = REPEATED if road.placement is AT_ONCE else SENT
    for before in (b"", NOP, NOP * 2, NOP * 3, option(77, b"xy")):
        options = before + timestamps(0x7FFF_FFFF, 5)
        stamp = NOP * 2 + timestamps(0x7FFF_FFFF, 5)
        yield road.led(counted=counted, payload=bytes(1400), options=options, stamp=stamp)
        counted = REPEATED
    for options in (b"", NOP * 4, option(8, bytes(6)), b"\0" * 4 + timestamps(1, 1), option(77, timestamps(1, 1))):
        yield road.led(counted=REPEATED, payload=bytes(1400), options=options)


@tells()
def test_pp_29_urgent_data_and_congestion_marks_are_the_clients_own(road: HeaderRoad) -> Iterator[Step]:
    """None of them on the header, all of them on the client's segment. What is urgent is not joined with the header:
    its pointer would say another byte."""
    yield from shaken(road, 1400)
    counted = SENT
    for flags in (URG | PSH | ACK, ECE | CWR | ACK, AE | ECE | URG | ACK):
        for traffic_class in (0x00, 0x02, 0x03, 0xFF):
            header = road.segment(ip=Ip(ttl=63, identification=0, traffic_class=traffic_class & 0xFC))
            yield road.led(
                flags, counted=counted, leading=(header,), payload=bytes(1400), urgent_pointer=2,
                ip=Ip(traffic_class=traffic_class),
            )  # fmt: skip
            counted = REPEATED
    yield road.led(URG | PSH | ACK, counted=REPEATED, payload=b"abc", urgent_pointer=3)
    yield road.shared(ECE | CWR | AE | PSH | ACK, counted=REPEATED, payload=b"abc", ip=Ip(traffic_class=0x02))


@tells(AT_ONCE)
def test_pp_29_an_ack_that_becomes_the_header_loses_its_congestion_flags(road: HeaderRoad) -> Iterator[Step]:
    """ECE comes again until it is answered (RFC 3168 section 6.1.3)."""
    yield from shaken(road, 1400)
    for number, flags in enumerate((ECE | ACK, CWR | ECE | ACK, AE | ACK, PSH | ACK)):
        yield road.replaced(counted=REPEATED if number else SENT, flags=flags)


@tells(roads=BOTH_FAMILIES)
def test_pp_30_what_no_translator_keeps_is_refused_or_stripped_here_too(road: HeaderRoad) -> Iterator[Step]:
    icmp_type, code = (3, 3) if road.family == 4 else (1, 4)
    fields = Ip(identification=0, traffic_class=0xC0 if road.family == 4 else 0)
    for kind in (option(19, bytes(16)), option(29, bytes(14))):
        came = cases.tcp(road.client, road.endpoint, flags=SYN, sequence=FIRST - 1, options=kind)
        answer = cases.icmp(road.endpoint[0], road.client[0], icmp_type, code, 0, came, ip=fields)
        yield road.answered(came, DropReason.SIGNED_SEGMENT, answer, flows=0)
    offered = mss(1400) + option(30, bytes(10))
    came = cases.tcp(road.client, road.endpoint, flags=SYN, sequence=FIRST - 1, options=offered)
    out = cases.tcp(road.balancer, road.target, flags=SYN, sequence=FIRST - 1, options=mss(1400) + NOP * 12)
    yield road.passes(came, out, flows_new=1, multipath_stripped=1)
    yield road.syn_ack()
    yield road.shared()


@tells()
def test_the_time_to_live_of_a_header_is_the_clients_less_one_router(road: HeaderRoad) -> Iterator[Step]:
    """The kernel takes one from what it forwards, and nothing from what is sent here."""
    yield from shaken(road, 1400)
    counted = SENT
    for ttl in (2, 64, 255):
        header = road.segment(ip=Ip(ttl=ttl - 1, identification=0))
        yield road.led(counted=counted, leading=(header,), payload=bytes(1400), ip=Ip(ttl=ttl))
        counted = REPEATED
