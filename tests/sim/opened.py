"""A stream that a client's SYN began towards a target, as it is seen from outside the nodes.

Where the target gets a header, a translation has one stream for life: another one has another source port.
"""

from dataclasses import dataclass, field
from functools import cache

from tests.cases import ACK, FIN, RST, SYN, TCP, SocketAddress
from tests.dissection import Seen
from tests.header_oracle import proxy_header
from tests.nodes import DATAGRAM_PORT, SERVICE_PORT
from tests.sim.ends import NUMBERS, Violation
from tests.sim.halves import distance
from tests.sim.header_plan import Placement
from tests.sim.liars import Liar
from tests.sim.streams import ONE_CALL, Stream

ENDPOINT_ADDRESS = "10.0.1.10"
AT_ONCE_S = 0.0025
"""Flows that were made within this are rivals: moments are told in whole milliseconds, and one more for a successor."""

COOKIE_SPREAD = 7
HANDSHAKE_BYTES = 0xFFFF
"""A client sends no more before it has heard more than the SYN-ACK."""

Key = tuple[SocketAddress, SocketAddress]
"""Source and target of a translation."""
User = tuple[int, SocketAddress]
"""Door and client."""


def endpoint_id(door: int) -> str:
    """Of the endpoint behind this door: as long as AWS's."""
    return f"vpce-{door:017x}"


@cache
def header_of(door: int, client: SocketAddress, protocol: int) -> bytes:
    """What a target must be told of this client."""
    port = SERVICE_PORT if protocol == TCP else DATAGRAM_PORT
    return proxy_header(client, (ENDPOINT_ADDRESS, port), endpoint_id(door), protocol)


def is_first(seen: Seen) -> bool:
    """Whether a segment asks for a stream. A SYN with an ACK or RST does not, from a client."""
    return seen.flags & (SYN | ACK | RST) == SYN


@dataclass(slots=True, eq=False)
class Opened:
    """One stream."""

    user: User
    key: Key
    isn: int
    placement: Placement
    call: Stream | Liar
    made_at: float
    """When its flow was made."""
    asked_at: float
    """When its client's side last spoke."""
    heard_at: float = -1000.0
    """When anything last passed."""
    answer: int | None = None
    """The number of the target's SYN-ACK, once that has passed."""
    answered_at: float = -1000.0
    shift: int = 0
    """Of the target's window."""
    is_met: bool = False
    """The target believes that it is established, or did."""
    is_reset: bool = False
    is_switched_on: bool = False
    """Its SYN has begun a stream without a header before, and was answered."""
    in_doubt: bool = False
    """A node died with one of its packets, and may have told of it; or a reset may have been of an older stream."""
    _closed: set[bool] = field(default_factory=set)
    """The sides that have sent a FIN: whether it is the client's."""

    @property
    def header(self) -> bytes:
        return header_of(*self.user, TCP) if self.placement else b""

    @property
    def first(self) -> int:
        """The client's first byte."""
        return (self.isn + 1) % NUMBERS

    @property
    def is_over(self) -> bool:
        return self.is_reset or len(self._closed) == 2

    def is_on_line(self, place: int, acknowledgment: int) -> bool:
        """Whether a segment there that acknowledges this could be the answer to a cookie."""
        return self.answer is None or abs(place - distance(acknowledgment, self.answer + 1)) <= COOKIE_SPREAD

    def is_beside(self, place: int, seen: Seen) -> bool:
        """Whether a segment's number is the first that cannot be the answer to a cookie, with what it acknowledges."""
        if self.answer is None:
            return self.in_doubt  # a node has told of it, and died before it sent it
        return place - distance(seen.acknowledgment, self.answer + 1) == COOKIE_SPREAD + 1

    def is_at_once_with(self, other: "Opened") -> bool:
        return abs(self.made_at - other.made_at) < AT_ONCE_S

    def is_near(self, seen: Seen) -> bool:
        """Whether a client's segment can be of this stream: what cannot opens nothing, and keeps nothing half open."""
        return -2 <= distance(seen.sequence, self.first) < ONE_CALL

    def hear(self, seen: Seen, is_clients: bool, now: float) -> None:
        """A segment has passed."""
        self.heard_at = now
        if is_clients and self.is_near(seen):
            self.asked_at = now
        is_of_handshake = -1 <= distance(seen.sequence, self.first) <= HANDSHAKE_BYTES
        if seen.flags & RST:
            if is_clients and not is_of_handshake:
                self.in_doubt = True  # it ends the stream, unless that was half open just then
            else:
                self.is_reset = True
        elif seen.flags & FIN:
            self._closed.add(is_clients)
        elif is_clients and not seen.flags & SYN:
            self.is_reset = False
        elif is_clients and seen.flags & ACK:
            self.in_doubt = True  # a SYN-ACK of a client's
        elif not is_clients and seen.flags & (SYN | ACK) == SYN | ACK and self.answer is None:
            self.answer, self.answered_at = seen.sequence, now

    def judge(self, taken: bytes | bytearray, is_whole: bool) -> None:
        """INV-2: what a target has read of it is the header, once and whole, and the client's bytes behind it.

        A liar may say anything, but behind its header.
        """
        header = self.header
        if isinstance(self.call, Liar):
            read = taken[: len(header)]
            if not header.startswith(read):
                raise Violation(f"INV-2: a target of the liar {self.user} reads {bytes(read)!r}, and no header first")
            return
        should = header + self.call.outbound.data
        if not should.startswith(taken):
            at = next(at for at, byte in enumerate(taken) if at >= len(should) or byte != should[at])
            raise Violation(
                f"INV-2: call {self.call.number}: byte {at} of the stream is {bytes(taken[at : at + 20])!r}, "
                f"and should be {bytes(should[at : at + 20])!r} (header: {len(header)} bytes)"
            )
        if is_whole and len(taken) != len(should):
            raise Violation(f"INV-2: call {self.call.number} ends after {len(taken)} bytes for its target")
