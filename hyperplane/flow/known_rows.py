"""What a reader has met in the rows of a journal, so that the next word of a known flow is cheap.

Most of what a journal announces is of flows that the reader knows: their state moves, their age grows. The
row's identity, 60 bytes with a checksum, need not be read again for that. The reader remembers the entry
that it made of each row, with the row's tag; a tag does not come again in a row (before 65,536 others,
and then with an equal checksum, `flow/journal.py`), so equal tags are the same flow.

The moving word and the offer are read before the tag. Were they another flow's, then that one's tag stood there before
ours and cannot be back: had the row changed hands in between, the tag would differ from what we remember.
"""

from array import array
from collections.abc import Callable

from hyperplane.flow.entry import GONE, STATE_MASK, FlowEntry
from hyperplane.limits import JOURNAL_ROW_BYTES

WORDS_PER_ROW = JOURNAL_ROW_BYTES // 8
OFFER_WORD = WORDS_PER_ROW - 1

MOVING_IN_USE = 1 << 63
SEEN_MASK = (1 << 39) - 1
"""Parts of the moving word, see `flow/journal.py`."""

Joined = Callable[[FlowEntry, int], None]
"""What to do with an entry whose state has changed, and the state that was told."""


class KnownRows:
    """Entry and tag by row, as far as known. 16 bytes for each row that was ever remembered, or is below one."""

    def __init__(self, words: memoryview) -> None:
        """`words`: the state area, eight bytes each."""
        self._words = words
        self._entries: list[FlowEntry | None] = []
        self._tags = array("Q")
        self._swept_to = 0

    def __len__(self) -> int:
        return len(self._entries) - self._entries.count(None)

    def remember(self, row: int, tag: int, entry: FlowEntry) -> None:
        """`entry` is what the row tells of while it has this tag."""
        missing = row + 1 - len(self._entries)
        if missing > 0:
            self._entries.extend([None] * missing)
            self._tags.frombytes(bytes(8 * missing))
        self._entries[row] = entry
        self._tags[row] = tag

    def join(self, rows: list[int], joined: Joined) -> list[int]:
        """Join the moving words of known rows with their entries. Returns the rows that are not known."""
        words, entries, tags, end = self._words, self._entries, self._tags, len(self._entries)
        unknown = []
        for row in rows:
            entry = entries[row] if row < end else None
            if entry is None or entry.state == GONE:
                unknown.append(row)
                continue
            place = row * WORDS_PER_ROW
            word, offer = words[place], words[place + OFFER_WORD]
            if words[place + 1] != tags[row]:
                unknown.append(row)
            elif word & MOVING_IN_USE and entry.join(
                word >> 47 & 0xFF, word >> 55 & 0xFF, (word & SEEN_MASK) / 1000, word >> 39 & 0xFF, offer
            ):
                joined(entry, word >> 55 & STATE_MASK)
        return unknown

    def sweep(self, at_most: int) -> None:
        """Let go of flows that are over, looking at the next `at_most` rows."""
        entries = self._entries
        end = min(self._swept_to + at_most, len(entries))
        for row in range(self._swept_to, end):
            entry = entries[row]
            if entry is not None and entry.state == GONE:
                entries[row] = None
        self._swept_to = end if end < len(entries) else 0
