"""Links that carry less than the ends believe: path MTU discovery works through the translation, for TCP and UDP.

The narrow place is a route of a VPC's router, in the middle of the path, so neither end can know of it.
"""

import contextlib
import errno
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP

from tests.lab.capture import Capture
from tests.lab.ends import Pair, answering, door_of, udp_socket
from tests.lab.laboratory import (
    CONSUMER_A,
    CONSUMER_A2,
    CONSUMER_ROUTER,
    ENDPOINT,
    ENDPOINT_2,
    LINK,
    PROVIDER_ROUTER,
    STAND_IN_PORT,
    Lab,
)
from tests.lab.strangers import run

pytestmark = pytest.mark.netns

IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_PMTUDISC_PROBE = 10, 2, 3
IP_MTU = 14
"""`ip(7)`, linux/in.h"""
MEGABYTE = 1 << 20
UDP_HEADERS = 28


@contextlib.contextmanager
def narrow(router: str, network: str, link: str, mtu: int) -> Iterator[None]:
    """What the router sends towards a network may not be longer than this; what is, it reports."""
    way = (network, "dev", link)
    route = run(router, "ip", "route", "show", *way).stdout.split()
    flags = [word for word in route[1:] if word != "linkdown"]
    run(router, "ip", "route", "change", network, "dev", link, *flags, "mtu", "lock", str(mtu))
    try:
        yield
    finally:
        run(router, "ip", "route", "change", network, "dev", link, *flags)
        for namespace in (CONSUMER_A, CONSUMER_A2, "hp-target-1", router):
            run(namespace, "ip", "route", "flush", "cache")  # what the ends have learned


TO_TARGET = (PROVIDER_ROUTER, "10.9.3.0/24", "hp-s-target-az1")
TO_BALANCER = (PROVIDER_ROUTER, "10.9.0.0/24", "hp-s-nlb-az1")
TO_CLIENT = (CONSUMER_ROUTER, "10.0.2.0/24", "hp-s-az2")
TO_ENDPOINT = (CONSUMER_ROUTER, "10.0.1.0/24", "hp-s-az1")


@pytest.mark.parametrize("mtu", [1280, 1400])
def test_a_narrow_way_to_the_target(lab: Lab, tmp_path: Path, mtu: int) -> None:
    """The provider's router says so to the balancer's address; the client hears it from the endpoint."""
    with narrow(*TO_TARGET, mtu), Capture(tmp_path, CONSUMER_A, LINK, "icmp") as capture, Pair() as pair:
        pair.transfer(4 * MEGABYTE)
        pair.transfer(4 * MEGABYTE, up=False)
    told = {(packet.src, packet[ICMP].type, packet[ICMP].code, packet[ICMP].nexthopmtu) for packet in capture.packets()}
    assert told == {(ENDPOINT, 3, 4, mtu)}


@pytest.mark.parametrize("way", [TO_BALANCER, TO_CLIENT, TO_ENDPOINT], ids=["to-balancer", "to-client", "to-endpoint"])
def test_a_narrow_way_elsewhere(lab: Lab, way: tuple[str, str, str]) -> None:
    """A client of the second zone at the first zone's endpoint, so that both VPCs' routers lie on the path."""
    with narrow(*way, 1300), Pair(CONSUMER_A2, endpoint=ENDPOINT) as pair:
        pair.transfer(4 * MEGABYTE)
        pair.transfer(4 * MEGABYTE, up=False)


def mtu_of(client: socket.socket) -> int:
    return client.getsockopt(socket.IPPROTO_IP, IP_MTU)


def send_until_it_fits(client: socket.socket, target: socket.socket, mtu: int) -> None:
    """Datagrams that may not be cut, as long as the path is believed to carry, until one arrives."""
    while True:
        size = mtu_of(client) - UDP_HEADERS
        with contextlib.suppress(ConnectionError):
            try:
                client.send(bytes(size))
            except OSError as error:
                if error.errno != errno.EMSGSIZE:
                    raise
                continue
        if select.select([target], [], [], 0.2)[0]:
            assert len(target.recv(2000)) == size == mtu - UDP_HEADERS
            return


@pytest.mark.parametrize("mtu", [1280, 1400])
def test_a_datagram_that_may_not_be_cut_learns_the_path(lab: Lab, mtu: int) -> None:
    with narrow(*TO_TARGET, mtu), answering() as target, udp_socket(CONSUMER_A) as client:
        client.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        client.connect(door_of(CONSUMER_A))
        assert mtu_of(client) == 1500
        send_until_it_fits(client, target, mtu)
        assert mtu_of(client) == mtu


def test_an_answer_that_may_not_be_cut_learns_the_path_too(lab: Lab) -> None:
    """The consumer's router reports to the endpoint; the target hears it from the balancer."""
    with narrow(*TO_CLIENT, 1300), answering() as target, udp_socket(CONSUMER_A2) as client:
        client.connect((ENDPOINT, STAND_IN_PORT))
        client.send(b"question")
        _, peer = target.recvfrom(100)
        target.connect(peer)
        target.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        send_until_it_fits(target, client, 1300)
        assert mtu_of(target) == 1300


def send_past_errors(client: socket.socket, data: bytes) -> None:
    """Send, however many errors about earlier datagrams have come: each fails one call, which then sends nothing."""
    sent = False
    while not sent:
        with contextlib.suppress(OSError):
            sent = client.send(data) == len(data)


def test_probes_pass_up_to_the_narrow_place_and_are_lost_above(lab: Lab) -> None:
    """Discovery at the packetization layer (RFC 8899) needs loss, not fragments."""
    with narrow(*TO_TARGET, 1400), answering() as target, udp_socket(CONSUMER_A) as client:
        client.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
        client.connect(door_of(CONSUMER_A))
        for size in (1200, 1399, 1400, 1401, 1472, 1500, 1200):
            send_past_errors(client, bytes(size - UDP_HEADERS))
        assert [len(target.recv(2000)) + UDP_HEADERS for _ in range(4)] == [1200, 1399, 1400, 1200]


def test_what_may_be_cut_is_cut(lab: Lab) -> None:
    with narrow(*TO_TARGET, 1300), answering() as target, udp_socket(CONSUMER_A) as client:
        client.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, 0)
        client.connect(door_of(CONSUMER_A))
        for size in (1300, 1472, 5000):
            client.send(bytes(size))
            assert len(target.recv(9000)) == size


def test_the_second_zone_has_a_path_of_its_own(lab: Lab) -> None:
    with narrow(*TO_TARGET, 1300), Pair(CONSUMER_A2) as pair:
        assert pair.client.getpeername()[0] == ENDPOINT_2
        pair.transfer(2 * MEGABYTE)
