"""What stands behind every contender: nginx on 32 ports, an echo, a stream, an iperf3 per run, the UDP sink.

On 32 ports more nginx refuses every connection that does not begin with a Proxy Protocol header.

The sink is no process: the server's raw table drops what its interface has counted (see `ground`).
"""

import hashlib
import os
from pathlib import Path

from benchmark.layout import BULK, ECHO, HTTP, HTTP_HEADER, SERVER, STREAM, STREAM_HEADER, TARGET_ADDRESS, Service
from benchmark.processes import Process, in_namespace, python_module

BLOB_BYTES = 32 << 20
BLOB_NAME = "blob"
CLIENT_NAME = "client"
"""What nginx answers there: the client's address and port, then those that it called, as the header says."""

NGINX_SERVICES = (HTTP, HTTP_HEADER)
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
{servers}
}}
"""
NGINX_SERVER = """
    server {{
{listens}
        location = / {{ return 200 "ok\\n"; }}
        location = /{blob} {{ root {directory}; }}
        location = /{client} {{ return 200 "{seen}\\n"; }}
    }}
"""
NGINX_SEEN = " ".join(f"$proxy_protocol_{name}" for name in ("addr", "port", "server_addr", "server_port"))


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
        ports = [STREAM.target_port_first, STREAM_HEADER.target_port_first]
        self._start(python_module("stream", TARGET_ADDRESS, *ports), ports, "stream")

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

    def nginx_configuration(self) -> str:
        servers = "".join(self._nginx_server(service) for service in NGINX_SERVICES)
        return NGINX.format(directory=self.directory, servers=servers)

    def _start_nginx(self) -> None:
        configuration = self.directory / "nginx.conf"
        configuration.write_text(self.nginx_configuration())
        ports = [port for service in NGINX_SERVICES for port in service.target_ports]
        self._start(["nginx", "-c", str(configuration), "-g", "daemon off;"], ports, "nginx-run")

    def _nginx_server(self, service: Service) -> str:
        header = " proxy_protocol" if service.header else ""
        listens = "\n".join(
            f"        listen {TARGET_ADDRESS}:{port}{header} backlog=4096;" for port in service.target_ports
        )
        return NGINX_SERVER.format(
            directory=self.directory, listens=listens, blob=BLOB_NAME, client=CLIENT_NAME, seen=NGINX_SEEN
        )

    def _start(self, command: list[str], ports: list[int], name: str) -> None:
        process = Process(in_namespace(SERVER, *command), self.directory / f"{name}.log")
        self.processes.append(process)
        process.wait_for_listeners(ports)
