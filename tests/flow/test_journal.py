"""The journal: whole rows, true at every instant, whoever is killed or overtaken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperplane.flow import journal
from hyperplane.flow.entry import NO_ROW
from hyperplane.flow.journal import JournalWriter, is_journal
from hyperplane.flow.tcp_state import State
from hyperplane.limits import JOURNAL_ROW_BYTES
from tests.flow.flows import ANSWER, Flows, delta_of, with_header
from tests.flow.journals import AT_MOST, RING, ROWS, fresh, read_all, reader_of
from tests.interruption import interrupted

FAMILIES = pytest.mark.parametrize("family", [4, 6])
MODULE = journal.__file__
MARKS = [*range(8)]
"""Of a header: three bits."""


@FAMILIES
def test_what_is_written_is_read(family: int) -> None:
    memory = fresh()
    writer, reader, flows = JournalWriter(memoryview(memory)), reader_of(memory), Flows(family)
    assert read_all(reader) == []
    entries = [flows.entry(number, now=1.5) for number in range(5)]
    with_header(entries[3])
    with_header(entries[4], answered=True)
    entries[1].enter(State.CLOSED)
    entries[1].epoch, entries[1].scales, entries[1].seen_at = 255, 0xE7, 123_456.789
    for entry in entries:
        writer.write(entry)
    told = [delta_of(entry, entry.row) for entry in entries]
    assert [delta.offer for delta in told] == [0, 0, 0, 0, ANSWER << 32 | 1400]
    assert read_all(reader) == told, "by the ring"
    assert not reader.behind
    assert read_all(reader_of(memory)) == told, "by the state area"


@FAMILIES
@given(
    state=st.sampled_from(State),
    epoch=st.integers(0, 255),
    scales=st.integers(0, 255),
    seen_ms=st.integers(0, (1 << 39) - 1),
    born_ms=st.integers(0, (1 << 32) - 1),
    header=st.none() | st.tuples(*[st.integers(0, (1 << bits) - 1) for bits in (32, 32, 16)], st.sampled_from(MARKS)),
)
def test_every_field_keeps_every_value(
    family: int,
    state: State,
    epoch: int,
    scales: int,
    seen_ms: int,
    born_ms: int,
    header: tuple[int, int, int, int] | None,
) -> None:
    memory = fresh()
    entry = Flows(family).entry()
    if header is not None:
        first, answer, segment_bytes, marks = header
        with_header(entry, first=first)
        assert entry.injection is not None
        entry.injection.note_answer(answer, segment_bytes)
        entry.injection.marks = marks
    entry.state, entry.epoch, entry.scales, entry.born_ms = state, epoch, scales, born_ms
    entry.seen_at = (seen_ms + 0.5) / 1000
    JournalWriter(memoryview(memory)).write(entry)
    assert read_all(reader_of(memory)) == [delta_of(entry, 0)._replace(seen_at=seen_ms / 1000)]


def test_a_row_is_whole_words_and_tells_nothing_once_forgotten() -> None:
    assert JOURNAL_ROW_BYTES % 8 == 0
    memory = fresh()
    writer, flows = JournalWriter(memoryview(memory)), Flows()
    entry = flows.entry()
    writer.write(entry)
    reader = reader_of(memory)
    writer.forget(entry)
    assert entry.row == NO_ROW
    assert read_all(reader) == []
    assert read_all(reader_of(memory)) == []
    writer.forget(entry)  # a flow without a row has nothing to be forgotten


def test_rows_are_used_again_and_the_journal_is_full_exactly_then() -> None:
    writer, flows = JournalWriter(memoryview(fresh())), Flows()
    entries = [flows.entry(number) for number in range(ROWS)]
    for entry in entries:
        assert writer.has_room()
        writer.write(entry)
    assert not writer.has_room()
    assert sorted(entry.row for entry in entries) == list(range(ROWS))
    writer.forget(entries[3])
    assert writer.has_room()
    late = flows.entry(99)
    writer.write(late)
    assert late.row == 3
    assert not writer.has_room()


def test_a_new_life_goes_on_where_the_old_one_ended() -> None:
    memory, flows = fresh(), Flows()
    writer = JournalWriter(memoryview(memory))
    entries = [flows.entry(number) for number in range(3)]
    for entry in entries:
        writer.write(entry)
    writer.forget(entries[1])
    heir = JournalWriter(memoryview(memory))
    assert list(heir.own_deltas()) == [delta_of(entries[0], 0), delta_of(entries[2], 2)]
    late = flows.entry(9)
    heir.write(late)
    assert late.row == 1
    assert {delta.client_port for delta in heir.own_deltas()} == {
        delta_of(entry, 0).client_port for entry in (entries[0], entries[2], late)
    }


def test_a_reader_notices_a_new_life_and_reads_everything_again() -> None:
    memory, flows = fresh(), Flows()
    writer = JournalWriter(memoryview(memory))
    entry = flows.entry()
    writer.write(entry)
    reader = reader_of(memory)
    assert read_all(reader) == [delta_of(entry, 0)]
    JournalWriter(memoryview(memory))
    assert reader.behind
    assert read_all(reader) == [delta_of(entry, 0)]


@pytest.mark.parametrize("changes", [RING - 1, RING, RING + 1, 3 * RING])
def test_a_lapped_reader_learns_everything_from_the_state_area(changes: int) -> None:
    memory, flows = fresh(), Flows()
    writer = JournalWriter(memoryview(memory))
    reader = reader_of(memory)
    assert read_all(reader) == []
    entries = [flows.entry(number) for number in range(ROWS)]
    for step in range(changes):
        entries[step % ROWS].seen_at = 10.0 + step
        writer.write(entries[step % ROWS])
    latest = {delta.row: delta for delta in read_all(reader)}
    assert latest == {entry.row: delta_of(entry, entry.row) for entry in entries}


def test_a_reader_that_is_lapped_while_it_reads_misses_nothing() -> None:
    """The writer overtakes the reader by one whole ring while the reader copies the ring."""
    flows = Flows()

    def overtaken(at_line: int, changes: int) -> set[int]:
        memory = fresh()
        writer = JournalWriter(memoryview(memory))
        reader = reader_of(memory)
        read_all(reader)
        entries = [flows.entry(number) for number in range(ROWS)]
        writer.write(entries[0])

        def overtake() -> None:
            for step in range(changes):
                writer.write(entries[1 + step % (ROWS - 1)])

        found = interrupted(lambda: reader.read(AT_MOST), MODULE, at_line, overtake)
        return {delta.row for delta in found + read_all(reader)}

    for at_line in range(12):
        for changes in (RING - 2, RING - 1, RING, RING + 1):
            assert 0 in overtaken(at_line, changes), (at_line, changes)


def test_the_slot_that_the_writer_is_about_to_count_is_not_trusted() -> None:
    """Killed after the store into the ring and before the count: that slot was the reader's oldest."""
    flows = Flows()

    def overtaken(at_line: int) -> set[int]:
        memory = fresh()
        writer = JournalWriter(memoryview(memory))
        reader = reader_of(memory)
        read_all(reader)
        entries = [flows.entry(number) for number in range(ROWS)]
        writer.write(entries[0])

        def overtake() -> None:
            for step in range(RING - 1):
                writer.write(entries[1 + step % (ROWS - 1)])
            writer.ring[0] = entries[1].row  # the next change, not yet counted

        found = interrupted(lambda: reader.read(AT_MOST), MODULE, at_line, overtake)
        return {delta.row for delta in found + read_all(reader)}

    for at_line in range(15):
        assert 0 in overtaken(at_line), at_line


def test_reading_looks_at_a_bounded_number_of_rows() -> None:
    """However many rows are empty: a node has packets to answer meanwhile."""
    memory, flows = fresh(rows=1024), Flows()
    writer = JournalWriter(memoryview(memory))
    entries = [flows.entry(number) for number in range(1024)]
    for entry in entries:
        writer.write(entry)
    for entry in entries[:-1]:
        writer.forget(entry)
    reader = reader_of(memory)
    assert reader.read(AT_MOST) == []
    assert reader.behind, "an empty answer is not the end"
    assert read_all(reader, 64) == [delta_of(entries[-1], 1023)]


def test_a_writer_that_laps_the_reader_at_every_read_starves_no_row() -> None:
    """A node that joins a busy zone still learns every flow in one round of the state area."""
    memory, flows = fresh(rows=64), Flows()
    writer = JournalWriter(memoryview(memory))
    entries = [flows.entry(number) for number in range(64)]
    for entry in entries:
        writer.write(entry)
    reader = reader_of(memory)
    rows: set[int] = set()
    for _ in range(64 // AT_MOST + 1):
        rows |= {delta.row for delta in reader.read(AT_MOST)}
        for _ in range(RING + 1):
            writer.write(entries[0])
    assert rows == set(range(64))


def test_rows_that_come_into_use_during_a_walk_are_in_the_ring() -> None:
    memory, flows = fresh(rows=64), Flows()
    writer = JournalWriter(memoryview(memory))
    entries = [flows.entry(number) for number in range(64)]
    for entry in entries[:10]:
        writer.write(entry)
    reader = reader_of(memory)
    reader.read(AT_MOST)
    reader.rebuild()  # from the middle
    rows = {delta.row for delta in reader.read(AT_MOST)}
    for entry in entries[10:20]:
        writer.write(entry)
    assert rows | {delta.row for delta in read_all(reader)} == set(range(20))


def test_a_row_that_changes_at_every_look_is_left_for_later() -> None:
    """Looking is bounded. The writer is alive and will announce the row again."""
    memory, flows = fresh(), Flows()
    writer = JournalWriter(memoryview(memory))
    entry = flows.entry()
    writer.write(entry)
    reader = reader_of(memory)

    class Restless:
        looks = 0

        def __getitem__(self, at: int) -> int:
            self.looks += 1
            return 1 << 63 | self.looks

    words, reader.words = reader.words, Restless()  # type: ignore[assignment]
    assert reader.read(AT_MOST) == []
    reader.words = words
    writer.write(entry)
    assert read_all(reader) == [delta_of(entry, 0)]


def test_a_journal_of_another_layout_is_none() -> None:
    memory = fresh()
    assert is_journal(memoryview(memory))
    memory[0] ^= 1
    assert not is_journal(memoryview(memory))
    assert not is_journal(memoryview(bytearray(100)))


def test_an_offer_that_was_left_in_a_row_is_not_the_next_flows() -> None:
    """Neither of one that gets no header, and has none to tell, nor of one whose target has not answered yet."""
    memory, flows = fresh(), Flows()
    writer = JournalWriter(memoryview(memory))
    for number, comer in enumerate((flows.entry(2), with_header(flows.entry(3)))):
        gone = with_header(flows.entry(1), answered=True)
        writer.write(gone)
        writer.forget(gone)
        writer.write(comer)
        assert comer.row == 0
        assert read_all(reader_of(memory)) == [delta_of(comer, 0, use=2 * number + 2)]
        writer.forget(comer)
