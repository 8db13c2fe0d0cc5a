"""Both ends of a flow in the test's own hands: sockets of the test that live in the lab's namespaces.

A connection completes without anybody calling `accept`, so one thread can hold client and target:

    with listening() as listener, client() as caller:
        caller.connect(door)
        target, peer = listener.accept()
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from threading import Thread

from netns.namespace import inside, open_socket
from tests.lab.laboratory import (
    CONSUMER_A,
    ENDPOINT_OF,
    HANG_GUARD_S,
    STAND_IN,
    STAND_IN_PORT,
    TARGET_1,
    TARGET_2,
)

TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21
SEND_QUEUE, REPAIR_OFF_WITHOUT_PROBE = 2, -1
"""linux/tcp.h"""


def tcp_socket(namespace: str, protocol: int = 0) -> socket.socket:
    made = open_socket(namespace, socket.AF_INET, socket.SOCK_STREAM, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.settimeout(HANG_GUARD_S)
    return made


def udp_socket(namespace: str, address: str = "0.0.0.0", port: int = 0) -> socket.socket:
    made = open_socket(namespace, socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(HANG_GUARD_S)
    made.bind((address, port))
    return made


@contextmanager
def listening(protocol: int = 0, port: int = STAND_IN_PORT) -> Iterator[socket.socket]:
    """A listener on the stand-in's address."""
    with tcp_socket(TARGET_1, protocol) as listener:
        listener.bind((STAND_IN, port))
        listener.listen(1024)
        yield listener


@contextmanager
def answering() -> Iterator[socket.socket]:
    """A UDP socket on the stand-in's address. Nothing answers by itself."""
    with udp_socket(TARGET_1, STAND_IN, STAND_IN_PORT) as target:
        yield target


def door_of(consumer: str, port: int = STAND_IN_PORT) -> tuple[str, int]:
    """The endpoint in the consumer's own zone, on a port of the stand-in."""
    return ENDPOINT_OF[consumer], port


class Pair:
    """A connection through the endpoint: `client` and `target` are its two ends."""

    def __init__(
        self,
        consumer: str = CONSUMER_A,
        port: int = STAND_IN_PORT,
        client: socket.socket | None = None,
        listener: socket.socket | None = None,
        endpoint: str | None = None,
    ) -> None:
        self.client = client or tcp_socket(consumer)
        with ExitStack() as stack:
            try:
                ear = listener or stack.enter_context(listening())
                self.client.connect((endpoint or ENDPOINT_OF[consumer], port))
                self.target, (self.balancer, self.snat_port) = ear.accept()
            except OSError:
                self.client.close()
                raise
        self.target.settimeout(HANG_GUARD_S)

    def __enter__(self) -> "Pair":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.client.close()
        self.target.close()

    def reset(self) -> None:
        """Both ends are gone at once, and send nothing any more."""
        for end in (self.client, self.target):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    @property
    def client_port(self) -> int:
        port: int = self.client.getsockname()[1]
        return port

    def echo(self, data: bytes = b"still there?") -> None:
        """Data arrives, both ways."""
        self.client.sendall(data)
        assert receive_exactly(self.target, len(data)) == data
        self.target.sendall(data[::-1])
        assert receive_exactly(self.client, len(data)) == data[::-1]

    def transfer(self, size: int, *, up: bool = True) -> None:
        """Move that many bytes from client to target, or down from target to client, and compare digests."""
        sender, receiver = (self.client, self.target) if up else (self.target, self.client)
        assert transferred(sender, receiver, size), "the digests differ"


def transferred(sender: socket.socket, receiver: socket.socket, size: int) -> bool:
    """Send `size` bytes that repeat nowhere; whether they arrive as they were sent."""
    sent = sha256()

    def send() -> None:
        for block in _blocks(size):
            sent.update(block)
            sender.sendall(block)

    thread = Thread(target=send)
    thread.start()
    received, left = sha256(), size
    while left:
        block = receiver.recv(min(left, 1 << 20))
        assert block, f"the connection ended {left} bytes early"
        received.update(block)
        left -= len(block)
    thread.join()
    return sent.digest() == received.digest()


def _blocks(size: int) -> Iterator[bytes]:
    """Each block says where it is, so that no two are alike."""
    unit = 1 << 16
    for at in range(0, size, unit):
        block = struct.pack("!Q", at) * (unit // 8)
        yield block[: min(unit, size - at)]


def receive_exactly(end: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = end.recv(size - len(data))
        assert more, f"the connection ended after {len(data)} of {size} bytes"
        data += more
    return data


def receive_all(end: socket.socket) -> bytes:
    """Until the other end has closed."""
    data = bytearray()
    while more := end.recv(1 << 20):
        data += more
    return bytes(data)


def starting_at(client: socket.socket, sequence: int) -> None:
    """Let a TCP socket that is not connected yet begin with this sequence number (`tcp(7)`, TCP_REPAIR)."""
    client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, SEND_QUEUE)
    client.setsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, struct.pack("=I", sequence))
    _repaired(client)


def sequence_of(end: socket.socket) -> int:
    """Where the stream of this end of a connection is: the next sequence number that it will send."""
    end.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    end.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, SEND_QUEUE)
    sequence = end.getsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ)
    _repaired(end)
    return sequence & 0xFFFFFFFF


def _repaired(end: socket.socket) -> None:
    """Leave repair mode. The kernel then takes SO_REUSEADDR away, and nobody could listen beside what the socket
    leaves behind when it is closed (net/ipv4/tcp.c, tcp_setsockopt)."""
    end.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR_OFF_WITHOUT_PROBE)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def snmp(namespace: str, table: str, name: str) -> int:
    """A counter of the kernel's in a namespace: `snmp(namespace, "Tcp", "InCsumErrors")`."""
    with inside(namespace), open("/proc/thread-self/net/snmp", encoding="ascii") as file:
        lines = [line.split() for line in file if line.startswith(f"{table}:")]
    return int(lines[1][lines[0].index(name)])


CLOSING_STATES = frozenset({"04", "09", "0B"})
"""FIN_WAIT1, LAST_ACK, CLOSING (linux: include/net/tcp_states.h): a FIN is on its way and not acknowledged."""


def unfinished() -> list[str]:
    """Connections that nobody has open any more and that still exchange their last segments."""
    found = []
    for namespace in (*ENDPOINT_OF, TARGET_1, TARGET_2):
        with inside(namespace), open("/proc/thread-self/net/tcp", encoding="ascii") as file:
            rows = [line.split() for line in file][1:]
        found += [f"{namespace} {row[1]} to {row[2]}" for row in rows if row[3] in CLOSING_STATES]
    return found


def wrong_sums() -> tuple[int, ...]:
    """TCP segments with a wrong checksum that the ends have seen so far."""
    return tuple(snmp(place, "Tcp", "InCsumErrors") for place in (*ENDPOINT_OF, TARGET_1))
