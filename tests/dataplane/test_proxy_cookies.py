"""No segment behind the header is the end of a handshake to a target that has lost the stream and has SYN cookies.

Such a target takes both numbers from the client's ACK, and believes it if they fit together: a client that has been
told of as many bytes as it has sent, header included, would begin a stream behind the header. So what lies on that line
keeps its number and acknowledges less; what it said is said before it by an ACK with the next number beyond the line,
which is the same for all that acknowledges as much. All else passes as it is: a FIN alone, too, behind which no stream
has a byte.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import cases
from tests.cases import ACK, FIN, PSH, RST, SYN, URG
from tests.dataplane.beginnings import send
from tests.dataplane.header_road import (
    AT_ONCE,
    NUMBERS,
    PLAIN_WAYS,
    REPEATED,
    SENT,
    HeaderRoad,
    Way,
    WrappingRoad,
    name_of,
    ways,
)
from tests.dataplane.story import Step
from tests.dissection import dissect
from tests.nodes import DOOR, MemoryZone, Node

APART, SPREAD = 15, 7
BIG = bytes(1400)
"""So much data that the header is a segment of its own."""
ON_LINE = (-SPREAD, -1, 0, 1, SPREAD)
OFF_LINE = (-SPREAD - 1, SPREAD + 1, -APART, APART, 1000, 1 << 31)
PLACES = ((1000, 2000), (NUMBERS - 50, 2000), (1000, NUMBERS - 50), (NUMBERS - 150, NUMBERS - 20), (0, 0), (1 << 31, 1))
"""First bytes of client and target: with numbers that wrap before, inside and behind the header, and at the line."""


class Line:
    """One stream whose numbers are known, and what its client's segments become."""

    def __init__(self, way: Way, first: int = 1000, answer: int = 2000) -> None:
        self.road, self.answer = WrappingRoad(way, first), answer
        self.zone: MemoryZone = self.road.zone()
        self.opening = [self.road.syn(sequence=first - 1), self.road.syn_ack(sequence=(answer - 1) % NUMBERS)]

    def opened(self, node: Node) -> None:
        """The handshake, and with AT_ONCE the header once."""
        road, known = self.road, self.answer
        send(node, road, self.opening)
        if road.placement is AT_ONCE:
            send(node, road, [road.replaced(acknowledgment=known)])
        else:
            send(node, road, [road.up(ACK, sequence=road.first, acknowledgment=known)])

    def acknowledged(self, node: Node) -> None:
        """And the header has been acknowledged, by way of another client's segment where that is needed."""
        self.opened(node)
        send(node, self.road, [self.road.acked(sequence=self.answer)])

    def fields(self, place: int, off: int) -> dict[str, Any]:
        """A segment that begins `place` bytes behind the first, and is so far off the line."""
        return {
            "sequence": (self.road.first + place) % NUMBERS,
            "acknowledgment": (self.answer + self.road.length + place + off) % NUMBERS,
        }

    def shifted(self, flags: int, place: int, off: int, payload: bytes = b"", lower: bool = False) -> Step:
        fields = self.fields(place, off) | {"payload": payload}
        step = self.road.shifted(flags, **fields)
        fields["sequence"] = (fields["sequence"] + self.road.length) % NUMBERS
        leading: tuple[bytes, ...] = ()
        if lower and not flags & RST and (payload or not flags & FIN):  # those begin nothing
            leading = (self.ack(fields["acknowledgment"]),)
            fields["acknowledgment"] = (fields["acknowledgment"] - APART) % NUMBERS
        out = cases.tcp(self.road.balancer, self.road.target, flags=flags, **fields)
        return replace(step, out=out, leading=leading)

    def ack(self, known: int) -> bytes:
        """What goes before a segment that acknowledges this."""
        number = (self.road.first + known - self.answer + SPREAD + 1) % NUMBERS
        ip = cases.Ip(ttl=63, identification=0)
        return cases.tcp(self.road.balancer, self.road.target, sequence=number, acknowledgment=known, ip=ip)

    def led(self, flags: int, off: int, payload: bytes, counted: str, lower: bool = False) -> Step:
        """The header before it acknowledges what the client does: with its own number it begins where it must."""
        step = self.shifted(flags, 0, off, payload, lower)
        header = self.road.segment(acknowledgment=self.fields(0, off)["acknowledgment"])
        return replace(step, leading=(header, *step.leading), moved=step.moved | {counted: 1})


def first_data(line: Line, off: int, lower: bool) -> Iterator[Step]:
    yield line.led(PSH | ACK, off, BIG, REPEATED if line.road.placement is AT_ONCE else SENT, lower)


def first_end(line: Line, off: int, lower: bool) -> Iterator[Step]:
    yield line.led(FIN | ACK, off, b"", REPEATED if line.road.placement is AT_ONCE else SENT, lower)


def beyond(line: Line, off: int, lower: bool) -> Iterator[Step]:
    for place in (1, 8, 1400):
        yield line.shifted(ACK, place, off, lower=lower)
        yield line.shifted(PSH | ACK, place, off, b"data", lower)
        yield line.shifted(FIN | ACK, place, off, b"last data", lower)
        yield line.shifted(FIN | ACK, place, off, lower=lower)


def all_behind(line: Line, off: int, lower: bool) -> Iterator[Step]:
    """Once the header is acknowledged: a keep-alive, a bare ACK, the first data, what is behind them, the end."""
    yield line.shifted(ACK, -1, off, lower=lower)
    yield line.shifted(ACK, -1, off, b"G", lower)
    yield line.shifted(ACK, 0, off, lower=lower)
    yield line.shifted(PSH | ACK, 0, off, b"question", lower)
    yield line.shifted(FIN | ACK, 0, off, lower=lower)
    yield from beyond(line, off, lower)
    yield line.shifted(ACK, 70_000, off, lower=lower)
    yield line.shifted(RST | ACK, 1400, off, lower=lower)


Told = Callable[[Line, int, bool], Iterator[Step]]
UNACKNOWLEDGED: tuple[Told, ...] = (first_data, first_end, beyond)
KINDS = [*[(told, False) for told in UNACKNOWLEDGED], (all_behind, True)]
NAMES = [f"{told.__name__}, {'acknowledged' if acknowledged else 'not acknowledged'}" for told, acknowledged in KINDS]


def plays(line: Line, told: Told, acknowledged: bool, off: int, lower: bool, age_s: float = 0.0) -> None:
    """Begin the stream at node 0, let it grow old, and play this at it."""
    node = line.zone.node(0)
    if acknowledged:
        line.acknowledged(node)
    else:
        line.opened(node)
    line.road.now = 1.0 + age_s
    send(node, line.road, told(line, off, lower))


@pytest.mark.parametrize(("told", "acknowledged"), KINDS, ids=NAMES)
@pytest.mark.parametrize("way", ways(), ids=name_of)
def test_what_is_on_the_line_gets_other_numbers(way: Way, told: Told, acknowledged: bool) -> None:
    for off in ON_LINE:
        plays(Line(way), told, acknowledged, off, lower=True)


@pytest.mark.parametrize(("told", "acknowledged"), KINDS, ids=NAMES)
@pytest.mark.parametrize("way", ways(), ids=name_of)
def test_what_is_beside_the_line_passes_as_it_is(way: Way, told: Told, acknowledged: bool) -> None:
    for off in OFF_LINE:
        plays(Line(way), told, acknowledged, off, lower=False)


@pytest.mark.parametrize(("first", "answer"), PLACES)
@pytest.mark.parametrize(("told", "acknowledged"), KINDS, ids=NAMES)
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_pp_32_the_line_wraps(way: Way, told: Told, acknowledged: bool, first: int, answer: int) -> None:
    for off in (*ON_LINE, *OFF_LINE):
        plays(Line(way, first, answer), told, acknowledged, off, lower=off in ON_LINE)


@pytest.mark.parametrize(("told", "acknowledged"), KINDS, ids=NAMES)
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_as_long_as_the_flow_lives(way: Way, told: Told, acknowledged: bool) -> None:
    """A cookie is long forgotten then. But a number that went back would take the windows that it says with it."""
    for age_s in (1.0, 59.0, 240.0, 349.0):
        plays(Line(way), told, acknowledged, 0, lower=True, age_s=age_s)


@pytest.mark.parametrize("how", ["was told", "starts anew", "another generation"])
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_a_node_that_has_seen_nothing_of_the_stream_knows_the_line(way: Way, how: str) -> None:
    """It is the target's answer and the flow's first byte, so every node's; how old a flow is, too."""
    line = Line(way)
    line.acknowledged(line.zone.node(0))
    if how == "was told":
        node = line.zone.node(1)
    elif how == "starts anew":
        node = line.zone.restart(0, 1.0)
    else:
        node = line.zone.next_generation(line.zone.snapshot, 2, 1.0).node(1)
    node.dataplane.settle(1.0)
    send(node, line.road, beyond(line, 0, lower=True))


@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_the_headers_own_segments_are_what_they_say(way: Way) -> None:
    """A stream that begins with them begins right: shared with data, or in the place of an ACK."""
    for off in (*ON_LINE, -HeaderRoad(*way).length):
        line = Line(way)
        node, road = line.zone.node(0), line.road
        line.opened(node)
        counted = REPEATED if road.placement is AT_ONCE else SENT
        if road.placement is AT_ONCE:
            send(node, road, [road.replaced(counted=counted, **line.fields(0, off))])
        send(node, road, [road.shared(counted=counted, **line.fields(0, off))])


@settings(max_examples=300, deadline=None)
@given(
    way=st.sampled_from(PLAIN_WAYS),
    first=st.integers(0, NUMBERS - 1) | st.sampled_from([place for place, _ in PLACES]),
    answer=st.integers(0, NUMBERS - 1) | st.sampled_from([place for _, place in PLACES]),
    acknowledged=st.booleans(),
    place=st.integers(1, 100_000),
    off=st.integers(-100, 100) | st.integers(-(1 << 31), (1 << 31) - 1),
    size=st.integers(0, 300),
    flags=st.sampled_from([ACK, PSH | ACK, FIN | ACK, URG | ACK]),
    age_s=st.integers(0, 349),
)
def test_nothing_else_is_ever_changed(
    way: Way,
    first: int,
    answer: int,
    acknowledged: bool,
    place: int,
    off: int,
    size: int,
    flags: int,
    age_s: int,
) -> None:
    """Less is acknowledged, so much less, if it is on the line; else it is as the client sent it."""
    line = Line(way, first, answer)
    node = line.zone.node(0)
    if acknowledged:
        line.acknowledged(node)
    else:
        line.opened(node)
    fields = line.fields(place, off)
    came = cases.tcp(line.road.client, line.road.endpoint, flags=flags, payload=bytes(size), **fields)
    out = node.send(came, DOOR, 1.0 + age_s)
    seen = dissect(out.packet)
    lower = abs(off) <= SPREAD and bool(size or not flags & FIN)
    assert out.leading == ((line.ack(fields["acknowledgment"]),) if lower else ())
    assert seen.sequence == (fields["sequence"] + line.road.length) % NUMBERS
    assert seen.acknowledgment == (fields["acknowledgment"] - APART * lower) % NUMBERS
    assert (seen.flags, seen.payload, seen.sums_are_right) == (flags, bytes(size), True)


def test_what_acknowledges_as_much_has_numbers_that_never_go_back() -> None:
    """Or a window that it says would be an older one's (RFC 9293 section 3.10.7.4)."""
    line = Line(PLAIN_WAYS[0])
    node = line.zone.node(0)
    line.acknowledged(node)
    latest = 0
    for place in range(1000, 1000 + 4 * SPREAD):
        known = line.answer + line.road.length + 1000 + SPREAD
        came = cases.tcp(
            line.road.client, line.road.endpoint, flags=ACK, sequence=line.road.first + place, acknowledgment=known
        )
        out = node.send(came, DOOR, 1.0)
        says = max((dissect(it) for it in (*out.leading, out.packet)), key=lambda seen: seen.acknowledgment)
        assert says.sequence >= latest
        latest = says.sequence


def test_a_flow_without_a_header_is_never_touched() -> None:
    """There is nothing to hide, and nothing shifted."""
    road = HeaderRoad(*PLAIN_WAYS[0])
    zone = MemoryZone(ports=1)
    node = zone.node(0)
    syn_ack = road.down(SYN | ACK, sequence=1999, options=cases.linux_syn(1400))
    send(node, road, [road.syn(), syn_ack, road.up(ACK)])
    for place in (0, 8, 1400):
        for off in (0, 1, road.length):
            send(node, road, [road.up(ACK, sequence=1000 + place, acknowledgment=2000 + place + off)])
