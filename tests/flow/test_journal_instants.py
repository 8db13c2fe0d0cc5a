"""The journal at every instant: its writer killed between any two stores, its reader overtaken at any line."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import pytest

from hyperplane.flow import journal
from hyperplane.flow.entry import NO_ROW, FlowEntry
from hyperplane.flow.journal import Delta, JournalReader, JournalWriter, journal_bytes
from hyperplane.flow.tcp_state import State
from hyperplane.limits import JOURNAL_ROW_BYTES
from tests.flow.flows import Flows, delta_of, take_answer, with_header
from tests.flow.journals import AT_MOST, RING, fresh, read_all, reader_of
from tests.interruption import interrupted, line_count

FAMILIES = pytest.mark.parametrize("family", [4, 6])
MODULE = journal.__file__

# --- killed anywhere ---------------------------------------------------------------------------


def _torn(before: bytes, after: bytes) -> Iterator[bytes]:
    """The memory between two lines: `after`, and for each changed byte what was stored up to it.

    Words (moving word, offer, ring, header) are stored in one piece; identities are copied byte by byte.
    """
    changed = [at for at, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    rows_at = journal_bytes(0, RING)
    torn = bytearray(before)
    for at in changed:
        if at >= rows_at and 8 <= (at - rows_at) % JOURNAL_ROW_BYTES < JOURNAL_ROW_BYTES - 8:
            torn[at] = after[at]
            yield bytes(torn)
    yield after


def _photograph(memory: bytearray, into: list[bytes]) -> None:
    into.append(bytes(memory))


def _killed_images(make: Callable[[bytearray], Callable[[], None]], memory: bytearray) -> list[bytes]:
    """All memories that a kill during the action can leave. `make` builds the action over a memory."""
    lines = line_count(make(bytearray(memory)), MODULE)
    stages: list[bytes] = []
    for at_line in range(lines):
        copy = bytearray(memory)
        interrupted(make(copy), MODULE, at_line, partial(_photograph, copy, stages))
    last = bytearray(memory)
    make(last)()
    stages.append(bytes(last))
    images = [stages[0]]
    for before, after in pairwise(stages):
        images += _torn(before, after)
    return images


def _visible(image: bytes) -> list[list[Delta]]:
    """What is read from a dead writer's memory: by a new reader, and by its own next life."""
    return [read_all(reader_of(bytearray(image))), list(JournalWriter(memoryview(bytearray(image))).own_deltas())]


@FAMILIES
def test_killed_while_telling_of_a_new_flow(family: int) -> None:
    memory, flows = fresh(), Flows(family)
    known, comer = flows.entry(1), flows.entry(2)
    JournalWriter(memoryview(memory)).write(known)

    def telling(copy: bytearray) -> Callable[[], None]:
        comer.row = NO_ROW
        writer = JournalWriter(memoryview(copy))
        return lambda: writer.write(comer)

    images = _killed_images(telling, memory)
    assert len(images) > 40
    both = [delta_of(known, 0), delta_of(comer, 1)]
    for image in images:
        for seen in _visible(image):
            assert seen in (both[:1], both)
    assert all(seen == both for seen in _visible(images[-1]))


@pytest.mark.parametrize("comer_gets_header", [False, True])
@FAMILIES
def test_killed_while_a_row_gets_its_second_flow(family: int, comer_gets_header: bool) -> None:
    """The row's old identity, checksum and word must never be read as the new flow's, nor the other way round."""
    memory, flows = fresh(), Flows(family)
    gone, comer = with_header(flows.entry(1), answered=True), flows.entry(2, now=9.0)
    if comer_gets_header:
        with_header(comer, first=7)
    gone.enter(State.RESET)
    gone.epoch, gone.scales = 7, 0x77
    JournalWriter(memoryview(memory)).write(gone)

    def reusing(copy: bytearray) -> Callable[[], None]:
        writer = JournalWriter(memoryview(copy))

        def action() -> None:
            writer.forget_row(0)
            comer.row = NO_ROW
            writer.write(comer)

        return action

    for image in _killed_images(reusing, memory):
        for seen in _visible(image):
            assert seen in ([delta_of(gone, 0)], [], [delta_of(comer, 0, use=2)])


def test_killed_while_telling_of_a_change() -> None:
    memory, flows = fresh(), Flows()
    entry = flows.entry()
    JournalWriter(memoryview(memory)).write(entry)
    before = delta_of(entry, 0)
    entry.enter(State.ESTABLISHED)
    entry.seen_at = 5.0
    after = delta_of(entry, 0)

    def telling(copy: bytearray) -> Callable[[], None]:
        entry.row = 0
        writer = JournalWriter(memoryview(copy))
        return lambda: writer.write(entry)

    for image in _killed_images(telling, memory):
        assert all(seen in ([before], [after]) for seen in _visible(image))


def telling_of_the_answer(entry: FlowEntry, copy: bytearray) -> Callable[[], None]:
    entry.row = 0
    writer = JournalWriter(memoryview(copy))
    return lambda: writer.write(entry)


def test_killed_while_telling_what_the_target_answered() -> None:
    """Between the offer and the word that says that it counts: the flow is as it was before, and the offer nobody's."""
    memory, entry = fresh(), with_header(Flows().entry())
    JournalWriter(memoryview(memory)).write(entry)
    before = delta_of(entry, 0)
    take_answer(entry)
    after = delta_of(entry, 0)
    between = before._replace(offer=after.offer)
    images = _killed_images(partial(telling_of_the_answer, entry), memory)
    seen = [deltas for image in images for deltas in _visible(image)]
    assert all(deltas in ([before], [between], [after]) for deltas in seen)
    assert [between] in seen and seen[0] == [before] and seen[-1] == [after]
    known = with_header(Flows().entry())
    known.join(between.epoch, between.told_state, between.seen_at, between.scales, between.offer)
    assert known.injection is not None and (known.injection.marks, known.injection.offer) == (0, 0)


# --- read while it is written ------------------------------------------------------------------


def _reuse(writer: JournalWriter, comer: FlowEntry) -> None:
    writer.forget_row(0)
    comer.row = NO_ROW
    writer.write(comer)


@FAMILIES
@pytest.mark.parametrize("rebuilding", [False, True], ids=["by the ring", "by the state area"])
def test_a_row_that_changes_its_flow_under_the_reader_is_never_a_mixture(family: int, rebuilding: bool) -> None:
    flows = Flows(family)
    gone, comer = flows.entry(1), flows.entry(2, now=9.0)
    gone.enter(State.RESET)
    gone.epoch, gone.scales = 7, 0x77

    def once(at_line: int) -> list[Delta]:
        memory = fresh()
        writer = JournalWriter(memoryview(memory))
        reader = reader_of(memory)
        if not rebuilding:
            read_all(reader)
        gone.row = NO_ROW
        writer.write(gone)
        found = interrupted(lambda: reader.read(AT_MOST), MODULE, at_line, lambda: _reuse(writer, comer))
        assert all(delta in (delta_of(gone, 0), delta_of(comer, 0, use=2)) for delta in found), (at_line, found)
        return found + read_all(reader)

    for at_line in range(30):
        assert delta_of(comer, 0, use=2) in once(at_line), at_line


def _read_into(found: list[Delta], reader: JournalReader) -> None:
    found += read_all(reader)


def test_a_reader_that_looks_at_any_instant_of_a_telling_knows_it_in_the_end() -> None:
    """An announcement before the row is written would be read too early, and not come again."""
    flows = Flows()
    for at_line in range(20):
        memory = fresh()
        writer = JournalWriter(memoryview(memory))
        reader = reader_of(memory)
        read_all(reader)
        entry = flows.entry()
        found: list[Delta] = []
        interrupted(partial(writer.write, entry), MODULE, at_line, partial(_read_into, found, reader))
        assert delta_of(entry, 0) in found + read_all(reader), at_line


def test_a_change_that_was_told_is_read_though_the_next_was_cut_off() -> None:
    """The writer is killed after the moving word and before the ring; the reader is just at this row."""
    flows = Flows()

    def once(at_line: int) -> list[Delta]:
        memory = fresh()
        writer = JournalWriter(memoryview(memory))
        reader = reader_of(memory)
        read_all(reader)
        entry = flows.entry()
        writer.write(entry)
        word = memoryview(memory)[journal_bytes(0, RING) :].cast("Q")

        def change() -> None:
            word[0] += 1  # a millisecond later, not announced

        return interrupted(lambda: reader.read(AT_MOST), MODULE, at_line, change)

    for at_line in range(25):
        assert len(once(at_line)) == 1, at_line


def test_a_reader_that_is_overtaken_by_the_answer_never_reads_the_mark_without_it() -> None:
    """It reads the row while the writer tells of the answer, at any line of either."""
    for at_line in range(30):
        memory = fresh()
        writer = JournalWriter(memoryview(memory))
        reader = reader_of(memory)
        read_all(reader)
        entry = with_header(Flows().entry())
        writer.write(entry)
        before = delta_of(entry, 0)
        take_answer(entry)
        after = delta_of(entry, 0)
        found = interrupted(partial(reader.read, AT_MOST), MODULE, at_line, partial(writer.write, entry))
        assert all(delta in (before, before._replace(offer=after.offer), after) for delta in found), at_line
        assert after in found + read_all(reader), at_line
