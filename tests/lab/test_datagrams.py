"""UDP: every size, every kind of checksum, and the super-packets of segmentation offload."""

import socket
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from tests.lab.capture import Capture, Captures
from tests.lab.ends import answering, door_of, snmp, udp_socket
from tests.lab.laboratory import (
    BALANCER,
    CLIENT,
    CONSUMER_A,
    CONSUMER_C,
    ENDPOINT,
    LINK,
    STAND_IN,
    STAND_IN_PORT,
    TARGET_1,
    Lab,
)
from tests.lab.raw import datagram, send_ip

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("steering")]

DOOR = (ENDPOINT, STAND_IN_PORT)
CLIENT_PORT = 4450
SO_NO_CHECK, UDP_SEGMENT = 11, 103
"""asm-generic/socket.h, linux/udp.h"""


@pytest.fixture
def target(lab: Lab) -> Iterator[socket.socket]:
    with answering() as target:
        yield target


@pytest.fixture
def client(lab: Lab) -> Iterator[socket.socket]:
    with udp_socket(CONSUMER_A, port=CLIENT_PORT) as client:
        client.connect(DOOR)
        yield client


def content(size: int) -> bytes:
    """So many bytes that repeat nowhere nearby."""
    return b"".join(sha256(str(at).encode()).digest() for at in range(0, size, 32))[:size]


@pytest.mark.parametrize("size", [0, 1, 2, 1471, 1472, 1473, 2953, 9001, 65_503])
def test_every_size_arrives_and_comes_back(client: socket.socket, target: socket.socket, size: int) -> None:
    """Above 1,472 bytes the kernel cuts it into fragments, on both sides, both ways."""
    client.send(content(size))
    data, peer = target.recvfrom(65_535)
    assert (data, peer[0]) == (content(size), BALANCER)
    target.sendto(data[::-1], peer)
    assert client.recv(65_535) == content(size)[::-1]


@pytest.mark.parametrize("size", [65_504, 65_507])
def test_what_the_queue_cannot_hold_is_dropped_and_counted(
    lab: Lab, client: socket.socket, target: socket.socket, size: int
) -> None:
    """A netlink attribute holds 65,531 bytes (linux/netlink.h: its length has 16 bits), IP 65,535: four are missing.

    It comes in 45 pieces. The last one would be answered with the whole, and is dropped; the others wait for it.
    """
    client.send(b"first")
    _, peer = target.recvfrom(100)
    for sender, receiver in ((client, target), (target, client)):
        before = lab.counters()
        sender.sendto(content(size), DOOR if sender is client else peer)
        lab.expect(before, fragments_held=44, packets_dropped=1, dropped_too_long=1)
        sender.sendto(b"next", DOOR if sender is client else peer)
        assert receiver.recv(65_535) == b"next"


def test_a_datagram_without_checksum_has_none_at_the_target(
    client: socket.socket, target: socket.socket, tmp_path: Path
) -> None:
    client.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    target.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    with Captures(tmp_path, [(TARGET_1, LINK), (CONSUMER_A, LINK)], "udp") as captures:
        client.send(b"trust me")
        data, peer = target.recvfrom(100)
        target.sendto(data, peer)
        assert client.recv(100) == b"trust me"
    for _, capture in captures.items():
        assert [packet[UDP].chksum for packet in capture.packets()] == [0, 0]


def test_a_sum_of_zero_is_sent_as_all_ones(client: socket.socket, target: socket.socket, tmp_path: Path) -> None:
    """Zero means "no checksum" (RFC 768), so a sum that comes out as zero after the translation must not be zero."""
    with Capture(tmp_path, TARGET_1, LINK, "udp") as capture:
        client.send(b"which port?")
        _, (_, snat_port) = target.recvfrom(100)
        wanted = datagram((BALANCER, snat_port), (STAND_IN, STAND_IN_PORT), bytes(2))
        word = IP(bytes(wanted))[UDP].chksum  # adding a sum's own complement makes the sum zero
        packet = datagram((CLIENT, CLIENT_PORT), DOOR, word.to_bytes(2, "big"))
        send_ip(CONSUMER_A, packet)
        assert target.recv(100) == word.to_bytes(2, "big")
    assert capture.packets()[-1][UDP].chksum == 0xFFFF


@pytest.mark.parametrize("size", [1, 100, 1000, 1472])
def test_segmented_datagrams_arrive_as_their_sender_meant_them(
    client: socket.socket, target: socket.socket, size: int
) -> None:
    """One send of many datagrams travels as one super-packet until a link cuts it (UDP_SEGMENT, `udp(7)`)."""
    count = min(60, 60_000 // size)
    data = content(size * count + size // 2)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    wrong = snmp(TARGET_1, "Udp", "InCsumErrors"), snmp(CONSUMER_A, "Udp", "InCsumErrors")
    client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
    client.send(data)
    received = [target.recvfrom(65_535) for _ in pieces]
    assert [piece for piece, _ in received] == pieces
    target.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
    target.sendto(data, received[0][1])
    assert [client.recv(65_535) for _ in pieces] == pieces
    assert (snmp(TARGET_1, "Udp", "InCsumErrors"), snmp(CONSUMER_A, "Udp", "InCsumErrors")) == wrong


def test_a_corrupt_datagram_reaches_no_application(lab: Lab, client: socket.socket, target: socket.socket) -> None:
    client.send(b"first")
    _, peer = target.recvfrom(100)
    before = lab.counters()
    good = IP(bytes(datagram((CLIENT, CLIENT_PORT), DOOR, b"corrupt")))
    up = IP(src=CLIENT, dst=ENDPOINT) / UDP(sport=CLIENT_PORT, dport=STAND_IN_PORT, chksum=good[UDP].chksum ^ 0x100)
    down = IP(src=STAND_IN, dst=BALANCER) / UDP(sport=STAND_IN_PORT, dport=peer[1], chksum=0x1234)
    send_ip(CONSUMER_A, up / Raw(b"corrupt"))
    send_ip(TARGET_1, down / Raw(b"corrupt"))
    lab.expect(before, packets_dropped=2, dropped_bad_checksum=2)
    client.send(b"second")
    assert target.recv(100) == b"second"
    target.sendto(b"answer", peer)
    assert client.recv(100) == b"answer"


def test_a_closed_port_at_the_target_is_told_to_the_client(client: socket.socket) -> None:
    """The target's ICMP error comes back as the endpoint's, and the client's kernel takes it for its own."""
    client.send(b"anybody?")
    with pytest.raises(ConnectionRefusedError):
        client.recv(100)


def test_only_the_target_can_answer(lab: Lab, client: socket.socket, target: socket.socket) -> None:
    """A datagram from the target's address but another port is no answer."""
    client.send(b"question")
    _, peer = target.recvfrom(100)
    before = lab.counters()
    with udp_socket(TARGET_1, STAND_IN) as other_port, udp_socket(TARGET_1, "10.9.3.20") as other_address:
        for other in (other_port, other_address):
            other.sendto(b"forged", peer)
        lab.expect(before, packets_dropped=2, dropped_no_flow=2)
    target.sendto(b"answer", peer)
    assert client.recv(100) == b"answer"


def test_consumers_with_one_target_never_get_each_others_answers(lab: Lab, target: socket.socket) -> None:
    """A thousand datagrams of two consumers over one balancer address; each carries its sender's name."""
    ends = [(name, udp_socket(name)) for name in (CONSUMER_A, CONSUMER_C) for _ in range(10)]
    for number in range(50):
        for name, end in ends:
            end.sendto(f"{name} {end.getsockname()[1]} {number}".encode(), door_of(name))
        for _ in ends:
            data, peer = target.recvfrom(200)
            target.sendto(data, peer)
        for name, end in ends:
            assert end.recv(200) == f"{name} {end.getsockname()[1]} {number}".encode()
    for _, end in ends:
        end.close()
