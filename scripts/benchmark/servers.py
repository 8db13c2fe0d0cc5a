"""What stands behind every contender: nginx on 32 ports, an echo, an iperf3 per run, the UDP sink.

The sink is no process: the server's raw table drops what its interface has counted (see `ground`).
"""

import hashlib
import os
from pathlib import Path

from benchmark.layout import BULK, ECHO, HTTP, SERVER, TARGET_ADDRESS
from benchmark.processes import Process, in_namespace, python_module

BLOB_BYTES = 32 << 20
BLOB_NAME = "blob"

NGINX = """
user root;
worker_processes auto;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    sendfile on;
    client_body_temp_path {directory};
    proxy_temp_path {directory};
    fastcgi_temp_path {directory};
    uwsgi_temp_path {directory};
    scgi_temp_path {directory};
    server {{
{listens}
        location = / {{ return 200 "ok\\n"; }}
        location = /{blob} {{ root {directory}; }}
    }}
}}
"""


class Servers:
    """The processes of the server namespace."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.processes: list[Process] = []
        self.blob_digest = ""

    def start(self) -> None:
        blob = os.urandom(BLOB_BYTES)
        (self.directory / BLOB_NAME).write_bytes(blob)
        self.blob_digest = hashlib.sha256(blob).hexdigest()
        self._start_nginx()
        echo = python_module("echo", TARGET_ADDRESS, ECHO.target_port_first)
        self._start(echo, [ECHO.target_port_first], "echo")

    @property
    def pid(self) -> int:
        """A process in the server's namespace, through which its counters can be read."""
        return self.processes[0].pid

    def start_iperf3(self) -> Process:
        """A fresh iperf3 for one run: it serves one test and ends, so no failed run is in the way of the next."""
        port = BULK.target_port_first
        command = ["iperf3", "-s", "-1", "-B", TARGET_ADDRESS, "-p", str(port)]
        process = Process(in_namespace(SERVER, *command), self.directory / "iperf3.log")
        process.wait_for_listeners([port])
        return process

    def stop(self) -> None:
        while self.processes:
            self.processes.pop().stop()

    def _start_nginx(self) -> None:
        ports = range(HTTP.target_port_first, HTTP.target_port_first + HTTP.target_count)
        listens = "\n".join(f"        listen {TARGET_ADDRESS}:{port} backlog=4096;" for port in ports)
        configuration = self.directory / "nginx.conf"
        configuration.write_text(NGINX.format(directory=self.directory, listens=listens, blob=BLOB_NAME))
        self._start(["nginx", "-c", str(configuration), "-g", "daemon off;"], list(ports), "nginx-run")

    def _start(self, command: list[str], ports: list[int], name: str) -> None:
        process = Process(in_namespace(SERVER, *command), self.directory / f"{name}.log")
        self.processes.append(process)
        process.wait_for_listeners(ports)
