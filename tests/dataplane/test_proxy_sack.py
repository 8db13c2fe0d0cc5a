"""SACK blocks of a target whose stream is longer by a header (PP rows of the checklist in the names)."""

from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests import cases
from tests.cases import END, NOP, PSH, SACK_PERMITTED, linux_syn, mss, option, sack, timestamps
from tests.dataplane.header_road import AT_ONCE, FIRST, NUMBERS, PLAIN_WAYS, REPEATED, HeaderRoad, Way, tells
from tests.dataplane.story import Step, play
from tests.nodes import EXIT

Block = tuple[int, int]
HALF = NUMBERS // 2


def held(road: HeaderRoad, blocks: list[Block], seen: list[Block], before: bytes = b"", got: int = 0) -> Step:
    """The target holds `blocks`, counted from the first byte with the header; the client is told of `seen`, counted
    without, and NOPs fill the room of those that are gone."""
    filled = NOP * 8 * (len(blocks) - len(seen)) if seen else NOP * (2 + 8 * len(blocks))
    told = sack(*((FIRST + a, FIRST + b) for a, b in seen)) if seen else b""
    came = before + sack(*((FIRST + a, FIRST + b) for a, b in blocks))
    known = FIRST + max(got - road.length, 0)
    # Before the header is acknowledged a window is one unit smaller.
    window = 502 if got >= road.length else 501
    return road.mapped(
        {"options": came, "acknowledgment": FIRST + got},
        {"options": before + told + filled, "acknowledgment": known, "window": window},
    )


@tells()
def test_pp_14_blocks_are_told_in_the_clients_numbers_and_in_order(road: HeaderRoad) -> Iterator[Step]:
    yield from road.answered_once()
    size = road.length
    for blocks in (
        [(2000, 3000)],
        [(5000, 6000), (2000, 3000)],
        [(9000, 9001), (2000, 3000), (7000, 8000), (4000, 5000)],
    ):
        seen = [(a - size, b - size) for a, b in blocks]
        for before in (b"", NOP, NOP * 2, option(77, b"x")):
            if len(before) + 2 + 8 * len(blocks) <= 40:
                yield held(road, blocks, seen, before, size + 8)
    stamped = NOP * 2 + timestamps(7, 9)
    yield held(road, [(2000, 3000), (4000, 5000)], [(2000 - size, 3000 - size), (4000 - size, 5000 - size)], stamped,
               size + 8)  # fmt: skip


@tells()
def test_pp_14_a_block_that_begins_inside_the_header_begins_at_the_first_byte(road: HeaderRoad) -> Iterator[Step]:
    """The target lacks the header's beginning, and holds its end with what is behind it."""
    yield from road.asked()
    size = road.length
    yield held(road, [(50, size + 8)], [(0, 8)])
    yield held(road, [(size, size + 8)], [(0, 8)])
    yield held(road, [(size - 1, size + 1), (10, 20)], [(0, 1)])
    yield held(road, [(10, 20), (size + 100, size + 200)], [(100, 200)])


@tells()
def test_pp_05_a_second_header_is_never_reported_to_the_client(road: HeaderRoad) -> Iterator[Step]:
    """The first one's acknowledgment was lost, so it came again: the target says so by a block of what it had (D-SACK,
    RFC 2883). A client that never sent it must not take it for a sign of needless retransmission."""
    yield from road.asked()
    size = road.length
    yield held(road, [(0, size)], [], got=size + 8)
    yield held(road, [(0, size)], [], NOP * 2 + timestamps(1, 2), size + 8)
    yield held(road, [(0, 50)], [], got=size + 8)
    yield held(road, [(0, size), (2000, 3000)], [(2000 - size, 3000 - size)], got=size + 8)
    yield held(road, [(0, size + 8)], [(0, 8)], got=size + 8)  # the client's own data came again, too
    yield road.shifted(sequence=FIRST + 8)


@tells()
def test_pp_07_the_second_data_segment_first(road: HeaderRoad) -> Iterator[Step]:
    """The target holds it and says so; the first one brings the header, as if nothing had happened."""
    yield from road.opened()
    size = road.length
    yield road.shifted(PSH | cases.ACK, sequence=FIRST + 8, payload=b"second")
    yield held(road, [(size + 8, size + 14)], [(8, 14)])
    yield road.shared(counted=REPEATED if road.placement is AT_ONCE else "headers_sent", payload=b"question")
    yield road.mapped({"acknowledgment": FIRST + size + 14}, {"acknowledgment": FIRST + 14})


@tells()
def test_pp_15_without_sack_no_option_is_touched(road: HeaderRoad) -> Iterator[Step]:
    for offered in (mss(1400), mss(1400) + SACK_PERMITTED + NOP * 2):
        yield road.syn(options=offered) if offered == mss(1400) else road.up(cases.SYN, sequence=999, options=offered)
        yield road.syn_ack(options=offered)
    yield road.shared()
    for options in (b"", NOP * 2 + timestamps(1, 2), timestamps(3, 4) + END * 2, option(5), option(5, bytes(7)),
                    option(5, bytes(9)), NOP * 40, END + sack((1, 2))):  # fmt: skip
        yield road.mapped({"acknowledgment": FIRST + road.length + 8}, {"acknowledgment": FIRST + 8}, options=options)


# --- any layout -----------------------------------------------------------------------------------------


def client_number(place: int, length: int) -> int:
    """By the table: up to the first byte unchanged, inside the header the first byte, behind it less by its length."""
    if place <= 0:
        return place
    return 0 if place <= length else place - length


def mapped_option(blocks: list[Block], length: int) -> bytes:
    kept = [(client_number(a, length), client_number(b, length)) for a, b in blocks]
    kept = [block for block in kept if block[0] != block[1]]
    made = sack(*(((FIRST + a) % NUMBERS, (FIRST + b) % NUMBERS) for a, b in kept)) if kept else b""
    return made + NOP * (2 + 8 * len(blocks) - len(made))


places = st.one_of(st.integers(-5, 130), st.integers(0, 100_000), st.integers(-HALF + 1, HALF - 1))
blocks_of = st.lists(st.tuples(places, places), min_size=1, max_size=4)
others = st.one_of(
    st.just(NOP),
    st.builds(timestamps, st.integers(0, NUMBERS - 1), st.integers(0, NUMBERS - 1)),
    st.builds(option, st.integers(6, 255).filter(lambda kind: kind not in (8, 34, 254)), st.binary(max_size=12)),
    st.sampled_from([option(5), option(5, bytes(7)), option(5, bytes(4)), SACK_PERMITTED, linux_syn()[:4]]),
)
areas = st.lists(others | blocks_of, max_size=8)


def area_of(parts: list[Any], length: int | None) -> bytes:
    """The options' bytes; with `length`, as the client must see them."""
    area = b""
    for part in parts:
        if isinstance(part, bytes):
            made = part
        elif length is None:
            made = sack(*(((FIRST + a) % NUMBERS, (FIRST + b) % NUMBERS) for a, b in part))
        else:
            made = mapped_option(part, length)
        if len(area) + len(made) > 40:
            break
        area += made
    return area


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(PLAIN_WAYS), st.booleans(), areas)
def test_pp_14_any_layout_of_options(way: Way, is_acked: bool, parts: list[Any]) -> None:
    """Aligned or not, several SACK options, none, blocks turned round: each edge by itself, byte for byte."""
    road = HeaderRoad(*way)
    node = road.zone().node(0)
    play(lambda _: road.answered_once() if is_acked else road.asked(), road, node)
    known = road.length + 8 if is_acked else 0
    came = cases.tcp(
        road.target, road.balancer, sequence=2000, acknowledgment=FIRST + known, options=area_of(parts, None)
    )  # fmt: skip
    out = cases.tcp(
        road.endpoint,
        road.client,
        sequence=2000,
        acknowledgment=FIRST + (8 if is_acked else 0),
        window=502 if is_acked else 501,
        options=area_of(parts, road.length),
    )
    assert node.send(came, EXIT).packet == out
