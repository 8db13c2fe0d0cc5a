"""A target that is a whole end of a stream, and strict: every byte that it takes is compared with what must be there.

First the header of the client that it cannot see, all of it, then the client's own bytes, and nothing else (INV-2). It
greets, if it does so at all, when it has read the header; it answers each question once.
"""

from dataclasses import dataclass, field
from random import Random
from zlib import crc32

from tests.cases import ACK, FIN, NOP, PSH, RST, SACK_PERMITTED, SYN, SocketAddress, mss, tcp, timestamps, window_scale
from tests.dissection import Seen
from tests.sim.ends import NUMBERS, REPEAT_FIRST_S, REPEAT_MAX_S, Server, Violation, Wire, answer_to
from tests.sim.halves import WHOLE_WINDOW, Arrival, Inbound, Outbound, distance, option_of
from tests.sim.header_flows import HeaderFlows
from tests.sim.header_plan import COOKIE_LIFE_S, HeaderPlan
from tests.sim.liars import Liar
from tests.sim.opened import Opened, is_first
from tests.sim.streams import GREETING, ONE_CALL, Stream

PATIENCE_S = 600.0
"""After so long without a word from the client a target forgets the connection."""
CHALLENGE_INTERVAL_S = 0.5
_COOKIE_SIZES, _COOKIE_SIZE = 4, 2
"""How many segment sizes a cookie can tell of, and the place of the one that these do."""


@dataclass(slots=True, eq=False)
class Connection:
    """One connection of a target's."""

    opened: Opened
    """The stream that it should be."""
    source: SocketAddress
    peer_isn: int
    inbound: Inbound
    outbound: Outbound
    heard_at: float
    confirmed: bool = False
    greeted: bool = False
    answered: int = 0
    """Bytes of the stream whose questions are answered."""
    stamp: int = 0
    """The client's newest timestamp; 0: none were agreed upon."""
    repeat_s: float = REPEAT_FIRST_S
    wakes: int = 0
    challenged_at: float = -1.0


@dataclass(slots=True)
class StreamServer(Server):
    """One target."""

    plan: HeaderPlan = field(default_factory=HeaderPlan)
    flows: HeaderFlows = None  # type: ignore[assignment]
    chance: Random = field(default_factory=Random)
    streams: dict[SocketAddress, Connection] = field(default_factory=dict)
    ended: set[Opened] = field(default_factory=set)
    """Honest streams that are over: their cookies open nothing any more. (Those of Linux do, for two minutes, also when
    a node repeats the header beside each reset.)"""
    asked_at: dict[SocketAddress, float] = field(default_factory=dict)
    """When the last SYN came."""
    lives: int = 0

    def restart(self) -> None:
        self.streams.clear()
        self.lives += 1

    def on_segment(self, wire: Wire, seen: Seen) -> None:
        connection = self.streams.get(seen.source)
        if seen.flags & RST:
            if connection is not None:
                self._on_reset(wire, seen, connection)
            return
        if seen.flags & SYN and (connection is not None or is_first(seen)):
            self._on_first_segment(wire, seen, connection)
            return
        if not seen.flags & SYN:
            connection = connection or self._by_cookie(wire, seen)
        if connection is None and self._has_cookie_out(wire, seen.source):
            return
        if connection is None:
            self._send(wire, seen.source, RST, seen.acknowledgment, 0)
        else:
            self._on_stream(wire, seen, connection)

    # --- beginnings and ends -------------------------------------------------------------------

    def _on_first_segment(self, wire: Wire, seen: Seen, connection: Connection | None) -> None:
        if connection is None:
            connection = self._accept(wire, seen)
            self._answer_syn_of(wire, connection)
            if not self.plan.cookies:
                self.streams[seen.source] = connection
                self._arm(wire, connection)
                if self.late_s:
                    wire.at(wire.now + self.late_s, self._ask_if_there, wire, connection)
        elif seen.sequence == connection.peer_isn and is_first(seen) and not connection.confirmed:
            self._answer_syn_of(wire, connection)
        else:
            self._challenge(wire, connection)

    def _accept(self, wire: Wire, seen: Seen) -> Connection:
        self.accepted_count += 1
        isn = self.accepted_count * 7_654_321
        if self.plan.cookies:
            isn = self.cookie_for(seen.source, seen.sequence, wire.now)
            self.asked_at[seen.source] = wire.now
        return self._connection(wire, seen, seen.sequence, isn % NUMBERS)

    def cookie_for(self, source: SocketAddress, isn: int, now: float) -> int:
        """As in Linux (net/ipv4/syncookies.c) the client's number is an addend, and so is the segment size's place."""
        return self._secret_of(source, int(now / COOKIE_LIFE_S)) + isn + _COOKIE_SIZE

    def _secret_of(self, source: SocketAddress, minute: int) -> int:
        return crc32(repr((self.address, source, self.lives, minute)).encode())

    def _connection(self, wire: Wire, seen: Seen, peer_isn: int, isn: int) -> Connection:
        plan = self.plan
        opened = self.flows.of_connection(self.address, seen.source, peer_isn)
        is_honest = not isinstance(opened.call, Liar)
        if is_honest and opened.isn != peer_isn:
            raise Violation(f"INV-13: a target begins the stream {opened.isn} of {opened.user} at {peer_isn}")
        inbound = Inbound((peer_isn + 1) % NUMBERS, plan.room, plan.shift, plan.holds, is_honest)
        outbound = Outbound((isn + 1) % NUMBERS, edge=ONE_CALL)
        connection = Connection(opened, seen.source, peer_isn, inbound, outbound, wire.now)
        stamps = option_of(seen, 8)
        connection.stamp = int.from_bytes(stamps[:4], "big") if stamps and plan.stamps else 0
        return connection

    def _by_cookie(self, wire: Wire, seen: Seen) -> Connection | None:
        """Any ACK of a cookie opens the connection: all that is needed is in its two numbers."""
        peer_isn = (seen.sequence - 1) % NUMBERS
        if not self._has_cookie_out(wire, seen.source) or not self._is_cookie(wire, seen, peer_isn):
            return None
        opened = self.flows.of_connection(self.address, seen.source, peer_isn)
        if not opened.placement and opened.isn != peer_isn:
            return None  # without a header it is the client's own affair
        connection = self._connection(wire, seen, peer_isn, (seen.acknowledgment - 1) % NUMBERS)
        if opened in self.ended:
            return None
        self.streams[seen.source] = connection
        if self.late_s:
            wire.at(wire.now + self.late_s, self._ask_if_there, wire, connection)
        return connection

    def _is_cookie(self, wire: Wire, seen: Seen, peer_isn: int) -> bool:
        minute = int(wire.now / COOKIE_LIFE_S)
        rest = seen.acknowledgment - 1 - peer_isn
        return any((rest - self._secret_of(seen.source, it)) % NUMBERS < _COOKIE_SIZES for it in (minute, minute - 1))

    def _has_cookie_out(self, wire: Wire, source: SocketAddress) -> bool:
        """Whether a cookie that was sent may still come back. If so, nothing else is reset meanwhile: it may have
        overtaken that. Linux resets the connection then, whether there is a translator or not."""
        return self.plan.cookies and wire.now - self.asked_at.get(source, -1000.0) < 2 * COOKIE_LIFE_S

    def _answer_syn_of(self, wire: Wire, connection: Connection) -> None:
        offer = mss(self.plan.segment_bytes) + SACK_PERMITTED + NOP + window_scale(self.plan.shift)
        if connection.stamp:
            offer += timestamps(1, connection.stamp)
        window = min(connection.inbound.edge, WHOLE_WINDOW)
        self._send(wire, connection.source, SYN | ACK, connection.outbound.first - 1, connection.inbound.first,
                   options=offer, window=window)  # fmt: skip

    def _on_reset(self, wire: Wire, seen: Seen, connection: Connection) -> None:
        """What is not exactly the next byte is asked about, once the handshake is over (RFC 5961 section 3.2)."""
        place = distance(seen.sequence, connection.inbound.expected)
        is_inside = 0 <= place < connection.inbound.room
        if place == 0 or (is_inside and not connection.confirmed):
            self._forget(connection)
        elif is_inside:
            self._challenge(wire, connection)

    def _challenge(self, wire: Wire, connection: Connection) -> None:
        """RFC 5961 section 4, as often as Linux does it at most (ip-sysctl, tcp_invalid_ratelimit)."""
        if wire.now >= connection.challenged_at + CHALLENGE_INTERVAL_S:
            connection.challenged_at = wire.now
            self._say(wire, connection, ACK, connection.outbound.top)

    def _forget(self, connection: Connection) -> None:
        del self.streams[connection.source]
        if isinstance(connection.opened.call, Stream):
            self.ended.add(connection.opened)

    # --- the stream ----------------------------------------------------------------------------

    def _on_stream(self, wire: Wire, seen: Seen, connection: Connection) -> None:
        inbound, outbound = connection.inbound, connection.outbound
        acked = distance(seen.acknowledgment, outbound.first)
        place = distance(seen.sequence, inbound.first)
        if not -1 <= place < ONE_CALL or self._is_stale(seen, connection, place):
            self._say(wire, connection, ACK, outbound.top)
            return
        oldest = -ONE_CALL if connection.confirmed else 0  # RFC 5961 section 5.2
        if not oldest <= acked <= outbound.top or not seen.flags & ACK:
            if not connection.confirmed:
                self._send(wire, seen.source, RST, seen.acknowledgment, 0)
            return
        arrival = inbound.take(place, seen.payload, seen.flags & FIN != 0)
        self._judge(connection, place, seen, arrival)
        connection.heard_at = wire.now
        if arrival is not Arrival.OLD or connection.confirmed:
            connection.confirmed = connection.opened.is_met = True
            outbound.acknowledge(acked, ONE_CALL)
            if outbound.closes and outbound.is_acked:
                self._forget(connection)
                return
        if not self.plan.read_s:
            self._read(wire, connection)
        elif arrival is Arrival.NEW or not connection.opened.header:
            wire.at(wire.now + self.plan.read_s, self._read_later, wire, connection)
        if not self._push(wire, connection) and arrival is not Arrival.BARE:
            self._say(wire, connection, ACK, outbound.top)

    def _is_stale(self, seen: Seen, connection: Connection, place: int) -> bool:
        """RFC 7323 section 5.3: an older timestamp than was seen. What has none at all must not be."""
        if not connection.stamp:
            return False
        option = option_of(seen, 8)
        if option is None:
            raise Violation(f"{seen.source} sends a segment without the timestamps that were agreed upon")
        stamp = int.from_bytes(option[:4], "big")
        if distance(stamp, connection.stamp) < 0:
            return True
        if place <= len(connection.inbound.taken):
            connection.stamp = stamp
        return False

    def _judge(self, connection: Connection, place: int, seen: Seen, arrival: Arrival) -> None:
        """INV-2, and what is offered is not overrun."""
        opened = connection.opened
        opened.judge(connection.inbound.taken, connection.inbound.finished)
        own_bytes = place + len(seen.payload) - max(place, len(opened.header))
        if arrival is Arrival.BEYOND and own_bytes > 1 and isinstance(opened.call, Stream):
            # (one byte asks whether a closed window has opened)
            raise Violation(f"call {opened.call.number} sends {own_bytes} bytes past what its target takes")

    def _read_later(self, wire: Wire, connection: Connection) -> None:
        if self.streams.get(connection.source) is connection:
            before = connection.inbound.window()
            self._read(wire, connection)
            if not self._push(wire, connection) and connection.inbound.window() > before:
                self._say(wire, connection, ACK, connection.outbound.top)

    def _read(self, wire: Wire, connection: Connection) -> None:
        """The application: first the header, then questions."""
        inbound, outbound, header = connection.inbound, connection.outbound, connection.opened.header
        inbound.read = len(inbound.taken)
        if inbound.read < len(header) or not connection.confirmed:
            return
        if self.plan.greets and not connection.greeted:
            connection.greeted = True
            outbound.data += GREETING
        at = max(connection.answered, len(header))
        while (end := inbound.taken.find(b">", at)) >= 0:
            outbound.data += answer_to(bytes(inbound.taken[at : end + 1]))
            at = connection.answered = end + 1
        outbound.closes = inbound.finished

    # --- sending -------------------------------------------------------------------------------

    def _say(self, wire: Wire, connection: Connection, flags: int, place: int, payload: bytes = b"") -> None:
        inbound = connection.inbound
        if not self.plan.tells_doubles:
            inbound.doubled = None
        options = inbound.blocks()
        if connection.stamp:
            options = NOP + NOP + timestamps(int(wire.now * 1000), connection.stamp) + options
        number = connection.outbound.first + place
        self._send(wire, connection.source, flags, number, inbound.expected, payload, options, inbound.window())

    def _send(
        self, wire: Wire, peer: SocketAddress, flags: int, sequence: int, acknowledgment: int, payload: bytes = b"",
        options: bytes = b"", window: int = 0,
    ) -> None:  # fmt: skip
        wire.from_target(
            tcp(self.address, peer, flags=flags, sequence=sequence % NUMBERS, acknowledgment=acknowledgment,
                payload=payload, options=options, window=window)
        )  # fmt: skip

    def _push(self, wire: Wire, connection: Connection) -> bool:
        sent = False
        for place, flags, data in connection.outbound.segments(self.chance, 1400):
            self._say(wire, connection, flags | PSH if data else flags, place, data)
            sent = True
        if sent:
            connection.repeat_s = REPEAT_FIRST_S
            self._arm(wire, connection)
        return sent

    def _arm(self, wire: Wire, connection: Connection) -> None:
        connection.wakes += 1
        wire.at(wire.now + connection.repeat_s, self._repeat, wire, connection, connection.wakes)

    def _repeat(self, wire: Wire, connection: Connection, number: int) -> None:
        if self.streams.get(connection.source) is not connection or connection.wakes != number:
            return
        if wire.now - connection.heard_at > PATIENCE_S:
            self._forget(connection)
            return
        repeat_s = min(connection.repeat_s * 2, REPEAT_MAX_S)
        if not connection.confirmed:
            self._answer_syn_of(wire, connection)
        elif not connection.outbound.is_acked:
            connection.outbound.next = connection.outbound.acked
            self._push(wire, connection)
        else:
            return
        connection.repeat_s = repeat_s
        self._arm(wire, connection)

    def _ask_if_there(self, wire: Wire, connection: Connection) -> None:
        if connection.confirmed and self.streams.get(connection.source) is connection:
            self._say(wire, connection, ACK, connection.outbound.top - 1)
