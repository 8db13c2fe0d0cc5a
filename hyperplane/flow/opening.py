"""The beginning of a stream with a header, as one node knows it (`flow/injector.py` has the rule).

It is learned anew by whoever forwards the flow and told to nobody: it matters only until the header is acknowledged.
Only what the SYN-ACK says besides its window is the flow's, and every node's (`flow/injector.py`).
"""

from collections.abc import Iterator

from hyperplane.limits import HEADER_SEGMENT_BYTES_MIN
from hyperplane.nat.sequence import MASK, distance


class Opening:
    """What a node knows of a stream whose header is not acknowledged: of the target, and of the client's last words."""

    __slots__ = (
        "acked_bytes",
        "acknowledgment",
        "edge",
        "header",
        "hides",
        "mss",
        "options",
        "resends",
        "reset",
        "sent",
        "sent_bytes",
        "shared",
        "timed",
        "traffic_class",
        "ttl",
        "window",
    )

    header: bytes
    """Empty until this node needs it: many a flow's header is another node's to send."""
    acked_bytes: int
    """Of the header, as far as seen here."""
    edge: int | None
    """The target's right edge: the first sequence number that it does not take."""
    hides: bool
    """Whether the client, when it was last told, saw no window only because the header needs its room."""
    mss: int
    """The largest segment that the target takes, without its options' bytes; 0 is not known."""
    sent: bool
    """Whether this node has had the header to send: then the client's last acknowledgment, window, timestamps and IP
    fields are here."""
    sent_bytes: int
    """How far into the header this node has sent."""
    reset: bool
    """Whether this node has put the header beside a reset without ACK."""
    shared: bool
    """Whether this node has sent the header in one segment with data."""
    timed: bool
    """Whether a timer runs, and how often it has run out."""
    resends: int

    def __init__(self, mss: int = 0) -> None:
        self.header = b""
        self.mss = mss
        self.acked_bytes = self.sent_bytes = self.resends = 0
        self.edge: int | None = None
        self.sent = self.shared = self.timed = self.hides = self.reset = False
        self.acknowledgment = self.window = self.traffic_class = 0
        self.ttl = 64
        self.options = b""

    def sendable(self, first: int) -> int:
        """How many bytes of the header, from its beginning, the target's window has room for."""
        assert self.header, "whoever wants to send it has made it"
        if self.edge is None:
            return len(self.header)
        return min(max(distance(self.edge, first), 0), len(self.header))

    def fits_before(self, payload_bytes: int, options_bytes: int, first: int) -> bool:
        """Whether header and data are no more than one segment of the target's, and there is room for both: a client
        that asks whether its window has opened sends a byte too many, and a segment may be dropped whole for that.

        Once at most: if the path to the target is narrower than its segments, whoever reports that names a size that
        the client has kept to, so it would send the same again for ever.
        """
        together = len(self.header) + payload_bytes
        if self.shared or self.acked_bytes or together + options_bytes > self.mss:
            return False
        return self.edge is None or distance(self.edge, first) >= together

    def pieces(self, first: int, at_least: int = 0, options_bytes: int = 0) -> Iterator[tuple[int, bytes]]:
        """(sequence number, bytes) of the segments that carry what is to be sent now, in order.

        `at_least`: bytes to send even into a closed window, to learn whether it has opened. `options_bytes`: of the
        segment that takes the last piece, if it is the client's.
        """
        end = max(self.sendable(first), min(self.acked_bytes + at_least, len(self.header)))
        at = self.acked_bytes
        room = self.mss - max(len(self.options), options_bytes)
        step = max(room, HEADER_SEGMENT_BYTES_MIN) if self.mss else len(self.header)
        while at < end:
            yield (first + at) & MASK, self.header[at : min(at + step, end)]
            at += step
