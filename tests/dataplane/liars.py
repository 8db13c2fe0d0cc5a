"""A client that lies, against targets that are as strict as the RFCs, and against one that keeps nothing: SYN cookies.

The client is one tuple, sends whatever it likes in any order by any node, and knows more than a real one can: every
number of its targets that can be foreseen (all but fresh cookies). What is sent to a target and what it answers waits
in order on a wire, so a client may be far ahead of what anybody has seen. What a target reads of a stream must begin
with the header that tells of this client, and with nothing of the client's own making.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol
from zlib import crc32

from hyperplane.snapshot import HeaderPlacement
from tests.cases import ACK, CLIENT, ENDPOINT, FIN, PSH, RST, SYN, TARGET, SocketAddress, mss, tcp, window_scale
from tests.dissection import Seen, dissect
from tests.header_oracle import proxy_header
from tests.nodes import DOOR, EXIT, HEADER_BYTES_MAX, MemoryZone, snapshot_of

NUMBERS = 1 << 32
WINDOW = 60_000
COOKIE_PERIOD_S = 64.0
COOKIE_AGE_MAX = 2
"""Periods (Linux, MAX_SYNCOOKIE_AGE)."""
SEGMENT_SIZES = 4
"""Places in the table that a Linux cookie points into."""
LIE = b"LIES"
FAR = (50 - (1 << 31), (1 << 31) - 50)
"""Where a number that is shifted comes from the one side of the first byte to the other."""
OFFER = mss(1400) + window_scale(7)


def distance(number: int, origin: int) -> int:
    return (number - origin + NUMBERS // 2) % NUMBERS - NUMBERS // 2


@dataclass(slots=True, eq=False)
class Connection:
    """One connection at a target."""

    irs: int
    """The client's initial number, as this target sees it."""
    iss: int
    established: bool = False
    bytes_at: dict[int, int] = field(default_factory=dict)
    """What has arrived, by its place in the stream; what came first stays."""
    expected: int = 0
    sent: int = 0
    finished: bool = False

    def begins(self) -> bytes:
        return bytes(self.bytes_at[at] for at in range(min(self.expected, HEADER_BYTES_MAX)))


class Target:
    """All connections of one address. With `cookies` it keeps nothing before the end of a handshake."""

    def __init__(self, cookies: bool, chance: Random) -> None:
        self.cookies = cookies
        self.chance = chance
        self.connections: dict[SocketAddress, Connection] = {}
        self.begun: list[Connection] = []
        self.secret = chance.randbytes(8)

    def meet(self, packet: bytes, now: float) -> list[bytes]:
        """Its answers to one segment."""
        seen = dissect(packet)
        known = self.connections.get(seen.source)
        if seen.flags & SYN:
            return self._on_syn(seen, known, now)
        if seen.flags & RST:
            return self._on_reset(seen, known)
        if known is None and self.cookies and (known := self._by_cookie(seen, now)) is not None:
            self._begin(seen.source, known)
        if known is None:
            return [_answer(seen.source, RST, seen.acknowledgment)]
        return self._on_segment(seen, known)

    def _on_syn(self, seen: Seen, known: Connection | None, now: float) -> list[bytes]:
        if known is None:
            if self.cookies:
                size = self.chance.randrange(SEGMENT_SIZES)
                iss = self._cookie(seen.source, int(now // COOKIE_PERIOD_S)) + seen.sequence + size
            else:
                iss = self.foreseen(seen.source, seen.sequence)
                known = self.connections[seen.source] = Connection(seen.sequence, iss)
            return [_answer(seen.source, SYN | ACK, iss, seen.sequence + 1)]
        if known.irs == seen.sequence and not known.established:
            return [_answer(seen.source, SYN | ACK, known.iss, known.irs + 1)]
        return [self._challenge(seen.source, known)]

    def foreseen(self, source: SocketAddress, irs: int) -> int:
        """As bad as initial numbers can be: everybody knows them beforehand."""
        return crc32(repr((source, irs)).encode())

    def _cookie(self, source: SocketAddress, period: int) -> int:
        """But for the client's number and the segment size (net/ipv4/syncookies.c, secure_tcp_syn_cookie)."""
        return crc32(self.secret + repr((source, period)).encode())

    def _by_cookie(self, seen: Seen, now: float) -> Connection | None:
        irs, iss = (seen.sequence - 1) % NUMBERS, (seen.acknowledgment - 1) % NUMBERS
        for age in range(COOKIE_AGE_MAX):
            size = distance(iss, self._cookie(seen.source, int(now // COOKIE_PERIOD_S) - age) + irs)
            if 0 <= size < SEGMENT_SIZES:
                return Connection(irs, iss)
        return None

    def _begin(self, source: SocketAddress, connection: Connection) -> None:
        connection.established = True
        self.connections[source] = connection
        self.begun.append(connection)

    def _challenge(self, source: SocketAddress, known: Connection) -> bytes:
        number = known.iss + 1 + known.sent
        return _answer(source, ACK, number, known.irs + 1 + known.expected + known.finished)

    def _on_reset(self, seen: Seen, known: Connection | None) -> list[bytes]:
        if known is None:
            return []
        place = distance(seen.sequence, known.irs + 1 + known.expected + known.finished)
        if place == 0 or (0 <= place < WINDOW and not known.established):
            del self.connections[seen.source]
            return []
        return [self._challenge(seen.source, known)] if 0 <= place < WINDOW else []

    def _on_segment(self, seen: Seen, known: Connection) -> list[bytes]:
        place = distance(seen.sequence, known.irs + 1)
        acked = distance(seen.acknowledgment, known.iss + 1)
        if not known.established:
            if not 0 <= place <= WINDOW:
                return [self._challenge(seen.source, known)]
            if acked != 0:
                return [_answer(seen.source, RST, seen.acknowledgment)]
            self._begin(seen.source, known)
        if not known.expected - WINDOW <= place <= known.expected + WINDOW or not -WINDOW <= acked <= known.sent:
            return [self._challenge(seen.source, known)]
        if known.finished:  # nothing follows a FIN (RFC 9293 section 3.10.7.4, seventh)
            return [self._challenge(seen.source, known)]
        for at, byte in enumerate(seen.payload, place):
            if known.expected <= at < known.expected + WINDOW:
                known.bytes_at.setdefault(at, byte)
        while known.expected in known.bytes_at:
            known.expected += 1
        known.finished |= bool(seen.flags & FIN) and place + len(seen.payload) == known.expected
        return [self._challenge(seen.source, known)] if seen.payload or place < known.expected else []

    # --- what else is asked of it ------------------------------------------------------------------

    def pairs(self, isns: list[int]) -> list[tuple[int, int]]:
        """Numbers of both ends that its connections have, or may have: all that can be foreseen."""
        if self.cookies:
            return []
        known = [(it.irs, it.iss) for it in self.connections.values()]
        return known + [(isn, self.foreseen(source, isn)) for source in self.connections for isn in isns]

    def act(self) -> list[bytes]:
        """It speaks, or ends a connection with a reset, or forgets it."""
        if not self.connections:
            return []
        source, known = self.chance.choice(list(self.connections.items()))
        deed = self.chance.choice(("speaks", "resets", "forgets"))
        if deed == "speaks" and known.established:
            known.sent += self.chance.choice((1, 4, 100, 150, 300))
            return [self._challenge(source, known)]
        if deed != "speaks":
            del self.connections[source]
        return [_answer(source, RST, known.iss + 1 + known.sent)] if deed == "resets" else []


def _answer(peer: SocketAddress, flags: int, sequence: int, acknowledgment: int = 0) -> bytes:
    return tcp(
        TARGET,
        peer,
        flags=flags,
        sequence=sequence % NUMBERS,
        acknowledgment=acknowledgment % NUMBERS,
        options=OFFER if flags & SYN else b"",
        window=WINDOW if flags & SYN else WINDOW >> 7,
    )


class Judged(Protocol):
    """A target, whoever plays it."""

    begun: list[Any]
    """Its connections, each with `begins()`: the first bytes that it reads of it."""

    def meet(self, packet: bytes, now: float) -> list[bytes]: ...

    def pairs(self, isns: list[int]) -> list[tuple[int, int]]: ...

    def act(self) -> list[bytes]: ...


class Liar:
    """A client on one tuple, the nodes and the wires between it and its target."""

    def __init__(
        self, seed: int, placement: HeaderPlacement, cookies: bool, nodes: int, target: Judged | None = None,
        ports: int = 3,
    ) -> None:  # fmt: skip
        self.chance = Random(f"{seed} {placement} {cookies} {nodes}")
        self.zone = MemoryZone(snapshot_of(placement=placement), ports=ports)
        self.nodes = nodes
        self.target: Judged = target or Target(cookies, self.chance)
        self.header = proxy_header(CLIENT, ENDPOINT, "vpce-1")
        self.now = 1.0
        self.time_stands_still = False
        self.to_target: deque[bytes] = deque()
        self.to_client: deque[bytes] = deque()
        base = self.chance.randrange(NUMBERS)
        steps = (0, self.chance.randrange(90, 800), -self.chance.randrange(90, 800), 1_000_000)
        self.isns = [(base + step) % NUMBERS for step in steps]
        self.heard: list[tuple[int, int]] = []
        """(the client's number, the target's) of every SYN-ACK that came."""
        self.story: list[str] = []

    # --- what can happen -------------------------------------------------------------------------

    def act(self) -> None:
        """One thing happens."""
        deed = self.chance.choices(
            (self._syn, self._reset, self._segment, self._cross, self._answers, self._settles, self._target_acts,
             self._time_passes),
            (4, 3, 8, 8, 8, 2, 1, 2),
        )[0]  # fmt: skip
        deed()
        self._judge()

    def _send(self, flags: int, sequence: int, acknowledgment: int = 0, payload: bytes = b"") -> None:
        node = self.zone.node(self.chance.randrange(self.nodes))
        options = OFFER if flags & SYN else b""
        packet = tcp(
            CLIENT, ENDPOINT, flags=flags, sequence=sequence % NUMBERS, acknowledgment=acknowledgment % NUMBERS,
            payload=payload, options=options,
        )  # fmt: skip
        out = node.send(packet, DOOR, self.now)
        self._tell("client", flags, sequence, acknowledgment, payload, "" if out.accepted else out.reason.value)
        if out.accepted:
            self.to_target.extend((*out.leading, out.packet))

    def _tell(self, who: str, flags: int, sequence: int, acknowledgment: int, payload: bytes, what: str) -> None:
        number = distance(sequence, self.isns[0])
        self.story.append(f"{self.now:7.1f} {who} {flags:#04x} {number:+d} {acknowledgment} {payload[:8]!r} {what}")

    def _syn(self) -> None:
        again = self.heard and self.chance.random() < 0.4
        self._send(SYN, self.heard[-1][0] if again else self.chance.choice(self.isns))

    def _reset(self) -> None:
        isn = self.chance.choice(self.isns)
        place = self.chance.choice((1, 1, 0, 1 + len(self.header), 5, self.chance.randrange(400)))
        self._send(self.chance.choice((RST, RST | ACK)), isn + place, self._target_number())

    def _pairs(self) -> list[tuple[int, int]]:
        return self.heard[-4:] + self.target.pairs(self.isns)

    def _target_number(self) -> int:
        """A number of the target's: heard, or foreseen."""
        return self.chance.choice(self._pairs() or [(0, 0)])[1]

    def _segment(self) -> None:
        """Data, an ACK or a FIN, with numbers that fit together in one of many ways."""
        chance, length = self.chance, len(self.header)
        pairs = self.target.pairs([])
        if pairs and chance.random() < 0.3:
            irs, iss = chance.choice(pairs)
            self._send(PSH | ACK, irs + 1 - chance.choice((0, length)), iss + 1, LIE)
            return
        theirs = self._target_number()
        isn = chance.choice(self.isns)
        if self.heard and chance.random() < 0.6:
            isn, theirs = chance.choice(self.heard[-4:])
        places = (0, 0, -1, -2, 1, 5, -length, length, -chance.randrange(300), chance.randrange(300), *FAR)
        place = chance.choice(places)
        other = chance.choice(self.isns)  # as if it were of the stream that this one begins, and were shifted
        number = chance.choice((isn + 1 + place, isn + 1 + place, other + 1 - length))
        beyond = distance(number, isn + 1)
        acknowledged = chance.choice((0, 0, beyond, beyond + length, chance.randrange(300)))
        acknowledged += chance.choice((0, 0, 0, -3, -2, -1, 1, 2, 3))
        size = chance.choice((0, 0, 1, 4, -place if place < 0 else 8, 200))
        flags = chance.choice((ACK, PSH | ACK, PSH | ACK, FIN | ACK))
        self._send(flags, number, theirs + 1 + acknowledged, (LIE * 100)[:size])

    def _cross(self) -> None:
        """Some of what was sent reaches the target."""
        for _ in range(self.chance.choice((1, 1, 2, 5, 20))):
            if self.to_target:
                self._reach(self.to_target.popleft())

    def _reach(self, packet: bytes) -> None:
        seen = dissect(packet)
        what = f"for {seen.source[1]}"
        self._tell("  target", seen.flags, seen.sequence, seen.acknowledgment, seen.payload, what)
        self.to_client.extend(self.target.meet(packet, self.now))

    def _answers(self) -> None:
        """Some of what the target answered comes back."""
        for _ in range(self.chance.choice((1, 1, 2, 5, 20))):
            if self.to_client:
                packet = self.to_client.popleft()
                out = self.zone.node(self.chance.randrange(self.nodes)).send(packet, EXIT, self.now)
                seen = dissect(packet)
                what = f"of {seen.destination[1]} " + ("" if out.accepted else out.reason.value)
                self._tell("    back", seen.flags, seen.sequence, seen.acknowledgment, b"", what)
                if out.accepted:
                    self.to_target.extend(out.leading)
                    if seen.flags & SYN:
                        self.heard.append((seen.acknowledgment - 1, seen.sequence))

    def _settles(self) -> None:
        """All that is on its way arrives."""
        for _ in range(100):
            if not self.to_target and not self.to_client:
                return
            self._cross()
            self._answers()

    def _target_acts(self) -> None:
        answers = self.target.act()
        self.story.append(f"{self.now:7.1f}   target acts: {len(answers)} answers")
        self.to_client.extend(answers)

    def _time_passes(self) -> None:
        self.now += 0.0 if self.time_stands_still else self.chance.choice((0.1, 10.0, 30.0, 61.0, 200.0, 400.0))
        for node in self.zone.nodes.values():
            node.dataplane.receive_deltas(self.now)
            node.pass_time(self.now)
            for packet, _ in node.dataplane.packets_to_send():
                self.to_target.append(packet)

    # --- the judgment ----------------------------------------------------------------------------

    def _judge(self) -> None:
        for connection in self.target.begun:
            begins = connection.begins()
            assert begins[: len(self.header)] == self.header[: len(begins)], "\n".join(
                (*self.story[-40:], f"target reads {begins!r}")
            )

    def told_the_truth(self) -> Iterator[Any]:
        """Connections whose target has read the whole header."""
        return (it for it in self.target.begun if it.begins()[: len(self.header)] == self.header)
