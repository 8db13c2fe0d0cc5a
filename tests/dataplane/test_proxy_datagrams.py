"""The header in every datagram, never apart from its data (PP-38 of the checklist)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from hyperplane.dataplane.verdict import HELD, DropReason
from hyperplane.limits import QUEUED_BYTES_MAX
from hyperplane.wire.packet import ChecksumState
from tests import cases
from tests.cases import UDP, Ip, Sum
from tests.dataplane.header_road import AT_ONCE, SENT, WITH_PAYLOAD, HeaderRoad, Way, name_of, tells, ways
from tests.dataplane.story import BOTH_FAMILIES, PLAIN, Step
from tests.dataplane.test_fragments import pieces
from tests.dissection import dissect
from tests.header_oracle import proxy_header
from tests.nodes import DOOR, EXIT, MemoryZone, snapshot_of

MAY_BE_CUT = Ip(dont_fragment=False)


def asked(road: HeaderRoad, payload: bytes = b"question", **fields: Any) -> Step:
    """A question, and the header before its data. The client's own bytes are counted."""
    came = cases.udp(road.client, road.datagrams, payload, checksum=road.sum, **fields)
    out = cases.udp(road.balancer, road.datagram_target, road.datagram_header + payload, **fields)
    step = road.passes(came, out)
    return replace(step, moved=step.moved | {"bytes_original": len(came), SENT: 1})


def first_asked(road: HeaderRoad, payload: bytes = b"question", **fields: Any) -> Step:
    step = asked(road, payload, **fields)
    return replace(step, moved=step.moved | {"flows_new": 1}, flows=1)


def does_not_fit(road: HeaderRoad, payload: bytes) -> Step:
    """The answer names the size that the client's own datagrams may have, and quotes what it sent."""
    came = cases.udp(road.client, road.datagrams, payload, checksum=road.sum)
    quote = came[: 548 if road.family == 4 else 1232]
    icmp_type, code = (3, 4) if road.family == 4 else (2, 0)
    fields = Ip(identification=0, traffic_class=0xC0 if road.family == 4 else 0)
    mtu = 1500 - road.length
    answer = cases.icmp(road.endpoint[0], road.client[0], icmp_type, code, mtu, quote, ip=fields)
    return road.answered(came, DropReason.HEADER_DOES_NOT_FIT, answer)


@tells()
def test_pp_38_every_datagram_has_the_header_and_no_answer_has(road: HeaderRoad) -> Iterator[Step]:
    """Whatever the placement: there is no handshake to wait for."""
    yield first_asked(road)
    yield road.answer()
    for payload in (b"", b"q", b"odd", bytes(range(256)) * 2, road.datagram_header):
        yield asked(road, payload)
        yield road.answer(payload)


def test_pp_38_the_header_says_that_it_is_about_datagrams() -> None:
    for family, byte in ((4, 0x12), (6, 0x22)):
        assert HeaderRoad(family, ChecksumState.FINISHED, WITH_PAYLOAD).datagram_header[13] == byte


@tells(WITH_PAYLOAD)
def test_pp_38_a_datagram_grows_to_the_last_byte_that_fits(road: HeaderRoad) -> Iterator[Step]:
    """And is answered where it would be one too long, as long as it may not be cut."""
    most = 1500 - (28 if road.family == 4 else 48) - road.length
    yield first_asked(road, bytes(most))
    yield does_not_fit(road, bytes(most + 1))
    yield does_not_fit(road, bytes(most + road.length))
    yield asked(road, bytes(most))


@tells(WITH_PAYLOAD)
def test_pp_38_what_does_not_fit_even_alone_is_told_the_same_size(road: HeaderRoad) -> Iterator[Step]:
    """A size with the header's room would be asked for again and again. It may not start a flow, either: then it is
    told the way's own size first, for nobody knows yet that a header will go with it."""
    yield first_asked(road)
    yield does_not_fit(road, bytes(1473))
    yield does_not_fit(road, bytes(9000))


@pytest.mark.parametrize("size", [1400, 1472, 3000, 60_000])
def test_pp_38_a_datagram_that_may_be_cut_grows_beyond_the_way(size: int) -> None:
    """The kernel cuts it afterwards. Identifications of one client mean nothing to the target."""
    road = HeaderRoad(*PLAIN[0], WITH_PAYLOAD)
    node = road.zone().node(0)
    payload = bytes(range(250)) * (size // 250) + bytes(size % 250)
    out = node.send(cases.udp(road.client, road.datagrams, payload, ip=MAY_BE_CUT), DOOR)
    assert out.moved == {"flows_new": 1, "packets_original": 1, "bytes_original": 28 + size, SENT: 1}
    seen = dissect(out.packet)
    assert (seen.payload, seen.dont_fragment, seen.sums_are_right) == (road.datagram_header + payload, False, True)


@tells(WITH_PAYLOAD, AT_ONCE, roads=BOTH_FAMILIES)
def test_pp_38_a_datagram_without_a_checksum_stays_without(road: HeaderRoad) -> Iterator[Step]:
    yield first_asked(road)
    came = cases.udp(road.client, road.datagrams, b"x", checksum=Sum.ABSENT)
    if road.family == 6:
        yield road.dropped(came, DropReason.BAD_CHECKSUM)
        return
    out = cases.udp(road.balancer, road.datagram_target, road.datagram_header + b"x", checksum=Sum.ABSENT)
    step = road.passes(came, out)
    yield replace(step, moved=step.moved | {"bytes_original": len(came), SENT: 1})


@tells(WITH_PAYLOAD)
def test_pp_38_a_computed_checksum_of_0_is_sent_as_ffff(road: HeaderRoad) -> Iterator[Step]:
    blank = cases.udp(road.balancer, road.datagram_target, road.datagram_header + b"\0\0")
    field = (20 if road.family == 4 else 40) + 6
    step = first_asked(road, blank[field : field + 2])
    assert step.out[field : field + 2] == b"\xff\xff"
    yield step


@tells(WITH_PAYLOAD)
def test_pp_38_a_checksum_of_ffff_that_came_is_no_zero(road: HeaderRoad) -> Iterator[Step]:
    """What the client sends as FFFF is a sum of zero, and with the header it is any other."""
    blank = cases.udp(road.client, road.datagrams, b"\0\0")
    field = (20 if road.family == 4 else 40) + 6
    step = first_asked(road, blank[field : field + 2])
    assert step.packet is not None
    if road.state is ChecksumState.FINISHED:
        assert step.packet[field : field + 2] == b"\xff\xff"
    yield step


@pytest.mark.parametrize("placement", [WITH_PAYLOAD, AT_ONCE])
def test_pp_38_pieces_are_put_together_and_led_as_a_whole(placement: Any) -> None:
    """In the place of the last piece, with one header. A piece that waits is counted as that."""
    road = HeaderRoad(*PLAIN[0], placement)
    node = road.zone().node(0)
    payload = bytes(range(256)) * 8
    first, second, third = pieces(cases.udp(road.client, road.datagrams, payload))
    for piece in (third, first):
        out = node.send(piece, DOOR)
        assert (out.verdict, out.moved) == (HELD, {"fragments_held": 1})
    out = node.send(second, DOOR)
    assert out.moved == {"flows_new": 1, "packets_original": 1, "bytes_original": 28 + len(payload), SENT: 1}
    seen = dissect(out.packet)
    assert (seen.payload, seen.sums_are_right, seen.dont_fragment) == (road.datagram_header + payload, True, False)


def test_pp_38_a_datagram_grows_to_the_last_byte_that_a_queue_gives_back() -> None:
    road = HeaderRoad(*PLAIN[0], WITH_PAYLOAD)
    node = road.zone().node(0)
    most = QUEUED_BYTES_MAX - 28 - road.length
    whole = cases.udp(road.client, road.datagrams, bytes(most), ip=MAY_BE_CUT)
    assert len(node.send(whole, DOOR).packet) == QUEUED_BYTES_MAX
    longer = cases.udp(road.client, road.datagrams, bytes(most + 1), ip=MAY_BE_CUT)
    out = node.send(longer, DOOR)
    assert (out.reason, out.packet) == (DropReason.HEADER_DOES_NOT_FIT, b"")
    assert out.moved == {"packets_dropped": 1, "dropped_header_does_not_fit": 1}


@pytest.mark.parametrize("way", ways(WITH_PAYLOAD, roads=BOTH_FAMILIES), ids=name_of)
def test_pp_38_a_super_packet_of_datagrams_is_refused(way: Way) -> None:
    """The kernel would cut it into datagrams, of which only the first had a header."""
    road = HeaderRoad(*way)
    node = road.zone().node(0)
    assert node.send(cases.udp(road.client, road.datagrams, b"question"), DOOR).accepted
    came = cases.udp(road.client, road.datagrams, bytes(20_000), checksum=Sum.UNFINISHED)
    out = node.send(came, DOOR, state=ChecksumState.SEGMENTED)
    assert (out.reason, out.packet) == (DropReason.HEADER_DOES_NOT_FIT, b"")
    assert out.moved == {"packets_dropped": 1, "dropped_header_does_not_fit": 1}


def test_pp_38_a_super_packet_of_answers_passes() -> None:
    """There is no header in an answer, so nothing is in the kernel's way."""
    road = HeaderRoad(*PLAIN[0], WITH_PAYLOAD)
    node = road.zone().node(0)
    source = dissect(node.send(cases.udp(road.client, road.datagrams, b"question"), DOOR).packet).source
    back = cases.udp(road.datagram_target, source, bytes(20_000), checksum=Sum.UNFINISHED)
    out = node.send(back, EXIT, state=ChecksumState.SEGMENTED)
    assert out.packet[28:] == bytes(20_000) and len(out.packet) == len(back)


def test_pp_38_clients_of_one_endpoint_have_their_own_headers() -> None:
    node = MemoryZone(snapshot_of(placement=WITH_PAYLOAD)).node(0)
    for number in range(50):
        client = (f"10.0.{number}.7", 5000 + number)
        service = (cases.ENDPOINT[0], 53)
        seen = dissect(node.send(cases.udp(client, service, b"q"), DOOR).packet)
        assert seen.payload == proxy_header(client, service, "vpce-1", UDP) + b"q"


def test_pp_38_every_node_makes_the_same_header() -> None:
    """And any of them may get the next datagram of the flow, from its peers' news."""
    road = HeaderRoad(*PLAIN[0], AT_ONCE)
    zone = road.zone()
    made = [zone.node(index).send(cases.udp(road.client, road.datagrams, b"q"), DOOR) for index in range(3)]
    assert [out.packet for out in made] == [made[0].packet] * 3
    assert [out.moved.get("flows_new", 0) for out in made] == [1, 0, 0]
    assert all(out.moved[SENT] == 1 for out in made)
