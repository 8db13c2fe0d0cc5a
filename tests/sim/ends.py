"""Both ends of a conversation, as small models of TCP: they ask, answer, repeat what is not answered, and remember.

A call asks numbered questions, one at a time, each with a mark that nobody else uses. The target answers with the
question turned inside out. So whoever gets a packet can tell whose it is. Losses are repaired as in TCP: the caller
repeats its last segment until it is answered (1 s, doubling, at most 8 s), the target its SYN-ACK and its answers.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from tests.cases import ACK, FIN, PSH, RST, SYN, SocketAddress, linux_syn, tcp
from tests.dissection import Seen

NUMBERS = 1 << 32
WINDOW = 65_535
REPEAT_FIRST_S, REPEAT_MAX_S = 1.0, 8.0


class Violation(AssertionError):
    """An invariant does not hold."""


class Wire(Protocol):
    """What the ends need from the world."""

    now: float
    sleeping_until: float

    def at(self, moment: float, action: Callable[..., None], *arguments: object) -> None: ...

    def from_client(self, door: int, packet: bytes) -> None: ...

    def from_target(self, packet: bytes) -> None: ...

    def wake(self, delay_s: float, call: "Call") -> None: ...

    def on_cut_off(self, call: "Call") -> None: ...

    def on_late_greeting(self, call: "Call") -> None: ...


@dataclass(slots=True)
class Call:
    """One TCP connection of a client: SYN, questions with pauses, FIN. `phase` says how far it is."""

    number: int
    door: int
    client: SocketAddress
    endpoint: SocketAddress
    isn: int
    pauses_s: list[float]
    aborts: bool = False
    phase: str = "opening"
    next_to_send: int = 0
    expected: int = 0
    asked: int = 0
    waiting_for: bytes = b""
    repeat_s: float = REPEAT_FIRST_S
    wakes: int = 0
    """Number of the timer that counts; older ones are void."""

    @property
    def is_over(self) -> bool:
        return self.phase in ("done", "aborted", "cut off")

    def begin(self, wire: Wire) -> None:
        self._send_syn(wire)

    def _send_syn(self, wire: Wire) -> None:
        self.next_to_send = (self.isn + 1) % NUMBERS
        self._send(wire, SYN, self.isn)
        self._arm(wire)

    def _send(self, wire: Wire, flags: int, sequence: int, payload: bytes = b"") -> None:
        options = linux_syn(1400) if flags & SYN else b""
        wire.from_client(
            self.door,
            tcp(self.client, self.endpoint, flags=flags, sequence=sequence, acknowledgment=self.expected,
                options=options, payload=payload),
        )  # fmt: skip

    def _arm(self, wire: Wire, delay_s: float | None = None) -> None:
        self.wakes += 1
        wire.wake(self.repeat_s if delay_s is None else delay_s, self)

    def question(self) -> bytes:
        return b"<%d/%d>" % (self.number, self.asked)

    def on_wake(self, wire: Wire) -> None:
        """The timer: repeat what was not answered, or go on after a pause."""
        if self.is_over:
            return
        if self.phase == "pausing":
            self._go_on(wire)
            return
        self.repeat_s = min(self.repeat_s * 2, REPEAT_MAX_S)
        if self.phase == "opening":
            self._send_syn(wire)
        elif self.phase == "asking":
            self._send(wire, PSH | ACK, self.next_to_send, self.question())
            self._arm(wire)
        elif self.phase == "closing":
            self._send(wire, FIN | ACK, self.next_to_send)
            self._arm(wire)

    def _go_on(self, wire: Wire) -> None:
        self.repeat_s = REPEAT_FIRST_S
        if self.asked < len(self.pauses_s):
            self.phase = "asking"
            self._send(wire, PSH | ACK, self.next_to_send, self.question())
        elif self.aborts:
            self.phase = "aborted"
            self._send(wire, RST, self.next_to_send)
        else:
            self.phase = "closing"
            self._send(wire, FIN | ACK, self.next_to_send)
        if not self.is_over:
            self._arm(wire)

    def on_segment(self, wire: Wire, seen: Seen) -> None:
        """A segment from the endpoint."""
        if seen.flags & RST:
            self._on_reset(wire, seen)
        elif self.phase == "opening":
            self._on_answer_to_syn(wire, seen)
        elif seen.flags & SYN:
            self._send(wire, ACK, self.next_to_send)
        elif not self.is_over:
            self._on_data(wire, seen)
        elif self.phase == "done":
            self._send(wire, ACK, self.next_to_send)

    def _on_reset(self, wire: Wire, seen: Seen) -> None:
        if self.phase == "opening":
            believed = bool(seen.flags & ACK) and seen.acknowledgment == self.next_to_send
        else:
            believed = seen.sequence == self.expected
        if believed and not self.is_over:
            wire.on_cut_off(self)
            self.phase = "cut off"

    def _on_answer_to_syn(self, wire: Wire, seen: Seen) -> None:
        if not seen.flags & ACK:
            raise Violation(f"call {self.number} got a SYN: nobody may open a connection to a client")
        if seen.acknowledgment != self.next_to_send:
            # A challenge from an older connection of ours (RFC 5961 section 4.2): get it out of the way.
            self._send(wire, RST, seen.acknowledgment)
            return
        if not seen.flags & SYN:
            return
        self.expected = (seen.sequence + 1) % NUMBERS
        self.phase = "pausing"
        self._send(wire, ACK, self.next_to_send)
        self._arm(wire, self.pauses_s[0] if self.pauses_s else 0.01)

    def _on_data(self, wire: Wire, seen: Seen) -> None:
        if seen.sequence != self.expected:
            if not seen.payload and (seen.sequence + 1) % NUMBERS == self.expected:
                self._send(wire, ACK, self.next_to_send)
            return
        if seen.payload and not seen.payload.startswith(b">%d/" % self.number):
            raise Violation(f"call {self.number} got what is another's: {seen.payload!r}")
        if self.phase == "asking" and seen.payload == answer_to(self.question()):
            self.expected = (self.expected + len(seen.payload)) % NUMBERS
            self.next_to_send = (self.next_to_send + len(self.question())) % NUMBERS
            self.asked += 1
            self.phase = "pausing"
            self._send(wire, ACK, self.next_to_send)
            self._arm(wire, self.pauses_s[self.asked] if self.asked < len(self.pauses_s) else 0.01)
        elif self.phase == "closing" and seen.flags & FIN:
            self.expected = (self.expected + 1) % NUMBERS
            self.next_to_send = (self.next_to_send + 1) % NUMBERS
            self.phase = "done"
            self._send(wire, ACK, self.next_to_send)


def answer_to(question: bytes) -> bytes:
    """The question turned inside out: <7/1> becomes >7/1<."""
    return b">" + question[1:-1] + b"<"


@dataclass(slots=True)
class Accepted:
    """A connection as a target sees it."""

    isn: int
    peer_isn: int
    expected: int
    next_to_send: int
    confirmed: bool = False
    """Whether anything came after the SYN. Until then the SYN-ACK is repeated."""
    call: int = -1
    last_answer: bytes = b""
    last_answer_at: int = 0
    closed_at: float = -1.0


@dataclass(slots=True)
class Server:
    """One target. It answers what it is asked, never speaks first, and may ask once whether the client still lives."""

    address: SocketAddress
    late_s: float = 0.0
    connections: dict[SocketAddress, Accepted] = field(default_factory=dict)
    accepted_count: int = 0

    def on_segment(self, wire: Wire, seen: Seen) -> None:
        connection = self.connections.get(seen.source)
        if seen.flags & RST:
            if connection is not None and (seen.sequence == connection.expected):
                connection.closed_at = wire.now
                del self.connections[seen.source]
        elif seen.flags & SYN:
            self._on_syn(wire, seen, connection)
        elif connection is None or not (connection.confirmed or seen.acknowledgment == connection.next_to_send):
            self._send(wire, seen.source, RST, seen.acknowledgment, 0)
        else:
            connection.confirmed = True
            self._on_data(wire, seen, connection)

    def _send(
        self, wire: Wire, peer: SocketAddress, flags: int, sequence: int, acknowledgment: int, payload: bytes = b""
    ) -> None:
        wire.from_target(
            tcp(self.address, peer, flags=flags, sequence=sequence, acknowledgment=acknowledgment, payload=payload,
                options=linux_syn(1400) if flags & SYN else b"")
        )  # fmt: skip

    def _on_syn(self, wire: Wire, seen: Seen, connection: Accepted | None) -> None:
        if connection is not None and seen.sequence == connection.peer_isn:
            self._send(wire, seen.source, SYN | ACK, connection.isn, (connection.peer_isn + 1) % NUMBERS)
            return
        if connection is not None and (connection.closed_at < 0 or not _is_newer(seen.sequence, connection.expected)):
            self._send(wire, seen.source, ACK, connection.next_to_send, connection.expected)
            return
        self.accepted_count += 1
        isn = (self.accepted_count * 7_654_321) % NUMBERS
        self.connections[seen.source] = Accepted(isn, seen.sequence, (seen.sequence + 1) % NUMBERS, (isn + 1) % NUMBERS)
        self._answer_syn(wire, seen.source, self.connections[seen.source], REPEAT_FIRST_S)
        if self.late_s:
            wire.at(wire.now + self.late_s, self._ask, wire, seen.source, self.connections[seen.source])

    def _answer_syn(self, wire: Wire, peer: SocketAddress, connection: Accepted, repeat_s: float) -> None:
        if not connection.confirmed and self.connections.get(peer) is connection and repeat_s < 64:
            self._send(wire, peer, SYN | ACK, connection.isn, (connection.peer_isn + 1) % NUMBERS)
            wire.at(wire.now + repeat_s, self._answer_syn, wire, peer, connection, repeat_s * 2)

    def _ask(self, wire: Wire, peer: SocketAddress, connection: Accepted) -> None:
        """A keep-alive (RFC 9293 section 3.8.4): nothing new, one number too early."""
        if connection.confirmed and self.connections.get(peer) is connection:
            self._send(wire, peer, ACK, (connection.next_to_send - 1) % NUMBERS, connection.expected)

    def _on_data(self, wire: Wire, seen: Seen, connection: Accepted) -> None:
        if seen.payload and seen.sequence == connection.expected:
            call, _, _ = seen.payload[1:-1].partition(b"/")
            if connection.call not in (-1, int(call)):
                raise Violation(f"a connection of call {connection.call} carries data of call {int(call)}")
            connection.call = int(call)
            connection.expected = (connection.expected + len(seen.payload)) % NUMBERS
            connection.last_answer, connection.last_answer_at = answer_to(seen.payload), connection.next_to_send
            connection.next_to_send = (connection.next_to_send + len(connection.last_answer)) % NUMBERS
        if seen.payload:
            self._send(wire, seen.source, PSH | ACK, connection.last_answer_at, connection.expected,
                       connection.last_answer)  # fmt: skip
        if seen.flags & FIN and seen.sequence in (connection.expected, connection.expected - 1):
            if connection.closed_at < 0:
                connection.closed_at = wire.now
                connection.expected = (connection.expected + 1) % NUMBERS
            self._send(wire, seen.source, FIN | ACK, connection.next_to_send, connection.expected)


def _is_newer(sequence: int, than: int) -> bool:
    return 0 < (sequence - than) % NUMBERS < NUMBERS // 2
