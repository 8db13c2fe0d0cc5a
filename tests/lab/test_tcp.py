"""TCP through two translations: what real stacks do in odd moments still works, and options arrive as they must."""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import TCP

from tests.lab.capture import Capture, Captures
from tests.lab.ends import (
    Pair,
    door_of,
    listening,
    receive_all,
    receive_exactly,
    starting_at,
    tcp_socket,
)
from tests.lab.laboratory import (
    CLIENT,
    CONSUMER_A,
    ENDPOINT,
    LINK,
    STAND_IN_PORT,
    TARGET_1,
    Lab,
    until,
)
from tests.lab.raw import segment, send_ip

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("steering")]

DOOR = (ENDPOINT, STAND_IN_PORT)
MPTCP = 262
"""IPPROTO_MPTCP, linux/in.h"""
TCP_MD5SIG, TCP_FASTOPEN = 14, 23
"""linux/tcp.h"""
SIOCATMARK = 0x8905
MEGABYTE = 1 << 20


@pytest.fixture
def pair(lab: Lab) -> Iterator[Pair]:
    with Pair() as pair:
        yield pair


def test_half_close_leaves_the_other_half_open(pair: Pair) -> None:
    pair.client.sendall(b"request")
    pair.client.shutdown(socket.SHUT_WR)
    assert receive_all(pair.target) == b"request"
    pair.transfer(2 * MEGABYTE, up=False)
    pair.target.close()
    assert receive_all(pair.client) == b""


def test_half_close_by_the_target(pair: Pair) -> None:
    pair.target.shutdown(socket.SHUT_WR)
    assert receive_all(pair.client) == b""
    pair.transfer(2 * MEGABYTE)


def test_the_same_tuple_opens_again_after_a_close(lab: Lab, steering: str) -> None:
    """The client closes by reset, so its own side forgets at once; its next SYN has the tuple of the old flow.

    When packets are sprayed, an ACK that was sent before the reset may pass after it, and takes it back: then the SYN
    is one inside a stream, which the target answers all the same.
    """
    before = lab.counters()
    with listening() as listener:
        port = 0  # any at first: one that was used lately has its flow still
        for _ in range(3):
            client = tcp_socket(CONSUMER_A)
            client.bind(("0.0.0.0", port))
            with Pair(client=client, listener=listener) as pair:
                port = pair.client_port
                pair.echo()
                pair.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                pair.client.close()
                with pytest.raises(ConnectionResetError):
                    pair.target.recv(1)
    moved = lab.moved_since(before)
    assert moved["flows_new"] == 1
    assert moved.get("flows_reopened") == 2 or (steering == "spray" and moved.get("flows_reopened", 0) < 2)


@pytest.mark.parametrize("sequence", [0xFFFFFFF0, 0xFFFFFFFF, 0xFFFF0000])
def test_a_stream_runs_over_the_wrap_of_its_sequence_numbers(lab: Lab, tmp_path: Path, sequence: int) -> None:
    client = tcp_socket(CONSUMER_A)
    starting_at(client, sequence)
    with Capture(tmp_path, TARGET_1, LINK) as capture, Pair(client=client) as pair:
        pair.transfer(MEGABYTE)
        pair.transfer(MEGABYTE, up=False)
    (syn,) = [packet[TCP] for packet in capture.packets() if packet[TCP].flags == "S"]
    assert syn.seq == sequence


def test_urgent_data_stays_where_it_was_in_the_stream(pair: Pair) -> None:
    pair.client.sendall(b"before")
    pair.client.send(b"!", socket.MSG_OOB)
    pair.client.sendall(b"after")
    assert receive_exactly(pair.target, 6) == b"before"
    assert pair.target.recv(1, socket.MSG_OOB) == b"!"
    assert receive_exactly(pair.target, 5) == b"after"


def test_a_reset_far_outside_is_dropped_and_one_nearby_is_challenged(lab: Lab, pair: Pair, tmp_path: Path) -> None:
    """Blind resets do not end a flow (RFC 5961): the far ones stop here, the near ones are the target's to judge."""
    with Captures(tmp_path, [(CONSUMER_A, LINK), (TARGET_1, LINK)]) as captures:
        for _ in range(20):
            pair.echo()  # when packets are sprayed, until every node has seen where the stream is: numbers are not told
        last = [packet for packet in captures[CONSUMER_A, LINK].packets() if packet.src == CLIENT][-1][TCP]
        client = (CLIENT, pair.client_port)
        before = lab.counters()
        send_ip(CONSUMER_A, segment(client, DOOR, "R", seq=(last.seq + (1 << 31)) & 0xFFFFFFFF))
        lab.expect(before, packets_dropped=1, dropped_rst_out_of_window=1)
        send_ip(CONSUMER_A, segment(client, DOOR, "R", seq=(last.seq + 1000) & 0xFFFFFFFF))
        until(lambda: any(p[TCP].flags == "R" for p in captures[TARGET_1, LINK].packets()), "the near one arrives")
    pair.echo()


def test_a_syn_inside_a_flow_is_challenged_and_the_flow_goes_on(pair: Pair, tmp_path: Path) -> None:
    with Capture(tmp_path, CONSUMER_A, LINK) as capture:
        send_ip(CONSUMER_A, segment((CLIENT, pair.client_port), DOOR, "S", seq=12345))
        until(lambda: any(packet.src == ENDPOINT for packet in capture.packets()), "the target challenges it")
    pair.echo()


def test_a_reset_by_the_target_reaches_the_client(pair: Pair) -> None:
    pair.echo()
    pair.target.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    pair.target.close()
    with pytest.raises(ConnectionResetError):
        pair.client.recv(1)


def test_what_belongs_to_no_flow_is_reset(lab: Lab) -> None:
    """A client that goes on with a connection nobody knows hears so at once; the same for a registered target."""
    before = lab.counters()
    send_ip(CONSUMER_A, segment((CLIENT, 4448), DOOR, "A", seq=1, ack=1))
    send_ip(TARGET_1, segment(("10.9.3.30", STAND_IN_PORT), ("10.9.0.7", 60_448), "A", seq=1, ack=1))
    lab.expect(before, packets_dropped=2, dropped_no_flow=2, replies=2)


def test_a_hundred_connections_of_one_client(lab: Lab) -> None:
    with listening() as listener:
        pairs = [Pair(listener=listener) for _ in range(100)]
        for pair in pairs:
            pair.echo(str(pair.client_port).encode())
        assert len({pair.snat_port for pair in pairs}) == 100
        for pair in pairs:
            pair.close()


def test_the_second_zone_does_it_all_too(lab: Lab) -> None:
    with listening() as listener, tcp_socket("hp-consumer-a2") as client:
        client.connect(door_of("hp-consumer-a2"))
        target, (balancer, _) = listener.accept()
        with target:
            client.sendall(b"from the other zone")
            assert (balancer, receive_exactly(target, 19)) == ("10.9.1.7", b"from the other zone")
