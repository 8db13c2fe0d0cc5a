"""The kernel after `build`, and after somebody has broken what `build` made."""

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import netns.link
from netns import namespace as namespaces
from netns.build import build
from netns.errors import KernelError
from netns.link import NetlinkPool
from netns.sysctl import SysctlRefused
from netns.topology import Action, Bridge, IpProtocol, Link, LinkEnd, Namespace, Route, Rule, Scope, Topology
from netns.validate import TopologyError

pytestmark = pytest.mark.netns


def topology(prefix: str) -> Topology:
    """A bridge with two neighbours; one of them routes by mark."""
    hub, left, right = f"{prefix}-hub", f"{prefix}-left", f"{prefix}-right"
    return Topology(
        (
            Namespace(
                hub,
                sysctls=(("net.ipv4.ip_forward", "1"),),
                bridges=(Bridge("hp-br0", ("10.0.1.1/24", "2001:db8::1/64"), 9001),),
                routes=(Route("10.8.0.0/16", via="10.0.1.2"), Route("2001:db8:8::/48", via="2001:db8::2")),
            ),
            Namespace(
                left,
                rules=(
                    Rule(100, mark=1, mask=0xFFFF, table=10001),
                    Rule(200, ip_protocol=IpProtocol.UDP, action=Action.BLACKHOLE),
                    Rule(300, table=255),
                ),
            ),
            Namespace(right),
        ),
        (
            Link(
                LinkEnd(hub, "hp-p1", mtu=9001, bridge="hp-br0"),
                LinkEnd(
                    left,
                    "hp-e1",
                    mac="02:00:00:00:00:01",
                    mtu=9001,
                    addresses=("10.0.1.2/32",),
                    routes=(
                        Route("default", via="10.0.1.1", table=10001),
                        Route("10.0.1.0/24", table=10001, source="10.0.1.2", scope=Scope.LINK),
                    ),
                    sysctls=(("ipv4.arp_ignore", "1"),),
                ),
            ),
            Link(
                LinkEnd(hub, "hp-p2", bridge="hp-br0"),
                LinkEnd(right, "hp-eth0", addresses=("10.0.1.3/24", "2001:db8::3/64")),
            ),
        ),
    )


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout


def picture(prefix: str) -> list[str]:
    """What `ip` says of the three namespaces, without what the kernel settles later (carrier) or draws (MAC, index)."""
    lines = []
    for name in (f"{prefix}-hub", f"{prefix}-left", f"{prefix}-right"):
        for link in json.loads(ip("-n", name, "-j", "addr")):
            addresses = sorted(f"{address['local']}/{address['prefixlen']}" for address in link["addr_info"])
            fixed_mac = link["address"] if link["ifname"] in ("hp-e1", "hp-br0") else ""
            up = "UP" in link["flags"]
            lines.append(f"{name} {link['ifname']} {up} {link['mtu']} {link.get('master')} {fixed_mac} {addresses}")
        for words in (("rule",), ("route", "show", "table", "all"), ("-6", "route", "show", "table", "all")):
            lines += [
                f"{name} {' '.join(line.replace('linkdown', '').split())}"
                for line in ip("-n", name, *words).splitlines()
            ]
    return sorted(lines)


def test_everything_is_built_and_the_second_run_changes_nothing(prefix: str) -> None:
    wanted = topology(prefix)
    changes = build(wanted)
    assert {change.namespace for change in changes} == {space.name for space in wanted.namespaces}
    assert f"{prefix}-left: address 10.0.1.2/32 of hp-e1 added" in [str(change) for change in changes]
    assert build(wanted) == ()

    left, hub = f"{prefix}-left", f"{prefix}-hub"
    assert [" ".join(line.split()) for line in ip("-n", left, "rule").splitlines()] == [
        "100: from all fwmark 0x1/0xffff lookup 10001",
        "200: from all ipproto udp blackhole",
        "300: from all lookup local",
    ]
    assert "default via 10.0.1.1" in ip("-n", left, "route", "show", "table", "10001")
    assert "10.0.1.0/24 dev hp-e1 proto static scope link src 10.0.1.2" in ip(
        "-n", left, "route", "show", "table", "10001"
    )
    assert "mtu 9001" in ip("-n", hub, "link", "show", "hp-br0")
    assert "master hp-br0" in ip("-n", hub, "link", "show", "hp-p1")
    assert "02:00:00:00:00:01" in ip("-n", left, "link", "show", "hp-e1")
    assert "state UP" in ip("-n", left, "link", "show", "hp-e1")
    with namespaces.inside(left):
        assert Path("/proc/sys/net/ipv4/conf/hp-e1/arp_ignore").read_text() == "1\n"
    with namespaces.inside(hub):
        assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"


def test_packets_cross_what_was_built(prefix: str) -> None:
    build(topology(prefix))
    with (
        namespaces.open_socket(f"{prefix}-hub", socket.AF_INET, socket.SOCK_DGRAM) as hub,
        namespaces.open_socket(f"{prefix}-right", socket.AF_INET, socket.SOCK_DGRAM) as right,
        namespaces.open_socket(f"{prefix}-right", socket.AF_INET6, socket.SOCK_DGRAM) as right_6,
        namespaces.open_socket(f"{prefix}-hub", socket.AF_INET6, socket.SOCK_DGRAM) as hub_6,
    ):
        for receiver, sender, address in ((hub, right, "10.0.1.1"), (hub_6, right_6, "2001:db8::1")):
            receiver.settimeout(30)
            receiver.bind((address, 4000))
            sender.sendto(b"over the bridge", (address, 4000))
            assert receiver.recv(100) == b"over the bridge"


def test_no_link_makes_an_ipv6_address_of_its_own(prefix: str) -> None:
    build(topology(prefix))
    for name in ("hub", "left", "right"):
        assert "fe80" not in ip("-n", f"{prefix}-{name}", "-6", "addr")


Damage = Callable[[str, str, str], object]
DAMAGES: dict[str, Damage] = {
    "address gone": lambda hub, left, right: ip("-n", right, "addr", "del", "10.0.1.3/24", "dev", "hp-eth0"),
    "IPv6 address gone": lambda hub, left, right: ip("-n", right, "addr", "del", "2001:db8::3/64", "dev", "hp-eth0"),
    "strange address": lambda hub, left, right: ip("-n", left, "addr", "add", "10.0.1.99/24", "dev", "hp-e1"),
    "bridge's address gone": lambda hub, left, right: ip("-n", hub, "addr", "flush", "dev", "hp-br0"),
    "link down": lambda hub, left, right: ip("-n", left, "link", "set", "hp-e1", "down"),
    "port down": lambda hub, left, right: ip("-n", hub, "link", "set", "hp-p2", "down"),
    "bridge down": lambda hub, left, right: ip("-n", hub, "link", "set", "hp-br0", "down"),
    "loopback down": lambda hub, left, right: ip("-n", hub, "link", "set", "lo", "down"),
    "link end gone": lambda hub, left, right: ip("-n", left, "link", "del", "hp-e1"),
    "link end renamed": lambda hub, left, right: (
        ip("-n", left, "link", "set", "hp-e1", "down"),
        ip("-n", left, "link", "set", "hp-e1", "name", "eth7"),
    ),
    "link end moved": lambda hub, left, right: ip("-n", left, "link", "set", "hp-e1", "netns", right),
    "wrong neighbours with the right numbers": lambda hub, left, right: (
        ip("-n", left, "link", "del", "hp-e1"),
        ip(*f"-n {left} link add hp-e1 index 77 type veth peer name hp-q1 index 78 netns {right}".split()),
        ip(*f"-n {hub} link add hp-p1 index 78 type veth peer name hp-q2 index 77 netns {right}".split()),
        ip("-n", right, "link", "set", "hp-q1", "name", "mine1"),
        ip("-n", right, "link", "set", "hp-q2", "name", "mine2"),
    ),
    "links swapped": lambda hub, left, right: (
        ip("-n", hub, "link", "set", "hp-p1", "down"),
        ip("-n", hub, "link", "set", "hp-p2", "down"),
        ip("-n", hub, "link", "set", "hp-p1", "name", "hp-p3"),
        ip("-n", hub, "link", "set", "hp-p2", "name", "hp-p1"),
        ip("-n", hub, "link", "set", "hp-p3", "name", "hp-p2"),
    ),
    "stranger under the name": lambda hub, left, right: (
        ip("-n", left, "link", "del", "hp-e1"),
        ip("-n", left, "link", "add", "hp-e1", "type", "veth", "peer", "name", "hp-q1"),
    ),
    "bridge gone": lambda hub, left, right: ip("-n", hub, "link", "del", "hp-br0"),
    "bridge is no bridge": lambda hub, left, right: (
        ip("-n", hub, "link", "del", "hp-br0"),
        ip("-n", hub, "link", "add", "hp-br0", "type", "veth", "peer", "name", "hp-q0"),
    ),
    "port out of the bridge": lambda hub, left, right: ip("-n", hub, "link", "set", "hp-p1", "nomaster"),
    "port in another bridge": lambda hub, left, right: (
        ip("-n", hub, "link", "add", "hp-br9", "type", "bridge"),
        ip("-n", hub, "link", "set", "hp-p1", "master", "hp-br9"),
    ),
    "stale link": lambda hub, left, right: ip(
        "-n", hub, "link", "add", "hp-old", "type", "veth", "peer", "name", "hp-older"
    ),
    "other MTU": lambda hub, left, right: ip("-n", left, "link", "set", "hp-e1", "mtu", "1400"),
    "other MTU of the bridge": lambda hub, left, right: ip("-n", hub, "link", "set", "hp-br0", "mtu", "1400"),
    "other MAC": lambda hub, left, right: ip("-n", left, "link", "set", "hp-e1", "address", "02:00:00:00:00:77"),
    "rule gone": lambda hub, left, right: ip("-n", left, "rule", "del", "priority", "100"),
    "blackhole gone": lambda hub, left, right: ip("-n", left, "rule", "del", "priority", "200"),
    "rules flushed": lambda hub, left, right: ip("-n", left, "rule", "flush"),
    "main rule gone": lambda hub, left, right: ip("-n", hub, "rule", "del", "priority", "32766"),
    "strange rule": lambda hub, left, right: ip("-n", left, "rule", "add", "priority", "50", "table", "main"),
    "strange rule of a kind of its own": lambda hub, left, right: ip(
        "-n", left, "rule", "add", "priority", "100", "fwmark", "1/0xffff", "from", "10.0.0.0/8", "table", "main"
    ),
    "inverted rule": lambda hub, left, right: (
        ip("-n", left, "rule", "del", "priority", "100"),
        ip("-n", left, "rule", "add", "not", "priority", "100", "fwmark", "1/0xffff", "table", "10001"),
    ),
    "route gone": lambda hub, left, right: ip("-n", left, "route", "del", "default", "table", "10001"),
    "table flushed": lambda hub, left, right: ip("-n", left, "route", "flush", "table", "10001"),
    "every table flushed": lambda hub, left, right: ip("-n", left, "-4", "route", "flush", "table", "all"),
    "kernel's own route gone": lambda hub, left, right: ip("-n", right, "route", "flush", "table", "main"),
    "IPv6 route gone": lambda hub, left, right: ip("-n", hub, "-6", "route", "del", "2001:db8:8::/48"),
    "route by another way": lambda hub, left, right: ip(
        "-n", hub, "route", "replace", "10.8.0.0/16", "via", "10.0.1.77"
    ),
    "strange route": lambda hub, left, right: ip("-n", hub, "route", "add", "10.9.0.0/16", "via", "10.0.1.3"),
    "strange route with a metric": lambda hub, left, right: ip(
        "-n", left, "route", "add", "10.0.1.0/24", "dev", "hp-e1", "table", "10001", "metric", "5"
    ),
    "strange blackhole route": lambda hub, left, right: ip("-n", hub, "route", "add", "blackhole", "10.7.0.0/16"),
    "IPv6 strange route": lambda hub, left, right: ip(
        "-n", right, "-6", "route", "add", "2001:db8:9::/48", "via", "2001:db8::1"
    ),
    "sysctl changed": lambda hub, left, right: ip("netns", "exec", hub, "sysctl", "-q", "net.ipv4.ip_forward=0"),
    "link's sysctl changed": lambda hub, left, right: ip(
        "netns", "exec", left, "sysctl", "-q", "net.ipv4.conf.hp-e1.arp_ignore=0"
    ),
    "namespace gone": lambda hub, left, right: ip("netns", "del", left),
    "hub gone": lambda hub, left, right: ip("netns", "del", hub),
    "namespace is a dead file": lambda hub, left, right: (
        ip("netns", "del", right),
        (namespaces.RUN_FOLDER / right).write_bytes(b""),
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_repaired(prefix: str, damage: Damage) -> None:
    wanted = topology(prefix)
    build(wanted)
    before = picture(prefix)
    damage(f"{prefix}-hub", f"{prefix}-left", f"{prefix}-right")
    changes = build(wanted)
    assert changes, "it says what it repaired"
    assert len(set(changes)) == len(changes), "and says it once"
    assert picture(prefix) == before
    assert build(wanted) == ()


@pytest.mark.parametrize(("of_bridge", "of_port"), [(1500, 9001), (9001, 1500)])
def test_a_bridge_has_its_own_mtu_whatever_its_ports_have(prefix: str, of_bridge: int, of_port: int) -> None:
    a, b = f"{prefix}-a", f"{prefix}-b"
    wanted = Topology(
        (Namespace(a, bridges=(Bridge("hp-br0", mtu=of_bridge),)), Namespace(b)),
        (Link(LinkEnd(a, "hp-p1", mtu=of_port, bridge="hp-br0"), LinkEnd(b, "hp-eth0", mtu=of_port)),),
    )
    build(wanted)
    assert f"mtu {of_bridge}" in ip("-n", a, "link", "show", "hp-br0")
    assert build(wanted) == ()


def test_what_went_with_something_else_is_not_reported(prefix: str) -> None:
    wanted = topology(prefix)
    build(wanted)
    ip("-n", f"{prefix}-left", "link", "set", "hp-e1", "netns", f"{prefix}-right")
    deleted = [str(change) for change in build(wanted) if "deleted" in change.deed]
    assert deleted == [f"{prefix}-right: stale link hp-e1 deleted"], "its other end went by itself"


def test_a_deleted_namespace_that_a_process_keeps_alive_is_built_anew(prefix: str) -> None:
    wanted = topology(prefix)
    build(wanted)
    before = picture(prefix)
    with namespaces.inside(f"{prefix}-left"):
        child = subprocess.Popen(["sleep", "60"])
    try:
        ip("netns", "del", f"{prefix}-left")
        assert build(wanted)
        assert picture(prefix) == before
        assert build(wanted) == ()
    finally:
        child.kill()
        child.wait()


def test_links_without_the_prefix_are_left_alone(prefix: str) -> None:
    wanted = topology(prefix)
    build(wanted)
    ip("-n", f"{prefix}-hub", "link", "add", "mine0", "type", "veth", "peer", "name", "mine1")
    assert build(wanted) == ()
    assert "mine0" in ip("-n", f"{prefix}-hub", "link")


def test_what_the_topology_no_longer_names_is_taken_away(prefix: str) -> None:
    wanted = topology(prefix)
    build(wanted)
    smaller = replace(
        wanted, links=wanted.links[1:], namespaces=(replace(wanted.namespaces[0], routes=()), *wanted.namespaces[1:])
    )
    deeds = [change.deed for change in build(smaller)]
    assert "stale link hp-p1 deleted" in deeds
    assert "hp-e1" not in ip("-n", f"{prefix}-left", "link")
    assert "10.8.0.0" not in ip("-n", f"{prefix}-hub", "route")
    assert build(smaller) == ()


def test_a_bad_topology_touches_nothing(prefix: str) -> None:
    bad = replace(
        topology(prefix), links=(Link(LinkEnd(f"{prefix}-hub", "hp-a"), LinkEnd(f"{prefix}-absent", "hp-b")),)
    )
    with pytest.raises(TopologyError):
        build(bad)
    assert not namespaces.exists(f"{prefix}-hub")


def test_what_the_kernel_refuses_is_said_with_its_place_and_can_be_gone_on_from(prefix: str) -> None:
    wanted = topology(prefix)
    hub = wanted.namespaces[0]
    unreachable = replace(hub, routes=(Route("10.8.0.0/16", via="10.99.0.1"),))
    with pytest.raises(
        KernelError, match=f"{prefix}-hub: cannot add route 10.8.0.0/16 via 10.99.0.1 table 254: Network is unr"
    ):
        build(replace(wanted, namespaces=(unreachable, *wanted.namespaces[1:])))
    unknown = replace(hub, sysctls=(("net.ipv4.no_such_thing", "1"),))
    with pytest.raises(SysctlRefused, match=r"cannot set net\.ipv4\.no_such_thing to 1: No such file"):
        build(replace(wanted, namespaces=(unknown, *wanted.namespaces[1:])))
    assert build(wanted)
    assert build(wanted) == ()


def test_no_file_descriptor_is_left_open(prefix: str) -> None:
    build(topology(prefix))
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        build(topology(prefix))
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_it_runs_in_a_thread_beside_uvloop(prefix: str) -> None:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(asyncio.to_thread(build, topology(prefix)))
        assert runner.run(asyncio.to_thread(build, topology(prefix))) == ()


def test_more_namespaces_than_sockets(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns.link, "SOCKETS_MAX", 2)
    names = [f"{prefix}-{i}" for i in range(6)]
    ring = Topology(
        tuple(Namespace(name) for name in names),
        tuple(Link(LinkEnd(a, "hp-r"), LinkEnd(b, "hp-l")) for a, b in zip(names, [*names[1:], names[0]], strict=True)),
    )
    build(ring)
    assert build(ring) == ()
    with NetlinkPool() as pool:
        sockets = [pool.of(name) for name in names]
        assert len({id(socket) for socket in sockets}) == len(names)
        assert pool.of(names[-1]) is sockets[-1]
