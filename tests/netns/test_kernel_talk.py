"""Two kernels' sockets talk through the nodes, and neither waits for what the other has said already.

What says enough for the end of a handshake acknowledges less (`tests/dataplane/test_proxy_cookies.py`): a request and
an answer whose lengths differ by the header's. The kernels as judges: nothing had to be sent twice, who asked was
answered, and no window was missed.
"""

import socket
import struct
from collections.abc import Callable
from itertools import cycle
from select import select
from time import monotonic
from types import TracebackType

import pytest

from hyperplane.dataplane import engine, injection, stages
from hyperplane.dataplane.passage import Passage
from hyperplane.dataplane.plane import Plane
from hyperplane.dataplane.verdict import Verdict
from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.injector import Injection
from hyperplane.nat.sequence import MASK, SEQUENCE, put_acknowledgment, put_number
from hyperplane.snapshot import HeaderPlacement
from netns.namespace import inside_scratch
from tests.cases import BALANCER, CLIENT, ENDPOINT, TARGET
from tests.header_oracle import proxy_header
from tests.netns.tun import Tun
from tests.nodes import DOOR, EXIT, MemoryZone, snapshot_of

pytestmark = pytest.mark.netns

PATIENCE_S = 20.0
"""A bound, not a measure: a kernel that waits says so by what it has sent twice."""
READ_BYTES_MAX = 65_536
_PROBES, _UNACKED, _TOTAL_RETRANS, _BYTES_RECEIVED = 3, 24, 100, 128
"""linux/tcp.h: offsets in tcp_info."""
QUESTION_BYTES = 80
ON_LINE, OFF_LINE = QUESTION_BYTES + 100, QUESTION_BYTES + 300
UNANSWERED_MAX = 2
CLIENT_ROOM_BYTES, LONG_ANSWER_BYTES = 4096, 40_000
EVENT = b"one small event more"


class Path:
    """From a socket of the consumer's to one of the provider's, each packet by the other node."""

    def __init__(self, placement: HeaderPlacement | None, client_room_bytes: int = 0) -> None:
        """`client_room_bytes`: of its socket; 0 is its kernel's choice."""
        self._client_room_bytes = client_room_bytes
        self.from_client = 0
        """How many packets its kernel has sent."""
        self._zone = MemoryZone(snapshot_of(placement=placement))
        self._nodes = cycle((0, 1))
        self._began = monotonic()

    def __enter__(self) -> "Path":
        self._client = Tun("hp-client", CLIENT[0], ENDPOINT[0])
        self._target = Tun("hp-target", TARGET[0], BALANCER[0])
        self._listener = socket.create_server(TARGET)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for it in (self._listener, self._client, self._target):
            it.close()

    def connected(self) -> tuple[socket.socket, socket.socket]:
        client = socket.socket()
        if self._client_room_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._client_room_bytes)
        client.bind((CLIENT[0], 0))
        client.setblocking(False)
        client.connect_ex(ENDPOINT)
        self.carry(lambda: readable(self._listener))
        target, _ = self._listener.accept()
        target.setblocking(False)
        return client, target

    def carry(self, until: Callable[[], bool]) -> None:
        """Packets both ways, until something holds."""
        end = monotonic() + PATIENCE_S
        while not until():
            assert monotonic() < end, "nothing came"
            self._carry()

    def _carry(self) -> None:
        came, _, _ = select([self._client, self._target], [], [], 0.005)
        for tun in came:
            while (packet := tun.read()) is not None:
                self._pass(packet, tun is self._client)
        for index in (0, 1):
            node = self._zone.node(index)
            node.dataplane.receive_deltas(self._now)
            node.pass_time(self._now)
            for packet, _ in node.dataplane.packets_to_send():
                self._target.write(packet)

    @property
    def _now(self) -> float:
        return 1.0 + monotonic() - self._began

    def _pass(self, packet: bytes, of_client: bool) -> None:
        self.from_client += of_client
        out = self._zone.node(next(self._nodes)).send(packet, DOOR if of_client else EXIT, self._now)
        assert out.accepted, out
        for leading in out.leading:
            self._target.write(leading)
        (self._target if of_client else self._client).write(out.packet)


def readable(it: socket.socket) -> bool:
    return bool(select([it], [], [], 0)[0])


def told(it: socket.socket, offset: int, kind: str = "I") -> int:
    """A number that its kernel keeps of the connection."""
    return int(struct.unpack_from(kind, it.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), offset)[0])


def knows_or_asks(it: socket.socket) -> bool:
    """Its kernel has been told that everything has come, or has sent something again."""
    return not told(it, _UNACKED) or bool(told(it, _TOTAL_RETRANS))


class Talk:
    """Both sockets of a connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.client, self.target = path.connected()

    def say(self, speaker: socket.socket, words: bytes, heard: bytes = b"") -> None:
        """Until the other has read them, or what it hears instead."""
        speaker.send(words)
        self.hear(self.client if speaker is self.target else self.target, heard or words)

    def hear(self, hearer: socket.socket, words: bytes) -> None:
        heard = b""
        while len(heard) < len(words):
            self._path.carry(lambda: readable(hearer))
            heard += hearer.recv(READ_BYTES_MAX)
        assert heard == words


def talk(placement: HeaderPlacement | None, answer_bytes: int, word: bytes) -> tuple[int, int]:
    """A question, its answer, a word of the client's if there is one, and an event of the server's. Gives how much each
    of them has sent twice.
    """
    with inside_scratch(), Path(placement) as path:
        it = Talk(path)
        with it.client as client, it.target as target:
            header = proxy_header(client.getsockname(), ENDPOINT, "vpce-1") if placement else b""
            it.say(client, bytes(QUESTION_BYTES), header + bytes(QUESTION_BYTES))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, not word)
            it.say(target, bytes(answer_bytes))
            if word:
                it.say(client, word)
            path.carry(lambda: knows_or_asks(target))
            if not told(target, _TOTAL_RETRANS):  # a kernel that still waits holds it back, for minutes
                it.say(target, EVENT)
            return told(client, _TOTAL_RETRANS), told(target, _TOTAL_RETRANS)


@pytest.mark.parametrize("word", [b"", b"go on"], ids=["listens", "speaks"])
@pytest.mark.parametrize("answer_bytes", [ON_LINE, OFF_LINE])
@pytest.mark.parametrize("placement", [None, *HeaderPlacement])
def test_no_small_answer_waits(placement: HeaderPlacement | None, answer_bytes: int, word: bytes) -> None:
    """A machine that stands still for a moment makes a kernel repeat something, too; but not each time."""
    assert any(talk(placement, answer_bytes, word) == (0, 0) for _ in range(3))


def deaf(plane: Plane, passage: Passage, entry: FlowEntry, injection: Injection) -> None:
    """Less is acknowledged, and nothing says the rest: a target does not hear that all has come."""
    put_acknowledgment(passage.packet, passage.packet.acknowledgment - 15 & MASK)


@pytest.mark.parametrize("word", [b"", b"go on"], ids=["listens", "speaks"])
def test_one_that_does_not_hear_of_its_last_bytes_does(word: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(injection, "_spoil_cookie", deaf)
    assert all(talk(HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD, ON_LINE, word)[1] for _ in range(3))


# --- who asks is answered ------------------------------------------------------------------


def asks_again(placement: HeaderPlacement | None, answer_bytes: int) -> bool:
    """A client is silent, and asks each second whether its target lives. Whether it is still content after it has asked
    twice as often as it would without an answer."""
    with inside_scratch(), Path(placement) as path:
        it = Talk(path)
        with it.client as client, it.target as target:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, number in (
                (socket.TCP_KEEPIDLE, 1),
                (socket.TCP_KEEPINTVL, 1),
                (socket.TCP_KEEPCNT, UNANSWERED_MAX),
            ):
                client.setsockopt(socket.IPPROTO_TCP, option, number)
            header = proxy_header(client.getsockname(), ENDPOINT, "vpce-1") if placement else b""
            it.say(client, bytes(QUESTION_BYTES), header + bytes(QUESTION_BYTES))
            it.say(target, bytes(answer_bytes))
            path.carry(lambda: knows_or_asks(target))
            asked = path.from_client + 2 * UNANSWERED_MAX
            path.carry(lambda: path.from_client > asked or readable(client))
            return not readable(client)  # or its kernel has given up


@pytest.mark.parametrize(
    ("placement", "answer_bytes"),
    [
        (None, ON_LINE),
        (HeaderPlacement.ON_FIRST_ACK, ON_LINE),
        (HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD, ON_LINE),
        (HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD, OFF_LINE),
    ],
)
def test_pp_20_a_keep_alive_is_answered(placement: HeaderPlacement | None, answer_bytes: int) -> None:
    assert asks_again(placement, answer_bytes)


def another_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a cookie was once spoilt: a question becomes a statement, and its window a younger one's."""
    spoilt: list[Passage] = []

    def change(plane: Plane, passage: Passage) -> Verdict | None:
        verdict = injection.inject(plane, passage)
        if spoilt:
            spoilt.clear()
            packet = passage.packet
            packet.checksum -= 15
            at = packet.transport + SEQUENCE
            put_number(packet.buffer, at, int.from_bytes(packet.buffer[at : at + 4], "big") + 15 & MASK)
        return verdict

    monkeypatch.setattr(injection, "_spoil_cookie", lambda plane, passage, entry, it: spoilt.append(passage))
    deciding = tuple(change if stage is injection.inject else stage for stage in stages.DECIDING)
    monkeypatch.setattr(engine, "DECIDING", deciding)


def test_pp_20_one_with_another_number_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    another_number(monkeypatch)
    assert not asks_again(HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD, ON_LINE)


# --- who reads late gets everything --------------------------------------------------------


def reads_late(placement: HeaderPlacement | None, question_bytes: int, word: bytes) -> int:
    """A client's window is shut by an answer that it does not read; it says a word, and reads at last. Gives how many
    bytes it had when its window was shut."""
    with inside_scratch(), Path(placement, CLIENT_ROOM_BYTES) as path:
        it = Talk(path)
        with it.client as client, it.target as target:
            header = proxy_header(client.getsockname(), ENDPOINT, "vpce-1") if placement else b""
            it.say(client, bytes(question_bytes), header + bytes(question_bytes))
            target.send(bytes(LONG_ANSWER_BYTES))
            path.carry(lambda: told(target, _PROBES, "B") > 0)
            shut_at = told(client, _BYTES_RECEIVED, "Q")
            if word:
                it.say(client, word)
            it.hear(client, bytes(LONG_ANSWER_BYTES))
            return shut_at


@pytest.mark.parametrize("word", [b"", bytes(5), bytes(40)])
@pytest.mark.parametrize("placement", list(HeaderPlacement))
def test_pp_21_a_window_that_opens_is_heard_of(placement: HeaderPlacement, word: bytes) -> None:
    """On the line, and as its client goes beyond it."""
    shut_at = reads_late(placement, QUESTION_BYTES, b"")
    for off in (-7, 0, 7):
        assert reads_late(placement, shut_at - 100 + off, word) == shut_at


def test_pp_21_one_with_another_number_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """What its client says next has an older number than that."""
    placement = HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD
    shut_at = reads_late(placement, QUESTION_BYTES, b"")
    another_number(monkeypatch)
    monkeypatch.setattr("tests.netns.test_kernel_talk.PATIENCE_S", 5.0)
    with pytest.raises(AssertionError, match="nothing came"):
        reads_late(placement, shut_at - 100, bytes(5))
