"""The lab's target, on real sockets: it answers what it saw, with a header and without one."""

import json
import logging
import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from hyperplane.io import processes
from hyperplane.io.processes import ProcessFiles
from hyperplane.io.target import TargetServer
from hyperplane.wire.ppv2 import CHECKSUM, LOCAL_HEADER, SIGNATURE, Command, ProxyHeader, Tlv

HANG_GUARD_S = 30.0
ENDPOINT_ID = "vpce-0123456789abcdef0"
REQUEST = b"GET /x HTTP/1.1\r\nHost: orders\r\n\r\n"
LAST_REQUEST = b"GET /last HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n\r\n"


def header(client: str = "10.0.1.50", door: str = "10.0.1.10", *tlvs: Tlv) -> bytes:
    """The header of a client at port 51000."""
    addresses = ip_address(client).packed, ip_address(door).packed
    return ProxyHeader(Command.PROXY, 6, *addresses, 51_000, 443, (CHECKSUM, *tlvs)).emit()


HEADER = header("10.0.1.50", "10.0.1.10", Tlv.for_endpoint(ENDPOINT_ID))
TOLD = {"client": "10.0.1.50", "client_port": 51_000, "endpoint": ENDPOINT_ID}


@contextmanager
def serving(header_timeout_s: float = HANG_GUARD_S) -> Iterator[TargetServer]:
    server = TargetServer(("127.0.0.1", 0), "target-9", header_timeout_s)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.socket.close()


@pytest.fixture
def server() -> Iterator[TargetServer]:
    with serving() as server:
        yield server


def connect(server: TargetServer) -> socket.socket:
    host, port = server.server_address[:2]
    client = socket.create_connection((str(host), port), timeout=HANG_GUARD_S)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def heard(client: socket.socket) -> bytes:
    """All until the other end closes, in whatever way: with bytes of ours unread it resets."""
    answer = b""
    try:
        while data := client.recv(10_000):
            answer += data
    except ConnectionResetError:
        pass
    return answer


def bodies(answer: bytes) -> list[dict[str, Any]]:
    """The objects of all answers, one after the other."""
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == answer.count(b"HTTP/1.1 ")
    return [json.loads(line) for line in re.findall(rb"^\{.*\}$", answer, re.MULTILINE)]


def ask(server: TargetServer, *parts: bytes) -> tuple[list[dict[str, Any]], int]:
    """Send the parts one by one, hear all answers. Also the caller's port."""
    with connect(server) as client:
        for part in parts:
            client.sendall(part)
        return bodies(heard(client)), client.getsockname()[1]


def test_without_a_header_nothing_is_said_of_a_client(server: TargetServer) -> None:
    (answer,), port = ask(server, LAST_REQUEST)
    assert list(answer.items()) == [
        ("target", "target-9"),
        ("peer", "127.0.0.1"),
        ("peer_port", port),
        ("path", "/last"),
    ]


def test_with_a_header_the_client_is_named(server: TargetServer) -> None:
    (answer,), port = ask(server, HEADER + LAST_REQUEST)
    assert list(answer.items()) == [
        ("target", "target-9"),
        ("peer", "127.0.0.1"),
        ("peer_port", port),
        ("client", "10.0.1.50"),
        ("client_port", 51_000),
        ("endpoint", ENDPOINT_ID),
        ("path", "/last"),
    ]


def test_a_client_of_ipv6(server: TargetServer) -> None:
    (answer,), _ = ask(server, header("fd00:1::50", "fd00:1::10", Tlv.for_endpoint(ENDPOINT_ID)) + LAST_REQUEST)
    assert (answer["client"], answer["client_port"], answer["endpoint"]) == ("fd00:1::50", 51_000, ENDPOINT_ID)
    assert answer["peer"] == "127.0.0.1"


def test_a_header_that_names_no_endpoint(server: TargetServer) -> None:
    (answer,), _ = ask(server, header() + LAST_REQUEST)
    assert (answer["client"], answer["endpoint"]) == ("10.0.1.50", None)


def test_a_local_header_tells_nothing(server: TargetServer) -> None:
    (answer,), port = ask(server, LOCAL_HEADER + LAST_REQUEST)
    assert answer == {"target": "target-9", "peer": "127.0.0.1", "peer_port": port, "path": "/last"}


@pytest.mark.parametrize("before", [b"", HEADER, LOCAL_HEADER])
def test_the_health_page_is_the_same_behind_any_header(server: TargetServer, before: bytes) -> None:
    answers, _ = ask(server, before + LAST_REQUEST.replace(b"/last", b"/health"))
    assert answers == [{"status": "ok"}]


def test_a_header_cut_anywhere(server: TargetServer) -> None:
    for cut in range(1, len(HEADER) + 1):
        (answer,), _ = ask(server, HEADER[:cut], HEADER[cut:] + LAST_REQUEST)
        assert answer.items() > TOLD.items(), f"cut after {cut} bytes"


def test_one_header_and_two_requests_at_once(server: TargetServer) -> None:
    answers, _ = ask(server, HEADER + REQUEST + LAST_REQUEST)
    assert [answer["path"] for answer in answers] == ["/x", "/last"]
    assert all(answer.items() > TOLD.items() for answer in answers)


def test_a_connection_that_is_kept_keeps_its_client(server: TargetServer) -> None:
    with connect(server) as client:
        client.sendall(HEADER + REQUEST)
        first = b""
        while not first.endswith(b"}\n"):
            first += client.recv(10_000)
        client.sendall(LAST_REQUEST)
        answers = bodies(first + heard(client))
    assert [answer["path"] for answer in answers] == ["/x", "/last"]
    assert all(answer.items() > TOLD.items() for answer in answers)


@pytest.mark.parametrize("alike", range(len(SIGNATURE)))
def test_what_only_begins_like_a_header_is_a_bad_request(server: TargetServer, alike: int) -> None:
    with connect(server) as client:
        client.sendall(SIGNATURE[:alike] + b"X no request\r\n\r\n")
        assert b"400" in heard(client)


def test_empty_lines_before_a_request_mean_nothing(server: TargetServer) -> None:
    """RFC 9112, section 2.2. Each of these begins like a header."""
    for lines in (b"\r\n", b"\r\n\r\n"):
        (answer,), _ = ask(server, lines + LAST_REQUEST)
        assert "client" not in answer


@pytest.mark.parametrize("cut", [1, 12, 40, len(HEADER) - 1])
def test_a_header_that_does_not_go_on_closes(cut: int, caplog: pytest.LogCaptureFixture) -> None:
    with serving(header_timeout_s=0.1) as server, connect(server) as client:
        client.sendall(HEADER[:cut])
        assert heard(client) == b""
    (said,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert said.endswith(f"closed for its Proxy Protocol header: nothing came after {cut} bytes of a header")


def test_a_corrupt_header_closes(server: TargetServer, caplog: pytest.LogCaptureFixture) -> None:
    corrupt = HEADER[:17] + bytes([HEADER[17] ^ 1]) + HEADER[18:]
    with connect(server) as client:
        client.sendall(corrupt + LAST_REQUEST)
        assert heard(client) == b""
    (said,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert re.search("closed for its Proxy Protocol header: .*checksum", said)


def test_who_says_nothing_keeps_nobody_waiting(server: TargetServer) -> None:
    with connect(server) as silent, connect(server) as slow:
        slow.sendall(HEADER[:50])
        assert len(ask(server, HEADER + LAST_REQUEST)[0]) == 1
        slow.sendall(HEADER[50:] + LAST_REQUEST)
        assert bodies(heard(slow))[0].items() > TOLD.items()
        silent.sendall(LAST_REQUEST)
        assert "client" not in bodies(heard(silent))[0]


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_the_command_serves_all_its_ports_and_echoes_headers_as_they_are(tmp_path: Path) -> None:
    tcp, second, udp = (free_port(kind) for kind in (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM))
    options = ["--name", "target-9", "--tcp", str(tcp), "--tcp", str(second), "--udp", str(udp)]
    files = ProcessFiles(tmp_path)
    processes.start(files, "target", [sys.executable, "-m", "hyperplane", "target", *options])
    try:
        for port in (tcp, second):
            with socket.create_connection(("127.0.0.1", port), timeout=HANG_GUARD_S) as client:
                client.sendall(HEADER + LAST_REQUEST)
                assert bodies(heard(client))[0].items() > TOLD.items()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(HANG_GUARD_S)
            client.connect(("127.0.0.1", udp))
            client.send(HEADER + b"hello")
            assert client.recv(1000) == HEADER + b"hello"
    finally:
        processes.end(files, "target")
