"""A target with a tiny window that never grows, and a client that wants to tell it something: both as the RFCs say.

Each second the client does what it may, the nodes' timers do what is due, and what is sent is answered at once. The
target takes a segment only if all of it is in its window (as Linux has done since version 6.17), or else as much as
fits (RFC 9293 section 3.10.7.4); what it takes it reads, so its window is the same for ever. The client obeys the
window that it is offered. If that is closed it asks again each second, either as Linux does (no data, one number
before what is unacknowledged) or as BSD does (one byte more than allowed).
"""

from dataclasses import dataclass, field

from tests.cases import ACK, CLIENT, ENDPOINT, PSH, SYN, TARGET, mss, tcp, window_scale
from tests.dissection import Seen, dissect
from tests.nodes import DOOR, EXIT, Node, Outcome

CLIENT_ISN, TARGET_ISN = 999, 1999
FIRST = CLIENT_ISN + 1
ROUNDS_MAX = 600
SEGMENT_BYTES = 1400


@dataclass(slots=True)
class Case:
    """Who the two are."""

    window: int
    """In the target's own units."""
    shift: int = 0
    cuts: bool = False
    """Whether it takes a part of a segment."""
    opens_at: float = 0.0
    """Until then the target's window is closed."""
    banner: bytes = b""
    """What the target says before the client may."""
    question: bytes = b"q" * 300
    bsd: bool = False


@dataclass(slots=True)
class Narrow:
    """The two ends and the nodes between them."""

    case: Case
    way_in: Node
    way_back: Node
    now: float = 1.0
    # the target
    got: bytes = b""
    sent_bytes: int = 0
    source: tuple[str, int] = TARGET
    edge: int = FIRST
    # the client
    acked: int = 0
    expected: int = TARGET_ISN + 1
    offered: int = 0
    sent: int = 0
    lost: list[Seen] = field(default_factory=list)
    """Segments that the target did not take."""

    # --- the target ------------------------------------------------------------------------------

    def window(self) -> int:
        """In bytes."""
        return 0 if self.now < self.case.opens_at else self.case.window << self.case.shift

    def to_target(self, packet: bytes) -> None:
        seen = dissect(packet)
        assert seen.sums_are_right
        self.source = seen.source
        if seen.flags & SYN:
            self.edge = FIRST + min(self.window(), 0xFFFF)
            options = mss(SEGMENT_BYTES) + b"\x01" + window_scale(self.case.shift)
            self.answer(SYN | ACK, TARGET_ISN, FIRST, min(self.window(), 0xFFFF), options)
            return
        begin, data = seen.sequence - FIRST, seen.payload
        fresh = data[max(len(self.got) - begin, 0) :] if begin <= len(self.got) else b""
        room = self.edge - FIRST - len(self.got)
        if len(fresh) > room and self.case.cuts:
            fresh = fresh[: max(room, 0)]
        if len(fresh) > room:
            self.lost.append(seen)
            fresh = b""
        self.got += fresh
        answer = b"" if self.sent_bytes else self.case.banner
        if data or answer or begin < len(self.got):
            self.acknowledge(answer)

    def acknowledge(self, data: bytes = b"") -> None:
        sequence = TARGET_ISN + 1 + self.sent_bytes
        self.sent_bytes += len(data)
        known = FIRST + len(self.got)
        self.edge = max(self.edge, known + self.window())
        self.answer(ACK, sequence, known, self.window() >> self.case.shift, payload=data)

    def answer(
        self, flags: int, sequence: int, known: int, window: int, options: bytes = b"", payload: bytes = b""
    ) -> None:
        packet = tcp(TARGET, self.source, flags=flags, sequence=sequence, acknowledgment=known, window=window,
                     options=options, payload=payload)  # fmt: skip
        self.pass_on(self.way_back.send(packet, EXIT, self.now), to_target=False)

    # --- between ---------------------------------------------------------------------------------

    def pass_on(self, out: Outcome, to_target: bool) -> None:
        assert out.accepted, out.verdict
        deliver = self.to_target if to_target else self.to_client
        packets = [*((packet, self.to_target) for packet in out.leading), (out.packet, deliver)]
        for packet, receive in packets:
            receive(packet)

    def up(self, flags: int, sequence: int, payload: bytes = b"", options: bytes = b"") -> None:
        packet = tcp(CLIENT, ENDPOINT, flags=flags, sequence=sequence, acknowledgment=self.expected, options=options,
                     payload=payload)  # fmt: skip
        self.pass_on(self.way_in.send(packet, DOOR, self.now), to_target=True)

    # --- the client ------------------------------------------------------------------------------

    def to_client(self, packet: bytes) -> None:
        seen = dissect(packet)
        assert seen.sums_are_right
        known = seen.acknowledgment - FIRST
        assert self.acked <= known <= self.sent, "it acknowledges what was never sent, or goes back"
        if self.case.shift and not seen.flags & SYN:
            self.offered = seen.window << self.case.shift
        else:
            self.offered = seen.window
        self.acked = known
        self.expected = max(self.expected, seen.sequence + len(seen.payload) + bool(seen.flags & SYN))
        if seen.payload:
            self.up(ACK, FIRST + self.sent)

    def act(self) -> None:
        """Send what the window has room for, or ask."""
        rest = self.case.question[self.acked :]
        if not rest or (self.case.banner and self.expected == TARGET_ISN + 1):
            return
        chunk = rest[: min(self.offered, SEGMENT_BYTES)]
        if chunk:
            self.sent = max(self.sent, self.acked + len(chunk))
            self.up(PSH | ACK, FIRST + self.acked, chunk)
        elif self.case.bsd:
            self.sent = max(self.sent, self.acked + 1)
            self.up(ACK, FIRST + self.acked, rest[:1])
        else:
            self.up(ACK, FIRST + self.acked - 1)

    def run(self, enough: int) -> None:
        """Until the target has so many bytes, or nothing helps."""
        self.up(SYN, CLIENT_ISN, options=mss(SEGMENT_BYTES) + b"\x01" + window_scale(7))
        self.up(ACK, FIRST)
        for _ in range(ROUNDS_MAX):
            if len(self.got) >= enough:
                return
            self.now += 1.0
            if self.now == self.case.opens_at:
                self.acknowledge()
            self.act()
            for node in dict.fromkeys((self.way_in, self.way_back)):
                node.dataplane.receive_deltas(self.now)
                node.pass_time(self.now)
                for packet, _ in node.dataplane.packets_to_send():
                    self.to_target(packet)
