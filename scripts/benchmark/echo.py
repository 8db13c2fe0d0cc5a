"""The echo behind every contender: `python -m benchmark.echo ADDRESS PORT`.

A connection says with its first byte what it wants: `P`, everything after it comes straight back (ping-pong);
`D`, eight bytes of length (big-endian) and that much data follow, the SHA-256 of the data comes back (digest).
"""

import gc
import hashlib
import os
import socket
import sys
import threading

PING_PONG = b"P"
DIGEST = b"D"
LENGTH_BYTES = 8
READ_BYTES = 1 << 18

CLIENT_CPU = min(os.sched_getaffinity(0))
ECHO_CPU = max(os.sched_getaffinity(0))
"""The two ends of a ping-pong are kept apart: on one CPU a round trip takes a third of the time, and whether
the scheduler puts them there is chance."""


def serve(address: str, port: int) -> None:
    os.sched_setaffinity(0, {ECHO_CPU})
    gc.disable()  # a collection in the middle of a ping-pong would be measured as latency
    with socket.create_server((address, port), backlog=512) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection:
        try:
            wish = connection.recv(1)
            if wish == PING_PONG:
                _ping_pong(connection)
            elif wish == DIGEST:
                _digest(connection)
        except ConnectionError:
            return  # the other end gave up; its own report says so


def _ping_pong(connection: socket.socket) -> None:
    while data := connection.recv(READ_BYTES):
        connection.sendall(data)


def _digest(connection: socket.socket) -> None:
    left_bytes = int.from_bytes(connection.recv(LENGTH_BYTES, socket.MSG_WAITALL), "big")
    digest = hashlib.sha256()
    while left_bytes and (data := connection.recv(min(READ_BYTES, left_bytes))):
        digest.update(data)
        left_bytes -= len(data)
    connection.sendall(digest.digest())


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
