"""One stream with a header whose packets any node may get, and a judge at either end.

The judge at the target knows the header and what the client says, and looks at every byte at its number. The judge at
the client knows the very packet that it must get. So it does not matter who forwards: each packet is right by itself.
"""

from dataclasses import dataclass, field

from tests import cases
from tests.cases import ACK, FIN, PSH, SYN, linux_syn
from tests.dataplane.header_road import AT_ONCE, FIRST, NUMBERS, HeaderRoad, Way
from tests.dissection import dissect
from tests.nodes import DOOR, EXIT, MemoryZone, Node, Outcome

QUESTION, MORE, BANNER, ANSWER = b"question", b"more" * 100, b"220 ready", b"answer" * 50
UNIT = 128
"""Of a window after the handshake, see `linux_syn`."""


@dataclass(slots=True)
class HandedStream:
    """The stream so far, as its two ends know it."""

    way: Way
    zone: MemoryZone
    source: tuple[str, int] = ("", 0)
    said: bytes = b""
    closed: bool = False
    acked: int = 0
    """What the client has been told that the target has."""
    target_next: int = 2000
    got: dict[int, int] = field(default_factory=dict)
    """Byte by its place, the header's first."""
    got_end: bool = False
    sent_bytes: int = 0
    counted: dict[str, int] = field(default_factory=dict)
    road: HeaderRoad = field(init=False)

    def __post_init__(self) -> None:
        self.road = HeaderRoad(*self.way)

    # --- the target --------------------------------------------------------------------------------

    @property
    def whole(self) -> bytes:
        return self.road.header + self.said

    @property
    def known(self) -> int:
        """How many bytes the target has without a gap, its end included."""
        place = 0
        while place in self.got:
            place += 1
        return place + (self.got_end and place == len(self.whole))

    def at_target(self, packet: bytes) -> None:
        seen = dissect(packet)
        assert seen.sums_are_right
        self.source = seen.source
        if seen.flags & SYN:
            assert (seen.sequence, seen.payload) == (FIRST - 1, b"")
            return
        begin = (seen.sequence - FIRST + NUMBERS // 2) % NUMBERS - NUMBERS // 2
        assert begin >= 0
        assert seen.payload == self.whole[begin : begin + len(seen.payload)], "the header, then what the client says"
        assert seen.acknowledgment <= self.target_next
        if not seen.payload and not seen.flags & FIN and self.road.placement is AT_ONCE:
            assert begin > 0, "the bare ACK is never forwarded"
        self.got.update(enumerate(seen.payload, begin))
        if seen.flags & FIN:
            assert begin + len(seen.payload) == len(self.whole)
            self.got_end = True

    def answer(self, flags: int = ACK, payload: bytes = b"") -> bytes:
        """The target's next segment. It acknowledges all that it has."""
        return cases.tcp(
            self.road.target, self.source, flags=flags, sequence=1999 if flags & SYN else self.target_next,
            acknowledgment=FIRST + self.known, options=linux_syn(1400) if flags & SYN else b"", payload=payload,
        )  # fmt: skip

    def answers(self, node: Node, flags: int = ACK, payload: bytes = b"", now: float = 1.0) -> None:
        """The target's next segment; the client gets exactly what it must."""
        came = self.answer(flags, payload)
        missing = max(self.road.length - self.known, 0)
        unit = 1 if flags & SYN else UNIT
        acked = max(self.known - self.road.length, 0)
        expected = cases.tcp(
            self.road.endpoint, self.road.client, flags=flags, sequence=1999 if flags & SYN else self.target_next,
            acknowledgment=FIRST + acked, window=502 - (-(-missing // unit)),
            options=linux_syn(1400) if flags & SYN else b"", payload=payload,
        )  # fmt: skip
        out = self.send(node, came, EXIT, now)
        assert out.packet == expected
        assert out.moved == {"packets_reply": 1, "bytes_reply": len(came)}
        assert acked >= self.acked, "it goes back"
        self.acked = acked
        if not flags & SYN:
            self.target_next += len(payload) + bool(flags & FIN)

    # --- the client --------------------------------------------------------------------------------

    def packet(self, flags: int = ACK, payload: bytes = b"") -> bytes:
        """The client's next segment."""
        sequence = FIRST - 1 if flags & SYN else FIRST + len(self.said) + self.closed
        options = linux_syn(1400) if flags & SYN else b""
        self.said += payload
        self.closed = self.closed or bool(flags & FIN)
        self.sent_bytes += 20 + 20 + len(options) + len(payload)
        return cases.tcp(
            self.road.client, self.road.endpoint, flags=flags, sequence=sequence,
            acknowledgment=self.target_next, options=options, payload=payload,
        )  # fmt: skip

    def send(self, node: Node, packet: bytes, eni: int, now: float = 1.0) -> Outcome:
        out = node.send(packet, eni, now)
        assert out.accepted, out.verdict
        for name, by in out.moved.items():
            self.counted[name] = self.counted.get(name, 0) + by
        return out

    def says(self, node: Node, flags: int = ACK, payload: bytes = b"", now: float = 1.0) -> None:
        out = self.send(node, self.packet(flags, payload), DOOR, now)
        for packet in (*out.leading, out.packet):
            self.at_target(packet)

    def plays(self, number: int, node: Node) -> None:
        """This step of the script, by this node."""
        side, flags, payload = SCRIPT[number]
        if side == "up":
            self.says(node, flags, payload)
        else:
            self.answers(node, flags, payload)

    # --- all of it ---------------------------------------------------------------------------------

    def judge(self) -> None:
        """What has to be true at the end."""
        assert bytes(self.got[place] for place in sorted(self.got)) == self.whole
        assert self.got_end and self.known == len(self.whole) + 1
        assert self.acked == len(self.said) + 1
        assert self.counted["bytes_original"] == self.sent_bytes, "the client's bytes and no others"
        assert self.counted["headers_sent"] >= 1
        assert set(self.counted) <= {
            "packets_original", "bytes_original", "packets_reply", "bytes_reply", "flows_new", "headers_sent",
            "headers_repeated",
        }  # fmt: skip
        assert self.counted["flows_new"] == 1


SCRIPT: tuple[tuple[str, int, bytes], ...] = (
    ("up", SYN, b""),
    ("down", SYN | ACK, b""),
    ("up", ACK, b""),
    ("down", PSH | ACK, BANNER),
    ("up", ACK, b""),
    ("up", PSH | ACK, QUESTION),
    ("down", ACK, b""),
    ("up", PSH | ACK, MORE),
    ("down", PSH | ACK, ANSWER),
    ("up", ACK, b""),
    ("up", FIN | ACK, b""),
    ("down", FIN | ACK, b""),
    ("up", ACK, b""),
)
"""Who speaks, and what: the server first, then the client, to the last ACK."""
STEPS = range(1, len(SCRIPT))
UPS = [number for number, (side, _, _) in enumerate(SCRIPT) if side == "up"]


def read_news(zone: MemoryZone) -> None:
    for node in zone.nodes.values():
        node.dataplane.receive_deltas(1.0)
