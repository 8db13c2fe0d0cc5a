"""One TCP conversation through nodes of a zone: what the client sends, what the target answers.

    talk = Conversation()
    talk.open(node, now=1.0)                        # SYN, SYN-ACK, ACK
    talk.up(node, 2.0, payload=b"question")         # from the client, by whatever node
    talk.down(other, 2.1, payload=b"answer")        # from the target, to where the SYN came from
    talk.close(node, 3.0)

Sequence numbers move as they do at the ends, if what was sent was let through.
"""

from typing import Any

from hyperplane.wire.packet import ChecksumState
from tests.cases import ACK, CLIENT, ENDPOINT, FIN, PSH, SYN, TARGET, SocketAddress, linux_syn, tcp
from tests.dissection import dissect
from tests.nodes import DOOR, EXIT, Node, Outcome

NUMBERS = 1 << 32


class Conversation:
    """The two ends."""

    def __init__(
        self,
        client: SocketAddress = CLIENT,
        endpoint: SocketAddress = ENDPOINT,
        door: int = DOOR,
        client_isn: int = 1_000_000,
        target_isn: int = 5_000_000,
    ) -> None:
        self.client, self.endpoint, self.door = client, endpoint, door
        self.client_next, self.target_next = client_isn, target_isn
        self.source: SocketAddress | None = None
        """Who the client is to the target."""
        self.target: SocketAddress = TARGET

    def up(self, node: Node, now: float, flags: int = ACK, payload: bytes = b"", **fields: Any) -> Outcome:
        """A segment from the client."""
        state = fields.pop("state", ChecksumState.FINISHED)
        fields = {"sequence": self.client_next, "acknowledgment": self.target_next} | fields
        out = node.send(tcp(self.client, self.endpoint, flags=flags, payload=payload, **fields), self.door, now, state)
        if out.accepted:
            seen = dissect(out.packet)
            self.source, self.target = seen.source, seen.destination
            self.client_next = (self.client_next + _length(flags, payload)) % NUMBERS
        return out

    def down(self, node: Node, now: float, flags: int = ACK, payload: bytes = b"", **fields: Any) -> Outcome:
        """A segment from the target."""
        assert self.source is not None, "the target has seen nothing yet"
        state = fields.pop("state", ChecksumState.FINISHED)
        fields = {"sequence": self.target_next, "acknowledgment": self.client_next} | fields
        out = node.send(tcp(self.target, self.source, flags=flags, payload=payload, **fields), EXIT, now, state)
        if out.accepted:
            self.target_next = (self.target_next + _length(flags, payload)) % NUMBERS
        return out

    def open(self, node: Node, now: float, back: Node | None = None) -> None:
        """The three segments of the handshake, the target's by `back`."""
        assert self.up(node, now, SYN, options=linux_syn()).accepted
        assert self.down(back or node, now, SYN | ACK, options=linux_syn()).accepted
        assert self.up(node, now).accepted

    def exchange(self, node: Node, now: float, back: Node | None = None) -> None:
        """A question and an answer."""
        assert self.up(node, now, PSH | ACK, b"question").accepted
        assert self.down(back or node, now, PSH | ACK, b"answer").accepted

    def close(self, node: Node, now: float, back: Node | None = None) -> None:
        """Both FINs and the last ACK."""
        assert self.up(node, now, FIN | ACK).accepted
        assert self.down(back or node, now, FIN | ACK).accepted
        assert self.up(node, now).accepted


def _length(flags: int, payload: bytes) -> int:
    """How far a segment moves its sender's sequence number."""
    return len(payload) + bool(flags & SYN) + bool(flags & FIN)
