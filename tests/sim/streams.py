"""A client's end of a real stream: several segments under way, windows, and a judgment on what it is told.

Its target must not show through: a client is told of nothing that it has not sent (INV-6), no SACK block is about
anything but its own bytes, and what it hears are the answers to its own questions, from the first byte on.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from math import inf
from random import Random

from tests.cases import ACK, FIN, NOP, PSH, RST, SYN, linux_syn, tcp, timestamps
from tests.dissection import Seen
from tests.sim.ends import NUMBERS, REPEAT_FIRST_S, REPEAT_MAX_S, Call, Violation, Wire, answer_to
from tests.sim.halves import Arrival, Inbound, Outbound, blocks_of, distance, option_of

ONE_CALL = 1 << 16
"""More bytes than any call sends."""
GREETING = b">who is there?<"
STILL_THERE_S = 60.0
"""After so long without an answer to what has arrived a client asks whether the target is still there."""
SILENT_S = 200.0
"""The same for one that waits to be greeted: longer than anybody repeats a header, and less than a flow may rest."""
REMEMBERED_S = 60.0
"""So long a client still answers for a connection that it has closed (RFC 9293 section 3.6.1, TIME-WAIT)."""


class Manner(Enum):
    """What a client wants."""

    ASKS = "asks"
    WAITS = "waits"
    """To be greeted; then it asks."""
    CLOSES = "closes"
    """At once."""
    RESETS = "resets"
    """At once."""


@dataclass(slots=True)
class Stream(Call):
    """One connection of a client. Its phases are a `Call`'s, and "listening" and "abandoned"."""

    chance: Random = field(default_factory=Random)
    manner: Manner = Manner.ASKS
    greeting: bytes = b""
    question_bytes: int = 0
    stamps: bool = False
    probes_with_data: bool = False
    """A closed window is asked with a byte of data (RFC 9293 section 3.8.6.1), else with an old number, as Linux does.
    """
    resets_barely: bool = False
    """Its resets carry no ACK."""
    acks_apart: bool = True
    """The handshake ends with an ACK of its own."""
    segment_bytes: int = 1400
    shift: int = 0
    over_at: float = 0.0
    asked_at: float = inf
    """When a client that waits to be greeted had to ask."""
    padding: bytes = b""
    outbound: Outbound = field(default_factory=lambda: Outbound(0))
    inbound: Inbound = field(default_factory=lambda: Inbound(0))
    due: bytearray = field(default_factory=bytearray)
    """All that it should have heard when its questions are answered."""

    @property
    def is_over(self) -> bool:
        return self.phase in ("done", "aborted", "cut off", "abandoned")

    def begin(self, wire: Wire) -> None:
        self.outbound.first = self.next_to_send = (self.isn + 1) % NUMBERS
        self.due += self.greeting
        self._send_syn(wire)

    def abandon(self, wire: Wire) -> None:
        """The client's host forgets it."""
        self.phase = "abandoned"
        self.over_at = wire.now
        self.wakes += 1

    # --- sending -----------------------------------------------------------------------------

    def _send(self, wire: Wire, flags: int, sequence: int, payload: bytes = b"") -> None:
        options = b""
        if flags & SYN:
            options = linux_syn(1400, timestamp=self._clock(wire))
        elif self.stamps and flags != RST:
            options = NOP + NOP + timestamps(self._clock(wire), 1)
        elif self.inbound.doubled and flags != RST:
            options = self.inbound.blocks()
        wire.from_client(
            self.door,
            tcp(self.client, self.endpoint, flags=flags, sequence=sequence, acknowledgment=self.expected,
                options=options, payload=payload),
        )  # fmt: skip

    def _clock(self, wire: Wire) -> int:
        return int(wire.now * 1000) + 1000

    def _say(self, wire: Wire, flags: int, place: int, payload: bytes = b"") -> None:
        self._send(wire, flags, (self.outbound.first + place) % NUMBERS, payload)

    def _push(self, wire: Wire) -> bool:
        sent = False
        for place, flags, data in self.outbound.segments(self.chance, self.segment_bytes):
            self._say(wire, flags | PSH if data else flags, place, data)
            sent = True
        return sent

    def _acknowledge(self, wire: Wire) -> None:
        self._say(wire, ACK, self.outbound.top)

    def question(self) -> bytes:
        return b"<%d/%d%s>" % (self.number, self.asked, self.padding)

    # --- time --------------------------------------------------------------------------------

    def on_wake(self, wire: Wire) -> None:
        if self.is_over:
            return
        if self.phase == "pausing":
            self._go_on(wire)
        elif self.phase == "opening":
            self.repeat_s = min(self.repeat_s * 2, REPEAT_MAX_S)
            self._send_syn(wire)
        elif self.phase == "listening" and wire.now < wire.sleeping_until + STILL_THERE_S:
            self._arm(wire, SILENT_S)
        elif self.outbound.is_acked:
            if self.phase == "listening":
                self.asked_at = min(self.asked_at, wire.now)
            self._say(wire, ACK, self.outbound.top - 1)
            self._arm(wire, STILL_THERE_S)
        else:
            self._repeat(wire)

    def _repeat(self, wire: Wire) -> None:
        """What is not acknowledged goes again, cut in another way; a window that is closed is asked for."""
        self.repeat_s = min(self.repeat_s * 2, REPEAT_MAX_S)
        outbound = self.outbound
        outbound.next = outbound.acked
        if not self._push(wire):
            if self.probes_with_data:
                outbound.top = max(outbound.top, outbound.acked + 1)
                self._say(wire, ACK, outbound.acked, bytes(outbound.data[outbound.acked : outbound.acked + 1]))
            else:
                self._say(wire, ACK, outbound.acked - 1)
        self._arm(wire)

    def _go_on(self, wire: Wire) -> None:
        self.repeat_s = REPEAT_FIRST_S
        wants_more = self.manner in (Manner.ASKS, Manner.WAITS)
        if wants_more and self.asked < len(self.pauses_s):
            self.phase = "asking"
            self.padding = b"." * self.chance.randint(0, self.question_bytes)
            self.outbound.data += self.question()
            self.due += answer_to(self.question())
        elif self.aborts or self.manner is Manner.RESETS:
            self._end(wire, "aborted")
            self._say(wire, RST if self.resets_barely else RST | ACK, self.outbound.top)
            return
        else:
            self.phase = "closing"
            self.outbound.closes = True
        self._push(wire)
        self._arm(wire)

    def _end(self, wire: Wire, phase: str) -> None:
        self.phase = phase
        self.over_at = wire.now

    # --- hearing -----------------------------------------------------------------------------

    def on_segment(self, wire: Wire, seen: Seen) -> None:
        if self.is_over:
            self._after_the_end(wire, seen)
        elif seen.flags & RST:
            self._on_reset(wire, seen)
            self.over_at = wire.now
        elif self.phase == "opening":
            self._on_answer_to_syn(wire, seen)
        elif seen.flags & SYN:
            self._acknowledge(wire)
        else:
            self._on_data(wire, seen)

    def _after_the_end(self, wire: Wire, seen: Seen) -> None:
        """As a host does that has closed a connection, or knows of none."""
        if seen.flags & RST:
            return
        if self.phase == "done" and wire.now < self.over_at + REMEMBERED_S:
            if seen.flags & (FIN | SYN) or seen.payload or seen.sequence != self.expected:
                self._acknowledge(wire)
        elif seen.flags & ACK:
            self._send(wire, RST, seen.acknowledgment)

    def _on_answer_to_syn(self, wire: Wire, seen: Seen) -> None:
        if not seen.flags & ACK:
            raise Violation(f"call {self.number} got a SYN: nobody may open a connection to a client")
        if seen.acknowledgment != self.outbound.first:
            self._send(wire, RST, seen.acknowledgment)  # see `Call`
            return
        if not seen.flags & SYN:
            return
        self.expected = self.inbound.first = (seen.sequence + 1) % NUMBERS
        self.shift = (option_of(seen, 3) or b"\0")[0]
        self.segment_bytes = int.from_bytes(option_of(seen, 2) or b"", "big") - 12 * self.stamps
        self.outbound.edge = seen.window
        self.phase = "listening" if self.manner is Manner.WAITS else "pausing"
        self.repeat_s = REPEAT_FIRST_S
        if self.acks_apart or self.manner is Manner.WAITS:
            self._acknowledge(wire)
            first_pause_s = self.pauses_s[0] if self.pauses_s and self.manner is Manner.ASKS else 0.01
            self._arm(wire, SILENT_S if self.manner is Manner.WAITS else first_pause_s)
        else:
            self._go_on(wire)

    def _on_data(self, wire: Wire, seen: Seen) -> None:
        acked = distance(seen.acknowledgment, self.outbound.first)
        if not 0 <= acked < ONE_CALL:
            return  # very late, from an older connection
        if acked > self.outbound.top:
            raise Violation(f"INV-6: call {self.number} has sent {self.outbound.top} bytes, and is told of {acked}")
        self._judge_blocks(seen)
        is_news = acked > self.outbound.acked
        self.outbound.acknowledge(acked, acked + (seen.window << self.shift))
        place = distance(seen.sequence, self.inbound.first)
        arrival = self.inbound.take(place, seen.payload, seen.flags & FIN != 0)
        self.inbound.read = len(self.inbound.taken)
        self.expected = self.inbound.expected
        self._hear(wire)
        if arrival is not Arrival.BARE:
            self._acknowledge(wire)
        if self.is_over or self.phase == "pausing":
            return
        if self._push(wire) or is_news:
            self.repeat_s = REPEAT_FIRST_S
            self._arm(wire, STILL_THERE_S if self.outbound.is_acked else None)

    def _judge_blocks(self, seen: Seen) -> None:
        for edges in blocks_of(seen):
            left, right = (distance(edge, self.outbound.first) for edge in edges)
            if not 0 <= left < right <= self.outbound.top:
                raise Violation(
                    f"INV-6: call {self.number} has sent {self.outbound.top} bytes; a SACK is of {left} to {right}"
                )

    def _hear(self, wire: Wire) -> None:
        """Whether what has come is what was asked for, and what to do then."""
        heard = self.inbound.taken
        if not self.due.startswith(heard):
            raise Violation(f"INV-2: call {self.number} hears {bytes(heard)!r}, and should {bytes(self.due)!r}")
        if self.phase == "listening" and len(heard) >= len(self.greeting):
            if self.asked_at <= wire.now:
                wire.on_late_greeting(self)
            self._pause(wire)
        elif self.phase == "asking" and len(heard) == len(self.due):
            self.asked += 1
            self._pause(wire)
        elif self.phase == "closing" and self.inbound.finished:
            self._end(wire, "done")

    def _pause(self, wire: Wire) -> None:
        self.phase = "pausing"
        self._arm(wire, self.pauses_s[self.asked] if self.asked < len(self.pauses_s) else 0.01)


def numbers_of(chance: Random) -> Iterator[int]:
    """Initial sequence numbers far from each other, in any order; one of them so that its header wraps."""
    wrapping = chance.random() < 0.5
    if wrapping:
        yield NUMBERS - chance.randint(1, 200)
    for slot in chance.sample(range(1, 4094), 4000):
        yield slot * (1 << 20) + chance.randrange(1 << 16)
