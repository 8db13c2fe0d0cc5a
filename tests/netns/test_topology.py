"""Topologies that cannot be built, each refused with the path of the fault."""

from dataclasses import replace

import pytest

from netns.topology import Action, Bridge, IpProtocol, Link, LinkEnd, Namespace, Route, Rule, Scope, Topology
from netns.validate import TopologyError, validate

LEFT = Namespace(
    "hp-left",
    sysctls=(("net.ipv4.ip_forward", "1"), ("net.ipv4.tcp_rmem", "4096 131072 6291456")),
    bridges=(Bridge("hp-br0", ("10.0.1.1/24", "2001:db8::1/64"), 9001),),
    rules=(
        Rule(100, mark=1, mask=0xFFFF, table=10001),
        Rule(200, ip_protocol=IpProtocol.TCP, action=Action.BLACKHOLE),
        Rule(300, table=255),
    ),
    routes=(
        Route("10.8.0.0/16", via="10.0.1.254"),
        Route("default", link="hp-br0", source="10.0.1.1", scope=Scope.LINK),
    ),
)
RIGHT = Namespace("hp-right")
A = LinkEnd("hp-left", "hp-p1", bridge="hp-br0")
B = LinkEnd(
    "hp-right",
    "hp-eth0",
    mac="02:00:00:00:00:01",
    mtu=9001,
    addresses=("10.0.1.2/24", "2001:db8::2/64"),
    routes=(Route("default", via="10.0.1.1", source="10.0.1.2"), Route("default", via="2001:db8::1")),
    sysctls=(("ipv4.arp_ignore", "1"), ("ipv6.accept_ra", "0")),
)
GOOD = Topology((LEFT, RIGHT), (Link(A, B),))


def left(**changes: object) -> Topology:
    return replace(GOOD, namespaces=(replace(LEFT, **changes), RIGHT))  # type: ignore[arg-type]


def bridge(**changes: object) -> Topology:
    return left(bridges=(replace(LEFT.bridges[0], **changes),))  # type: ignore[arg-type]


def rule(**changes: object) -> Topology:
    return left(rules=(replace(LEFT.rules[0], **changes),))  # type: ignore[arg-type]


def route(**changes: object) -> Topology:
    return left(routes=(replace(LEFT.routes[0], **changes),))  # type: ignore[arg-type]


def end_a(**changes: object) -> Topology:
    return replace(GOOD, links=(Link(replace(A, **changes), B),))  # type: ignore[arg-type]


def end_b(**changes: object) -> Topology:
    return replace(GOOD, links=(Link(A, replace(B, **changes)),))  # type: ignore[arg-type]


def test_a_good_topology_passes() -> None:
    validate(GOOD)
    validate(Topology())


def test_equal_addresses_on_two_links_are_allowed() -> None:
    twin = Link(LinkEnd("hp-left", "hp-p2"), replace(B, name="hp-eth1", mac=None, routes=()))
    validate(replace(GOOD, links=(*GOOD.links, twin)))


FAULTS = [
    (replace(GOOD, namespaces=(LEFT, LEFT)), "namespaces[1]", "twice"),
    (left(name="left"), "namespaces[0].name", "must start with 'hp-'"),
    (left(sysctls=(("kernel.hostname", "x"),)), 'namespaces[0].sysctls["kernel.hostname"]', "below net."),
    (left(sysctls=(("net.ipv4/../../kernel", "x"),)), 'namespaces[0].sysctls["net.ipv4/../../kernel"]', "below net."),
    (left(sysctls=(("net.ipv4.ip_forward", "1\n0"),)), 'namespaces[0].sysctls["net.ipv4.ip_forward"]', "no value"),
    (left(sysctls=(("net.a", "1"), ("net.a", "2"))), "namespaces[0].sysctls[1]", "twice"),
    (bridge(name="br0"), "namespaces[0].bridges[0].name", "must start with 'hp-'"),
    (bridge(mtu=67), "namespaces[0].bridges[0].mtu", "67 is not between"),
    (bridge(addresses=("10.0.1.1",)), "namespaces[0].bridges[0].addresses[0]", "as 10.0.1.1/32"),
    (bridge(addresses=("10.0.1.1/255.255.255.0",)), "namespaces[0].bridges[0].addresses[0]", "as 10.0.1.1/24"),
    (bridge(addresses=("10.0.1.300/24",)), "namespaces[0].bridges[0].addresses[0]", "is not an address"),
    (bridge(addresses=("10.0.1.1/33",)), "namespaces[0].bridges[0].addresses[0]", "is not an address"),
    (bridge(addresses=("224.0.0.1/24",)), "namespaces[0].bridges[0].addresses[0]", "cannot be the address"),
    (bridge(addresses=("fe80::1%x/64",)), "namespaces[0].bridges[0].addresses[0]", "write"),
    (bridge(addresses=("10.0.1.1/24", "10.0.1.1/24")), "namespaces[0].bridges[0].addresses[1]", "twice"),
    (left(bridges=(LEFT.bridges[0], Bridge("hp-br0"))), "namespaces[0].bridges[1].name", "already has a link"),
    (rule(mark=0x10000), "namespaces[0].rules[0].mark", "outside its mask"),
    (rule(table=None), "namespaces[0].rules[0].table", "needs a table"),
    (rule(table=0), "namespaces[0].rules[0].table", "0 is not between"),
    (rule(priority=-1), "namespaces[0].rules[0].priority", "-1 is not between"),
    (rule(action=Action.BLACKHOLE), "namespaces[0].rules[0].table", "looks up no table"),
    (left(rules=(LEFT.rules[0], LEFT.rules[0])), "namespaces[0].rules[1]", "twice"),
    (route(destination="10.8.0.1/16"), "namespaces[0].routes[0].destination", "as 10.8.0.0/16"),
    (route(destination="0.0.0.0/0"), "namespaces[0].routes[0].destination", "as default"),
    (route(destination="all"), "namespaces[0].routes[0].destination", "neither a network"),
    (route(via="2001:db8::1"), "namespaces[0].routes[0].via", "not of the route's IP version"),
    (route(via="10.0.1"), "namespaces[0].routes[0].via", "is not an address"),
    (route(via=None), "namespaces[0].routes[0]", "needs a link"),
    (route(link="hp-absent"), "namespaces[0].routes[0].link", "there is no link"),
    (route(source="10.0.1.9"), "namespaces[0].routes[0].source", "has no address 10.0.1.9"),
    (route(table=255), "namespaces[0].routes[0].table", "the kernel's own"),
    (left(routes=(LEFT.routes[0], LEFT.routes[0])), "namespaces[0].routes[1]", "already has 10.8.0.0/16"),
    (end_a(namespace="hp-absent"), "links[0].a.namespace", "there is no namespace"),
    (end_a(bridge="hp-absent"), "links[0].a.bridge", "there is no bridge"),
    (end_a(addresses=("10.0.1.3/24",)), "links[0].a.addresses", "give it to the bridge"),
    (end_a(name="hp-br0"), "links[0].a.name", "already has a link"),
    (end_a(name="hp-sixteen-bytes"), "links[0].a.name", "15 bytes at most"),
    (end_a(mac=B.mac), "links[0].b.mac", "different MAC"),
    (end_b(namespace="hp-left", name="hp-p1"), "links[0].b.name", "already has a link"),
    (end_b(mac="02:00:00:00:00"), "links[0].b.mac", "is not a MAC"),
    (end_b(mac="01:00:00:00:00:00"), "links[0].b.mac", "group address"),
    (end_b(mac="00:00:00:00:00:00"), "links[0].b.mac", "zeros"),
    (end_b(mtu=65536), "links[0].b.mtu", "65536 is not between"),
    (end_b(sysctls=(("arp_ignore", "1"),)), 'links[0].b.sysctls["arp_ignore"]', "ipv4.NAME"),
    (end_b(routes=(Route("default", link="hp-p1", via="10.0.1.1"),)), "links[0].b.routes[0].link", "there is no link"),
    (end_b(routes=(B.routes[0], replace(B.routes[0], via="10.0.1.3"))), "links[0].b.routes[1]", "already has default"),
]


@pytest.mark.parametrize(("topology", "path", "words"), FAULTS, ids=[f"{path}-{words}" for _, path, words in FAULTS])
def test_a_fault_is_refused_with_its_path(topology: Topology, path: str, words: str) -> None:
    with pytest.raises(TopologyError) as caught:
        validate(topology)
    assert caught.value.path == path
    assert words in caught.value.message
