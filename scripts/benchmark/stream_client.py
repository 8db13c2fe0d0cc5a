"""The near end of bulk streams: `python -m benchmark.stream_client WAY ADDRESS PORT SECONDS_OR_FILE`.

Prints one JSON object: {"bytes", "seconds", "rates"} as the receivers counted, or {"sha256"} as the server saw it.
Ends with a message and exit 1 if the server found a fault, or got less than was sent. See `stream`.

The seconds are shared out to streams of STREAM_S, one after the other. Which node a stream meets, and whether its
two directions meet the same one, is drawn by the hash of its ports, and moves its rate more than what is measured:
many short streams see the mean of that.
"""

import io
import json
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmark.stream import CHUNK_BYTES, DIGEST, DOWN, UP, bound_silence, send_chunks, send_line, take_all

STREAM_S = 0.1
"""Our choice: long beside the first round trips, short enough for hundreds of streams a lane."""


class StreamError(Exception):
    """The stream is not what was agreed. The text says why."""


def up(address: str, port: int, seconds: float) -> dict[str, Any]:
    """Send for so long. The wish and the first data are one piece, so the first segment is as full as can be."""
    with _connect(address, port) as connection:
        sent = send_chunks(connection, seconds, json.dumps(_wish(connection, UP, seconds)).encode() + b"\n")
        return _counted(connection, sent)


def down(address: str, port: int, seconds: float) -> dict[str, Any]:
    """Receive for so long."""
    with _connect(address, port) as connection:
        send_line(connection, _wish(connection, DOWN, seconds))
        with connection.makefile("rb", buffering=0) as lines:
            _check_fault(lines)
        started = time.perf_counter()
        total = take_all(connection)
        if not total or total % CHUNK_BYTES:
            raise StreamError(f"{total} bytes came, which are not whole chunks")
        return {"bytes": total, "seconds": time.perf_counter() - started}


def in_turn(
    one: Callable[[str, int, float], dict[str, Any]], address: str, port: int, seconds: float
) -> dict[str, Any]:
    """Streams of about STREAM_S, for `seconds` together. Returns their sums, and the rate of each in Gbit/s."""
    count = max(1, round(seconds / STREAM_S))
    reports = [one(address, port, seconds / count) for _ in range(count)]
    rates = [report["bytes"] * 8 / report["seconds"] / 1e9 for report in reports]
    return {name: sum(report[name] for report in reports) for name in ("bytes", "seconds")} | {"rates": rates}


def digest(address: str, port: int, file: Path) -> dict[str, Any]:
    """Send a file."""
    data = file.read_bytes()
    with _connect(address, port) as connection:
        send_line(connection, _wish(connection, DIGEST, 0))
        connection.sendall(data)
        return _counted(connection, len(data))


def _connect(address: str, port: int) -> socket.socket:
    connection = socket.create_connection((address, port), timeout=10)
    connection.settimeout(None)
    bound_silence(connection)
    return connection


def _wish(connection: socket.socket, way: str, seconds: float) -> dict[str, Any]:
    return {
        "way": way,
        "seconds": seconds,
        "client": connection.getsockname(),
        "service": connection.getpeername(),
    }


def _counted(connection: socket.socket, sent: int) -> dict[str, Any]:
    """End our half and hear what the server got."""
    connection.shutdown(socket.SHUT_WR)
    with connection.makefile("rb", buffering=0) as lines:
        _check_fault(lines)
        report = _line(lines)
    if report["bytes"] != sent:
        raise StreamError(f"{sent} bytes were sent, {report['bytes']} came")
    return report


def _check_fault(lines: io.RawIOBase) -> None:
    if fault := _line(lines)["fault"]:
        raise StreamError(f"the server says: {fault}")


def _line(lines: io.RawIOBase) -> dict[str, Any]:
    line = lines.readline()
    if not line.endswith(b"\n"):
        raise StreamError("the server closed the connection")
    report: dict[str, Any] = json.loads(line)
    return report


def main(way: str, address: str, port: str, last: str) -> None:
    ways: dict[str, Callable[[], dict[str, Any]]] = {
        UP: lambda: in_turn(up, address, int(port), float(last)),
        DOWN: lambda: in_turn(down, address, int(port), float(last)),
        DIGEST: lambda: digest(address, int(port), Path(last)),
    }
    try:
        print(json.dumps(ways[way]()))
    except (OSError, StreamError) as error:
        sys.exit(f"stream: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
