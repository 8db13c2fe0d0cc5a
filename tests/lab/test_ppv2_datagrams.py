"""The header in UDP: in every datagram, as the target's wire and socket have it; and what does not fit any more."""

import contextlib
import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, UDP

from tests.lab.capture import Capture, Captures
from tests.lab.ends import door_of, snmp, udp_socket
from tests.lab.laboratory import (
    CONSUMER_A,
    CONSUMERS,
    ENDPOINT,
    LINK,
    STAND_IN,
    TARGET_1,
    Lab,
    until,
)
from tests.lab.ppv2_oracle import HEADER_BYTES, payload
from tests.lab.proxy_clients import HEADER_CLIENT_PORTS, PROXY_DATAGRAM_PORT, datagram_headers, header_of
from tests.lab.strangers import run

pytestmark = pytest.mark.netns

SO_NO_CHECK, UDP_SEGMENT = 11, 103
"""asm-generic/socket.h, linux/udp.h"""
IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IP_PMTUDISC_DO, IP_MTU = 10, 0, 2, 14
"""`ip(7)`, linux/in.h"""
MTU, UDP_HEADERS = 1500, 28
FITS = MTU - UDP_HEADERS - HEADER_BYTES
"""What a datagram may carry that the header only just fits in."""


@pytest.fixture(scope="module", autouse=True)
def headers(lab: Lab) -> Iterator[None]:
    with datagram_headers(lab):
        yield


@pytest.fixture
def target(lab: Lab) -> Iterator[socket.socket]:
    with udp_socket(TARGET_1, STAND_IN, PROXY_DATAGRAM_PORT) as target:
        yield target


def calling(consumer: str, client_port: int) -> socket.socket:
    """A socket that calls the endpoint of the consumer."""
    client = udp_socket(consumer, port=client_port)
    client.connect(door_of(consumer, PROXY_DATAGRAM_PORT))
    return client


def test_pp_38_every_datagram_of_a_flow_has_the_header(
    lab: Lab, steering: str, target: socket.socket, tmp_path: Path
) -> None:
    """Three of each consumer, turn by turn, all from one client port; the answers have none."""
    client_port = HEADER_CLIENT_PORTS[steering]
    expected = {name: header_of(name, client_port, PROXY_DATAGRAM_PORT, "udp") for name in CONSUMERS}
    sent = []
    with (
        Capture(tmp_path, TARGET_1, LINK, f"udp dst port {PROXY_DATAGRAM_PORT}") as capture,
        ExitStack() as stack,
    ):
        clients = {name: stack.enter_context(calling(name, client_port)) for name in CONSUMERS}
        for number in range(3):
            for name, client in clients.items():
                client.send(f"{number}".encode())
                data, peer = target.recvfrom(2048)
                sent.append(expected[name] + f"{number}".encode())
                assert data == sent[-1]
                target.sendto(b"answer to " + data[HEADER_BYTES:], peer)
                assert client.recv(2048) == f"answer to {number}".encode()
    assert [payload(packet) for packet in capture.packets()] == sent


@pytest.mark.parametrize("size", [0, 1, 2, FITS - 1, FITS])
def test_pp_38_sizes_that_fit(lab: Lab, steering: str, target: socket.socket, size: int) -> None:
    """Sent with DF, odd ones and even ones, up to the last byte of a packet; the kernel has nothing to complain of."""
    client_port = HEADER_CLIENT_PORTS[steering] + 1
    wrong = snmp(TARGET_1, "Udp", "InCsumErrors")
    with calling(CONSUMER_A, client_port) as client:
        client.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        client.send(bytes(size))
        assert target.recv(2048) == header_of(CONSUMER_A, client_port, PROXY_DATAGRAM_PORT, "udp") + bytes(size)
    assert snmp(TARGET_1, "Udp", "InCsumErrors") == wrong


def test_pp_38_without_a_checksum_there_is_none_at_the_target(
    lab: Lab, steering: str, target: socket.socket, tmp_path: Path
) -> None:
    client_port = HEADER_CLIENT_PORTS[steering] + 2
    with (
        Captures(tmp_path, [(CONSUMER_A, LINK), (TARGET_1, LINK)], f"udp port {PROXY_DATAGRAM_PORT}") as captures,
        calling(CONSUMER_A, client_port) as client,
    ):
        client.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        client.send(b"trust me")
        assert target.recv(2048) == header_of(CONSUMER_A, client_port, PROXY_DATAGRAM_PORT, "udp") + b"trust me"
    for _, capture in captures.items():
        assert [packet[UDP].chksum for packet in capture.packets()] == [0]


@contextlib.contextmanager
def forgetting() -> Iterator[None]:
    """What the client's kernel learns of the path is forgotten after the block."""
    try:
        yield
    finally:
        run(CONSUMER_A, "ip", "route", "flush", "cache")


@pytest.mark.parametrize("size", [FITS + 1, 1472])
def test_pp_38_what_does_not_fit_is_dropped_counted_and_told(
    lab: Lab, steering: str, target: socket.socket, tmp_path: Path, size: int
) -> None:
    """The client's kernel hears how long a datagram may be, and with that size the next one arrives."""
    client_port = HEADER_CLIENT_PORTS[steering] + 3
    expected = header_of(CONSUMER_A, client_port, PROXY_DATAGRAM_PORT, "udp")
    with (
        forgetting(),
        Captures(tmp_path, [(CONSUMER_A, LINK), (TARGET_1, LINK)], "udp or icmp") as captures,
        calling(CONSUMER_A, client_port) as client,
    ):
        client.send(b"first")
        assert target.recv(2048) == expected + b"first"
        before = lab.counters()
        client.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        client.send(bytes(size))
        lab.expect(before, packets_dropped=1, dropped_header_does_not_fit=1, replies=1)
        until(lambda: client.getsockopt(socket.IPPROTO_IP, IP_MTU) == MTU - HEADER_BYTES, "the client hears of it")
        with pytest.raises(OSError) as told:
            client.recv(1)
        assert told.value.errno == errno.EMSGSIZE
        client.send(bytes(client.getsockopt(socket.IPPROTO_IP, IP_MTU) - UDP_HEADERS))
        assert target.recv(2048) == expected + bytes(FITS)
    (error,) = [packet for packet in captures[CONSUMER_A, LINK].packets() if ICMP in packet]
    assert (error.src, error[ICMP].type, error[ICMP].code, error[ICMP].nexthopmtu) == (ENDPOINT, 3, 4, 1400)
    assert [packet[IP].len for packet in captures[TARGET_1, LINK].packets()] == [133, MTU]


@pytest.mark.parametrize("size", [FITS + 1, 1472, 1473, 9000])
def test_pp_38_what_may_be_cut_is_cut_behind_the_header(
    lab: Lab, steering: str, target: socket.socket, size: int
) -> None:
    """Without DF, and with more than a packet holds, one header is before the whole datagram."""
    client_port = HEADER_CLIENT_PORTS[steering] + 4
    with calling(CONSUMER_A, client_port) as client:
        client.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        client.send(bytes(size))
        assert target.recv(65_535) == header_of(CONSUMER_A, client_port, PROXY_DATAGRAM_PORT, "udp") + bytes(size)


@pytest.mark.parametrize("size", [1, 100, FITS])
def test_pp_38_each_datagram_of_a_super_packet_has_the_header(
    lab: Lab, steering: str, target: socket.socket, size: int
) -> None:
    """One send of many datagrams (UDP_SEGMENT, `udp(7)`). The target gets all of them; the network keeps no order."""
    client_port = HEADER_CLIENT_PORTS[steering] + 5
    pieces = [bytes([number]) * size for number in range(20)]
    with calling(CONSUMER_A, client_port) as client:
        client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
        client.send(b"".join(pieces))
        expected = header_of(CONSUMER_A, client_port, PROXY_DATAGRAM_PORT, "udp")
        assert sorted(target.recv(65_535) for _ in pieces) == [expected + piece for piece in pieces]
