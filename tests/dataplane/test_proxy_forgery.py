"""No client gets a byte to the target before the header, or in its place: a target believes what the header says."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperplane.dataplane.verdict import DropReason
from hyperplane.wire.packet import ChecksumState
from tests import cases
from tests.cases import ACK, FIN, PSH, RST, URG
from tests.dataplane.header_road import FIRST, NUMBERS, PLAIN_WAYS, HeaderRoad, Way, name_of, tells
from tests.dataplane.story import Step, play
from tests.dissection import dissect
from tests.nodes import DOOR, Node


def across(road: HeaderRoad, sequence: int, payload: bytes, flags: int = PSH | ACK) -> Step:
    came = cases.tcp(
        road.client, road.endpoint, flags=flags, sequence=sequence, payload=payload, checksum=road.sum
    )  # fmt: skip
    return road.dropped(came, DropReason.ACROSS_FIRST_BYTE, flows=1)


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
    yield road.up(ACK, sequence=FIRST - 2, payload=b"xx")
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
        assert out.reason in (DropReason.ACROSS_FIRST_BYTE, DropReason.RST_OUT_OF_WINDOW)
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


@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_what_ends_before_the_first_byte_is_old_and_passes(way: Way) -> None:
    """A late segment of an older conversation: the target answers it, and the client learns where it stands."""
    road = HeaderRoad(*way)
    node = brought_to("the handshake", road)
    for sequence, size in ((FIRST - 2, 2), (FIRST - 2, 0), (FIRST - 300, 300), (FIRST - (1 << 30), 1000)):
        out = cases.tcp(road.balancer, road.target, sequence=sequence, payload=bytes(size))
        came = cases.tcp(road.client, road.endpoint, sequence=sequence, payload=bytes(size))
        assert node.send(came, DOOR).packet == out
