"""Clients that lie: on a tuple of its own each sends segments that no stream has, by any door of any node.

SYNs with other numbers, resets, acknowledgments and data with numbers near its own, near those that it heard from the
target, and where a target with SYN cookies would believe that a handshake is over. It may know more than it can: the
world tells it its target's cookie. What must hold: whatever the target believes, the header comes first.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from tests.cases import ACK, FIN, PSH, RST, SYN, SocketAddress, mss, tcp
from tests.dissection import Seen
from tests.sim.ends import NUMBERS, Wire

LIES_MAX = 60
SYNS_MAX = 12
"""A source port rests for minutes after each of them, and others want ports, too."""
HEADER_BYTES = 100
_LONG = 1 << 29
_PAUSES_S = (0.0002, 0.002, 0.002, 0.02, 0.02, 0.3, 0.3, 1.5, 5.0)
_OWN_BYTES = b"!a lie!"


class Oracle(Protocol):
    """What a world tells a liar."""

    def answer_to(self, liar: "Liar", isn: int) -> int | None:
        """The number of its target's first byte, were `isn` answered by a cookie now."""
        ...


@dataclass(slots=True, eq=False)
class Liar:
    """One of them."""

    door: int
    client: SocketAddress
    endpoint: SocketAddress
    chance: Random
    oracle: Oracle
    lies: int = 0
    isns: list[int] = field(default_factory=list)
    """The last one's stream is what it lies about most."""
    answer: int | None = None
    """The number of the target's first byte in the last stream."""
    acknowledged: int = 0
    """The last number that the target acknowledged, as it was shown."""
    place: int = 1
    """One place that it comes back to: some lies need two that fit."""
    sent: int = 0
    """How many bytes it has said in order."""

    @property
    def is_over(self) -> bool:
        return self.lies >= LIES_MAX

    def begin(self, wire: Wire) -> None:
        self._send_syn(wire)
        self._go_on(wire)

    def _go_on(self, wire: Wire) -> None:
        if not self.is_over:
            wire.at(wire.now + self.chance.choice(_PAUSES_S) * (1 + self.chance.random()), self._lie, wire)

    def _lie(self, wire: Wire) -> None:
        self.lies += 1
        draw = self.chance.random()
        if draw < 0.15 and len(self.isns) < SYNS_MAX:
            self._send_syn(wire)
        elif draw < 0.25 and self.isns:
            self._send_syn(wire, again=True)
        elif draw < 0.4:
            self._speak_truly(wire)
        elif draw < 0.5:
            self._end_truly(wire)
        else:
            self._forge(wire)
        self._go_on(wire)

    # --- what it says ------------------------------------------------------------------------------

    @property
    def _first(self) -> int:
        return self.isns[-1] + 1

    def _send_syn(self, wire: Wire, again: bool = False) -> None:
        if not again:
            known = self.isns[-1] if self.isns else 0
            near = [known + self.place, known - self.place, known + HEADER_BYTES, self.chance.randrange(NUMBERS)]
            self.isns.append((self.chance.choice(near) if self.isns else near[-1]) % NUMBERS)
            self.place = self.chance.choice((1, 2, self.chance.randint(1, 40), self.chance.randint(1, 300)))
            self.answer, self.sent = None, 0
        elif self.chance.random() < 0.3:
            self.isns.append(self.isns.pop(self.chance.randrange(len(self.isns))))
        data = self._own_bytes() if self.chance.random() < 0.1 else b""
        self._send(wire, SYN, self.isns[-1], 0, data, mss(1400))

    def _speak_truly(self, wire: Wire) -> None:
        """As an honest client would."""
        if self.answer is not None:
            data = self._own_bytes() if self.chance.random() < 0.7 else b""
            self._send(wire, ACK | (PSH if data else 0), self._first + self.sent, self.answer, data)
            self.sent += len(data)

    def _end_truly(self, wire: Wire) -> None:
        """With a number that the target may believe."""
        ends = self.chance.choice((RST, RST | ACK, FIN | ACK))
        self._send(wire, ends, self.chance.choice((self._first + self.sent, self.acknowledged)), self.answer or 0)

    def _forge(self, wire: Wire) -> None:
        chance = self.chance
        sequence = (self._first if chance.random() < 0.9 else chance.choice(self.isns) + 1) + self._offset()
        flags = chance.choice((ACK, ACK, PSH | ACK, PSH | ACK, PSH | ACK, FIN | ACK, RST, RST | ACK, SYN | ACK, FIN))
        data = b"" if flags in (ACK, RST) and chance.random() < 0.8 else self._own_bytes()
        self._send(wire, flags, sequence, self._acknowledgment(sequence), data)

    def _offset(self) -> int:
        place, chance = self.place, self.chance
        return chance.choice(
            (0, 0, -1, -1, 1, place, -place, -place, -place - HEADER_BYTES, place - HEADER_BYTES, place + HEADER_BYTES,
             chance.randint(-200, 300), _LONG + place, 2 * _LONG + place, 3 * _LONG + place, chance.randrange(NUMBERS))
        )  # fmt: skip

    def _acknowledgment(self, sequence: int) -> int:
        """Most often what is as far from the target's first byte as `sequence` is from its own: a cookie's answer."""
        chance = self.chance
        answer = self.answer
        if answer is None or chance.random() < 0.2:
            answer = self.oracle.answer_to(self, self.isns[-1])
        if answer is None:
            return chance.randrange(NUMBERS)
        read_at = sequence + chance.choice((0, 0, HEADER_BYTES, HEADER_BYTES, HEADER_BYTES))
        fits = answer + read_at - self._first + chance.choice((0, 0, 0, 1, 2, 3, -1, 40))
        return chance.choice((fits, fits, fits, answer, answer + chance.randint(-70, 70)))

    def _own_bytes(self) -> bytes:
        size = self.chance.choice(
            (1, self.place, self.place + 1, HEADER_BYTES + self.place, self.chance.randint(1, 1200))
        )
        return (_OWN_BYTES * 200)[:size]

    def _send(
        self, wire: Wire, flags: int, sequence: int, acknowledgment: int, payload: bytes = b"", options: bytes = b""
    ) -> None:
        wire.from_client(
            self.door,
            tcp(self.client, self.endpoint, flags=flags, sequence=sequence % NUMBERS,
                acknowledgment=acknowledgment % NUMBERS, options=options, payload=payload),
        )  # fmt: skip

    # --- what it hears -----------------------------------------------------------------------------

    def on_segment(self, wire: Wire, seen: Seen) -> None:
        if self.is_over:
            return
        if seen.flags & ACK:
            self.acknowledged = seen.acknowledgment
        if seen.flags & SYN and seen.acknowledgment == self._first % NUMBERS:
            self.answer = (seen.sequence + 1) % NUMBERS
            if self.chance.random() < 0.4:
                self._send(wire, ACK, self._first, self.answer)
        elif not seen.flags & RST and self.chance.random() < 0.2:
            self._send(wire, RST, seen.acknowledgment, 0)
