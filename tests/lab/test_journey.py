"""One packet's addresses at every hop, both ways, as tcpdump saw them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import TCP, UDP

from tests.lab.capture import Captures, Tuple, back
from tests.lab.ends import udp_socket
from tests.lab.laboratory import (
    BALANCER,
    CLIENT,
    CONSUMER_A,
    CONSUMER_B,
    CONSUMER_C,
    CONSUMER_ROUTER,
    ECHO_PORT,
    ENDPOINT,
    ENDPOINT_C,
    FABRIC_1,
    LINK,
    NAMED_PORTS,
    PLAIN_PORT,
    PLAIN_TARGET_PORT,
    PROVIDER_ROUTER,
    TARGET_1,
    TARGET_ADDRESS,
    TARGET_PORT,
)
from tests.lab.strangers import run

pytestmark = pytest.mark.netns

CONSUMER_SIDE = [(CONSUMER_A, LINK), (CONSUMER_ROUTER, "hp-s-az1"), (FABRIC_1, "hp-e2")]
PROVIDER_SIDE = [
    (FABRIC_1, "hp-e1"),
    (PROVIDER_ROUTER, "hp-s-nlb-az1"),
    (PROVIDER_ROUTER, "hp-s-target-az1"),
    (TARGET_1, LINK),
]
OTHERS = [(CONSUMER_B, LINK), (CONSUMER_C, LINK), (FABRIC_1, "hp-e3"), (FABRIC_1, "hp-e4")]
SEEN = {CLIENT, ENDPOINT}, {BALANCER, TARGET_ADDRESS}
"""Addresses on the consumer's side, and on the provider's."""


@pytest.fixture
def captures(steering: str, tmp_path: Path) -> Iterator[Captures]:
    with Captures(tmp_path, [*CONSUMER_SIDE, *PROVIDER_SIDE, *OTHERS]) as captures:
        yield captures


def assert_journey(captures: Captures, client_port: int, service_port: int, target_port: int) -> Tuple:
    """Each side of the fabric shows its own pair of addresses and nothing else. Returns the target's view."""
    asked = (CLIENT, client_port, ENDPOINT, service_port)
    for place in CONSUMER_SIDE:
        assert captures[place].tuples() == {asked, back(asked)}, place
    (target_sees,) = [item for item in captures[TARGET_1, LINK].tuples() if item[0] == BALANCER]
    assert target_sees[2:] == (TARGET_ADDRESS, target_port)
    for place in PROVIDER_SIDE:
        assert captures[place].tuples() == {target_sees, back(target_sees)}, place
    for place in OTHERS:
        assert captures[place].packets() == [], place
    return target_sees


def test_a_connection_has_the_addresses_of_the_article(captures: Captures, steering: str) -> None:
    port = NAMED_PORTS[steering]
    done = run(CONSUMER_A, "curl", "-sS", "--local-port", str(port), f"http://{ENDPOINT}:443/")
    answer = json.loads(done.stdout)
    target_sees = assert_journey(captures, port, 443, TARGET_PORT)
    assert (answer["peer"], answer["peer_port"]) == target_sees[:2]
    assert 1024 <= target_sees[1] < 1024 + 55_000


def test_without_a_header_the_bytes_of_the_stream_are_untouched(captures: Captures, steering: str) -> None:
    port = NAMED_PORTS[steering] + len(NAMED_PORTS)
    done = run(CONSUMER_A, "curl", "-sS", "--local-port", str(port), f"http://{ENDPOINT}:{PLAIN_PORT}/")
    answer = json.loads(done.stdout)
    target_sees = assert_journey(captures, port, PLAIN_PORT, PLAIN_TARGET_PORT)
    assert (answer["peer"], answer["peer_port"]) == target_sees[:2]
    asked, heard = (b"".join(bytes(packet[TCP].payload) for packet in captures[place].packets())
                    for place in ((CONSUMER_A, LINK), (TARGET_1, LINK)))  # fmt: skip
    assert asked == heard


def test_a_datagram_has_them_too(captures: Captures, steering: str) -> None:
    with udp_socket(CONSUMER_A, port=NAMED_PORTS[steering]) as client:
        client.connect((ENDPOINT, 53))
        client.send(b"which way?")
        assert client.recv(100) == b"which way?"
    assert_journey(captures, NAMED_PORTS[steering], 53, ECHO_PORT)
    for place in (*CONSUMER_SIDE, *PROVIDER_SIDE):
        assert [bytes(packet[UDP].payload) for packet in captures[place].packets()] == [b"which way?"] * 2, place


def test_a_consumer_with_a_targets_address_is_not_mistaken_for_it(steering: str, tmp_path: Path) -> None:
    """Consumer c is 10.9.3.20, as target-1 is: the same address stands on both sides and means two hosts."""
    port = NAMED_PORTS[steering]
    with Captures(tmp_path, [(CONSUMER_C, LINK), (TARGET_1, LINK)]) as captures:
        run(CONSUMER_C, "curl", "-sS", "--local-port", str(port), f"http://{ENDPOINT_C}/")
    asked = (TARGET_ADDRESS, port, ENDPOINT_C, 80)
    assert captures[CONSUMER_C, LINK].tuples() == {asked, back(asked)}
    assert {(item[0], item[2:]) for item in captures[TARGET_1, LINK].tuples() if item[0] != TARGET_ADDRESS} == {
        (BALANCER, (TARGET_ADDRESS, TARGET_PORT))
    }
