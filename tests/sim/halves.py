"""The two halves of an end of a real stream (RFC 9293): what it has taken of the other's bytes, and what it sends.

Places count bytes from the stream's first one, so nothing here wraps. What arrives twice must be the same bytes both
times, whoever sent them: a segment that was renumbered wrongly shows where it overlaps another.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from tests.cases import ACK, FIN, NOP, sack
from tests.dissection import Seen
from tests.sim.ends import NUMBERS, Violation

_HALF = NUMBERS // 2
_BLOCKS_MAX = 3
WHOLE_WINDOW = 65_535


def distance(number: int, origin: int) -> int:
    """How far `number` is after `origin` on the circle of all numbers; negative: before it."""
    return (number - origin + _HALF) % NUMBERS - _HALF


def option_of(seen: Seen, kind: int) -> bytes | None:
    """The body of a TCP option; None if the segment does not have it."""
    area = seen.options
    at = 0
    while at < len(area) and area[at]:
        if area[at] == 1:
            at += 1
            continue
        if area[at] == kind:
            return area[at + 2 : at + area[at + 1]]
        at += area[at + 1]
    return None


def blocks_of(seen: Seen) -> list[tuple[int, int]]:
    """The edges of the segment's SACK blocks, in order."""
    body = option_of(seen, 5) or b""
    edges = [int.from_bytes(body[at : at + 4], "big") for at in range(0, len(body), 4)]
    return list(zip(edges[::2], edges[1::2], strict=True))


class Arrival(Enum):
    """What a segment was."""

    NEW = "new"
    HELD = "held"
    """Behind a hole."""
    OLD = "old"
    """All of it was there: to be acknowledged again, or a question whether anybody is there."""
    BEYOND = "beyond"
    """Past what was offered: dropped whole, as Linux has done since version 6.17."""
    BARE = "bare"
    """Neither data nor an end."""


@dataclass(slots=True)
class Inbound:
    """What an end has taken, and how much more it offers to take."""

    first: int
    """Number of the other's first byte."""
    room: int = WHOLE_WINDOW
    shift: int = 0
    holds: bool = True
    """Whether it keeps what is behind a hole; if not, it must come again."""
    compares: bool = True
    """What comes twice must be the same; a liar's need not be, and the first of it counts."""
    taken: bytearray = field(default_factory=bytearray)
    read: int = 0
    """How much of it the application has read: the rest takes room."""
    finished: bool = False
    edge: int = 0
    """The first place that was never offered."""
    doubled: tuple[int, int] | None = None
    """Numbers that came a second time, not told of yet (RFC 2883)."""
    _held: dict[int, bytes] = field(default_factory=dict)
    _end: int = -1

    def __post_init__(self) -> None:
        self.edge = min(self.room, WHOLE_WINDOW)

    @property
    def expected(self) -> int:
        return (self.first + len(self.taken) + self.finished) % NUMBERS

    def take(self, place: int, data: bytes, ends: bool) -> Arrival:
        """A segment that starts at `place`."""
        size = len(self.taken)
        end = place + len(data)
        if ends:
            self._end = end
        if not data and not ends:
            return Arrival.OLD if place < size + self.finished else Arrival.BARE
        if data and end > self.edge:
            return Arrival.BEYOND
        self._compare(place, data)
        if end + ends <= size + self.finished:
            self.doubled = ((self.first + place) % NUMBERS, (self.first + end) % NUMBERS) if data else None
            return Arrival.OLD
        if place > size:
            if self.holds and data:
                self._held[place] = max(self._held.get(place, b""), data, key=len)
            return Arrival.HELD
        self.taken += data[size - place :]
        for at in sorted(self._held):
            if at <= len(self.taken):
                more = self._held.pop(at)
                self._compare(at, more)
                self.taken += more[len(self.taken) - at :]
        self.finished = len(self.taken) == self._end
        return Arrival.NEW

    def _compare(self, place: int, data: bytes) -> None:
        known = self.taken[max(place, 0) : place + len(data)]
        if not self.compares:
            return
        if place >= 0 and not data.startswith(known):
            raise Violation(f"INV-2: byte {place} and on came as {bytes(known)!r}, and now as {data!r}")

    def window(self) -> int:
        """The window field. What was offered once is not taken back."""
        free = self.room - (len(self.taken) - self.read)
        size = len(self.taken)
        units = -(-max(self.edge - size, free >> self.shift << self.shift) >> self.shift)
        units = min(max(units, 0), WHOLE_WINDOW)
        self.edge = size + (units << self.shift)
        return units

    def blocks(self) -> bytes:
        """The SACK option: first what came twice, then what is held. Nothing if there is nothing to tell."""
        told = [] if self.doubled is None else [self.doubled]
        self.doubled = None
        merged: list[list[int]] = []
        for at in sorted(self._held):
            end = at + len(self._held[at])
            if merged and at <= merged[-1][1]:
                merged[-1][1] = max(end, merged[-1][1])
            else:
                merged.append([at, end])
        told += [((self.first + left) % NUMBERS, (self.first + right) % NUMBERS) for left, right in merged]
        return NOP + NOP + sack(*told[:_BLOCKS_MAX]) if told else b""


@dataclass(slots=True)
class Outbound:
    """What an end sends, once and again."""

    first: int
    data: bytearray = field(default_factory=bytearray)
    closes: bool = False
    """Whether the stream ends where `data` does."""
    acked: int = 0
    next: int = 0
    """The place that is sent next; everything before it is under way, or arrived."""
    top: int = 0
    """The furthest place that was ever sent."""
    edge: int = 0
    """The first place that the other does not take."""

    @property
    def end(self) -> int:
        return len(self.data) + self.closes

    @property
    def is_acked(self) -> bool:
        return self.acked == self.end

    def acknowledge(self, place: int, edge: int) -> None:
        self.acked = max(self.acked, place)
        self.next = max(self.next, self.acked)
        self.edge = max(self.edge, edge)

    def segments(self, chance: Random, size_max: int) -> Iterator[tuple[int, int, bytes]]:
        """(place, flags, data) of everything that there is room for, cut anyhow."""
        while self.next < self.end:
            place = self.next
            left = len(self.data) - place
            size = min(left, size_max, self.edge - place)
            if left and size <= 0:
                return
            if size > 1 and chance.random() < 0.3:
                size = chance.randint(1, size)
            data = bytes(self.data[place : place + size])
            ends = self.closes and size >= left and (size <= 0 or chance.random() < 0.5)
            self.next += len(data) + ends
            self.top = max(self.top, self.next)
            yield place, ACK | (FIN if ends else 0), data
