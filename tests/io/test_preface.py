"""The header in front of a stream: taken whole, however it comes, and nothing behind it."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from ipaddress import ip_address

import pytest

from hyperplane.io.preface import HEADER_TIMEOUT_S, take_header
from hyperplane.wire.ppv2 import (
    CHECKSUM,
    HEADER_BYTES_MAX,
    LOCAL_HEADER,
    NOOP,
    SIGNATURE,
    Command,
    ProxyHeader,
    ProxyHeaderError,
    Tlv,
)

HANG_GUARD_S = 30.0
ENDPOINT_ID = "vpce-0123456789abcdef0"
HEADER = ProxyHeader(
    Command.PROXY,
    6,
    ip_address("10.0.1.50").packed,
    ip_address("10.0.1.10").packed,
    51_000,
    443,
    (CHECKSUM, Tlv.for_endpoint(ENDPOINT_ID), Tlv(NOOP, bytes(36))),
)
BYTES = HEADER.emit()
STREAM = b"GET / HTTP/1.1\r\n\r\n"


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client's end and the target's."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        client = socket.create_connection(door.getsockname())
        served, _ = door.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with client, served:
        yield client, served


Ends = tuple[socket.socket, socket.socket]


@contextlib.contextmanager
def taking(served: socket.socket, timeout_s: float = HANG_GUARD_S) -> Iterator["Future[ProxyHeader | None]"]:
    """`take_header` in a thread of its own, which ends with the test whatever happens."""
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(take_header, served, timeout_s)
        try:
            yield taken
        finally:
            if wait([taken], HANG_GUARD_S).not_done:
                served.shutdown(socket.SHUT_RD)


def until_waiting_for_more_than(count: int, served: socket.socket) -> None:
    """Until that thread has seen so many bytes and wants one more."""
    give_up_at = time.monotonic() + HANG_GUARD_S
    while served.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) != count + 1:
        assert time.monotonic() < give_up_at, f"it never waited for more than {count} bytes"
        threading.Event().wait(0.0005)


def rest_of(ends: Ends) -> bytes:
    """All that is left to be read."""
    client, served = ends
    client.shutdown(socket.SHUT_WR)
    served.settimeout(HANG_GUARD_S)
    return b"".join(iter(lambda: served.recv(1000), b""))


def test_the_time_is_not_shorter_than_a_retransmission() -> None:
    """[PP] section 2: at least 3 s."""
    assert 3.0 <= HEADER_TIMEOUT_S < 10.0


@pytest.mark.parametrize("behind", [b"", STREAM, STREAM * 1000, BYTES])
def test_a_header_is_taken_and_nothing_behind_it(ends: Ends, behind: bytes) -> None:
    ends[0].sendall(BYTES + behind)
    assert take_header(ends[1]) == HEADER
    assert rest_of(ends) == behind


def test_a_local_header_is_taken(ends: Ends) -> None:
    ends[0].sendall(LOCAL_HEADER + STREAM)
    assert take_header(ends[1]) == ProxyHeader(Command.LOCAL)
    assert rest_of(ends) == STREAM


def test_the_longest_header_is_taken(ends: Ends) -> None:
    bare = ProxyHeader(Command.PROXY, 6, bytes(4), bytes(4)).emit()
    noop = Tlv(NOOP, bytes(HEADER_BYTES_MAX - len(bare) - 3))
    longest = ProxyHeader(Command.PROXY, 6, bytes(4), bytes(4), tlvs=(noop,))
    ends[0].sendall(longest.emit() + STREAM)
    assert take_header(ends[1]) == longest
    assert rest_of(ends) == STREAM


@pytest.mark.parametrize("cut", range(1, len(BYTES)))
def test_a_header_in_two_pieces(ends: Ends, cut: int) -> None:
    client, served = ends
    client.sendall(BYTES[:cut])
    with taking(served) as taken:
        until_waiting_for_more_than(cut, served)
        client.sendall(BYTES[cut:] + STREAM)
    assert taken.result() == HEADER
    assert rest_of(ends) == STREAM


def test_a_header_byte_by_byte(ends: Ends) -> None:
    client, served = ends
    with taking(served) as taken:
        for at in range(len(BYTES)):
            client.sendall(BYTES[at : at + 1])
            if at + 1 < len(BYTES):
                until_waiting_for_more_than(at + 1, served)
    assert taken.result() == HEADER
    assert served.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1


@pytest.mark.parametrize("alike", range(len(SIGNATURE)))
def test_what_stops_being_a_signature_is_left_whole(ends: Ends, alike: int) -> None:
    client, served = ends
    wrong = SIGNATURE[:alike] + bytes([SIGNATURE[alike] ^ 0x20]) + STREAM
    with taking(served) as taken:
        if alike:
            client.sendall(wrong[:alike])
            until_waiting_for_more_than(alike, served)
        client.sendall(wrong[alike : alike + 1])  # this one byte gives it away, and nothing else has to come
        assert taken.result(HANG_GUARD_S) is None
    client.sendall(wrong[alike + 1 :])
    assert rest_of(ends) == wrong


def test_a_stream_without_a_byte_has_no_header(ends: Ends) -> None:
    ends[0].shutdown(socket.SHUT_WR)
    assert take_header(ends[1]) is None


def test_the_first_byte_may_be_late(ends: Ends) -> None:
    """A header that comes with the client's first data comes when the client has something to say."""
    client, served = ends
    with taking(served, timeout_s=0.5) as taken:
        with pytest.raises(TimeoutError):
            taken.result(1.0)
        client.sendall(BYTES)
    assert taken.result() == HEADER


@pytest.mark.parametrize("cut", [1, 11, 12, 16, 99])
def test_a_header_that_does_not_go_on(ends: Ends, cut: int) -> None:
    ends[0].sendall(BYTES[:cut])
    with pytest.raises(TimeoutError, match=f"after {cut} bytes"):
        take_header(ends[1], timeout_s=0.05)


def test_a_header_that_comes_too_slowly(ends: Ends) -> None:
    """The time is for the whole header, not for each byte."""
    client, served = ends
    with taking(served, timeout_s=0.3) as taken:
        for byte in BYTES[:-1]:
            client.sendall(bytes([byte]))
            if taken.done():
                break
            threading.Event().wait(0.02)
        with pytest.raises(TimeoutError):
            taken.result(HANG_GUARD_S)


@pytest.mark.parametrize("cut", [1, 11, 12, 16, 99])
def test_a_stream_that_ends_in_its_header(ends: Ends, cut: int) -> None:
    client, served = ends
    client.sendall(BYTES[:cut])
    with taking(served) as taken:
        until_waiting_for_more_than(cut, served)
        client.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionError, match=f"after {cut} bytes"):
            taken.result(HANG_GUARD_S)


def test_a_stream_that_is_reset_in_its_header(ends: Ends) -> None:
    client, served = ends
    client.sendall(BYTES[:50])
    with taking(served) as taken:
        until_waiting_for_more_than(50, served)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        with pytest.raises(ConnectionError):
            taken.result(HANG_GUARD_S)


@pytest.mark.parametrize(("at", "part"), [(31, "checksum"), (34, "checksum"), (20, "checksum"), (12, "version")])
def test_a_wrong_header(ends: Ends, at: int, part: str) -> None:
    wrong = BYTES[:at] + bytes([BYTES[at] ^ 0x10]) + BYTES[at + 1 :]
    ends[0].sendall(wrong + STREAM)
    with pytest.raises(ProxyHeaderError, match=part):
        take_header(ends[1])


def test_a_wrong_header_is_not_waited_for(ends: Ends) -> None:
    ends[0].sendall(SIGNATURE + b"\x31")
    with pytest.raises(ProxyHeaderError, match="version 3"):
        take_header(ends[1], timeout_s=HANG_GUARD_S)


def test_waiting_takes_no_processor_time(ends: Ends) -> None:
    ends[0].sendall(BYTES[:50])
    before = time.thread_time()
    with pytest.raises(TimeoutError):
        take_header(ends[1], timeout_s=0.5)
    assert time.thread_time() - before < 0.1
