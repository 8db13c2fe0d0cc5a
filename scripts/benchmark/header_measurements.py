"""The measurements with the Proxy Protocol header: the same for every lane, header on or off.

That each request really carried a header is proven where it arrives: nginx answers nothing on a connection without
one, `stream` compares what the header says with what the client says of itself, and no error is forgiven.
"""

import hashlib
import json
from collections.abc import Mapping

from benchmark.contenders import Contender
from benchmark.failure import MeasurementFailed
from benchmark.figures import (
    HEADER_BULK,
    HEADER_BULK_BACK,
    HEADER_CONNECTIONS,
    HEADER_CONTENT,
    HEADER_KEEP_ALIVE,
    HEADER_OFF,
    Figure,
)
from benchmark.layout import HTTP, STREAM
from benchmark.measurements import GRACE_S, Measurement, Requests, run_client
from benchmark.processes import python_module
from benchmark.servers import BLOB_NAME, CLIENT_NAME, Servers
from benchmark.stream import DIGEST, DOWN, UP


class Stream:
    """One stream of bulk data, counted by its receiver: `up` to the target, `down` from it."""

    service = STREAM

    def __init__(self, figure: Figure, way: str) -> None:
        self.name = figure.name
        self._figure = figure
        self._way = way

    def measure(self, contender: Contender, seconds: float) -> Mapping[Figure, float]:
        address, port = contender.socket_address(self.service)
        report = json.loads(run_client(python_module("stream_client", self._way, address, port, seconds), seconds))
        return {self._figure: report["bytes"] * 8 / report["seconds"] / 1e9}


class HeaderContent:
    """The same bytes at both ends, and a client that nginx knows by the header, or by none."""

    service = HTTP
    name = HEADER_CONTENT.name

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def measure(self, contender: Contender, seconds: float) -> Mapping[Figure, float]:
        found = {
            "the digest of the file on its way down": (self._servers.blob_digest, self._down(contender)),
            "the digest of the file on its way up": (self._servers.blob_digest, self._up(contender)),
            "the client that nginx knows": self._client(contender),
        }
        wrong = [f"{what} is {seen!r}, not {right!r}" for what, (right, seen) in found.items() if seen != right]
        if wrong:
            raise MeasurementFailed("; ".join(wrong))
        return {HEADER_CONTENT: len(found)}

    def _down(self, contender: Contender) -> str:
        copy = self._servers.directory / "copy"
        self._curl(contender, BLOB_NAME, "-o", str(copy))
        data = copy.read_bytes()
        copy.unlink()
        return hashlib.sha256(data).hexdigest()

    def _up(self, contender: Contender) -> str:
        address, port = contender.socket_address(STREAM)
        blob = self._servers.directory / BLOB_NAME
        report = json.loads(run_client(python_module("stream_client", DIGEST, address, port, blob), GRACE_S))
        return str(report["sha256"])

    def _client(self, contender: Contender) -> tuple[str, str]:
        """What a header must say, empty words where there is none, and what nginx read in it."""
        address, port = contender.socket_address(HTTP)
        seen, _, own_port = self._curl(contender, CLIENT_NAME, "-w", "%{local_port}").partition("\n")
        told = f"{contender.middle.client_address} {own_port} {address} {port}"
        return ("   " if contender.name == HEADER_OFF else told), seen

    def _curl(self, contender: Contender, path: str, *options: str) -> str:
        address, port = contender.socket_address(HTTP)
        return run_client(["curl", "-sS", "--fail", *options, f"http://{address}:{port}/{path}"], GRACE_S)


def header_measurements(servers: Servers) -> tuple[Measurement, ...]:
    return (
        HeaderContent(servers),
        Stream(HEADER_BULK, UP),
        Stream(HEADER_BULK_BACK, DOWN),
        Requests(servers.directory, HEADER_KEEP_ALIVE),
        Requests(servers.directory, HEADER_CONNECTIONS),
    )
