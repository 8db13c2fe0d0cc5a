"""Fragments: put together before a node sees them, sent on in pieces of our own, and never mixed up.

Nothing is concluded from silence: behind each set of pieces that must not arrive, a datagram follows that must.
"""

import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP, fragment

from tests.lab.capture import Capture
from tests.lab.ends import Pair, answering, udp_socket
from tests.lab.laboratory import CLIENT, CONSUMER_A, CONSUMER_B, ENDPOINT, LINK, STAND_IN_PORT, TARGET_1, Lab
from tests.lab.raw import datagram, segment, send_ip

pytestmark = pytest.mark.netns

DOOR = (ENDPOINT, STAND_IN_PORT)
CLIENT_PORT = 4460
SENDER = (CLIENT, CLIENT_PORT)
WHOLE = bytes(range(256)) * 12
"""3,072 bytes: three pieces of 1,200."""
PIECE = 1200


@pytest.fixture
def target(lab: Lab) -> Iterator[socket.socket]:
    with answering() as target:
        yield target


def pieces(identification: int, data: bytes = WHOLE) -> list[Any]:
    made: list[Any] = fragment(datagram(SENDER, DOOR, data, id=identification), fragsize=PIECE)
    return made


def arrives(lab: Lab, target: socket.socket, data: bytes) -> bool:
    """Whether this is the very next datagram at the target; a last one that must come ends the wait.

    The last one may be another node's, so it is sent when all nodes are done with what came before.
    """
    lab.settle()
    send_ip(CONSUMER_A, datagram(SENDER, DOOR, b"that is all"))
    received = target.recv(65_535)
    if received == data:
        assert target.recv(65_535) == b"that is all"
        return True
    assert received == b"that is all"
    return False


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 0, 1, 2], [2, 2, 1, 1, 0]])
def test_pieces_in_any_order_make_the_whole(lab: Lab, target: socket.socket, order: list[int]) -> None:
    made = pieces(random.randrange(1, 1 << 16))
    send_ip(CONSUMER_A, [made[place] for place in order])
    assert arrives(lab, target, WHOLE)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_missing_piece_means_nothing_arrives(lab: Lab, target: socket.socket, missing: int) -> None:
    made = pieces(random.randrange(1, 1 << 16))
    send_ip(CONSUMER_A, [piece for place, piece in enumerate(made) if place != missing])
    assert not arrives(lab, target, WHOLE)


@pytest.mark.parametrize("shift", [-1, 1])
def test_overlapping_pieces_are_thrown_away(lab: Lab, target: socket.socket, shift: int) -> None:
    """By eight bytes, the smallest overlap there can be; the two do not agree in them."""
    first, second, third = pieces(random.randrange(1, 1 << 16))
    if shift < 0:
        second.frag -= 1
    else:
        first.payload = type(first.payload)(bytes(first.payload) + b"overlap!")
        del first.len, first.chksum
    send_ip(CONSUMER_A, [first, second, third])
    assert not arrives(lab, target, WHOLE)


def test_headers_hidden_in_tiny_pieces_do_no_harm(lab: Lab, target: socket.socket) -> None:
    """A TCP header cut in two (RFC 1858): whole again, or not at all, but never half."""
    assert not arrives(lab, target, b"")  # its flow is there now
    before = lab.counters()
    syn = segment(SENDER, DOOR, "S", options=[("MSS", 1460), ("SAckOK", b"")])
    tiny = fragment(syn, fragsize=8)
    overlapping = IP(bytes(tiny[1]))
    overlapping.frag = 0
    send_ip(CONSUMER_A, [tiny[0], overlapping])
    assert not arrives(lab, target, b"")
    assert "flows_new" not in lab.moved_since(before)


def test_pieces_of_two_consumers_do_not_mix(lab: Lab, target: socket.socket, tmp_path: Path) -> None:
    """Equal addresses, ports and identifications, interleaved: two wholes, of which no piece is the other's."""
    whole = {CONSUMER_A: b"A" * 3000, CONSUMER_B: b"B" * 3000}
    with (
        Capture(tmp_path, TARGET_1, LINK, "udp or ip[6:2] & 0x1fff != 0") as capture,
        udp_socket(CONSUMER_A, port=CLIENT_PORT) as a,
        udp_socket(CONSUMER_B, port=CLIENT_PORT) as b,
    ):
        for identification in range(100, 110):
            made = {consumer: pieces(identification, data) for consumer, data in whole.items()}
            for place in range(3):
                for consumer in (CONSUMER_A, CONSUMER_B):
                    send_ip(consumer, made[consumer][place])
            received = [target.recvfrom(65_535) for _ in range(2)]
            assert sorted(data for data, _ in received) == sorted(whole.values())
            for data, peer in received:
                target.sendto(data, peer)
            assert (a.recv(65_535), b.recv(65_535)) == (whole[CONSUMER_A], whole[CONSUMER_B])
    firsts = [
        packet for packet in capture.packets() if packet.frag == 0 and UDP in packet and packet.dport == STAND_IN_PORT
    ]
    assert len(firsts) == len({packet.id for packet in firsts}) == 20, "each datagram has an identification of its own"


def test_a_flood_of_first_pieces_does_not_stop_a_transfer(lab: Lab, target: socket.socket) -> None:
    with Pair() as pair:
        flood = [pieces(identification)[0] for identification in range(1, 3001)]
        send_ip(CONSUMER_A, flood)
        pair.transfer(4 << 20)
        send_ip(CONSUMER_A, flood)
        pair.transfer(4 << 20, up=False)
    assert not arrives(lab, target, WHOLE)
    made = pieces(50_000)
    send_ip(CONSUMER_A, made)
    assert arrives(lab, target, WHOLE), "there is room for whole datagrams after the flood"
