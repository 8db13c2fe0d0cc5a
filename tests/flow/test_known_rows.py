"""Rows of known flows: a word is joined without the identity, and never with another flow."""

from array import array
from functools import partial

import pytest

from hyperplane.flow import known_rows
from hyperplane.flow.entry import GONE, NO_ROW, FlowEntry
from hyperplane.flow.journal import Delta, JournalReader, JournalWriter
from hyperplane.flow.known_rows import WORDS_PER_ROW, KnownRows
from hyperplane.flow.tcp_state import State
from hyperplane.limits import JOURNAL_ROW_BYTES
from tests.flow.flows import ANSWER, SEGMENT_BYTES, Flows, delta_of, take_answer, with_header
from tests.flow.journals import AT_MOST, fresh, reader_of
from tests.interruption import interrupted

MODULE = known_rows.__file__


class Peer:
    """A writer, a reader of its journal, and the reader's own entries."""

    def __init__(self) -> None:
        memory = fresh()
        self.writer, self.reader = JournalWriter(memoryview(memory)), reader_of(memory)
        self.theirs, self.ours = Flows(), Flows()
        self.changed: list[FlowEntry] = []

    def read(self) -> list[Delta]:
        return self.reader.read(AT_MOST, lambda entry, told: self.changed.append(entry))

    def know(self, number: int) -> tuple[FlowEntry, FlowEntry]:
        """A flow that both know: (the writer's entry, the reader's)."""
        told, known = self.theirs.entry(number), self.ours.entry(number)
        self.writer.write(told)
        (delta,) = self.read()
        self.reader.known.remember(delta.row, delta.tag, known)
        return told, known


def test_a_known_flow_is_joined_and_not_read_again() -> None:
    peer = Peer()
    told, known = peer.know(1)
    told.enter(State.ESTABLISHED)
    told.seen_at, told.scales = 5.0, 0x87
    peer.writer.write(told)
    assert peer.read() == []
    assert (known.state, known.seen_at, known.scales) == (State.ESTABLISHED, 5.0, 0x87)
    assert peer.changed == [known]


def know_with_header(peer: Peer) -> tuple[FlowEntry, FlowEntry]:
    """A flow with a header that both know."""
    told, known = with_header(peer.theirs.entry(1)), with_header(peer.ours.entry(1))
    peer.writer.write(told)
    (delta,) = peer.read()
    peer.reader.known.remember(delta.row, delta.tag, known)
    return told, known


def test_what_the_target_answered_is_joined_and_the_row_not_read_again() -> None:
    peer = Peer()
    told, known = know_with_header(peer)
    take_answer(told)
    peer.writer.write(told)
    assert peer.read() == [] and peer.changed == [known]
    assert known.injection is not None and known.injection.opening is not None
    assert (known.injection.answer, known.injection.opening.mss) == (ANSWER, SEGMENT_BYTES)


def answered(writer: JournalWriter, told: FlowEntry) -> None:
    take_answer(told)
    writer.write(told)


def test_an_answer_that_is_told_at_any_instant_of_a_look_is_joined_whole() -> None:
    """Never the mark with an offer from before."""
    for at_line in range(20):
        peer = Peer()
        told, known = know_with_header(peer)
        told.seen_at = 4.0
        peer.writer.write(told)
        assert known.injection is not None and told.injection is not None
        interrupted(peer.read, MODULE, at_line, partial(answered, peer.writer, told))
        if not told.injection.offer:
            assert at_line > 5, "it was never interrupted"
            return
        assert (known.injection.marks, known.injection.offer) in ((0, 0), (told.injection.marks, told.injection.offer))
        peer.read()
        assert (known.injection.marks, known.injection.offer) == (told.injection.marks, told.injection.offer)
    pytest.fail("reading has more lines than were tried")


def test_what_changes_no_state_is_joined_silently() -> None:
    peer = Peer()
    told, known = peer.know(1)
    told.seen_at = 6.5
    peer.writer.write(told)
    assert peer.read() == [] and peer.changed == []
    assert known.seen_at == 6.5


def test_a_new_epoch_is_joined() -> None:
    peer = Peer()
    told, known = peer.know(1)
    told.enter(State.CLOSED)
    peer.writer.write(told)
    assert peer.read() == [] and known.state == State.CLOSED
    told.reopen()
    peer.writer.write(told)
    assert peer.read() == []
    assert (known.state, known.epoch) == (State.SYN_SENT, 1)


def test_a_row_that_tells_of_another_flow_is_read_whole() -> None:
    peer = Peer()
    told, known = peer.know(1)
    peer.writer.forget(told)
    comer = peer.theirs.entry(2)
    comer.enter(State.RESET)
    peer.writer.write(comer)
    assert comer.row == 0
    assert peer.read() == [delta_of(comer, 0, use=2)]
    assert known.state == State.SYN_SENT and peer.changed == []


def test_the_very_same_flow_told_of_anew_is_read_whole() -> None:
    """Equal in every byte but the number of uses: it may be another flow with the same tuple and birth."""
    peer = Peer()
    told, _ = peer.know(1)
    peer.writer.forget(told)
    peer.writer.write(told)
    assert peer.read() == [delta_of(told, 0, use=2)]


def test_a_flow_that_is_over_here_is_read_whole() -> None:
    peer = Peer()
    told, known = peer.know(1)
    known.state = GONE
    peer.writer.write(told)
    assert peer.read() == [delta_of(told, 0)]


def test_a_row_that_tells_of_nothing_changes_nothing() -> None:
    peer = Peer()
    told, known = peer.know(1)
    told.enter(State.RESET)
    peer.writer.write(told)
    peer.writer.forget(told)
    assert peer.read() == []
    assert known.state == State.SYN_SENT


def test_without_a_listener_every_row_is_read_whole() -> None:
    """Journals that are adopted: their rows are told again, so they are needed whole."""
    peer = Peer()
    told, _ = peer.know(1)
    peer.writer.write(told)
    assert peer.reader.read(AT_MOST) == [delta_of(told, 0)]


def _reuse(writer: JournalWriter, gone: FlowEntry, comer: FlowEntry) -> None:
    writer.forget(gone)
    comer.row = NO_ROW
    writer.write(comer)


def test_a_row_that_changes_hands_at_any_instant_is_never_joined_with_the_wrong_flow() -> None:
    for at_line in range(20):
        peer = Peer()
        told, known = peer.know(1)
        told.seen_at = 4.0
        peer.writer.write(told)
        comer = peer.theirs.entry(2)
        comer.enter(State.RESET)
        reuse = partial(_reuse, peer.writer, told, comer)
        found = interrupted(peer.read, MODULE, at_line, reuse)
        if comer.row == NO_ROW:
            assert at_line > 5, "it was never interrupted"
            return
        assert known.state == State.SYN_SENT and known.seen_at in (1.0, 4.0), at_line
        assert delta_of(comer, 0, use=2) in found + peer.read(), at_line
    pytest.fail("reading has more lines than were tried")


def test_the_number_of_uses_wraps() -> None:
    memory = fresh(rows=1)
    writer, reader, flows = JournalWriter(memoryview(memory)), reader_of(memory), Flows()
    entry = flows.entry()
    tags = set()
    for _ in range((1 << 16) + 1):
        writer.write(entry)
        tags.add(reader.words[1])
        writer.forget(entry)
    assert len(tags) == 1 << 16


def test_flows_that_are_over_are_let_go_a_bounded_number_at_a_time() -> None:
    known, flows = KnownRows(memoryview(bytearray(64 * 10)).cast("Q")), Flows()
    entries = [flows.entry(number) for number in range(10)]
    for row, entry in enumerate(entries):
        known.remember(row, row, entry)
    for entry in entries[::2]:
        entry.state = GONE
    assert len(known) == 10
    known.sweep(4)
    assert len(known) == 8
    known.sweep(4)
    known.sweep(4)
    assert len(known) == 5
    entries[1].state = GONE
    known.sweep(4)
    assert len(known) == 4, "it begins again"


def test_rows_below_one_that_is_known_are_not_known() -> None:
    words = memoryview(bytearray(8 * JOURNAL_ROW_BYTES)).cast("Q")
    known = KnownRows(words)
    known.remember(5, 77, Flows().entry())
    assert known.join([0, 4, 5, 6, 7], lambda *_: None) == [0, 4, 5, 6, 7]
    words[5 * WORDS_PER_ROW + 1] = 77
    assert known.join([0, 4, 5, 6, 7], lambda *_: None) == [0, 4, 6, 7]
    assert array("Q", words).count(77) == 1


def test_a_reader_starts_with_nothing_known() -> None:
    assert len(JournalReader(memoryview(fresh())).known) == 0
