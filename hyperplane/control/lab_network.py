"""The consumers' and providers' networks in a lab file: VPCs with their subnets, security groups and instances."""

from hyperplane import limits
from hyperplane.control import lab_document as doc
from hyperplane.control.ids import Prefix, ec2_id
from hyperplane.control.lab_document import Node
from hyperplane.control.lab_index import LabIndex
from hyperplane.control.resources import (
    Account,
    AvailabilityZone,
    Instance,
    IpNetwork,
    NetworkInterface,
    RuleProtocol,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    Vpc,
)

DEFAULT_GROUP = "default"
"""Every VPC has it; who names no group is in it, and it lets its own members in (Amazon VPC guide)."""

RESERVED_NAMES = ("vpc-", "fabric-")
"""Beginnings that no instance's name may have: with the prefix they are the namespaces of routers and fabrics."""

RULE_PROTOCOLS = {
    "tcp": RuleProtocol.TCP,
    "udp": RuleProtocol.UDP,
    "icmp": RuleProtocol.ICMP,
    "all": RuleProtocol.ALL,
    "-1": RuleProtocol.ALL,
}


def read_vpc(index: LabIndex, zones: tuple[AvailabilityZone, ...], node: Node) -> None:
    """`{name, account, cidr, subnets: [...], security_groups: [...], instances: [...]}`"""
    node.only("name", "id", "account", "cidr", "subnets", "security_groups", "instances")
    name = doc.name(node.require("name"))
    account_id = doc.account(node.require("account"))
    if account_id not in index.resources:
        index.add(node.require("account"), account_id, Account(account_id))
    vpc_id = chosen_id(node, Prefix.VPC, index.region, account_id, name)
    vpc = Vpc(vpc_id, name, account_id, (doc.vpc_network(node.require("cidr")),))
    index.add(node.require("name"), name, vpc)
    for item in node.require("subnets").items():
        _read_subnet(index, zones, vpc, item)
    _read_security_groups(index, vpc, node)
    for item in doc.items(node, "instances"):
        _read_instance(index, vpc, item)


def chosen_id(node: Node, prefix: Prefix, *names: str) -> str:
    """The id that the file says, else the one derived from names."""
    chosen = node.optional("id")
    return ec2_id(prefix, *names) if chosen is None else doc.ec2_id(chosen, prefix)


def _read_subnet(index: LabIndex, zones: tuple[AvailabilityZone, ...], vpc: Vpc, node: Node) -> None:
    node.only("name", "id", "zone", "cidr")
    name = doc.name(node.require("name"))
    zone = node.require("zone")
    known = [zone.name for zone in zones]
    if zone.text() not in known:
        raise doc.unknown(zone, "zone", zone.text(), known)
    cidr = node.require("cidr")
    network = doc.vpc_network(cidr)
    if not any(network.subnet_of(whole) for whole in vpc.networks if whole.version == network.version):
        raise cidr.error(f"{network} is not inside VPC {vpc.name!r}, which is {_listed(vpc.networks)}")
    for other in index.all(Subnet):
        if other.vpc_id == vpc.resource_id and other.network.overlaps(network):
            raise cidr.error(f"{network} overlaps subnet {other.name!r}, which is {other.network}")
    subnet_id = chosen_id(node, Prefix.SUBNET, vpc.resource_id, name)
    index.add(node.require("name"), name, Subnet(subnet_id, name, vpc.resource_id, zone.text(), network), vpc.name)


def _listed(networks: tuple[IpNetwork, ...]) -> str:
    return ", ".join(str(network) for network in networks)


def _read_security_groups(index: LabIndex, vpc: Vpc, node: Node) -> None:
    """Names first, rules second: rules may name any group of the VPC, the default one too."""
    nodes = {doc.name(item.only("name", "id", "inbound").require("name")): item for item in _groups(node)}
    ids = {name: chosen_id(item, Prefix.SECURITY_GROUP, vpc.resource_id, name) for name, item in nodes.items()}
    if DEFAULT_GROUP not in ids:
        ids[DEFAULT_GROUP] = default_id = ec2_id(Prefix.SECURITY_GROUP, vpc.resource_id, DEFAULT_GROUP)
        among_themselves = SecurityGroupRule(RuleProtocol.ALL, 0, 65_535, default_id)
        group = SecurityGroup(default_id, DEFAULT_GROUP, vpc.resource_id, (among_themselves,))
        index.add(node.require("name"), DEFAULT_GROUP, group, vpc.name)
    for item in _groups(node):
        name = item.require("name").text()
        rules = tuple(_rule(ids, rule) for rule in doc.items(item, "inbound"))
        group = SecurityGroup(ids[name], name, vpc.resource_id, rules)
        index.add(item.require("name"), name, group, vpc.name)


def _groups(node: Node) -> tuple[Node, ...]:
    return doc.items(node, "security_groups")


def _rule(group_ids: dict[str, str], node: Node) -> SecurityGroupRule:
    node.only("protocol", "ports", "source")
    protocol = RULE_PROTOCOLS[node.require("protocol").choice(RULE_PROTOCOLS)]
    needs_ports = protocol in (RuleProtocol.TCP, RuleProtocol.UDP)
    ports = node.require("ports") if needs_ports else node.optional("ports")
    first, last = (0, 65_535) if ports is None else doc.ports(ports, protocol)
    source = node.require("source")
    if "/" in source.text():
        return SecurityGroupRule(protocol, first, last, doc.network(source))
    if source.text() not in group_ids:
        raise doc.unknown(source, "security group", source.text(), list(group_ids))
    return SecurityGroupRule(protocol, first, last, group_ids[source.text()])


def read_group_ids(index: LabIndex, vpc: Vpc, node: Node) -> tuple[str, ...]:
    """Ids of the groups that `security_groups` names; of the default group where the key is absent."""
    chosen = node.optional("security_groups")
    if chosen is None:
        return (index.named(SecurityGroup, DEFAULT_GROUP, vpc.name).resource_id,)
    ids: list[str] = []
    for item in chosen.items():
        group = index.find(item, SecurityGroup, vpc.name)
        if group.resource_id in ids:
            raise item.error(f"security group {group.name!r} is there twice")
        ids.append(group.resource_id)
    if not 1 <= len(ids) <= limits.SECURITY_GROUPS_PER_INTERFACE_MAX:
        raise chosen.error(
            f"1 to {limits.SECURITY_GROUPS_PER_INTERFACE_MAX} groups, not {len(ids)}; leave it out for the default"
        )
    return tuple(ids)


def read_interfaces(index: LabIndex, vpc: Vpc, owner_id: str, node: Node) -> tuple[NetworkInterface, ...]:
    """`[{subnet, address}]`: one interface in each subnet, and one subnet at most in each zone."""
    interfaces = []
    zones: dict[str, str] = {}
    for item in node.items():
        item.only("subnet", "address")
        subnet = index.find(item.require("subnet"), Subnet, vpc.name)
        if subnet.zone_name in zones:
            raise item.require("subnet").error(
                f"subnet {subnet.name!r} is in zone {subnet.zone_name}, where subnet {zones[subnet.zone_name]!r} is "
                "already used: one subnet a zone"
            )
        zones[subnet.zone_name] = subnet.name
        eni_id = ec2_id(Prefix.INTERFACE, owner_id, subnet.resource_id)
        address = index.claim(item.require("address"), subnet)
        interfaces.append(NetworkInterface(eni_id, subnet.resource_id, address))
    if not interfaces:
        raise node.error("at least one subnet is needed")
    return tuple(interfaces)


def _read_instance(index: LabIndex, vpc: Vpc, node: Node) -> None:
    node.only("name", "id", "subnet", "address", "security_groups")
    name = doc.name(node.require("name"))
    if name.startswith(RESERVED_NAMES):
        raise node.require("name").error(f"an instance's name may not begin with {' or '.join(RESERVED_NAMES)}")
    subnet = index.find(node.require("subnet"), Subnet, vpc.name)
    instance = Instance(
        chosen_id(node, Prefix.INSTANCE, vpc.resource_id, name),
        name,
        subnet.resource_id,
        index.claim(node.require("address"), subnet),
        read_group_ids(index, vpc, node),
    )
    index.add(node.require("name"), name, instance)
