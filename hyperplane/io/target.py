"""A target of the lab: a small HTTP server that answers what it saw, and a UDP echo (RFC 862).

The answer is a JSON object: `target` is its own name, `peer` and `peer_port` where the connection
came from as the target sees it. `/health` answers 200.
"""

import json
import logging
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from hyperplane.io.processes import say_ready

_log = logging.getLogger("hyperplane.target")

_DATAGRAM_BYTES_MAX = 65_535


def _handler(name: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """One request."""

        protocol_version = "HTTP/1.1"
        server_version = "hyperplane-target"

        def do_GET(self) -> None:
            peer, peer_port = self.client_address[:2]
            answer = {"target": name, "peer": peer, "peer_port": peer_port, "path": self.path}
            body = (json.dumps({"status": "ok"} if self.path == "/health" else answer) + "\n").encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, template: str, *args: object) -> None:
            _log.info("%s:%d %s", *self.client_address[:2], template % args)

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


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
    servers = [_Server(("0.0.0.0", port), _handler(name)) for port in tcp_ports]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    for port in udp_ports:
        threading.Thread(target=_echo, args=(port,), daemon=True).start()
    _log.info("%s serves TCP %s and UDP %s", name, tcp_ports, udp_ports)
    say_ready()
    signal.sigwait(signals)
    return 0
