"""The rule of the header: every pair of the table, where a segment starts, what a node learns, very long streams."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperplane.flow.injector import (
    ANSWERED,
    EMISSIONS,
    HEADER_ACKED,
    HEADER_PAST,
    PLACEMENTS,
    Emission,
    Injection,
    Start,
    start_of,
)
from hyperplane.flow.opening import Opening
from hyperplane.limits import HEADER_SEGMENT_BYTES_MIN, UNASKED_BYTES_MAX
from hyperplane.snapshot import HeaderPlacement
from tests.cases import ACK, FIN, PSH, RST, URG
from tests.conversation import Conversation
from tests.dissection import dissect
from tests.fields import unsigned
from tests.flow.flows import Flows
from tests.nodes import MemoryZone, Node, snapshot_of

NUMBERS = 1 << 32
MIB, GIB = 1 << 20, 1 << 30
LENGTH = 100
HEADER = bytes(range(LENGTH))
WITH_PAYLOAD, AT_ONCE = HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD, HeaderPlacement.ON_FIRST_ACK


def injection_of(placement: HeaderPlacement = WITH_PAYLOAD, first: int = 1000) -> Injection:
    return Injection(placement, first, LENGTH, is_stream=True)


def opening_of(injection: Injection) -> Opening:
    assert injection.opening is not None
    injection.opening.header = HEADER
    return injection.opening


# --- the table ------------------------------------------------------------------------------------------


def test_the_table_is_complete() -> None:
    assert set(EMISSIONS) == set(product(HeaderPlacement, Start))
    assert [PLACEMENTS.index(placement) for placement in (None, WITH_PAYLOAD, AT_ONCE)] == [0, 1, 2]


SAMPLES: dict[Start, tuple[int, int, int]] = {
    Start.OLD: (-2, RST, 0),
    Start.PROBE: (-1, ACK, 0),
    Start.BARE: (0, ACK, 0),
    Start.FIRST: (0, PSH | ACK, 5),
    Start.RESET: (0, RST, 0),
    Start.BEYOND: (1, ACK, 0),
    Start.EARLY: (-2, ACK, 3),
}
"""(place, flags, payload bytes) of a segment of each kind."""

RULE: dict[Start, tuple[str, str, str]] = {
    Start.OLD: ("pass", "pass", "pass"),
    Start.PROBE: ("pass", "replace", "shift"),
    Start.BARE: ("pass", "replace", "shift"),
    Start.FIRST: ("lead", "lead", "shift"),
    Start.RESET: ("twice", "twice", "shift"),
    Start.BEYOND: ("shift", "shift", "shift"),
    Start.EARLY: ("refuse", "refuse", "refuse"),
}
"""What becomes of it: with payload, at once, and once the header is acknowledged."""


@pytest.mark.parametrize("start", list(Start))
@pytest.mark.parametrize("first", [1000, 0, NUMBERS - 1, 1 << 31])
def test_every_pair(start: Start, first: int) -> None:
    place, flags, size = SAMPLES[start]
    sequence = (first + place) % NUMBERS
    assert start_of(sequence, flags, size, first) is start
    with_payload, at_once, acked = RULE[start]
    assert injection_of(WITH_PAYLOAD, first).emission(sequence, flags, size) is Emission(with_payload)
    assert injection_of(AT_ONCE, first).emission(sequence, flags, size) is Emission(at_once)
    for placement in HeaderPlacement:
        injection = injection_of(placement, first)
        injection.mark(HEADER_ACKED)
        assert injection.emission(sequence, flags, size) is Emission(acked)


def test_what_depends_on_what_the_node_has_seen() -> None:
    probe = (999, ACK, 0)
    for placement in HeaderPlacement:
        injection = injection_of(placement)
        opening = opening_of(injection)
        opening.hides = True
        assert injection.emission(*probe) is Emission.REPLACE


@pytest.mark.parametrize(
    ("place", "flags", "size", "start"),
    [
        (0, ACK, 1, Start.FIRST),
        (0, FIN | ACK, 0, Start.FIRST),
        (0, RST | ACK, 0, Start.FIRST),
        (0, RST, 7, Start.RESET),  # a reset's text is no data
        (0, URG | ACK, 0, Start.BARE),
        (-1, ACK, 1, Start.PROBE),  # RFC 1122 section 4.2.3.6: some keep-alives have a byte
        (-1, ACK, 2, Start.EARLY),
        (-1, FIN | ACK, 0, Start.EARLY),
        (-1, FIN | ACK, 1, Start.EARLY),
        (-1, RST, 0, Start.OLD),
        (-1, RST, 1, Start.EARLY),
        (-2, ACK, 0, Start.EARLY),
        (-2, RST | ACK, 0, Start.OLD),
        (-2, ACK, 1, Start.EARLY),
        (-2, ACK, 2, Start.EARLY),
        (-2, FIN | ACK, 0, Start.EARLY),
        (-2, RST, 1, Start.EARLY),
        (-1400, ACK, 1400, Start.EARLY),
        (-1400, ACK, 1401, Start.EARLY),
        ((1 << 31) - 1, ACK, 0, Start.BEYOND),
        (-(1 << 31), ACK, 0, Start.EARLY),
        (-(1 << 31), RST, 0, Start.OLD),
        (-(1 << 31), ACK, 65_000, Start.EARLY),
    ],
)
def test_where_a_segment_starts(place: int, flags: int, size: int, start: Start) -> None:
    for first in (1000, 0, NUMBERS - 1):
        assert start_of((first + place) % NUMBERS, flags, size, first) is start


@given(unsigned(32), unsigned(32), st.sampled_from([ACK, PSH | ACK, FIN | ACK, RST, RST | ACK]), st.integers(0, 65_535))
def test_a_segment_without_reset_never_puts_a_byte_where_the_header_goes(
    sequence: int, first: int, flags: int, size: int
) -> None:
    """PASS keeps the number: then it must end before the first byte, or at it."""
    place = (sequence - first + NUMBERS // 2) % NUMBERS - NUMBERS // 2
    for injection in (injection_of(WITH_PAYLOAD, first), injection_of(AT_ONCE, first)):
        emission = injection.emission(sequence, flags, size)
        if emission is Emission.PASS and not flags & RST:
            assert place + size + bool(flags & FIN) <= 0
        if emission in (Emission.SHIFT, Emission.LEAD):
            assert place >= 0


# --- what a node learns ---------------------------------------------------------------------------------


def test_marks_are_told_once_and_only_added() -> None:
    injection = injection_of()
    assert injection.news_of(1000 + LENGTH) == HEADER_ACKED
    assert injection.news_of(1000 + LENGTH) == 0
    assert injection.opening is None
    injection.join_marks(HEADER_PAST, 0)
    injection.join_marks(0, 0)
    assert injection.marks == HEADER_ACKED | HEADER_PAST
    assert injection.mark(HEADER_PAST) == 0
    assert injection.mark(ANSWERED) == ANSWERED


@pytest.mark.parametrize("first", [1000, 0, NUMBERS - 50])
def test_what_the_target_answered_is_learned_once_from_it_or_from_a_peer(first: int) -> None:
    """The first answer stays; it is the flow's, so it outlives the header's beginning and needs none."""
    answer = 4_000_000_000
    seen, told = injection_of(first=first), injection_of(first=first)
    seen.note_answer(answer, 1400)
    told.join_marks(ANSWERED, seen.offer)
    for injection in (seen, told):
        injection.join_marks(ANSWERED | HEADER_ACKED, 77 << 32 | 536)
        assert (injection.answer, injection.offer & 0xFFFF) == (answer, 1400)
        assert injection.marks == ANSWERED | HEADER_ACKED
        assert injection.is_cookie(first, answer)
    late = injection_of(first=first)
    late.join_marks(HEADER_ACKED, 0)
    opening_less = late.opening
    late.join_marks(ANSWERED, seen.offer)
    assert opening_less is None and late.answer == answer


def test_a_peers_word_is_enough_for_the_segment_size() -> None:
    injection = injection_of()
    opening = opening_of(injection)
    for marks, known in ((0, 0), (ANSWERED, 1400), (0, 1400)):  # beside no mark an offer says nothing
        injection.join_marks(marks, 2000 << 32 | 1400)
        assert (injection.offer & 0xFFFF, opening.mss) == (known, known)


@given(unsigned(32), unsigned(32), unsigned(32))
def test_a_target_answers_this_stream_with_numbers_from_its_first_on(first: int, answer: int, sequence: int) -> None:
    injection = injection_of(first=first)
    assert not injection.is_answered_by(answer), "nobody knows its numbers yet"
    injection.note_answer(answer, 0)
    beyond = (sequence - answer + 1) % NUMBERS
    assert injection.is_answered_by(sequence) == (beyond <= UNASKED_BYTES_MAX)
    assert injection.is_answered_by((answer - 1) % NUMBERS) and injection.is_answered_by(answer)
    assert not injection.is_answered_by((answer - 2) % NUMBERS)


@given(unsigned(32), unsigned(32), unsigned(32), unsigned(32) | st.integers(-20, 20))
def test_a_cookies_answer_is_as_far_from_its_place_both_ways(first: int, answer: int, far: int, off: int) -> None:
    """Linux: the client's number is an addend of the cookie, so both numbers may be `far` too large together. The
    size's place in a table is one more: a few numbers on either side."""
    injection = injection_of(first=first)
    injection.note_answer(answer, 0)
    number, acknowledgment = (first + far + off) % NUMBERS, (answer + far) % NUMBERS
    near = min(off % NUMBERS, -off % NUMBERS)
    assert injection.is_cookie(number, acknowledgment) == (near <= 7)
    lowered = (acknowledgment - 15) % NUMBERS
    assert near > 7 or not injection.is_cookie(number, lowered)


def test_a_part_of_the_header_is_remembered_as_far_as_it_goes() -> None:
    injection = injection_of()
    opening = opening_of(injection)
    for known in (1010, 1050, 1020, 1000, 999, 500):
        assert injection.news_of(known) == 0
        injection.note_part(known, known + 200)
    assert (opening.acked_bytes, opening.edge) == (50, 1250)
    assert list(opening.pieces(1000)) == [(1050, HEADER[50:])]


@given(unsigned(32), unsigned(32))
def test_a_number_that_cannot_be_of_this_stream_says_nothing(first: int, known: int) -> None:
    """One far behind, and one so far ahead that no window reaches it."""
    injection = injection_of(first=first)
    injection.note_part(known, known)
    edge = opening_of(injection).edge
    new = injection.news_of(known)
    beyond = (known - first) % NUMBERS
    assert edge == (known if beyond < LENGTH else None)
    past = HEADER_PAST if beyond >= GIB // 2 else 0
    assert new == (HEADER_ACKED | past if LENGTH <= beyond < GIB else 0)
    assert injection.missing(known) == (
        0 if LENGTH <= beyond < 1 << 31 else LENGTH - beyond if beyond < LENGTH else LENGTH
    )


@pytest.mark.parametrize("first", [1000, NUMBERS - 50])
def test_the_header_goes_in_pieces_that_fit_the_segment_size_and_the_window(first: int) -> None:
    injection = injection_of(first=first)
    opening = opening_of(injection)
    injection.note_answer(2000, 70)
    injection.note_window(65_535)
    for options, size in ((b"", 70), (bytes(12), 58), (bytes(40), HEADER_SEGMENT_BYTES_MIN)):
        opening.options = options
        pieces = list(opening.pieces(first))
        assert b"".join(data for _, data in pieces) == HEADER
        assert max(len(data) for _, data in pieces) == size
        assert [(number - first) % NUMBERS for number, _ in pieces] == list(range(0, LENGTH, size))
    injection.note_answer(2000, 0)
    injection.note_window(30)
    opening.options = b""
    assert list(opening.pieces(first)) == [(first, HEADER[:30])]
    injection.note_window(0)
    assert list(opening.pieces(first)) == []
    assert list(opening.pieces(first, at_least=1)) == [(first, HEADER[:1])]


# --- long streams ---------------------------------------------------------------------------------------


def marks_of(node: Node) -> int:
    (entry,) = node.dataplane.plane.table
    assert entry.injection is not None
    return entry.injection.marks


STEP = 64 * MIB
"""Larger than windows are. So much of a stream is sent between two looks at it."""


def upload(zone: MemoryZone, before_step: "BeforeStep", gib: int = 9) -> None:
    """The client sends `gib` GiB by node 0, and the target answers by node 1, or by who takes their places."""
    first = 1_000_001
    talk = Conversation()
    talk.open(zone.node(0), 1.0, back=zone.node(1))
    assert talk.up(zone.node(0), 1.0, PSH | ACK, b"x").accepted
    for step in range(gib * GIB // STEP + 1):
        now = 2.0 + step / 10
        before_step(zone, step, now)
        place = step * STEP + 1
        up = talk.up(zone.node(0), now, PSH | ACK, b"data", sequence=(first + place) % NUMBERS)
        assert dissect(up.packet).sequence == (first + place + LENGTH) % NUMBERS, f"at {step * STEP >> 20} MiB"
        assert dissect(up.packet).payload == b"data"
        assert not any(dissect(sent).payload for sent in up.leading), "no header, but an ACK where 4 GiB come round"
        known = (first + place + 4) % NUMBERS
        down = talk.down(zone.node(1), now, acknowledgment=(known + LENGTH) % NUMBERS, payload=b"a")
        seen = dissect(down.packet)
        assert (seen.acknowledgment, seen.window) == (known, 502), f"at {step * STEP >> 20} MiB"
        assert seen.sums_are_right and dissect(up.packet).sums_are_right


def beat(zone: MemoryZone, now: float) -> None:
    for node in zone.nodes.values():
        node.dataplane.receive_deltas(now)
        node.dataplane.handle_timeout(now)


class BeforeStep:
    """What happens between two steps of an upload: nothing but the nodes' beats."""

    def __call__(self, zone: MemoryZone, step: int, now: float) -> None:
        beat(zone, now)


class Restarting(BeforeStep):
    """One node starts anew, once, or before every step."""

    def __init__(self, node: int, at_step: int | None) -> None:
        self.node, self.at_step = node, at_step

    def __call__(self, zone: MemoryZone, step: int, now: float) -> None:
        beat(zone, now)
        if self.at_step in (None, step):
            zone.restart(self.node, now).dataplane.settle(now)


class Muted(BeforeStep):
    """Nobody reads anything of himself."""

    def __call__(self, zone: MemoryZone, step: int, now: float) -> None:
        pass


ONE_NODE, TWO_NODES = "one node", "replies by another node"


def zone_of(placement: HeaderPlacement, nodes: str = TWO_NODES) -> MemoryZone:
    zone = MemoryZone(snapshot_of(placement=placement))
    if nodes == ONE_NODE:
        zone.nodes[1] = zone.node(0)
    return zone


@pytest.mark.parametrize("nodes", [ONE_NODE, TWO_NODES])
@pytest.mark.parametrize("placement", list(HeaderPlacement))
def test_pp_32_a_stream_of_nine_gib_keeps_its_numbers(placement: HeaderPlacement, nodes: str) -> None:
    """Beyond 2**31 a number can be taken for one before the beginning, beyond 2**32 for one inside the header. The
    node on the way in never sees an acknowledgment: it learns from the other's journal."""
    zone = zone_of(placement, nodes)
    upload(zone, BeforeStep())
    assert all(marks_of(node) & HEADER_PAST for node in zone.nodes.values())


@pytest.mark.parametrize("placement", list(HeaderPlacement))
def test_pp_32_news_are_enough_to_learn_that_a_stream_is_long(placement: HeaderPlacement) -> None:
    """A node that reads nothing by itself, because it hangs or has too much to do."""
    upload(zone_of(placement), Muted())


@pytest.mark.parametrize("node", [0, 1])
@pytest.mark.parametrize("at_step", [None, 1, 6, 7, 8, 9, 14, 15, 16, 17, 31, 32, 33, 63, 64, 65])
@pytest.mark.parametrize("placement", list(HeaderPlacement))
def test_pp_33_a_node_that_starts_anew_keeps_a_long_streams_numbers(
    placement: HeaderPlacement, at_step: int | None, node: int
) -> None:
    """Above all where the stream becomes long while the node that sees it starts: as it once was, nobody knew."""
    upload(zone_of(placement), Restarting(node, at_step), gib=5)


class NewGeneration(BeforeStep):
    """Other nodes adopt what the old ones hold."""

    def __init__(self, at_step: int) -> None:
        self.at_step = at_step

    def __call__(self, zone: MemoryZone, step: int, now: float) -> None:
        beat(zone, now)
        if step == self.at_step:
            young = zone.next_generation(zone.snapshot, 3, now)
            zone.nodes, zone.journals = young.nodes, young.journals


@pytest.mark.parametrize("at_step", [0, 1, 8, 16, 32, 40])
@pytest.mark.parametrize("placement", list(HeaderPlacement))
def test_pp_33_a_new_generation_keeps_a_long_streams_numbers(placement: HeaderPlacement, at_step: int) -> None:
    upload(zone_of(placement), NewGeneration(at_step), gib=5)


def test_a_datagrams_header_has_no_beginning() -> None:
    injection = Injection(WITH_PAYLOAD, 0, LENGTH, is_stream=False)
    assert injection.opening is None and injection.marks == 0


def test_a_flow_without_a_header_gets_one_of_the_length_of_its_endpoints() -> None:
    entry = Flows().entry()
    entry.get_header(WITH_PAYLOAD, 77)
    assert entry.injection is not None
    assert entry.injection.length == len(entry.proxy_header()) == LENGTH
