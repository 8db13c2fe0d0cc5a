"""The rule by which a target gets its Proxy Protocol v2 header in a stream that nobody terminates.

The header is a segment of its own in front of the client's first byte, so nothing grows that might not fit; where
the client's first data is so short that both fit the target's segment size, they are one segment, once. Nobody's
retransmission queue holds the header, so it is sent again with every client segment that starts at that byte, until the
target has acknowledged it all. To repeat it is harmless: the target discards what it has. So any node can do it at any
time and none needs to know whether another has done it already; that the target has it is told to peers, but only
saves work.

What becomes of a client's segment is a table, `EMISSIONS`: by the placement of the target group, by whether the
header is acknowledged, and by where the segment starts:

    OLD      a reset from before the first byte: it begins nothing, and ends what it fits
    PROBE    one number before it: a keep-alive or a window probe, perhaps with one byte that nobody reads
    BARE     at the first byte, an ACK with nothing behind it
    FIRST    at the first byte, with data, FIN or RST: what needs the header before it
    RESET    at the first byte, a RST without ACK: a header made of it would acknowledge nothing
    BEYOND   after the first byte
    EARLY    anything else from before it: no client's stream has such a segment

What is EARLY is refused. If it ends behind the first byte, its receiver would cut off what it has (RFC 9293 section
3.10.7.4) and take the rest for the stream's beginning: without a header, or with one of the client's own making.

With `on_first_ack` the bare ACK that ends the handshake is *replaced*: were it forwarded as well, a target would
believe the handshake complete and would not repeat its SYN-ACK, the only thing that brings a silent client to send
another ACK when the header was lost. A target that keeps no state yet (SYN cookies) repeats nothing, so there the
header has a timer, too. With `on_first_ack_with_payload` the client's own retransmission brings the header back.

What is fixed when the SYN is seen: whether there is a header, its placement, its bytes (they follow from the flow's
original key and the endpoint's id), and its place. A client may forge any segment, but not move that: nodes and target
must agree on the first byte of whatever stream the target takes part in. So

1.  a flow has one first byte for life; another SYN begins another flow, from another source port, or nothing at all
    (`flow/another_syn.py`);
2.  before the target has answered this SYN (ANSWERED) nothing passes but SYNs and resets, so that what the client sends
    cannot complete a handshake of which we know nothing;
3.  nothing passes in front of the first byte but resets and keep-alives without data (EARLY): not an ACK alone, which
    could end a handshake there, and numbers come round;
4.  nothing behind the header looks like the end of a handshake to a target that has SYN cookies. Such a target keeps
    nothing and takes all it needs from the client's ACK. In Linux's cookies (net/ipv4/syncookies.c) the client's
    number is an addend, so that an ACK with both numbers n too large is as good, and begins a stream n bytes behind the
    header's beginning. A segment with such a pair of numbers (`is_cookie`) acknowledges less, and what it has to
    acknowledge goes before it in an ACK with a larger number.

Sources: HAProxy's "The PROXY protocol" section 2, AWS Network Load Balancers guide "Proxy protocol"; the rule is ours.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum

from hyperplane.flow.opening import Opening
from hyperplane.limits import COOKIE_SPREAD, LONG_STREAM_BYTES, UNASKED_BYTES_MAX, WINDOW_BYTES_MAX
from hyperplane.nat.sequence import MASK, distance, to_client, to_target, unacknowledged
from hyperplane.snapshot import HeaderPlacement
from hyperplane.wire.packet import ACK, FIN, RST

PLACEMENTS: tuple[HeaderPlacement | None, ...] = (
    None,
    HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD,
    HeaderPlacement.ON_FIRST_ACK,
)
"""As journals number them."""

_MSS = 0xFFFF

HEADER_ACKED, HEADER_PAST, ANSWERED = 1, 2, 4
"""Marks that nodes tell each other: the target has the whole header; the stream is so long that no number in use can
be compared with its beginning any more; the target has answered the client's SYN, and what it said is told beside."""


class Start(IntEnum):
    """Where a client's segment starts."""

    OLD = 0
    PROBE = 1
    BARE = 2
    FIRST = 3
    RESET = 4
    BEYOND = 5
    EARLY = 6


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
_BARE, _FIRST, _BEYOND = Start.BARE, Start.FIRST, Start.BEYOND
_PROBED = Emission.PROBED

EMISSIONS: dict[tuple[HeaderPlacement, Start], Emission] = {
    (_AT_ONCE, Start.OLD): Emission.PASS,
    (_AT_ONCE, Start.PROBE): Emission.REPLACE,
    (_AT_ONCE, Start.BARE): Emission.REPLACE,
    (_AT_ONCE, Start.FIRST): Emission.LEAD,
    (_AT_ONCE, Start.RESET): Emission.TWICE,
    (_AT_ONCE, Start.BEYOND): Emission.SHIFT,
    (_AT_ONCE, Start.EARLY): Emission.REFUSE,
    (_WITH_PAYLOAD, Start.OLD): Emission.PASS,
    (_WITH_PAYLOAD, Start.PROBE): Emission.PROBED,
    (_WITH_PAYLOAD, Start.BARE): Emission.PASS,
    (_WITH_PAYLOAD, Start.FIRST): Emission.LEAD,
    (_WITH_PAYLOAD, Start.RESET): Emission.TWICE,
    (_WITH_PAYLOAD, Start.BEYOND): Emission.SHIFT,
    (_WITH_PAYLOAD, Start.EARLY): Emission.REFUSE,
}
"""While the header is not acknowledged. Complete: a test walks every pair."""

_EMISSIONS_ACKED = {Start.OLD: Emission.PASS, Start.EARLY: Emission.REFUSE}
"""Afterwards; all else is SHIFT."""

_ROW_WITH_PAYLOAD = tuple(EMISSIONS[_WITH_PAYLOAD, start] for start in Start)
_ROW_AT_ONCE = tuple(EMISSIONS[_AT_ONCE, start] for start in Start)
_ROW_ACKED = tuple(_EMISSIONS_ACKED.get(start, Emission.SHIFT) for start in Start)
"""The same by the number of the start. Enums are slow to hash, and every connection asks a few times."""


def start_of(sequence: int, flags: int, payload_bytes: int, first: int) -> Start:
    """Where a segment without SYN starts, seen from the first byte of its stream."""
    place = distance(sequence, first)
    if place > 0:
        return _BEYOND
    if place < 0:
        if flags & RST and not payload_bytes:
            return Start.OLD
        is_probe = place == -1 and payload_bytes <= 1 and not flags & (FIN | RST)
        return Start.PROBE if is_probe else Start.EARLY
    if flags & RST and not flags & ACK:
        return Start.RESET
    return _FIRST if payload_bytes or flags & (FIN | RST) else _BARE


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
    waits: bool = True
    """Nothing of the client's passes before the target has answered."""
    refuses: bool = True
    """Nothing with data passes in front of the first byte."""
    spoils: bool = True
    """Nothing behind the header is a SYN cookie's answer."""


class Injection:
    """The header of one flow: of a stream, or (`first` counts nothing then) of every datagram."""

    __slots__ = ("_opening", "cookies", "first", "header", "is_open", "length", "marks", "offer", "placement")

    first: int
    """Sequence number of the client's first byte: its SYN's plus one."""
    header: bytes
    """Of datagrams, once it was needed; of streams in `opening`, as long as it is needed."""
    length: int
    placement: HeaderPlacement
    marks: int
    offer: int
    """What the target's SYN-ACK said, once ANSWERED: the number of the target's first byte in the upper 32 bits, its
    segment size below (0: not given). 64 bits, as they are told."""
    cookies: int
    """The least difference between a number that the target reads and the acknowledgment beside it, in what it may take
    for the answer to a cookie of its own."""
    is_open: bool
    """Whether this is a stream whose header is not acknowledged."""

    def __init__(self, placement: HeaderPlacement, first: int, length: int, is_stream: bool) -> None:
        self.placement = placement
        self.first = first
        self.length = length
        self.marks = self.offer = self.cookies = 0
        self.header = b""
        self.is_open = is_stream
        self._opening: Opening | None = None

    @property
    def opening(self) -> Opening | None:
        """None unless `is_open`. Made when it is needed: most nodes only hear of a flow, and send nothing of it."""
        if self._opening is None and self.is_open:
            self._opening = Opening(self.offer & _MSS)
        return self._opening

    def join_marks(self, marks: int, offer: int) -> None:
        """Take in what another node knows. Marks are only ever added; what the target answered first stays."""
        if marks & ANSWERED and not self.marks & ANSWERED:
            self._take_offer(offer)
        self.mark(marks)

    def note_answer(self, answer: int, mss: int) -> None:
        """The target answers the SYN: its first byte has the number `answer`, its segment size is `mss` (0: not
        given). To be told."""
        self._take_offer(answer << 32 | mss)
        self.marks |= ANSWERED

    def _take_offer(self, offer: int) -> None:
        self.offer = offer
        self.cookies = self.first - self.answer - COOKIE_SPREAD & MASK
        if self._opening is not None:
            self._opening.mss = offer & _MSS

    @property
    def answer(self) -> int:
        """The number of the target's first byte, once ANSWERED."""
        return self.offer >> 32

    def emission(self, sequence: int, flags: int, payload_bytes: int) -> Emission:
        """What becomes of a client's segment without SYN."""
        start = start_of(sequence, flags, payload_bytes, self.first)
        if not self.is_open:
            return _ROW_ACKED[start]
        emission = (_ROW_AT_ONCE if self.placement is _AT_ONCE else _ROW_WITH_PAYLOAD)[start]
        if emission is _PROBED:
            return Emission.REPLACE if self._opening is not None and self._opening.hides else Emission.PASS
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

    def is_answered_by(self, sequence: int) -> bool:
        """Whether a target's segment can be of this stream. A very late one of an older stream has other numbers."""
        return self.marks & ANSWERED != 0 and sequence - (self.offer >> 32) + 1 & MASK <= UNASKED_BYTES_MAX

    def is_cookie(self, number: int, acknowledgment: int) -> bool:
        """Whether a target with SYN cookies may take these numbers for the end of a handshake."""
        return number - acknowledgment - self.cookies & MASK <= 2 * COOKIE_SPREAD

    def note_window(self, window: int) -> None:
        """A SYN-ACK of the target's: the window that it opens with, in bytes.

        It has nothing of the header, whatever it had before: it may have forgotten that, and met the same SYN again.
        """
        opening = self.opening
        if opening is not None:
            opening.acked_bytes = 0
            opening.edge = (self.first + window) & MASK

    def news_of(self, acknowledgment: int) -> int:
        """Learn from a target's segment of a synchronized conversation. Returns the marks that are new.

        A number that cannot be of this stream is one of an older conversation's late segments, and says nothing.
        """
        beyond = distance(acknowledgment, self.first)
        past = HEADER_PAST if beyond >= LONG_STREAM_BYTES else 0
        if self.is_open and not self.length <= beyond < WINDOW_BYTES_MAX:
            return 0
        return self.mark(HEADER_ACKED | past)

    def note_part(self, acknowledgment: int, right_edge: int) -> None:
        """How much of the header the target has, and its right edge: of a segment that does not acknowledge it all."""
        opening = self.opening
        beyond = distance(acknowledgment, self.first)
        if opening is None or not 0 <= beyond < self.length:
            return
        opening.acked_bytes = max(opening.acked_bytes, beyond)
        if opening.edge is None or distance(right_edge, opening.edge) > 0:
            opening.edge = right_edge

    def mark(self, mark: int) -> int:
        """Set a mark. Returns it if it is new."""
        new = mark & ~self.marks
        self.marks |= mark
        if mark & HEADER_ACKED:
            self.is_open = False
            self._opening = None
        return new
