"""A target of the lab: a small HTTP server that answers what it saw, and a UDP echo (RFC 862).

The answer is a JSON object: `target` is its own name, `peer` and `peer_port` where the connection
came from as the target sees it. `/health` answers 200.

If the stream begins with a Proxy Protocol v2 header, the answer also has what that tells: `client` and `client_port`
in the consumer's network, and `endpoint`, the id of the endpoint that was called, null if the header names none.
LOCAL headers tell nothing. The echo sends back what it got, header included.

A target takes connections with a header and without one, because a user of the lab switches the target group's
attribute while it runs. That is for a lab only. A real server must be configured to expect the header and must not
guess (HAProxy, "The PROXY protocol", section 2): whoever reaches a server that guesses can send it a header and so
choose the address that he seems to come from.
"""

import json
import logging
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any

from hyperplane.io.preface import HEADER_TIMEOUT_S, take_header
from hyperplane.io.processes import say_ready
from hyperplane.wire.ppv2 import Command, ProxyHeader, ProxyHeaderError

_log = logging.getLogger("hyperplane.target")

_DATAGRAM_BYTES_MAX = 65_535
_LINE_BYTES_MAX = 65_536
_EMPTY_LINES_MAX = 2
"""Before a request. As many as a header's signature begins with: what looks like one and is none gets its answer."""


class _Handler(BaseHTTPRequestHandler):
    """One connection, behind its header if it had one."""

    protocol_version = "HTTP/1.1"
    server_version = "hyperplane-target"
    raw_requestline: bytes
    """A request's first line, until it is parsed."""

    def __init__(
        self,
        connection: socket.socket,
        address: tuple[str, int],
        server: "TargetServer",
        header: ProxyHeader | None = None,
    ) -> None:
        self._name = server.name
        self._header = header
        super().__init__(connection, address, server)  # serves the connection to its end

    def parse_request(self) -> bool:
        for _ in range(_EMPTY_LINES_MAX):
            if self.raw_requestline in (b"\r\n", b"\n"):  # a server should ignore them: RFC 9112, section 2.2
                self.raw_requestline = self.rfile.readline(_LINE_BYTES_MAX)
        return super().parse_request()

    def do_GET(self) -> None:
        peer, peer_port = self.client_address[:2]
        seen = {"target": self._name, "peer": peer, "peer_port": peer_port}
        answer = {"status": "ok"} if self.path == "/health" else seen | _told(self._header) | {"path": self.path}
        body = (json.dumps(answer) + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, template: str, *args: object) -> None:
        _log.info("%s:%d %s", *self.client_address[:2], template % args)


def _told(header: ProxyHeader | None) -> dict[str, str | int | None]:
    """What a header says of the client."""
    if header is None or header.command is Command.LOCAL:
        return {}
    client = str(ip_address(header.source))
    return {"client": client, "client_port": header.source_port, "endpoint": header.endpoint_id}


class TargetServer(ThreadingHTTPServer):
    """The HTTP server on one port. Each connection has its thread, which also waits for the header."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], name: str, header_timeout_s: float = HEADER_TIMEOUT_S) -> None:
        super().__init__(address, _Handler)
        self.name = name
        self._header_timeout_s = header_timeout_s

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection, in its own thread."""
        try:
            header = take_header(request, self._header_timeout_s)
        except (ProxyHeaderError, OSError) as error:
            _log.warning("%s:%d closed for its Proxy Protocol header: %s", *client_address[:2], error)
            return
        _Handler(request, client_address, self, header)


def _echo(port: int) -> None:
    """Send every datagram back to where it came from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
        echo.bind(("0.0.0.0", port))
        while True:
            data, peer = echo.recvfrom(_DATAGRAM_BYTES_MAX)
            echo.sendto(data, peer)


def serve_target(name: str, tcp_ports: list[int], udp_ports: list[int]) -> int:
    """Serve until told to stop."""
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before the threads start, so that only `sigwait` hears them
    servers = [TargetServer(("0.0.0.0", port), name) for port in tcp_ports]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    for port in udp_ports:
        threading.Thread(target=_echo, args=(port,), daemon=True).start()
    _log.info("%s serves TCP %s and UDP %s", name, tcp_ports, udp_ports)
    say_ready()
    signal.sigwait(signals)
    return 0
