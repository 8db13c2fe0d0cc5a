"""The client of the echo: `python -m benchmark.ping_pong latency ADDRESS PORT SECONDS`, or `digest ADDRESS PORT FILE`.

Prints one JSON object: round trip percentiles in microseconds, or the two digests.
"""

import gc
import hashlib
import json
import os
import socket
import sys
import time
from pathlib import Path

from benchmark.echo import CLIENT_CPU, DIGEST, LENGTH_BYTES, PING_PONG

MESSAGE = bytes(range(64))
WARM_UP_COUNT = 200
TIMEOUT_S = 10.0
PERCENTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


def latency(address: str, port: int, seconds: float) -> dict[str, float]:
    """Round trips of 64 B over one TCP connection, one at a time, for `seconds`. Microseconds."""
    os.sched_setaffinity(0, {CLIENT_CPU})
    gc.disable()
    with _connect(address, port) as connection:
        connection.sendall(PING_PONG)
        for _ in range(WARM_UP_COUNT):
            _round_trip_ns(connection)
        samples = []
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            samples.append(_round_trip_ns(connection))
    samples.sort()
    last = len(samples) - 1
    return {name: samples[round(share * last)] / 1000 for name, share in PERCENTILES.items()} | {"count": len(samples)}


def digest(address: str, port: int, file: Path) -> dict[str, str]:
    data = file.read_bytes()
    with _connect(address, port) as connection:
        connection.sendall(DIGEST + len(data).to_bytes(LENGTH_BYTES, "big") + data)
        seen = connection.recv(hashlib.sha256().digest_size, socket.MSG_WAITALL)
    return {"sent": hashlib.sha256(data).hexdigest(), "seen": seen.hex()}


def _connect(address: str, port: int) -> socket.socket:
    connection = socket.create_connection((address, port), timeout=TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _round_trip_ns(connection: socket.socket) -> int:
    started = time.perf_counter_ns()
    connection.sendall(MESSAGE)
    left_bytes = len(MESSAGE)
    while left_bytes:
        data = connection.recv(left_bytes)
        if not data:
            raise ConnectionError("the echo closed the connection")
        left_bytes -= len(data)
    return time.perf_counter_ns() - started


def main(verb: str, address: str, port: str, last: str) -> None:
    found = latency(address, int(port), float(last)) if verb == "latency" else digest(address, int(port), Path(last))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
