"""The rule by which a target gets its Proxy Protocol v2 header in a stream that nobody terminates.

The header is a segment of its own in front of the client's first byte, so nothing grows that might not fit; where
the client's first data is so short that both fit the target's segment size, they are one segment, once. Nobody's
retransmission queue holds the header, so it is sent again with every client segment that starts at that byte, until the
target has acknowledged it all. To repeat it is harmless: the target discards what it has. So any node can do it at any
time and none needs to know whether another has done it already; that the target has it is told to peers, but only
saves work.

What becomes of a client's segment is a table, `EMISSIONS`: by the placement of the target group, by whether the
header is acknowledged, and by where the segment starts:

    OLD      more than one number before the first byte: nothing that was ever shifted
    PROBE    one number before it: a keep-alive or a window probe, perhaps with one byte that nobody reads
    BARE     at the first byte, an ACK with nothing behind it
    FIRST    at the first byte, with data, FIN or RST: what needs the header before it
    RESET    at the first byte, a RST without ACK: a header made of it would acknowledge nothing
    BEYOND   after the first byte
    ACROSS   before it, and ends behind it: no client's stream has such a segment

What is ACROSS is refused. Its receiver would cut off what it has (RFC 9293 section 3.10.7.4) and take the rest for
the stream's beginning: without a header, or with one of the client's own making.

With `on_first_ack` the bare ACK that ends the handshake is *replaced*: were it forwarded as well, a target would
believe the handshake complete and would not repeat its SYN-ACK, the only thing that brings a silent client to send
another ACK when the header was lost. A target that keeps no state yet (SYN cookies) repeats nothing, so there the
header has a timer, too. With `on_first_ack_with_payload` the client's own retransmission brings the header back.

What is fixed when the SYN is seen: whether there is a header, its placement, and its bytes (they follow from the
flow's original key and the endpoint's id). Only another SYN begins another stream: at once after the end, else when
the target answers it (`dataplane/tracking.py`).

Sources: HAProxy's "The PROXY protocol" section 2, AWS Network Load Balancers guide "Proxy protocol"; the rule is ours.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum

from hyperplane.flow.opening import Opening
from hyperplane.limits import LONG_STREAM_BYTES, WINDOW_BYTES_MAX
from hyperplane.nat.sequence import MASK, distance, to_client, to_target, unacknowledged
from hyperplane.snapshot import HeaderPlacement
from hyperplane.wire.packet import ACK, FIN, RST

PLACEMENTS: tuple[HeaderPlacement | None, ...] = (
    None,
    HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD,
    HeaderPlacement.ON_FIRST_ACK,
)
"""As journals number them."""

HEADER_ACKED, HEADER_PAST, ANOTHER_SYN = 1, 2, 4
"""Marks that nodes tell each other: the target has the whole header; the stream is so long that no number in use can
be compared with its beginning any more; the client has sent a SYN with another number, so a SYN-ACK may begin
another stream."""


class Start(IntEnum):
    """Where a client's segment starts."""

    OLD = 0
    PROBE = 1
    BARE = 2
    FIRST = 3
    RESET = 4
    BEYOND = 5
    ACROSS = 6


class Emission(Enum):
    """What becomes of a client's segment."""

    PASS = "pass"
    """Goes on with its own number."""
    SHIFT = "shift"
    """Goes on with the number that the target knows."""
    LEAD = "lead"
    """The header first, then the segment, shifted; or both in one."""
    REPLACE = "replace"
    """The header instead."""
    PROBED = "probed"
    """The header instead, if only its own room in the target's window keeps the client from sending; else PASS."""
    TWICE = "twice"
    """Before the header and behind it: nobody answers a reset, so nobody learns where the target stands."""
    REFUSE = "refuse"


_WITH_PAYLOAD, _AT_ONCE = HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD, HeaderPlacement.ON_FIRST_ACK

EMISSIONS: dict[tuple[HeaderPlacement, Start], Emission] = {
    (_AT_ONCE, Start.OLD): Emission.PASS,
    (_AT_ONCE, Start.PROBE): Emission.REPLACE,
    (_AT_ONCE, Start.BARE): Emission.REPLACE,
    (_AT_ONCE, Start.FIRST): Emission.LEAD,
    (_AT_ONCE, Start.RESET): Emission.TWICE,
    (_AT_ONCE, Start.BEYOND): Emission.SHIFT,
    (_AT_ONCE, Start.ACROSS): Emission.REFUSE,
    (_WITH_PAYLOAD, Start.OLD): Emission.PASS,
    (_WITH_PAYLOAD, Start.PROBE): Emission.PROBED,
    (_WITH_PAYLOAD, Start.BARE): Emission.PASS,
    (_WITH_PAYLOAD, Start.FIRST): Emission.LEAD,
    (_WITH_PAYLOAD, Start.RESET): Emission.TWICE,
    (_WITH_PAYLOAD, Start.BEYOND): Emission.SHIFT,
    (_WITH_PAYLOAD, Start.ACROSS): Emission.REFUSE,
}
"""While the header is not acknowledged. Complete: a test walks every pair."""

_EMISSIONS_ACKED = {Start.OLD: Emission.PASS, Start.ACROSS: Emission.REFUSE}
"""Afterwards; all else is SHIFT."""


def start_of(sequence: int, flags: int, payload_bytes: int, first: int) -> Start:
    """Where a segment without SYN starts, seen from the first byte of its stream."""
    place = distance(sequence, first)
    if place > 0:
        return Start.BEYOND
    if place < 0:
        if place + payload_bytes + bool(flags & FIN) > 0:
            return Start.ACROSS
        return Start.PROBE if place == -1 and not flags & (FIN | RST) else Start.OLD
    if flags & RST and not flags & ACK:
        return Start.RESET
    return Start.FIRST if payload_bytes or flags & (FIN | RST) else Start.BARE


@dataclass(frozen=True, slots=True)
class Protections:
    """What keeps a stream whole. All are on; tests take one away, to see that something notices."""

    clamps: bool = True
    """Acknowledgments and SACK edges inside the header become the client's first byte."""
    repeats: bool = True
    """The header is sent until it is acknowledged, and not just once."""
    resends: bool = True
    """The timer."""
    maps_sack: bool = True
    replaces: bool = True
    """The bare ACK is not forwarded beside the header."""
    narrows: bool = True
    """The window leaves room for the header."""


class Injection:
    """The header of one flow: of a stream, or (`first` counts nothing then) of every datagram."""

    __slots__ = ("first", "header", "length", "marks", "opening", "placement")

    first: int
    """Sequence number of the client's first byte: its SYN's plus one."""
    header: bytes
    """Of datagrams, once it was needed; of streams in `opening`, as long as it is needed."""
    length: int
    placement: HeaderPlacement
    marks: int
    opening: Opening | None
    """None once the header is acknowledged."""

    def __init__(self, placement: HeaderPlacement, first: int, length: int, is_stream: bool) -> None:
        self.placement = placement
        self.first = first
        self.length = length
        self.marks = 0
        self.header = b""
        self.opening = Opening() if is_stream else None

    def join_marks(self, marks: int) -> None:
        """Take in what another node knows. Marks are only ever added."""
        self.marks |= marks
        if marks & HEADER_ACKED:
            self.opening = None

    def emission(self, sequence: int, flags: int, payload_bytes: int) -> Emission:
        """What becomes of a client's segment without SYN."""
        start = start_of(sequence, flags, payload_bytes, self.first)
        if self.opening is None:
            return _EMISSIONS_ACKED.get(start, Emission.SHIFT)
        emission = EMISSIONS[self.placement, start]
        if emission is Emission.PROBED:
            return Emission.REPLACE if self.opening.hides else Emission.PASS
        return emission

    def to_target(self, sequence: int) -> int:
        if self.marks & HEADER_PAST:
            return (sequence + self.length) & MASK
        return to_target(sequence, self.first, self.length)

    def to_client(self, number: int) -> int:
        if self.marks & HEADER_PAST:
            return (number - self.length) & MASK
        return to_client(number, self.first, self.length)

    def missing(self, acknowledgment: int) -> int:
        """Bytes of the header that are not covered by this acknowledgment of the target's."""
        return 0 if self.marks & HEADER_PAST else unacknowledged(acknowledgment, self.first, self.length)

    def note_offer(self, window: int, mss: int) -> None:
        """A SYN-ACK of the target's: the window that it opens with, in bytes, and its segment size (0: not given).

        It has nothing of the header, whatever it had before: it may have forgotten that, and met the same SYN again.
        """
        if self.opening is not None:
            self.opening.acked_bytes = 0
            self.opening.edge = (self.first + window) & MASK
            self.opening.mss = mss

    def news_of(self, acknowledgment: int, right_edge: int) -> int:
        """Learn from a target's segment of a synchronized conversation. Returns the marks that are new.

        A number that cannot be of this stream is one of an older conversation's late segments, and says nothing.
        """
        beyond = distance(acknowledgment, self.first)
        opening = self.opening
        past = HEADER_PAST if beyond >= LONG_STREAM_BYTES else 0
        if opening is None:
            return self.mark(past)
        if not 0 <= beyond < WINDOW_BYTES_MAX:
            return 0
        if beyond >= self.length:
            return self.mark(HEADER_ACKED | past)
        opening.acked_bytes = max(opening.acked_bytes, beyond)
        if opening.edge is None or distance(right_edge, opening.edge) > 0:
            opening.edge = right_edge
        return 0

    def mark(self, mark: int) -> int:
        """Set a mark. Returns it if it is new."""
        new = mark & ~self.marks
        self.join_marks(mark)
        return new
