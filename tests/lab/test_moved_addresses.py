"""Two instances of a running lab change addresses: whoever has an address now is reached, and at once.

Their neighbours had learned the other MAC, and would have gone on using it for half a minute and more.
"""

import json
from collections.abc import Iterator

import pytest

from tests.lab.ends import Pair, udp_socket
from tests.lab.laboratory import (
    CLIENT,
    CONSUMER_A,
    CONSUMER_B,
    CONSUMER_ROUTER,
    ENDPOINT,
    FABRIC_1,
    LINK,
    NEIGHBOUR,
    NEIGHBOUR_ADDRESS,
    Lab,
)
from tests.lab.strangers import run

pytestmark = pytest.mark.netns


def mac_of(namespace: str) -> str:
    mac: str = json.loads(run(namespace, "ip", "-j", "link", "show", LINK).stdout)[0]["address"]
    return mac


def learned(namespace: str, link: str) -> dict[str, str]:
    """MACs of a link's neighbours, by address."""
    neighbours = json.loads(run(namespace, "ip", "-j", "neigh", "show", "dev", link).stdout)
    return {entry["dst"]: entry["lladdr"] for entry in neighbours if "lladdr" in entry}


def exchange(lab: Lab) -> None:
    """Consumer a and its neighbour change addresses, by the lab file and `lab up`."""
    (vpc,) = (vpc for vpc in lab.document["vpcs"] if vpc["name"] == "consumer-a")
    by_name = {instance["name"]: instance for instance in vpc["instances"]}
    a, neighbour = by_name["consumer-a"], by_name["neighbour"]
    a["address"], neighbour["address"] = neighbour["address"], a["address"]
    lab.write()
    lab.up()


@pytest.fixture
def exchanged(lab: Lab) -> Iterator[dict[str, str]]:
    """The lab after the exchange. Yields the MAC that each address has now."""
    macs = {CLIENT: mac_of(NEIGHBOUR), NEIGHBOUR_ADDRESS: mac_of(CONSUMER_A)}
    for consumer in (CONSUMER_A, NEIGHBOUR):
        ask(consumer)
    assert (
        learned(FABRIC_1, "hp-e2").items() >= {CLIENT: macs[NEIGHBOUR_ADDRESS], NEIGHBOUR_ADDRESS: macs[CLIENT]}.items()
    )
    exchange(lab)
    yield macs
    exchange(lab)


def ask(consumer: str) -> None:
    """One datagram to the service, one back; and one to the router, by ping."""
    with udp_socket(consumer) as client:
        client.connect((ENDPOINT, 53))
        client.send(consumer.encode())
        assert client.recv(100) == consumer.encode()
    run(consumer, "ping", "-n", "-c", "1", "-w", "30", "10.0.1.1")


def test_an_address_that_has_moved_is_reached_where_it_is_now(lab: Lab, exchanged: dict[str, str]) -> None:
    for place in ((FABRIC_1, "hp-e2"), (CONSUMER_ROUTER, "hp-s-az1")):
        assert not learned(*place).items() & {CLIENT: exchanged[NEIGHBOUR_ADDRESS]}.items(), (
            f"{place} knows the old MAC"
        )
    for consumer in (CONSUMER_A, NEIGHBOUR):
        ask(consumer)
    assert learned(FABRIC_1, "hp-e2").items() >= exchanged.items()


def test_connections_of_others_outlive_it(lab: Lab) -> None:
    with Pair(CONSUMER_B) as pair:
        exchange(lab)
        pair.echo()
        exchange(lab)
        pair.echo()
