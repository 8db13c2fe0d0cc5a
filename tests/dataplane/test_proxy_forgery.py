"""No client gets a byte to the target before the header, or in its place: a target believes what the header says."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperplane.dataplane.verdict import DropReason
from hyperplane.wire.packet import ChecksumState
from tests import cases
from tests.cases import ACK, FIN, PSH, RST, URG
from tests.dataplane.beginnings import send
from tests.dataplane.header_road import (
    AT_ONCE,
    FIRST,
    NUMBERS,
    PLAIN_WAYS,
    WITH_PAYLOAD,
    HeaderRoad,
    Way,
    name_of,
    tells,
    ways,
)
from tests.dataplane.story import Step, play
from tests.dissection import dissect
from tests.nodes import DOOR, Node


def across(road: HeaderRoad, sequence: int, payload: bytes, flags: int = PSH | ACK) -> Step:
    came = cases.tcp(
        road.client, road.endpoint, flags=flags, sequence=sequence, payload=payload, checksum=road.sum
    )  # fmt: skip
    return road.dropped(came, DropReason.BEFORE_FIRST_BYTE, flows=1)


@tells()
def test_a_segment_that_begins_before_the_first_byte_and_ends_behind_it_is_refused(road: HeaderRoad) -> Iterator[Step]:
    """As it once was: the target cut off what was before its window and took the rest, without a header."""
    yield road.syn()
    yield road.syn_ack()
    for _ in range(2):
        yield across(road, FIRST - 1, b"xG")
        yield across(road, FIRST - 2, b"xxGET / HTTP/1.1")
        yield across(road, FIRST - 1000, bytes(1001))
        yield across(road, FIRST - 1, b"x", FIN | ACK)
        yield across(road, FIRST - 1, b"xG", RST | ACK)
    yield road.shared()
    yield across(road, FIRST - 2, b"xxGET / HTTP/1.1")
    yield road.mapped({"acknowledgment": FIRST + road.length + 8}, {"acknowledgment": FIRST + 8})
    yield across(road, FIRST - 2, b"xx" + bytes(300))
    yield across(road, FIRST - 2, b"xx", ACK)
    yield across(road, FIRST - 1, b"", FIN | ACK)
    yield road.shifted(sequence=FIRST + 8)


def byte_at(place: int) -> int:
    """What the client says at this place, counted from its first byte."""
    return (place * 37 + 11) % 251


BEFORE = ("nothing", "the handshake", "the header was sent", "ten bytes are acknowledged", "all is acknowledged")


def brought_to(state: str, road: HeaderRoad) -> Node:
    node = road.zone().node(0)
    last = BEFORE.index(state)

    def told(_: HeaderRoad) -> Iterator[Step]:
        yield road.syn()
        yield road.syn_ack()
        if last >= 1:
            yield from list(road.opened())[2:]
        if last >= 2:
            yield list(road.asked())[-1]
        if last == 3:
            yield road.acked(10)
        if last == 4:
            yield road.acked()

    play(told, road, node)
    return node


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(PLAIN_WAYS),
    st.sampled_from(BEFORE),
    st.integers(-300, 300) | st.integers(-70_000, 70_000) | st.integers(-(1 << 31), (1 << 31) - 1),
    st.integers(0, 300) | st.integers(0, 1400),
    st.sampled_from([ACK, PSH | ACK, FIN | ACK, RST, RST | ACK, URG | ACK, FIN | ACK | URG]),
)
def test_whatever_a_client_sends_the_target_reads_the_header_first(
    way: Way, state: str, place: int, size: int, flags: int
) -> None:
    """Byte for byte, at the numbers that the target knows: the header, behind it what the client says. A target may
    cut any segment at any byte, so each byte must be right by itself; those that it has already it does not look at.
    """
    road = HeaderRoad(*way)
    node = brought_to(state, road)
    payload = bytes(byte_at(place + at) for at in range(size))
    came = cases.tcp(road.client, road.endpoint, flags=flags, sequence=FIRST + place, payload=payload)
    out = node.send(came, DOOR, 1.0, ChecksumState.FINISHED)
    if not out.accepted:
        assert out.reason in (DropReason.BEFORE_FIRST_BYTE, DropReason.RST_OUT_OF_WINDOW)
        return
    has = {"ten bytes are acknowledged": 10, "all is acknowledged": road.length}.get(state, 0)
    for packet in (*out.leading, out.packet):
        seen = dissect(packet)
        if seen.flags & RST:  # what it carries is a remark, and not data (RFC 9293 section 3.5.3)
            continue
        begins = (seen.sequence - FIRST + NUMBERS // 2) % NUMBERS - NUMBERS // 2
        for at in range(max(has - begins, 0), len(seen.payload)):
            number = begins + at
            right = road.header[number] if number < road.length else byte_at(number - road.length)
            assert seen.payload[at] == right, number
        if seen.flags & FIN and begins + len(seen.payload) >= has:
            assert begins + len(seen.payload) >= road.length, "the end comes after the header"


PLACES = (FIRST - 2, FIRST - 300, FIRST - (1 << 30), FIRST - (1 << 31))


@pytest.mark.parametrize("state", BEFORE)
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_an_ack_before_the_first_byte_is_refused(way: Way, state: str) -> None:
    """As it once was: it ended a handshake there, with a target that has SYN cookies, and data from further before,
    where the numbers have come round, was shifted to it."""
    road = HeaderRoad(*way)
    node = brought_to(state, road)
    for sequence in PLACES:
        send(node, road, [across(road, sequence, b"", ACK)])


@pytest.mark.parametrize("state", BEFORE)
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_what_has_data_or_an_end_before_the_first_byte_is_refused_wherever_it_ends(way: Way, state: str) -> None:
    """A target that has lost the stream and has SYN cookies may take it for the beginning of another one."""
    road = HeaderRoad(*way)
    node = brought_to(state, road)
    for sequence in (*PLACES, FIRST - 3):
        for payload, flags in ((b"x", ACK), (b"xx", PSH | ACK), (bytes(300), ACK), (b"", FIN | ACK), (b"x", FIN | ACK)):
            send(node, road, [across(road, sequence, payload, flags)])
    send(node, road, [across(road, FIRST - 1, b"", FIN | ACK), across(road, FIRST - 1, b"x", FIN | ACK)])


@pytest.mark.parametrize("way", ways(AT_ONCE), ids=name_of)
def test_a_keep_alives_byte_does_not_go_where_the_header_has_no_room(way: Way) -> None:
    """The target's window is closed, so nothing takes the place of the question whether it has opened. As it once was:
    to a target that had forgotten the stream and has SYN cookies the byte was the first of another one."""
    road = HeaderRoad(*way)
    node = road.zone().node(0)
    send(node, road, [road.syn(), road.syn_ack(window=0)])
    for sequence in (FIRST, FIRST - 1):
        payload = b"G" if sequence < FIRST else b""
        came = cases.tcp(road.client, road.endpoint, sequence=sequence, payload=payload, checksum=road.sum)
        step = road.shifted(sequence=sequence, by=0)
        send(node, road, [replace(step, packet=came, moved=step.moved | {"bytes_original": len(came)})])


@pytest.mark.parametrize("got", [0, 40])
@pytest.mark.parametrize("way", ways(WITH_PAYLOAD), ids=name_of)
def test_a_keep_alives_byte_does_not_go_where_the_header_is_missing(way: Way, got: int) -> None:
    """It stays a keep-alive without, and is counted as the client sent it. Behind the whole header the byte stands
    where the target has read the header's last one."""
    road = HeaderRoad(*way)
    node = road.zone().node(0)
    send(node, road, road.asked() if got else road.opened())
    if got:
        send(node, road, [road.acked(got)])
    came = cases.tcp(road.client, road.endpoint, sequence=FIRST - 1, payload=b"G", checksum=road.sum)
    step = road.shifted(sequence=FIRST - 1, by=got)
    send(node, road, [replace(step, packet=came, moved=step.moved | {"bytes_original": len(came)})])
    if got:
        send(node, road, [road.acked()])
        send(node, road, [road.shifted(sequence=FIRST - 1, payload=b"G")])
