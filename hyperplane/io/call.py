"""One real call from inside a namespace, as an application would make it: a GET over TCP, or one datagram.

Nothing of ours is in the way: an ordinary socket, bound to the caller's address so that its port is known
also when nobody answers.
"""

import socket
import time
from dataclasses import dataclass

from netns.namespace import open_socket

ANSWER_BYTES_MAX = 65_536


@dataclass(frozen=True, slots=True)
class Call:
    """How a call went."""

    protocol: str
    client: str
    client_port: int
    server: str
    server_port: int
    connected: bool
    """TCP: the handshake was finished. UDP: an answer came."""
    problem: str | None
    """Why not, or why no answer came on a connection; None if all went well."""
    connect_s: float | None
    """TCP: until the handshake was finished. UDP: until the answer came."""
    answer: str
    """The beginning of what came back; bytes that are no text are escaped."""

    @property
    def status_line(self) -> str:
        """The first line of the answer."""
        return self.answer.partition("\n")[0].strip()

    @property
    def body(self) -> str:
        """What follows the head of an HTTP answer; of anything else, all of it."""
        return (self.answer.partition("\r\n\r\n")[2] if self.answer.startswith("HTTP/") else self.answer).strip()


def call_tcp(namespace: str, source: str, destination: str, port: int, timeout_s: float) -> Call:
    """Connect, ask for `/`, read until the other end closes. Raises NamespaceMissing, PermissionError."""
    request = f"GET / HTTP/1.1\r\nHost: {destination}\r\nUser-Agent: hyperplane-trace\r\nConnection: close\r\n\r\n"
    with open_socket(namespace, socket.AF_INET, socket.SOCK_STREAM) as caller:
        caller.bind((source, 0))
        caller.settimeout(timeout_s)
        own_port = caller.getsockname()[1]
        began = time.monotonic()
        connect_s, answer, problem = None, b"", None
        try:
            caller.connect((destination, port))
            connect_s = time.monotonic() - began
            caller.sendall(request.encode())
            answer, problem = _read_all(caller)
        except OSError as error:
            problem = _words(error, timeout_s)
    return Call("tcp", source, own_port, destination, port, connect_s is not None, problem, connect_s, _text(answer))


def _read_all(caller: socket.socket) -> tuple[bytes, str | None]:
    answer = b""
    try:
        while len(answer) < ANSWER_BYTES_MAX and (more := caller.recv(ANSWER_BYTES_MAX)):
            answer += more
    except OSError as error:
        return answer, None if answer else f"connected, but no answer: {_words(error, caller.gettimeout() or 0)}"
    return answer, None if answer else "connected, but the other end closed without an answer"


def call_udp(namespace: str, source: str, destination: str, port: int, payload: bytes, timeout_s: float) -> Call:
    """Send one datagram and wait for one. Raises NamespaceMissing, PermissionError."""
    with open_socket(namespace, socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.bind((source, 0))
        caller.settimeout(timeout_s)
        own_port = caller.getsockname()[1]
        began = time.monotonic()
        answer_s, answer, problem = None, b"", None
        try:
            caller.connect((destination, port))  # so that the kernel tells of ICMP errors
            caller.send(payload)
            answer = caller.recv(ANSWER_BYTES_MAX)
            answer_s = time.monotonic() - began
        except OSError as error:
            problem = _words(error, timeout_s)
    return Call("udp", source, own_port, destination, port, answer_s is not None, problem, answer_s, _text(answer))


def _words(error: OSError, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    return (error.strerror or str(error)).lower()


def _text(answer: bytes) -> str:
    return answer.decode("utf-8", errors="backslashreplace")
