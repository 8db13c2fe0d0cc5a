"""The IP header: life time, traffic class, congestion marks, identification, and the errors that speak of them."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, TCP

from tests.lab.capture import Capture, Captures
from tests.lab.ends import Pair, answering, door_of, sequence_of, udp_socket
from tests.lab.laboratory import (
    BALANCER,
    CLIENT,
    CONSUMER_A,
    ENDPOINT,
    LINK,
    PROVIDER_ROUTER,
    STAND_IN,
    STAND_IN_PORT,
    TARGET_1,
    Lab,
    until,
)
from tests.lab.raw import icmp_error, segment, send_ip
from tests.lab.strangers import run
from tests.lab.test_tcp_options import sysctl

pytestmark = pytest.mark.netns

ENDS = [(TARGET_1, LINK), (CONSUMER_A, LINK)]
ECT_0, CE = 2, 3
"""RFC 3168 section 5"""


@pytest.fixture
def target(lab: Lab) -> Iterator[socket.socket]:
    with answering() as target:
        yield target


@pytest.mark.parametrize("ttl", [1, 2])
def test_a_packet_that_expires_is_reported_by_the_endpoint(lab: Lab, tmp_path: Path, ttl: int) -> None:
    """The first hop is the endpoint, the second the provider's router, whose voice comes from the endpoint too."""
    with Capture(tmp_path, CONSUMER_A, LINK, "icmp") as capture, udp_socket(CONSUMER_A) as client:
        client.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        client.sendto(b"how far?", door_of(CONSUMER_A))
        until(lambda: bool(capture.packets()), "somebody reports")
        port = client.getsockname()[1]
    (told,) = capture.packets()
    assert (told.src, told.dst, told[ICMP].type, told[ICMP].code) == (ENDPOINT, CLIENT, 11, 0)
    quoted = told[ICMP].payload
    assert (quoted.src, quoted.sport, quoted.dst, quoted.dport) == (CLIENT, port, ENDPOINT, STAND_IN_PORT)


def test_three_hops_are_enough(target: socket.socket, tmp_path: Path) -> None:
    with Capture(tmp_path, TARGET_1, LINK, "udp") as capture, udp_socket(CONSUMER_A) as client:
        client.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 3)
        client.sendto(b"this far", door_of(CONSUMER_A))
        assert target.recv(100) == b"this far"
    assert [packet.ttl for packet in capture.packets()] == [1]


def test_nmap_traces_the_endpoint_and_nothing_behind_it(lab: Lab) -> None:
    done = run(CONSUMER_A, "nmap", "-n", "-Pn", "-sS", "-p", "80", "--traceroute", ENDPOINT)
    assert "80/tcp open" in done.stdout
    hops = {word for word in done.stdout.split() if word.count(".") == 3 and word.replace(".", "").isdigit()}
    assert hops == {ENDPOINT}, "no address of the provider shows"


@pytest.mark.parametrize("traffic_class", [0xB8, 0xB8 | ECT_0, 0x28 | CE, 0x01, 0xFC])
def test_traffic_class_and_congestion_mark_pass_both_ways(
    target: socket.socket, tmp_path: Path, traffic_class: int
) -> None:
    with Captures(tmp_path, ENDS, "udp") as captures, udp_socket(CONSUMER_A) as client:
        for end in (client, target):
            end.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, traffic_class)
        client.sendto(b"urgent", door_of(CONSUMER_A))
        _, peer = target.recvfrom(100)
        target.sendto(b"answer", peer)
        assert client.recv(100) == b"answer"
    for place in ENDS:
        assert [packet.tos for packet in captures[place].packets()] == [traffic_class] * 2


@contextlib.contextmanager
def congested() -> Iterator[None]:
    """The provider's router marks what is on its way to the target (RFC 3168)."""
    rule = ("-t", "mangle", "-{}", "FORWARD", "-d", STAND_IN, "-p", "tcp", "-j", "TOS", "--set-tos", "0x03/0x03")
    run(PROVIDER_ROUTER, "iptables", *(word.format("A") for word in rule))
    try:
        yield
    finally:
        run(PROVIDER_ROUTER, "iptables", *(word.format("D") for word in rule))


def test_a_congestion_mark_comes_back_to_the_sender(lab: Lab, tmp_path: Path) -> None:
    """The connection agrees on ECN; a router on the way sets CE; the client hears ECE and answers CWR."""
    with (
        sysctl(CONSUMER_A, "net.ipv4.tcp_ecn", "1"),
        sysctl(TARGET_1, "net.ipv4.tcp_ecn", "1"),
        Captures(tmp_path, ENDS, "tcp") as captures,
        Pair() as pair,
        congested(),
    ):
        pair.transfer(1 << 20)
    at_target, at_client = (captures[place, LINK].packets() for place in (TARGET_1, CONSUMER_A))
    syn, syn_ack = (
        next(p[TCP] for p in at_client if p[TCP].flags.S and p.src == source) for source in (CLIENT, ENDPOINT)
    )
    assert (str(syn.flags), str(syn_ack.flags)) == ("SEC", "SAE")
    assert any(packet.tos & 3 == CE for packet in at_target if packet.src == BALANCER)
    assert any(packet[TCP].flags.E and not packet[TCP].flags.S for packet in at_client if packet.src == ENDPOINT)
    assert any(packet[TCP].flags.C and not packet[TCP].flags.S for packet in at_target if packet.src == BALANCER)


def test_identifications_are_ours_where_a_packet_may_be_cut(target: socket.socket, tmp_path: Path) -> None:
    """Clients behind one address would else use the same ones (RFC 6864). What may not be cut keeps its own."""
    with Captures(tmp_path, ENDS, "udp") as captures, udp_socket(CONSUMER_A) as client:
        client.connect(door_of(CONSUMER_A))
        for discover in (0, 2):
            client.setsockopt(socket.IPPROTO_IP, 10, discover)  # IP_MTU_DISCOVER: may be cut, may not
            for _ in range(20):
                client.send(b"x")
                target.recv(10)
    sent, received = (captures[place, LINK].packets() for place in (CONSUMER_A, TARGET_1))
    assert [str(packet.flags) for packet in received] == [""] * 20 + ["DF"] * 20
    assert len({packet.id for packet in received[:20]}) == 20
    assert [packet.id for packet in received[20:]] == [packet.id for packet in sent[20:]]


def test_no_icmp_error_ends_a_flow(lab: Lab, tmp_path: Path) -> None:
    """All codes of type 3, and more, about a live flow: each is translated, and the flow goes on (RFC 5508)."""
    with Pair() as pair, Capture(tmp_path, CONSUMER_A, LINK, "icmp") as capture:
        pair.echo()
        flow = (BALANCER, pair.snat_port), (STAND_IN, STAND_IN_PORT)
        quoted = segment(*flow, "A", seq=sequence_of(pair.client))
        kinds = [*((3, code) for code in range(256) if code != 4), (11, 0), (11, 1), (12, 0), (12, 2)]
        send_ip(TARGET_1, [icmp_error("10.9.3.20", BALANCER, *kind, quoted) for kind in kinds])
        until(lambda: len(capture.packets()) == len(kinds), "all of them come through")
        told = capture.packets()
        assert {(packet[ICMP].type, packet[ICMP].code) for packet in told} == set(kinds)
        assert {(packet.src, packet.dst) for packet in told} == {(ENDPOINT, CLIENT)}
        pair.echo()
        pair.transfer(1 << 20)
