"""The lab's ground: resources and their compiled interfaces as a topology that `netns` can build.

    hp-<instance>                hp-vpc-<vpc>                            hp-fabric-<zone id>
    ┌─────────────┐   ┌───────────────────────────────────┐   ┌─────────────────────────────────┐
    │     hp-eth0 ├───┤ hp-i-<instance>                   │   │                                 │
    └─────────────┘   │        hp-s-<subnet>  .1, router  │   │                                 │
                      │                 hp-e2-<zone id>   ├───┤ hp-e2  <address>/32, table 10002│
                      └───────────────────────────────────┘   └─────────────────────────────────┘

A VPC is one namespace with a bridge for each subnet; the bridge has the router's address and the kernel
forwards between them. What has no route there is dropped without a word, as in a VPC without a gateway.
A packet whose source is not of the bridge it came by is dropped, too (strict reverse path, RFC 3704 2.2):
within a VPC nobody can borrow an address of another subnet.

An interface of the fabric is a veth pair between the subnet's bridge and the fabric of its zone. The
fabric is a crossing (`netns/crossing.py`): equal addresses in two VPCs meet there and are told apart by
number alone. VPCs have no link with each other: only the fabric's nodes can carry a packet across.
"""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256

from hyperplane.control.resources import AvailabilityZone, Instance, Subnet, Vpc
from hyperplane.control.store import Store
from hyperplane.snapshot import Eni, EniKind, Protocol, Snapshot
from netns.crossing import crossing_end, crossing_namespace
from netns.names import PREFIX, short_link_name
from netns.topology import (
    TABLE_LOCAL,
    TABLE_MAIN,
    Action,
    Bridge,
    Link,
    LinkEnd,
    Namespace,
    Route,
    Rule,
    Topology,
)

INSTANCE_LINK = f"{PREFIX}eth0"
"""An instance's one link, inside its namespace."""

ROUTER_SYSCTLS = (
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv4.conf.all.rp_filter", "1"),
    ("net.ipv4.conf.default.rp_filter", "1"),
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv4.conf.default.send_redirects", "0"),
    ("net.ipv4.conf.all.accept_redirects", "0"),
    ("net.ipv4.conf.default.accept_redirects", "0"),
    ("net.ipv4.conf.all.accept_source_route", "0"),
)

ROUTER_RULES = (
    Rule(0, table=TABLE_LOCAL),
    Rule(32766, table=TABLE_MAIN),
    Rule(32767, action=Action.BLACKHOLE),
)
"""The kernel's own, with silence where it would answer "unreachable"."""


def instance_namespace(instance: Instance) -> str:
    """hp-consumer-a"""
    return f"{PREFIX}{instance.name}"


def router_namespace(vpc: Vpc) -> str:
    """hp-vpc-consumer-a"""
    return f"{PREFIX}vpc-{vpc.name}"


def fabric_namespace(zone_id: str) -> str:
    """hp-fabric-use2-az1"""
    return f"{PREFIX}fabric-{zone_id}"


def subnet_bridge(subnet: Subnet) -> str:
    """The bridge of a subnet, in its VPC's namespace."""
    return short_link_name("s", subnet.name)


def mac_address(resource_id: str) -> str:
    """A stable, locally administered MAC address (IEEE 802, second bit of the first byte) for an id."""
    return ":".join(f"{byte:02x}" for byte in (0x02, *sha256(resource_id.encode()).digest()[:5]))


def ground(store: Store, snapshot: Snapshot) -> Topology:
    """The topology of a store and of its own snapshot: one namespace an instance, a VPC and a zone, and their links."""
    return Topology(
        namespaces=(
            *(Namespace(instance_namespace(instance)) for instance in store.all(Instance)),
            *(_router(store, vpc) for vpc in store.all(Vpc)),
            *(
                crossing_namespace(fabric_namespace(zone.zone_id), (eni.number for eni in zone.enis))
                for zone in snapshot.zones
            ),
        ),
        links=(*_instance_links(store), *_fabric_links(store, snapshot)),
    )


def _router(store: Store, vpc: Vpc) -> Namespace:
    bridges = tuple(
        Bridge(
            subnet_bridge(subnet),
            (f"{subnet.router_address}/{subnet.network.prefixlen}",),
            store.fabric.mtu,
        )
        for subnet in store.all(Subnet)
        if subnet.vpc_id == vpc.resource_id
    )
    return Namespace(router_namespace(vpc), ROUTER_SYSCTLS, bridges, ROUTER_RULES)


def _bridge_end(store: Store, subnet: Subnet, name: str, cuts_datagrams: bool | None = None) -> LinkEnd:
    return LinkEnd(
        router_namespace(store.get(Vpc, subnet.vpc_id)),
        name,
        mtu=store.fabric.mtu,
        bridge=subnet_bridge(subnet),
        cuts_datagrams=cuts_datagrams,
    )


def _instance_links(store: Store) -> Iterator[Link]:
    for instance in store.all(Instance):
        subnet = store.get(Subnet, instance.subnet_id)
        own_end = LinkEnd(
            instance_namespace(instance),
            INSTANCE_LINK,
            mac=mac_address(instance.resource_id),
            mtu=store.fabric.mtu,
            addresses=(f"{instance.address}/{subnet.network.prefixlen}",),
            routes=(Route("default", via=str(subnet.router_address)),),
        )
        yield Link(_bridge_end(store, subnet, short_link_name("i", instance.name)), own_end)


def _leading_datagrams(snapshot: Snapshot) -> set[tuple[str, int]]:
    """(zone id, number) of the ENIs by which datagrams come that get a Proxy Protocol header each.

    A node cannot cut a sender's super-packet, because nobody tells it where: it has to come in pieces.
    """
    groups = {
        group.target_group_id
        for group in snapshot.target_groups
        if group.protocol is Protocol.UDP and group.proxy_protocol_v2 is not None
    }
    balancers = {
        balancer.load_balancer_id
        for balancer in snapshot.load_balancers
        if any(listener.target_group_id in groups for listener in balancer.listeners)
    }
    exits = {(zone.zone_id, eni.number) for zone in snapshot.zones for eni in zone.enis if eni.owner_id in balancers}
    return {
        (zone.zone_id, eni.number)
        for zone in snapshot.zones
        for eni in zone.enis
        if (zone.zone_id, eni.load_balancer_eni) in exits
    }


def _fabric_links(store: Store, snapshot: Snapshot) -> Iterator[Link]:
    compiled: dict[str, tuple[AvailabilityZone, Eni]] = {
        eni.eni_id: (AvailabilityZone(zone.name, zone.zone_id), eni) for zone in snapshot.zones for eni in zone.enis
    }
    leading = _leading_datagrams(snapshot)
    for _, interface in store.interfaces():
        zone, eni = compiled[interface.eni_id]
        subnet = store.get(Subnet, interface.subnet_id)
        end = crossing_end(
            fabric_namespace(zone.zone_id),
            eni.number,
            str(interface.address),
            str(subnet.network),
            str(subnet.router_address),
            eni.mtu,
        )
        assert end.name == eni.interface, "snapshot and ground give an interface one name"
        yield Link(
            _bridge_end(
                store,
                subnet,
                short_link_name(f"e{eni.number}", zone.zone_id),
                (zone.zone_id, eni.number) in leading if eni.kind is EniKind.ENDPOINT else None,
            ),
            replace(end, mac=mac_address(eni.eni_id)),
        )
