"""HAProxy, whose specification it is, against our Proxy Protocol header: it reads ours, and we read its.

HAProxy takes a connection with our header and makes one to us with its own, so each test judges
both directions. No root, and no port number of ours: HAProxy inherits the listening socket.
"""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from hyperplane.wire.header_template import HeaderTemplate
from hyperplane.wire.ppv2 import (
    CHECKSUM,
    LOCAL_HEADER,
    UNIQUE_ID,
    Command,
    IncompleteHeader,
    ProxyHeader,
)
from tests.cases import packed

ENDPOINT_ID = "vpce-0123456789abcdef0"
PATIENCE_S = 10

CONFIGURATION = """
defaults
    mode tcp
    timeout connect {patience}s
    timeout client {patience}s
    timeout server {patience}s
listen relay
    bind fd@{listener} accept-proxy
    unique-id-format %ci:%cp
    server target 127.0.0.1:{target_port} send-proxy-v2 proxy-v2-options crc32c,unique-id
backend checked
    server target 127.0.0.1:{checked_port} send-proxy-v2 check check-send-proxy inter 100
"""


@dataclass
class Relay:
    """A running HAProxy, and the sockets that it connects to."""

    address: tuple[str, int]
    target: socket.socket
    checked: socket.socket


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    if shutil.which("haproxy") is None:
        pytest.skip("haproxy is not installed")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_server(("127.0.0.1", 0)) as target,
        socket.create_server(("127.0.0.1", 0)) as checked,
    ):
        path = tmp_path / "haproxy.cfg"
        path.write_text(
            CONFIGURATION.format(
                patience=PATIENCE_S,
                listener=listener.fileno(),
                target_port=target.getsockname()[1],
                checked_port=checked.getsockname()[1],
            )
        )
        for waiting in (target, checked):
            waiting.settimeout(PATIENCE_S)
        process = subprocess.Popen(["haproxy", "-db", "-f", str(path)], pass_fds=[listener.fileno()])
        try:
            yield Relay(listener.getsockname(), target, checked)
        finally:
            process.kill()
            process.wait()


def received(listener: socket.socket) -> tuple[ProxyHeader, bytes]:
    """The header of the next connection, and a few of the bytes behind it."""
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(PATIENCE_S)
        held = b""
        while True:
            try:
                header, used = ProxyHeader.parse(held)
            except IncompleteHeader as incomplete:
                part = connection.recv(incomplete.bytes_needed)
                assert part, f"closed after {held.hex(' ')}"
                held += part
                continue
            assert used == len(held)
            return header, connection.recv(5) if header.command is Command.PROXY else b""


def sent(relay: Relay, data: bytes) -> socket.socket:
    connection = socket.create_connection(relay.address, PATIENCE_S)
    connection.sendall(data)
    return connection


@pytest.mark.parametrize(
    ("client", "endpoint"), [("10.0.1.50", "10.0.1.10"), ("2001:db8:1::50", "2001:db8:1::10")], ids=["IPv4", "IPv6"]
)
def test_pp_43_haproxy_reads_our_header_and_we_read_its(relay: Relay, client: str, endpoint: str) -> None:
    header = HeaderTemplate(6, packed(endpoint), 443, ENDPOINT_ID).header_for(packed(client), b"\x9c\x40")
    with sent(relay, header + b"hello"):
        read, payload = received(relay.target)
    assert payload == b"hello"
    assert (read.command, read.protocol, read.source_port, read.destination_port) == (Command.PROXY, 6, 40000, 443)
    assert (read.source, read.destination) == (packed(client), packed(endpoint))
    assert CHECKSUM in read.tlvs
    assert [tlv.value.decode() for tlv in read.tlvs if tlv.type == UNIQUE_ID] == [f"{client}:40000"]


def test_pp_43_haproxy_refuses_a_header_whose_checksum_is_wrong(relay: Relay) -> None:
    header = HeaderTemplate(6, packed("10.0.1.10"), 443, ENDPOINT_ID).header_for(packed("10.0.1.50"), b"\x9c\x40")
    with sent(relay, header[:19] + b"\x33" + header[20:] + b"hello") as connection, suppress(ConnectionResetError):
        assert connection.recv(1) == b""
    relay.target.setblocking(False)
    with pytest.raises(BlockingIOError):
        relay.target.accept()


def test_pp_43_haproxy_takes_our_local_header_for_its_own_connection(relay: Relay) -> None:
    with sent(relay, LOCAL_HEADER + b"hello") as connection:
        read, payload = received(relay.target)
        address, port = connection.getsockname()
    assert (payload, read.source, read.source_port) == (b"hello", packed(address), port)


def test_pp_43_we_take_haproxy_s_health_check_for_a_local_one(relay: Relay) -> None:
    assert received(relay.checked) == (ProxyHeader(Command.LOCAL), b"")
