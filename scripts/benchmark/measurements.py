"""The measurements of the comparison: one class each, the same for every contender.

A measurement returns the values of its figures or raises `MeasurementFailed`; any error that the traffic
program saw fails it, so that a contender cannot look fast by answering less.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from benchmark.contenders import Contender
from benchmark.failure import BenchmarkError, MeasurementFailed
from benchmark.figures import BULK_1, BULK_8, CONNECTIONS, CONTENT, HEADER_CONNECTIONS, KEEP_ALIVE, LATENCIES, Figure
from benchmark.layout import BULK, CLIENT, ECHO, HTTP, Service
from benchmark.processes import in_namespace, python_module, run
from benchmark.servers import BLOB_NAME, Servers

CONNECTIONS_AT_ONCE = 64
WRK_THREADS = 2
WRK_REPORT = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\nREPORT {"requests":%d,"duration_us":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\\n',
    summary.requests, summary.duration, e.connect, e.read, e.write, e.status, e.timeout))
end
"""
GRACE_S = 20.0
"""How much longer than asked for a traffic program may take."""


class Measurement(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def service(self) -> Service: ...

    def measure(self, contender: Contender, seconds: float) -> Mapping[Figure, float]: ...


class Bulk:
    """iperf3 from the client to the target, counted by the receiver."""

    service = BULK

    def __init__(self, servers: Servers, figure: Figure, stream_count: int) -> None:
        self.name = figure.name
        self._servers = servers
        self._figure = figure
        self._stream_count = stream_count

    def measure(self, contender: Contender, seconds: float) -> Mapping[Figure, float]:
        address, port = contender.socket_address(self.service)
        command = [
            "iperf3",
            "-c",
            address,
            "-p",
            str(port),
            "-t",
            f"{seconds:.0f}",
            "-P",
            str(self._stream_count),
            "-J",
        ]
        server = self._servers.start_iperf3()
        try:
            report = json.loads(run_client(command, seconds))
        finally:
            server.stop()
        if "error" in report:
            raise MeasurementFailed(f"iperf3: {report['error']}")
        received = report["end"]["sum_received"]["bits_per_second"]
        if not received:
            raise MeasurementFailed("iperf3: nothing arrived")
        return {self._figure: received / 1e9}


class Requests:
    """wrk against nginx: 64 connections, kept alive or closed by the server after each answer."""

    service = HTTP

    def __init__(self, directory: Path, figure: Figure) -> None:
        self.name = figure.name
        self._figure = figure
        self._script = directory / "report.lua"
        self._script.write_text(WRK_REPORT)

    def measure(self, contender: Contender, seconds: float) -> Mapping[Figure, float]:
        address, port = contender.socket_address(self.service)
        command = ["wrk", f"-t{WRK_THREADS}", f"-c{CONNECTIONS_AT_ONCE}", f"-d{seconds:.0f}s", "-s", str(self._script)]
        if self._figure in (CONNECTIONS, HEADER_CONNECTIONS):
            command += ["-H", "Connection: close"]
        output = run_client([*command, f"http://{address}:{port}/"], seconds)
        report = json.loads(output.partition("REPORT ")[2] or "{}")
        if not report.get("requests"):
            raise MeasurementFailed("wrk: no request was answered")
        errors = {kind: report[kind] for kind in ("connect", "read", "write", "status", "timeout") if report[kind]}
        if errors:
            raise MeasurementFailed(f"wrk: errors {errors} in {report['requests']} requests")
        return {self._figure: report["requests"] / (report["duration_us"] / 1e6)}


class Latency:
    """64 B ping-pong over one TCP connection on an otherwise idle path."""

    service = ECHO
    name = "latency"

    def measure(self, contender: Contender, seconds: float) -> Mapping[Figure, float]:
        address, port = contender.socket_address(self.service)
        report = json.loads(run_client(python_module("ping_pong", "latency", address, port, seconds), seconds))
        return {figure: report[name] for name, figure in LATENCIES.items()}


class Content:
    """The same bytes at both ends: a file from nginx by curl, and the file up to the echo."""

    service = HTTP
    name = CONTENT.name

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def measure(self, contender: Contender, seconds: float) -> Mapping[Figure, float]:
        copy = self._servers.directory / "copy"
        address, port = contender.socket_address(HTTP)
        run_client(["curl", "-sS", "--fail", "-o", str(copy), f"http://{address}:{port}/{BLOB_NAME}"], GRACE_S)
        down = hashlib.sha256(copy.read_bytes()).hexdigest()
        copy.unlink()
        address, port = contender.socket_address(ECHO)
        blob = self._servers.directory / BLOB_NAME
        up = json.loads(run_client(python_module("ping_pong", "digest", address, port, blob), GRACE_S))
        wrong = [way for way, seen in (("down", down), ("up", up["seen"])) if seen != self._servers.blob_digest]
        if wrong:
            raise MeasurementFailed(f"the digest of the file is wrong on its way {' and '.join(wrong)}")
        return {CONTENT: 2}


def tcp_measurements(servers: Servers) -> tuple[Measurement, ...]:
    return (
        Content(servers),
        Bulk(servers, BULK_1, 1),
        Bulk(servers, BULK_8, 8),
        Requests(servers.directory, KEEP_ALIVE),
        Requests(servers.directory, CONNECTIONS),
        Latency(),
    )


def run_client(command: list[str], seconds: float) -> str:
    """Run a traffic program in the client's namespace. Errors: MeasurementFailed with what it said."""
    try:
        return run(in_namespace(CLIENT, *command), timeout_s=seconds + GRACE_S)
    except BenchmarkError as error:
        raise MeasurementFailed(str(error)) from error
