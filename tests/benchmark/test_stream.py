"""The bulk stream's two ends over the loopback, and what its server says to a client without the right header."""

import hashlib
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark import stream, stream_client
from hyperplane.wire.packet import TCP
from hyperplane.wire.ppv2 import CHECKSUM, Command, ProxyHeader, Tlv

LOOPBACK = "127.0.0.1"


@pytest.fixture
def plain_port() -> Iterator[int]:
    with stream.listen(LOOPBACK, 0, with_header=False) as listener:
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def header_port() -> Iterator[int]:
    with stream.listen(LOOPBACK, 0, with_header=True) as listener:
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def header_of(connection: socket.socket) -> ProxyHeader:
    """What a load balancer that hides nothing would say of this connection."""
    (source, source_port), (destination, port) = connection.getsockname(), connection.getpeername()
    tlvs = (CHECKSUM, Tlv.for_endpoint("vpce-00000000000000000"))
    addresses = socket.inet_aton(source), socket.inet_aton(destination)
    return ProxyHeader(Command.PROXY, TCP, *addresses, source_port, port, tlvs)


def wish_of(connection: socket.socket, way: str) -> bytes:
    ends = {"client": connection.getsockname(), "service": connection.getpeername()}
    return json.dumps({"way": way, "seconds": 0.05, **ends}).encode() + b"\n"


def connect(port: int) -> socket.socket:
    return socket.create_connection((LOOPBACK, port), timeout=10)


def answers(connection: socket.socket) -> list[dict[str, object]]:
    """End our half; every line that the server then has said."""
    connection.shutdown(socket.SHUT_WR)
    with connection.makefile("rb") as lines:
        return [json.loads(line) for line in lines]


def test_the_receiver_counts_what_was_sent(plain_port: int) -> None:
    report = stream_client.up(LOOPBACK, plain_port, 0.05)
    assert report["bytes"] >= stream.CHUNK_BYTES
    assert report["seconds"] > 0
    assert stream_client.down(LOOPBACK, plain_port, 0.05)["bytes"] >= stream.CHUNK_BYTES


def test_the_time_is_shared_out_to_streams_in_turn(plain_port: int) -> None:
    report = stream_client.in_turn(stream_client.up, LOOPBACK, plain_port, 3 * stream_client.STREAM_S)
    assert len(report["rates"]) == 3
    assert report["bytes"] % stream.CHUNK_BYTES == 0
    assert report["seconds"] > 2 * stream_client.STREAM_S


def test_the_server_digests_a_file(plain_port: int, tmp_path: Path) -> None:
    file = tmp_path / "blob"
    file.write_bytes(bytes(range(256)) * 5000)
    assert stream_client.digest(LOOPBACK, plain_port, file)["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_header_is_no_data(header_port: int) -> None:
    with connect(header_port) as connection:
        connection.sendall(header_of(connection).emit() + wish_of(connection, stream.UP) + b"data")
        verdict, report = answers(connection)
    assert verdict == {"fault": ""}
    assert report["bytes"] == 4


def test_a_header_may_come_in_pieces(header_port: int) -> None:
    with connect(header_port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in header_of(connection).emit() + wish_of(connection, stream.UP):
            connection.sendall(bytes([byte]))
        assert [line.get("bytes") for line in answers(connection)] == [None, 0]


def test_a_stream_without_a_header_is_refused(header_port: int) -> None:
    with pytest.raises(stream_client.StreamError, match="stream begins with 7b22"):
        stream_client.up(LOOPBACK, header_port, 0.05)
    with pytest.raises(stream_client.StreamError, match="stream begins with 7b22"):
        stream_client.down(LOOPBACK, header_port, 0.05)


def test_a_stream_that_ends_in_its_header_is_refused(header_port: int) -> None:
    with connect(header_port) as connection:
        connection.sendall(header_of(connection).emit()[:50])
        assert answers(connection) == [{"fault": "the stream ended after 50 bytes"}]


def test_a_header_where_none_belongs_is_refused(plain_port: int) -> None:
    with connect(plain_port) as connection:
        connection.sendall(header_of(connection).emit() + wish_of(connection, stream.UP))
        (verdict,) = answers(connection)
    assert "does not begin with a wish but with 0d0a0d0a" in str(verdict["fault"])


def test_a_second_header_is_refused(header_port: int) -> None:
    with connect(header_port) as connection:
        connection.sendall(header_of(connection).emit() * 2 + wish_of(connection, stream.UP))
        (verdict,) = answers(connection)
    assert "does not begin with a wish but with 0d0a0d0a" in str(verdict["fault"])


def test_a_header_that_names_another_client_is_refused(header_port: int) -> None:
    with connect(header_port) as connection:
        wrong = replace(header_of(connection), source=bytes([10, 0, 0, 9]))
        connection.sendall(wrong.emit() + wish_of(connection, stream.DOWN))
        (verdict,) = answers(connection)
    assert "the header names [['10.0.0.9'" in str(verdict["fault"])


def test_a_header_without_a_checksum_or_with_a_wrong_one_is_refused(header_port: int) -> None:
    with connect(header_port) as connection:
        connection.sendall(replace(header_of(connection), tlvs=()).emit() + wish_of(connection, stream.UP))
        assert answers(connection) == [{"fault": "the header has no checksum"}]
    with connect(header_port) as connection:
        damaged = bytearray(header_of(connection).emit())
        damaged[20] ^= 1
        connection.sendall(bytes(damaged) + wish_of(connection, stream.UP))
        (verdict,) = answers(connection)
    assert "the stream begins with 0d0a0d0a" in str(verdict["fault"])
