"""A node's journal: shared memory that tells every other node what this one knows.

One writer, any number of readers, no locks, no system calls. The file outlives the node, so a
node that is killed at any instant takes nothing with it:

    0            4096              4096 + 4 * ring              + 80 * rows
    +------------+-----------------+----------------------------------+
    | header     | ring of row     | state area: one row per flow     |
    |            | numbers         | that this node has touched       |
    +------------+-----------------+----------------------------------+

A *row* is the whole of what this node knows of one flow, so one row is enough to learn it. The
*ring* says which rows changed, in order. To announce a change the writer (1) writes the row's
identity, once in the row's life, (2) stores the row's offer and then its moving word, each a single
aligned eight byte store, (3) puts the row number in the ring, (4) advances the header's count. Killed
between any two of these, nothing false is visible. A reader remembers the count it has read to. If the
writer is further ahead than the ring is long, or has been replaced, the reader walks the state
area instead ("rebuild"): that is always enough, because rows are whole and joining is idempotent.

    row     0        8     12    14         16         18     19    20       36       52        60     64      68
            +--------+-----+-----+----------+----------+------+-----+--------+--------+---------+------+-------+
            | moving | crc | use | endpoint | balancer | prot | ver | client | target | 4 ports | born | first |
            +--------+-----+-----+----------+----------+------+-----+--------+--------+---------+------+-------+
            68     69    72      80
            +------+-----+-------+
            | head |  0  | offer |
            +------+-----+-------+
    moving  bit 63 in use | 62..60 marks of the header | 59..55 state | 54..47 epoch | 46..39 scales | 38..0 seen, ms
    crc     of what is between it and the offer
    first   sequence number of the client's first byte, if a header is injected before it
    head    0: no Proxy Protocol header; else its placement (`flow/injector.py`, PLACEMENTS)
    offer   where a header is injected, what the target's SYN-ACK said: 63..32 number of the target's first byte | 15..0
            its segment size. Counts once the mark ANSWERED is set, and does not change any more

`use` counts the flows that the row has told of, so the second word (crc, use, endpoint: the *tag*) is another
one for each of them. A reader that knows a row's flow by its tag need not read the identity again.

Other processors must see these stores in the order in which they are made, and make their own loads in
order too. On x86-64 they do (total store order; Intel SDM volume 3A, "Memory Ordering"). On a machine with a
weaker order the journal is not safe while its writer runs, and Python has no barrier that would make it
so: a row of which a part comes late is not read (the checksum), but a row whose whole identity comes late
is read as the flow that had it before, and an announcement that comes before its row or its word is used
up: the change stays unknown until that flow is told of again or the reader rebuilds for another reason.
A killed writer leaves nothing out of order on any machine.

Numbers in the row are big-endian; the moving word, offer, ring and header are the machine's own order,
because they must be stored in one piece. `seen` and `born` are moments of the machine's monotonic
clock, which all nodes of a machine share; a delta that leaves the machine carries ages instead.
"""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from hyperplane.flow.entry import NO_ROW, STATE_MASK, FlowEntry
from hyperplane.flow.injector import PLACEMENTS
from hyperplane.flow.key import SUFFIX_BYTES
from hyperplane.flow.known_rows import MOVING_IN_USE, OFFER_WORD, SEEN_MASK, WORDS_PER_ROW, Joined, KnownRows
from hyperplane.limits import JOURNAL_ROW_BYTES

MAGIC = 0x344C4E4A50485048
"""Of this layout. A journal of another one, left by another version, is none."""
HEADER_BYTES = 4096
_RING_ENTRY_BYTES = 4

_MAGIC, _ROWS, _RING, _INCARNATION, _COUNT, _HIGH_WATER, _LAST_ROW = range(7)

_IDENTITY = Struct("!HHHBB16s16s2s2s2s2sIIB3x")
_CRC = Struct("!I")
_CRC_AND_IDENTITY = Struct(f"!I{_IDENTITY.size}s")
_USE = Struct("!H")
_USES = 1 << 16
_TAG = Struct("=Q")
_IDENTITY_AT = 12
_CRC_AT = 8
_OFFER_AT = OFFER_WORD * 8

_LOOKS_MAX = 8
"""Looks at one row before it is left for later."""

assert _IDENTITY_AT + _IDENTITY.size == _OFFER_AT == JOURNAL_ROW_BYTES - 8


def journal_bytes(rows: int, ring: int) -> int:
    """Size of a journal file."""
    return HEADER_BYTES + ring * _RING_ENTRY_BYTES + rows * JOURNAL_ROW_BYTES


def is_journal(memory: memoryview) -> bool:
    """Whether this version can read it."""
    return len(memory) >= HEADER_BYTES and memory[:8].cast("Q")[_MAGIC] == MAGIC


class Delta(NamedTuple):
    """What one node knows of one flow. Addresses are 4 or 16 bytes, ports 2 bytes, as on the wire."""

    endpoint: int
    load_balancer: int
    protocol: int
    client: bytes
    target: bytes
    client_port: bytes
    service_port: bytes
    target_port: bytes
    snat_port: bytes
    born_ms: int
    first: int
    placement: int
    """Index in `PLACEMENTS`."""
    told_state: int
    epoch: int
    scales: int
    seen_at: float
    row: int
    tag: int
    """The row's second word while it tells of this flow."""
    offer: int
    """What the target answered; 0 before, and where no header is injected."""

    @property
    def state(self) -> int:
        """A `State`, without the marks of the header."""
        return self.told_state & STATE_MASK


class _Layout:
    """The parts of a journal's memory."""

    def __init__(self, memory: memoryview) -> None:
        assert is_journal(memory)
        self.header = memory[:HEADER_BYTES].cast("Q")
        self.row_count = self.header[_ROWS]
        self.ring_count = self.header[_RING]
        ring_end = HEADER_BYTES + self.ring_count * _RING_ENTRY_BYTES
        self.ring = memory[HEADER_BYTES:ring_end].cast("I")
        end = ring_end + self.row_count * JOURNAL_ROW_BYTES
        self.rows = memory[ring_end:end]
        self.words = self.rows.cast("Q")

    def release(self) -> None:
        """Let go of the memory, so that its owner can unmap it."""
        for view in (self.words, self.rows, self.ring, self.header):
            view.release()

    def delta(self, row: int) -> Delta | None:
        """The row as a delta; None if it is not in use or half written.

        The word is looked at before and after the identity: a row that got another flow in between is looked
        at again, so the two never belong to different flows. A row that changes at every look is left for
        later, as its writer is alive and will announce it again.
        """
        words, place = self.words, row * WORDS_PER_ROW
        at = row * JOURNAL_ROW_BYTES
        for _ in range(_LOOKS_MAX):
            word = words[place]
            if not word & MOVING_IN_USE:
                return None
            rest = bytes(self.rows[at + _CRC_AT : at + JOURNAL_ROW_BYTES])
            if words[place] == word:
                break
        else:
            return None
        identity = rest[_IDENTITY_AT - _CRC_AT : _OFFER_AT - _CRC_AT]
        if crc32(identity) != _CRC.unpack_from(rest)[0]:
            return None
        (
            _,
            endpoint,
            balancer,
            protocol,
            version,
            client,
            target,
            from_port,
            to_port,
            target_port,
            snat_port,
            born,
            first,
            placement,
        ) = _IDENTITY.unpack(identity)
        if version == 4:
            client, target = client[:4], target[:4]
        return Delta(
            endpoint,
            balancer,
            protocol,
            client,
            target,
            from_port,
            to_port,
            target_port,
            snat_port,
            born,
            first,
            placement,
            word >> 55 & 0xFF,
            word >> 47 & 0xFF,
            word >> 39 & 0xFF,
            (word & SEEN_MASK) / 1000,
            row,
            _TAG.unpack_from(rest)[0],
            _TAG.unpack_from(rest, _OFFER_AT - _CRC_AT)[0] if placement else 0,
        )

    def deltas(self) -> Iterator[Delta]:
        """The state area as it is now: every row in use, once. No reader's place moves."""
        for row in range(min(self.header[_HIGH_WATER], self.row_count)):
            delta = self.delta(row)
            if delta is not None:
                yield delta


def format_journal(memory: memoryview, rows: int, ring: int) -> None:
    """Make a journal of zeroed `memory` (`journal_bytes` long)."""
    assert ring & (ring - 1) == 0, "the ring's length is a power of two"
    header = memory[:HEADER_BYTES].cast("Q")
    header[_ROWS], header[_RING] = rows, ring
    header[_MAGIC] = MAGIC
    header.release()


class JournalWriter(_Layout):
    """The one writer. A new writer on old memory goes on where the last one was killed."""

    def __init__(self, memory: memoryview) -> None:
        super().__init__(memory)
        self.header[_INCARNATION] += 1
        self._count = self.header[_COUNT]
        self._mask = self.ring_count - 1
        self._high_water = self.header[_HIGH_WATER]
        self._free = [row for row in range(self._high_water) if not self.words[row * WORDS_PER_ROW] & MOVING_IN_USE]
        self._announce(self.header[_LAST_ROW])  # killed between a store and its announcement, nobody knows of it

    def has_room(self) -> bool:
        """Whether another flow can be told of."""
        return bool(self._free) or self._high_water < self.row_count

    def write(self, entry: FlowEntry) -> None:
        """Tell of `entry` as it is now. When this returns every node can know it."""
        row = entry.row
        words = self.words
        if row == NO_ROW:
            row = entry.row = self._take_row()
            self._write_identity(row, entry)
        self.header[_LAST_ROW] = row
        injection = entry.injection
        if injection is not None:
            words[row * WORDS_PER_ROW + OFFER_WORD] = injection.offer
        words[row * WORDS_PER_ROW] = (
            MOVING_IN_USE
            | entry.told_state << 55
            | entry.epoch << 47
            | entry.scales << 39
            | int(entry.seen_at * 1000) & SEEN_MASK
        )
        self.ring[self._count & self._mask] = row
        self._count += 1
        self.header[_COUNT] = self._count

    def _announce(self, row: int) -> None:
        self.ring[self._count & self._mask] = row
        self._count += 1
        self.header[_COUNT] = self._count

    def forget(self, entry: FlowEntry) -> None:
        """The flow is over: its row may tell of another."""
        if entry.row != NO_ROW:
            self.forget_row(entry.row)
            entry.row = NO_ROW

    def forget_row(self, row: int) -> None:
        """The row tells of nothing any more."""
        self.words[row * WORDS_PER_ROW] = 0
        self._free.append(row)

    def own_deltas(self) -> Iterator[Delta]:
        """What an earlier writer left in the state area."""
        return self.deltas()

    def _take_row(self) -> int:
        if self._free:
            return self._free.pop()
        row = self._high_water
        assert row < self.row_count, "a node holds no more flows than its journal has rows"
        self._high_water += 1
        self.header[_HIGH_WATER] = self._high_water
        return row

    def _write_identity(self, row: int, entry: FlowEntry) -> None:
        original, translated = entry.original_key, entry.translated_key
        width = (len(original) - SUFFIX_BYTES - 4) // 2
        ports = width * 2
        at = row * JOURNAL_ROW_BYTES + _CRC_AT
        injection = entry.injection
        identity = _IDENTITY.pack(
            (_USE.unpack_from(self.rows, at + _CRC.size)[0] + 1) % _USES,
            entry.endpoint.number,
            entry.balancer.number,
            original[-1],
            4 if width == 4 else 6,
            original[:width],
            translated[width:ports],
            original[ports : ports + 2],
            original[ports + 2 : ports + 4],
            translated[ports + 2 : ports + 4],
            translated[ports : ports + 2],
            entry.born_ms,
            injection.first if injection is not None else 0,
            PLACEMENTS.index(injection.placement) if injection is not None else 0,
        )
        _CRC_AND_IDENTITY.pack_into(self.rows, at, crc32(identity), identity)


class JournalReader(_Layout):
    """One reader's place in one journal."""

    def __init__(self, memory: memoryview) -> None:
        super().__init__(memory)
        self.known = KnownRows(self.words)
        self.position = 0
        """How many of them need not be read any more."""
        self._walk_row = self._walk_rows = self._walk_left = 0
        self.rebuild()

    @property
    def told(self) -> int:
        """How many announcements the writer has made. Cheap: one word."""
        return self.header[_COUNT]

    @property
    def walks(self) -> bool:
        """Whether a walk over the state area is under way: rows that were told of long ago may still be unread."""
        return self._walk_left > 0

    @property
    def behind(self) -> bool:
        """Whether there is anything to read: news, or the rest of a walk over the state area."""
        return self.header[_COUNT] != self.position or self._walk_left > 0

    def rebuild(self) -> None:
        """Read the whole state area, besides what is told from now on.

        A walk that is under way goes on where it is and makes a full round from there: a writer that laps the
        reader again and again cannot keep it from any row.
        """
        header = self.header
        self.position = header[_COUNT]
        self._walk_rows = self._walk_left = min(header[_HIGH_WATER], self.row_count)

    def read(self, at_most: int, joined: Joined | None = None) -> list[Delta]:
        """News first, then the walk goes on: `at_most` rows. The list may be empty though `behind` says more.

        With `joined`, rows whose flow is `known` are joined with it at once (and `joined` called if its state has
        changed); only the others are in the list.
        """
        deltas = self.read_news(at_most, joined)
        if len(deltas) < at_most and self._walk_left:
            deltas += self._read_state(at_most - len(deltas), joined)
        return deltas

    def read_news(self, at_most: int, joined: Joined | None = None) -> list[Delta]:
        """What was told since the last read, `at_most` rows of it. A walk that is under way rests."""
        header = self.header
        count = header[_COUNT]
        if count - self.position >= self.ring_count:
            self.rebuild()
            return []
        first, last = self.position, min(count, self.position + at_most)
        mask = self.ring_count - 1
        rows = [self.ring[position & mask] for position in range(first, last)]
        # The writer stores into the ring before it counts, so the slot of the change to come is lost as well.
        if header[_COUNT] - first >= self.ring_count:
            self.rebuild()
            return []
        self.position = last
        return self._deltas_of([row for row in dict.fromkeys(rows) if row < self.row_count], joined)

    def _read_state(self, at_most: int, joined: Joined | None) -> list[Delta]:
        """The next rows of the walk. Rows that came into use since it began are in the ring."""
        rows, first = self._walk_rows, self._walk_row
        looks = min(at_most, self._walk_left)
        self._walk_left -= looks
        self._walk_row = (first + looks) % rows if rows else 0
        return self._deltas_of([row % rows for row in range(first, first + looks)], joined)

    def _deltas_of(self, rows: list[int], joined: Joined | None) -> list[Delta]:
        if joined is not None:
            rows = self.known.join(rows, joined)
        return [delta for row in rows if (delta := self.delta(row)) is not None]
