"""One connection through an endpoint whose target gets a Proxy Protocol v2 header, step by step."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hyperplane.snapshot import Snapshot
from hyperplane.wire.ppv2 import IncompleteHeader, ProxyHeader
from tests.faults.header_talks import caller_in, caller_of, calling_socket, listening_socket
from tests.faults.lab import HANG_GUARD_S
from tests.faults.plan import CONSUMERS, HEADER_PORTS

CONSUMER = "flt-a"

Tune = Callable[[socket.socket], None]
"""Sets options of a socket before it listens or connects."""


def _untuned(_: socket.socket) -> None:
    """As the kernel makes it."""


class Line:
    """A client that is connected, and the target's end once it is asked for."""

    def __init__(self, placement: str, listener: socket.socket, client: socket.socket) -> None:
        self.placement = placement
        self.client = client
        self._listener = listener
        self._target: socket.socket | None = None
        self._peer = ""

    @property
    def target(self) -> socket.socket:
        if self._target is None:
            self._target, (self._peer, _) = self._listener.accept()
            self._target.settimeout(HANG_GUARD_S)
        return self._target

    def take_header(self, snapshot: Snapshot) -> None:
        """The target reads the header, and it is the right one."""
        target = self.target
        found = caller_in(read_header(target), self._peer)
        assert found == caller_of(snapshot, CONSUMER, self.client.getsockname()[1], self.placement)

    def carry_up(self, data: bytes) -> None:
        """The client says something, and the target hears it."""
        self.client.sendall(data)
        assert take(self.target, len(data)) == data

    def carry_down(self, data: bytes) -> None:
        self.target.sendall(data)
        assert take(self.client, len(data)) == data

    def converse(self, snapshot: Snapshot) -> None:
        """Words from the client, the header before them, words back."""
        self.client.sendall(b"hello")
        self.take_header(snapshot)
        assert take(self.target, 5) == b"hello"
        self.carry_down(b"welcome")

    def end(self) -> None:
        """Both close in order, and nobody has said anything more."""
        self.client.shutdown(socket.SHUT_WR)
        assert self.target.recv(1) == b""
        self.target.close()
        assert self.client.recv(1) == b""

    def close(self) -> None:
        if self._target is not None:
            self._target.close()


@contextmanager
def listening(placement: str, tune: Tune = _untuned) -> Iterator[socket.socket]:
    """The target listens."""
    with listening_socket(HEADER_PORTS[placement]) as listener:
        tune(listener)
        listener.settimeout(HANG_GUARD_S)
        listener.listen(64)
        yield listener


@contextmanager
def calling(placement: str, tune: Tune = _untuned) -> Iterator[socket.socket]:
    """A client that is connected."""
    with calling_socket(CONSUMER) as client:
        tune(client)
        client.settimeout(HANG_GUARD_S)
        client.connect((CONSUMERS[CONSUMER], HEADER_PORTS[placement]))
        yield client


@contextmanager
def line(placement: str, at_target: Tune = _untuned, at_client: Tune = _untuned) -> Iterator[Line]:
    with listening(placement, at_target) as listener, calling(placement, at_client) as client:
        made = Line(placement, listener, client)
        try:
            yield made
        finally:
            made.close()


def read_header(connection: socket.socket) -> ProxyHeader:
    """The header at the beginning of a stream, and not one byte more."""
    start = b""
    while True:
        try:
            return ProxyHeader.parse(start)[0]
        except IncompleteHeader as incomplete:
            start += take(connection, incomplete.bytes_needed)


def take(connection: socket.socket, count: int) -> bytes:
    """Exactly so many bytes; fewer at the end of the stream."""
    taken = b""
    while len(taken) < count and (piece := connection.recv(count - len(taken))):
        taken += piece
    return taken
