"""An address that comes to another host is found there at once: nobody goes on sending to where it was."""

import json
import socket
import subprocess
from typing import Any

import pytest

from netns.build import build
from netns.namespace import open_socket
from netns.topology import Bridge, Link, LinkEnd, Namespace, Topology

pytestmark = pytest.mark.netns

ROUTER, FIRST, SECOND, THIRD = "10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.4"
MACS = ("02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c")


def subnet(prefix: str, addresses: tuple[str, str, str], macs: tuple[str, str, str] = MACS) -> Topology:
    """Three hosts on the bridge of a router."""
    hosts = [f"{prefix}-{letter}" for letter in "abc"]
    links = []
    for host, address, mac in zip(hosts, addresses, macs, strict=True):
        end = LinkEnd(host, "hp-eth0", mac=mac, addresses=(f"{address}/24", f"2001:db8::{address[-1]}/64"))
        links.append(Link(LinkEnd(f"{prefix}-hub", f"hp-i-{host[-1]}", bridge="hp-br0"), end))
    router = Namespace(f"{prefix}-hub", bridges=(Bridge("hp-br0", (f"{ROUTER}/24", "2001:db8::1/64")),))
    return Topology((router, *map(Namespace, hosts)), tuple(links))


def known(namespace: str) -> dict[str, str]:
    """MACs that a namespace has learned, by address."""
    done = subprocess.run(["ip", "-n", namespace, "-j", "neigh"], capture_output=True, text=True, check=True)
    neighbours: list[dict[str, Any]] = json.loads(done.stdout)
    return {entry["dst"]: entry["lladdr"] for entry in neighbours if "lladdr" in entry}


def call(caller: str, listener: str, address: str) -> None:
    """A datagram to an address of the listener, and one back."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        open_socket(caller, family, socket.SOCK_DGRAM) as near,
        open_socket(listener, family, socket.SOCK_DGRAM) as far,
    ):
        far.bind((address, 4000))
        for end in (near, far):
            end.settimeout(30)
        near.sendto(b"who is it?", (address, 4000))
        word, sender = far.recvfrom(100)
        far.sendto(word, sender)
        assert near.recv(100) == b"who is it?"


@pytest.mark.parametrize("version", [4, 6])
def test_an_address_that_has_moved_is_asked_for_anew(prefix: str, version: int) -> None:
    hub, a, b, c = (f"{prefix}-{name}" for name in ("hub", "a", "b", "c"))
    first, second, third = (FIRST, SECOND, THIRD) if version == 4 else ("2001:db8::2", "2001:db8::3", "2001:db8::4")
    build(subnet(prefix, (FIRST, SECOND, THIRD)))
    for caller in (hub, c):
        call(caller, a, first)
        call(caller, b, second)
    call(hub, c, third)
    assert known(hub).items() >= {first: MACS[0], second: MACS[1], third: MACS[2]}.items()
    assert known(c).items() >= {first: MACS[0], second: MACS[1]}.items()

    moved = subnet(prefix, (SECOND, FIRST, THIRD))
    assert f"{hub}: forgot 2 neighbours whose addresses have moved" in map(str, build(moved))
    for place in (hub, c):
        assert not known(place).keys() & {first, second}
    assert known(hub)[third] == MACS[2], "what has not moved is not forgotten"
    for caller in (hub, c):
        call(caller, b, first)
        call(caller, a, second)
    assert known(hub).items() >= {first: MACS[1], second: MACS[0]}.items()
    assert build(moved) == ()


def test_a_mac_that_has_moved_is_found_behind_its_new_port(prefix: str) -> None:
    """Two hosts change MACs. Until one of them speaks, the bridge would give it nothing."""
    hub, a, b = (f"{prefix}-{name}" for name in ("hub", "a", "b"))
    build(subnet(prefix, (FIRST, SECOND, THIRD)))
    call(hub, a, FIRST)
    call(hub, b, SECOND)
    assert ports(hub).items() >= {MACS[0]: "hp-i-a", MACS[1]: "hp-i-b"}.items()
    build(subnet(prefix, (FIRST, SECOND, THIRD), (MACS[1], MACS[0], MACS[2])))
    assert not ports(hub).keys() & set(MACS)
    call(hub, a, FIRST)
    assert known(hub)[FIRST] == MACS[1]


def test_what_another_run_has_moved_is_forgotten_as_well(prefix: str) -> None:
    """A build that failed half way has moved the addresses; the next finds them in place, and stale neighbours."""
    hub, a, b = (f"{prefix}-{name}" for name in ("hub", "a", "b"))
    build(subnet(prefix, (FIRST, SECOND, THIRD)))
    call(hub, a, FIRST)
    call(hub, b, SECOND)
    for host, before, after in ((a, FIRST, SECOND), (b, SECOND, FIRST)):
        for change in (("del", before), ("add", after)):
            command = ["ip", "-n", host, "addr", change[0], f"{change[1]}/24", "dev", "hp-eth0"]
            subprocess.run(command, check=True)
        for change in (("del", before), ("add", after)):
            address = f"2001:db8::{change[1][-1]}/64"
            subprocess.run(["ip", "-n", host, "addr", change[0], address, "dev", "hp-eth0", "nodad"], check=True)
    changes = build(subnet(prefix, (SECOND, FIRST, THIRD)))
    assert [str(change) for change in changes] == [f"{hub}: forgot 2 neighbours whose addresses have moved"]
    call(hub, b, FIRST)
    assert known(hub)[FIRST] == MACS[1]


def test_an_equal_address_in_another_network_is_not_forgotten(prefix: str) -> None:
    """Networks overlap: what one tenant gets says nothing about the address of another."""
    one = subnet(f"{prefix}-1", (FIRST, SECOND, THIRD))
    other = subnet(
        f"{prefix}-2", (FIRST, SECOND, THIRD), ("02:00:00:00:00:1a", "02:00:00:00:00:1b", "02:00:00:00:00:1c")
    )
    build(one)
    call(f"{prefix}-1-hub", f"{prefix}-1-a", FIRST)
    learned = ports(f"{prefix}-1-hub")
    both = Topology((*one.namespaces, *other.namespaces), (*one.links, *other.links))
    assert not [change for change in build(both) if change.namespace.startswith(f"{prefix}-1")]
    assert known(f"{prefix}-1-hub")[FIRST] == MACS[0]
    assert learned.items() <= ports(f"{prefix}-1-hub").items()


def ports(namespace: str) -> dict[str, str]:
    """Ports of the bridge by the MACs it has learned."""
    done = subprocess.run(["bridge", "-n", namespace, "-j", "fdb"], capture_output=True, text=True, check=True)
    entries: list[dict[str, Any]] = json.loads(done.stdout)
    return {entry["mac"]: entry["ifname"] for entry in entries if entry.get("state") != "permanent"}
