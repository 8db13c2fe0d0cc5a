"""What may stand in front of a connection's stream: a Proxy Protocol v2 header, taken off a socket.

Nothing behind the header is read. Bytes are only looked at (MSG_PEEK) until they are a whole header, and exactly
these are then taken off, so that whoever serves the connection next finds the client's stream and nothing else.

Waiting for one more byte costs no turn of the processor: SO_RCVLOWAT lets `poll` be silent until so many bytes are
there, or the other end is done (socket(7), tcp(7)).

Source: [PP] HAProxy, "The PROXY protocol", section 2.
"""

import select
import socket
import time

from hyperplane.wire.ppv2 import HEADER_BYTES_MAX, SIGNATURE, IncompleteHeader, ProxyHeader

HEADER_TIMEOUT_S = 5.0
"""From the first byte of a header to its last. Our choice: [PP] asks for at least 3 s, so that a lost segment comes in
a second time, and for not much more."""

_OVER = select.POLLRDHUP | select.POLLHUP | select.POLLERR


def take_header(connection: socket.socket, timeout_s: float = HEADER_TIMEOUT_S) -> ProxyHeader | None:
    """Take the header off the beginning of a blocking socket's stream; None, and nothing taken, if it begins otherwise.

    Waits for the first byte as long as it takes, because a header may come with the client's first data only, and for
    the others as long as they may become a header. Raises `ProxyHeaderError` for a wrong header, TimeoutError for
    one that does not go on, ConnectionError when the stream ends in it.
    """
    seen = connection.recv(HEADER_BYTES_MAX, socket.MSG_PEEK)
    end_at = time.monotonic() + timeout_s
    while seen and SIGNATURE.startswith(seen[: len(SIGNATURE)]):
        try:
            header, length = ProxyHeader.parse(seen)
        except IncompleteHeader:
            seen = _see_more(connection, len(seen), end_at)
        else:
            _take(connection, length)
            return header
    return None


def _see_more(connection: socket.socket, count: int, end_at: float) -> bytes:
    """What is there once it is more than `count` bytes."""
    poller = select.poll()
    poller.register(connection, select.POLLIN | select.POLLRDHUP)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count + 1)
    try:
        while (left_s := end_at - time.monotonic()) > 0 and (events := poller.poll(left_s * 1000)):
            seen = connection.recv(HEADER_BYTES_MAX, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            if len(seen) > count:
                return seen
            if events[0][1] & _OVER:
                raise ConnectionError(f"the stream ended after {count} bytes of a header")
        raise TimeoutError(f"nothing came after {count} bytes of a header")
    finally:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


def _take(connection: socket.socket, length: int) -> None:
    """Take off what was seen. It is there, unless the other end has reset the connection meanwhile."""
    while length:
        taken = connection.recv(length)
        if not taken:
            raise ConnectionError("the stream ended with its header")
        length -= len(taken)
