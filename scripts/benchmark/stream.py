"""The far end of one bulk stream: `python -m benchmark.stream ADDRESS PLAIN_PORT HEADER_PORT`.

iperf3 does not speak the Proxy Protocol; this is the same job for a target that does, so that the two sides of a
ratio, header on and header off, have the same client and the same server. On HEADER_PORT a connection must begin
with a valid header, checksum and all, that names the client's own address and the one that it called; on PLAIN_PORT
it must begin with none.

    client                                            server
    {"way": "up", "seconds": 2, "client": [a, p], "service": [a, p]}\\n
    data, from the first segment on   ------------>   {"fault": ""}\\n
    end of stream                     ------------>   {"bytes": 1234, "sha256": "", "seconds": 2.0}\\n

Ways: `up`, data are counted; `digest`, they are also digested; `down`, the server sends whole chunks for so many
seconds. The receiver counts, as iperf3 does. After a fault, what still comes is thrown away, so that the client
reads the fault and not a reset.
"""

import contextlib
import hashlib
import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from hyperplane.wire.ppv2 import CHECKSUM, START_BYTES, IncompleteHeader, ProxyHeader

UP, DOWN, DIGEST = "up", "down", "digest"
CHUNK_BYTES = 128 << 10
"""What one call sends; iperf3's default for TCP."""
READ_BYTES = 1 << 20
WISH_BYTES_MAX = 1024
SILENCE_S = 10
TIMEVAL = struct.Struct("@ll")


def bound_silence(connection: socket.socket) -> None:
    """A peer that is silent for SILENCE_S is gone. By the kernel: Python's own time limit costs a poll per call."""
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, TIMEVAL.pack(SILENCE_S, 0))


def send_line(connection: socket.socket, value: dict[str, Any]) -> None:
    connection.sendall(json.dumps(value).encode() + b"\n")


def take_all(connection: socket.socket, note: Callable[[memoryview], object] | None = None) -> int:
    """Read to the end of the stream, telling each piece to `note`. Returns how many bytes came."""
    room = memoryview(bytearray(READ_BYTES))
    total = 0
    while count := connection.recv_into(room):
        total += count
        if note is not None:
            note(room[:count])
    return total


def send_chunks(connection: socket.socket, seconds: float, head: bytes = b"") -> int:
    """Send whole chunks for `seconds`, `head` in one piece with the first. Returns how many bytes, without `head`."""
    chunk = os.urandom(CHUNK_BYTES)
    deadline = time.perf_counter() + seconds
    connection.sendall(head + chunk)
    total = len(chunk)
    while time.perf_counter() < deadline:
        connection.sendall(chunk)
        total += len(chunk)
    return total


def listen(address: str, port: int, with_header: bool) -> socket.socket:
    """Begin to answer on a port, in threads of their own. The listener is returned for who wants to end it."""
    listener = socket.create_server((address, port))
    threading.Thread(target=_accept, args=(listener, with_header), daemon=True).start()
    return listener


def _accept(listener: socket.socket, with_header: bool) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # the listener was closed
        threading.Thread(target=_answer, args=(connection, with_header), daemon=True).start()


def _answer(connection: socket.socket, with_header: bool) -> None:
    with connection, contextlib.suppress(OSError):  # the other end gave up; its own report says so
        bound_silence(connection)
        try:
            header = receive_header(connection) if with_header else None
            wish, rest = _receive_wish(connection)
            if header is not None:
                _compare(header, wish)
        except ValueError as error:  # also a ProxyHeaderError, and what is no JSON
            send_line(connection, {"fault": str(error)})
            take_all(connection)
            return
        send_line(connection, {"fault": ""})
        _serve(connection, wish, rest)


def receive_header(connection: socket.socket) -> ProxyHeader:
    """Take the header from the head of the stream and not a byte more. Errors: ValueError, OSError."""
    data = b""
    bytes_needed = START_BYTES
    while piece := connection.recv(bytes_needed, socket.MSG_WAITALL):
        data += piece
        try:
            return ProxyHeader.parse(data)[0]
        except IncompleteHeader as incomplete:
            bytes_needed = incomplete.bytes_needed
        except ValueError as error:
            raise ValueError(f"{error}: the stream begins with {data[:START_BYTES].hex()}") from error
    raise ValueError(f"the stream ended after {len(data)} bytes")


def _receive_wish(connection: socket.socket) -> tuple[dict[str, Any], bytes]:
    """The first line, and the data that came with it. Errors: ValueError."""
    data = bytearray()
    while b"\n" not in data and len(data) < WISH_BYTES_MAX:
        piece = connection.recv(WISH_BYTES_MAX)
        if not piece:
            break
        data += piece
    line, _, rest = bytes(data).partition(b"\n")
    try:
        wish = json.loads(line)
    except ValueError:
        wish = None
    if not isinstance(wish, dict):
        raise ValueError(f"the stream does not begin with a wish but with {bytes(data[:16]).hex()}")
    return wish, rest


def _compare(header: ProxyHeader, wish: dict[str, Any]) -> None:
    """The header says what the client says of itself. Errors: ValueError."""
    seen = [
        [str(ip_address(address)), port]
        for address, port in ((header.source, header.source_port), (header.destination, header.destination_port))
    ]
    if seen != [wish["client"], wish["service"]]:
        raise ValueError(f"the header names {seen}, they are {[wish['client'], wish['service']]}")
    if CHECKSUM not in header.tlvs:
        raise ValueError("the header has no checksum")


def _serve(connection: socket.socket, wish: dict[str, Any], rest: bytes) -> None:
    if wish["way"] == DOWN:
        send_chunks(connection, wish["seconds"])
        return
    started = time.perf_counter()
    digest = hashlib.sha256(rest)
    total = len(rest) + take_all(connection, digest.update if wish["way"] == DIGEST else None)
    seconds = time.perf_counter() - started
    seen = digest.hexdigest() if wish["way"] == DIGEST else ""
    send_line(connection, {"bytes": total, "sha256": seen, "seconds": seconds})


def main(address: str, plain_port: str, header_port: str) -> None:
    listen(address, int(plain_port), with_header=False)
    listen(address, int(header_port), with_header=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
