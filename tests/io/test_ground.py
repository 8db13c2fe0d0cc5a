"""The ground of the default lab: what is laid out, and that the kernel then does what a VPC does."""

import errno
import select
import socket
from collections.abc import Iterator
from dataclasses import replace
from secrets import token_hex

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

from hyperplane.control.compiler import compile_snapshot
from hyperplane.control.resources import EndpointState, Instance, LoadBalancer, Subnet, VpcEndpoint
from hyperplane.control.store import Store
from hyperplane.io.ground import INSTANCE_LINK, ground, instance_namespace, mac_address
from hyperplane.io.lab_file import DEFAULT_LAB, load_lab
from hyperplane.snapshot import HeaderPlacement, Protocol
from netns.build import build
from netns.clean import clean
from netns.namespace import inside, open_socket
from netns.topology import Link, LinkEnd, Scope, Topology
from netns.validate import validate

SO_MARK = 36
IP_RECVERR = 11
"""`ip(7)`: without it a UDP socket hears nothing of an unreachable network."""
WAIT_S = 10.0
"""For what must come. Nothing is concluded from what does not come within a time."""


@pytest.fixture
def store() -> Store:
    return load_lab(DEFAULT_LAB)


def laid_out(store: Store) -> Topology:
    return ground(store, compile_snapshot(store))


def test_one_namespace_for_each_instance_vpc_and_zone(store: Store) -> None:
    assert {namespace.name for namespace in laid_out(store).namespaces} == {
        *("hp-consumer-a", "hp-consumer-a2", "hp-consumer-b", "hp-consumer-c", "hp-outsider"),
        *("hp-target-1", "hp-target-2"),
        *("hp-vpc-consumer-a", "hp-vpc-consumer-b", "hp-vpc-consumer-c", "hp-vpc-outsider", "hp-vpc-provider"),
        *("hp-fabric-use2-az1", "hp-fabric-use2-az2"),
    }


def test_is_a_topology_that_can_be_built(store: Store) -> None:
    validate(laid_out(store))


def test_nothing_joins_two_vpcs_but_the_fabric(store: Store) -> None:
    """The one-way property begins here: without a node no packet can leave its VPC."""
    for link in laid_out(store).links:
        kinds = [end.namespace.split("-")[1] for end in (link.a, link.b)]
        assert kinds[0] == "vpc"
        assert kinds[1] != "vpc"


def fabric_ends(topology: Topology, zone_id: str) -> dict[str, LinkEnd]:
    return {end.name: end for end in topology.ends() if end.namespace == f"hp-fabric-{zone_id}"}


def test_interfaces_of_the_fabric(store: Store) -> None:
    snapshot = compile_snapshot(store)
    ends = fabric_ends(ground(store, snapshot), "use2-az1")
    assert {name: end.addresses for name, end in ends.items()} == {
        "hp-e1": ("10.9.0.7/32",),
        "hp-e2": ("10.0.1.10/32",),
        "hp-e3": ("10.0.1.10/32",),
        "hp-e4": ("10.9.3.10/32",),
    }
    for eni in snapshot.zones[0].enis:
        end = ends[eni.interface]
        assert end.mac == mac_address(eni.eni_id)
        assert {route.table for route in end.routes} == {10_000 + eni.number}
        near, rest = end.routes
        assert (near.scope, near.source) == (Scope.LINK, end.addresses[0].removesuffix("/32"))
        assert (rest.destination, rest.via) == ("default", near.destination.replace("0/24", "1"))


def test_mac_addresses_are_stable_local_and_different(store: Store) -> None:
    assert mac_address("eni-00000000000000001") == "02:37:22:83:77:1e"
    macs = [end.mac for end in laid_out(store).ends() if end.mac is not None]
    assert len(macs) == 7 + 6
    assert len(set(macs)) == len(macs)
    assert all(mac.startswith("02:") for mac in macs)


def test_a_closed_door_is_there_and_a_deleted_one_is_not(store: Store) -> None:
    """AWS: the interface has its address before the connection is accepted."""
    endpoint = next(one for one in store.all(VpcEndpoint) if one.name == "orders-a")
    for state, doors in ((EndpointState.PENDING_ACCEPTANCE, 4), (EndpointState.DELETED, 3)):
        changed = store.put([replace(endpoint, state=state)], now=0.0)
        assert len(fabric_ends(laid_out(changed), "use2-az1")) == doors


def test_mtu_is_the_fabrics(store: Store) -> None:
    wide = replace(store, fabric=replace(store.fabric, mtu=8500))
    topology = laid_out(wide)
    assert {end.mtu for end in topology.ends()} == {8500}
    assert {bridge.mtu for namespace in topology.namespaces for bridge in namespace.bridges} == {8500}


def renamed(topology: Topology, prefix: str) -> Topology:
    """The same ground under namespaces of another name, so that a lab may run beside the test."""

    def name(namespace: str) -> str:
        return prefix + namespace.removeprefix("hp")

    def moved(link: Link) -> Link:
        ends = (replace(end, namespace=name(end.namespace)) for end in (link.a, link.b))
        return Link(*ends)

    namespaces = tuple(replace(namespace, name=name(namespace.name)) for namespace in topology.namespaces)
    return Topology(namespaces, tuple(moved(link) for link in topology.links))


@pytest.fixture(scope="module")
def prefix() -> Iterator[str]:
    """The default lab's ground, built once for this file, removed whatever happens."""
    name = f"hp-t{token_hex(3)}"
    try:
        build(renamed(laid_out(load_lab(DEFAULT_LAB)), name))
        yield name
    finally:
        clean(name)


def resolve(namespace: str, source: str, wanted: list[str]) -> dict[str, str]:
    """Ask on an instance's link for each address, the last of which must answer; who answered with which MAC.

    Answers come in the order of the questions, so the last one's answer ends the silence of the others.
    """
    with open_socket(namespace, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)) as asker:
        asker.bind((INSTANCE_LINK, 0x0806))
        asker.settimeout(WAIT_S)
        mac = ":".join(f"{byte:02x}" for byte in asker.getsockname()[4])
        for address in wanted:
            question = ARP(op="who-has", hwsrc=mac, psrc=source, pdst=address)
            asker.send(bytes(Ether(dst="ff:ff:ff:ff:ff:ff", src=mac, type=0x0806) / question))
        answers: dict[str, str] = {}
        while wanted[-1] not in answers:
            answer = Ether(asker.recv(1514))[ARP]
            if answer.op == 2:
                answers[answer.psrc] = answer.hwsrc
        return answers


@pytest.mark.netns
def test_every_instance_resolves_its_router_and_its_endpoint(prefix: str, store: Store) -> None:
    endpoint_enis = [
        (interface.address, store.get(Subnet, interface.subnet_id), interface.eni_id)
        for _, interface in store.interfaces()
    ]
    found = 0
    for instance in store.all(Instance):
        subnet = store.get(Subnet, instance.subnet_id)
        doors = {str(address): mac_address(eni_id) for address, place, eni_id in endpoint_enis if place == subnet}
        namespace = prefix + instance_namespace(instance).removeprefix("hp")
        answers = resolve(namespace, str(instance.address), [*doors, str(subnet.router_address)])
        assert answers.pop(str(subnet.router_address))
        assert answers == doors
        found += len(doors)
    assert found == 4, "a, a2, b and c see an endpoint; the outsider and the targets see none"


@pytest.mark.netns
def test_there_is_no_endpoint_for_the_outsider(prefix: str) -> None:
    assert set(resolve(f"{prefix}-outsider", "10.0.1.50", ["10.0.1.10", "10.0.1.1"])) == {"10.0.1.1"}


@pytest.mark.netns
def test_building_again_changes_nothing(prefix: str, store: Store) -> None:
    assert build(renamed(laid_out(store), prefix)) == ()


@pytest.mark.netns
def test_the_mark_chooses_between_equal_addresses(prefix: str) -> None:
    """From the fabric of zone 1 to 10.0.1.50, which is consumer a and consumer b."""
    listeners = {}
    for name in ("consumer-a", "consumer-b"):
        listeners[name] = open_socket(f"{prefix}-{name}", socket.AF_INET, socket.SOCK_DGRAM)
        listeners[name].bind(("10.0.1.50", 7000))
        listeners[name].settimeout(WAIT_S)
    for name, mark in (("consumer-a", 2), ("consumer-b", 3)):
        with open_socket(f"{prefix}-fabric-use2-az1", socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
            sender.sendto(name.encode(), ("10.0.1.50", 7000))
        data, source = listeners[name].recvfrom(100)
        assert (data, source[0]) == (name.encode(), "10.0.1.10")
    for listener in listeners.values():
        assert select.select([listener], [], [], 0)[0] == []
        listener.close()


@pytest.mark.netns
def test_without_a_mark_the_fabric_leads_nowhere(prefix: str) -> None:
    with open_socket(f"{prefix}-fabric-use2-az1", socket.AF_INET, socket.SOCK_DGRAM) as sender:
        with pytest.raises(OSError) as refused:
            sender.sendto(b"x", ("10.0.1.50", 7000))
        assert refused.value.errno in (errno.EINVAL, errno.ENETUNREACH, errno.EHOSTUNREACH)


@pytest.mark.netns
def test_what_has_no_route_in_a_vpc_gets_no_answer(prefix: str) -> None:
    """Not even "unreachable". The router's answer to a later question shows that there was time for one."""
    with (
        open_socket(f"{prefix}-consumer-a", socket.AF_INET, socket.SOCK_DGRAM) as abroad,
        open_socket(f"{prefix}-consumer-a", socket.AF_INET, socket.SOCK_DGRAM) as to_router,
    ):
        abroad.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        abroad.connect(("10.9.3.20", 8080))
        abroad.send(b"x")
        to_router.connect(("10.0.1.1", 9))
        to_router.settimeout(WAIT_S)
        to_router.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            to_router.recv(1)
        assert abroad.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


@pytest.mark.netns
def test_subnets_of_a_vpc_reach_each_other_under_their_own_addresses_only(prefix: str) -> None:
    with open_socket(f"{prefix}-consumer-a2", socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("10.0.2.50", 7001))
        listener.settimeout(WAIT_S)
        with inside(f"{prefix}-consumer-a"):
            sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        with sender:
            for source in ("10.0.2.77", "192.0.2.1", "10.0.1.50"):
                packet = IP(src=source, dst="10.0.2.50") / UDP(sport=7001, dport=7001) / source.encode()
                sender.sendto(bytes(packet), ("10.0.2.50", 0))
        assert listener.recvfrom(100) == (b"10.0.1.50", ("10.0.1.50", 7001))


def test_the_load_balancers_nodes_are_where_the_provider_is(store: Store) -> None:
    (balancer,) = store.all(LoadBalancer)
    topology = laid_out(store)
    for node in balancer.nodes:
        (link,) = [link for link in topology.links if link.b.addresses == (f"{node.address}/32",)]
        assert link.a.namespace == "hp-vpc-provider"
        assert link.a.bridge == f"hp-s-{store.get(Subnet, node.subnet_id).name}"


def test_datagrams_come_in_pieces_where_each_gets_a_header(store: Store) -> None:
    """Only by the doors of a service that has such a group, and everywhere else nobody looks at it."""
    snapshot = compile_snapshot(store)
    doors = {eni.number for zone in snapshot.zones for eni in zone.enis if eni.load_balancer_eni}
    ends = [end for end in ground(store, snapshot).ends() if end.cuts_datagrams is not None]
    assert len(ends) == sum(eni.number in doors for zone in snapshot.zones for eni in zone.enis)
    assert not any(end.cuts_datagrams for end in ends)
    groups = tuple(
        replace(group, proxy_protocol_v2=HeaderPlacement.ON_FIRST_ACK if group.protocol is Protocol.UDP else None)
        for group in snapshot.target_groups
    )
    ends = [end for end in ground(store, replace(snapshot, target_groups=groups)).ends() if end.cuts_datagrams]
    assert {end.namespace for end in ends} == {"hp-vpc-consumer-a", "hp-vpc-consumer-b", "hp-vpc-consumer-c"}
    assert all(end.name.startswith("hp-e") for end in ends)
