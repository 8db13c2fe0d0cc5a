"""Target groups and load balancers in a lab file."""

from dataclasses import replace
from ipaddress import IPv4Address

from hyperplane import limits
from hyperplane.control import ids
from hyperplane.control import lab_document as doc
from hyperplane.control.lab_document import Node
from hyperplane.control.lab_index import LabIndex
from hyperplane.control.lab_network import read_interfaces
from hyperplane.control.resources import (
    Fabric,
    Instance,
    Listener,
    LoadBalancer,
    Subnet,
    TargetGroup,
    TargetRegistration,
    Vpc,
)
from hyperplane.snapshot import HeaderPlacement, Protocol

PROTOCOLS = {protocol.name: protocol for protocol in Protocol}
STICKINESS_KINDS = ("none", "source_ip")

PROXY_PROTOCOL = "proxy_protocol_v2.enabled"
HEADER_PLACEMENT = "proxy_protocol_v2.client_to_server.header_placement"
"""Target group attributes, as ELBv2's ModifyTargetGroupAttributes spells them."""

HEADER_PLACEMENTS = {placement.value: placement for placement in HeaderPlacement}


def read_target_group(index: LabIndex, node: Node) -> None:
    """`{name, vpc, protocol, port, cross_zone, stickiness, attributes, targets: [{instance, port} or {address, port}]}`

    `attributes: {proxy_protocol_v2.enabled: true, proxy_protocol_v2.client_to_server.header_placement: on_first_ack}`,
    in AWS's own names and both optional.
    """
    node.only("name", "vpc", "protocol", "port", "cross_zone", "stickiness", "attributes", "targets")
    name = doc.name(node.require("name"))
    vpc = index.find(node.require("vpc"), Vpc)
    port = node.require("port").integer(1, 65_535)
    stickiness = node.optional("stickiness")
    group = TargetGroup(
        resource_id=ids.target_group_id(index.region, vpc.account_id, name),
        name=name,
        account_id=vpc.account_id,
        vpc_id=vpc.resource_id,
        protocol=PROTOCOLS[node.require("protocol").choice(PROTOCOLS)],
        port=port,
        targets=_targets(index, vpc, port, node),
        cross_zone=doc.flag(node, "cross_zone", False),
        stickiness=stickiness is not None and stickiness.choice(STICKINESS_KINDS) == "source_ip",
    )
    attributes = node.optional("attributes")
    index.add(node.require("name"), name, group if attributes is None else _with_attributes(attributes, group))


def _with_attributes(node: Node, group: TargetGroup) -> TargetGroup:
    """A placement may be given while there is no header: it counts once there is one."""
    node.only(PROXY_PROTOCOL, HEADER_PLACEMENT)
    placement = node.optional(HEADER_PLACEMENT)
    if placement is not None:
        group = replace(group, header_placement=HEADER_PLACEMENTS[placement.choice(HEADER_PLACEMENTS)])
    return replace(group, proxy_protocol_v2=doc.flag(node, PROXY_PROTOCOL, group.proxy_protocol_v2))


def _targets(index: LabIndex, vpc: Vpc, group_port: int, node: Node) -> tuple[TargetRegistration, ...]:
    targets: dict[tuple[object, int], int] = {}
    registrations: list[TargetRegistration] = []
    by_instance: bool | None = None
    for item in doc.items(node, "targets"):
        target = _target(index, vpc, group_port, item)
        is_instance = item.optional("instance") is not None
        if by_instance not in (None, is_instance):
            raise item.error("a target group holds instances or addresses, not both")
        by_instance = is_instance
        first = targets.setdefault((target.address, target.port), item.line)
        if len(targets) == len(registrations):
            raise item.error(f"{target.address} port {target.port} is already in this group (line {first})")
        registrations.append(target)
    if len(registrations) > limits.TARGETS_PER_GROUP_MAX:
        raise node.require("targets").error(f"at most {limits.TARGETS_PER_GROUP_MAX} targets, not {len(registrations)}")
    return tuple(registrations)


def _target(index: LabIndex, vpc: Vpc, group_port: int, node: Node) -> TargetRegistration:
    node.only("instance", "address", "port")
    port = doc.integer(node, "port", 1, 65_535, group_port)
    name, address = node.optional("instance"), node.optional("address")
    if (name is None) == (address is None):
        raise node.error("a target is either an instance or an address")
    if address is not None:
        parsed = doc.address(address)
        subnet = _subnet_of(index, vpc, address, parsed)
        return TargetRegistration(str(parsed), parsed, port, subnet.zone_name)
    assert name is not None, "one of the two is there"
    instance = index.find(name, Instance)
    subnet = index.get(Subnet, instance.subnet_id)
    if subnet.vpc_id != vpc.resource_id:
        raise name.error(f"instance {instance.name!r} is not in VPC {vpc.name!r}")
    return TargetRegistration(instance.resource_id, instance.address, port, subnet.zone_name)


def _subnet_of(index: LabIndex, vpc: Vpc, node: Node, address: IPv4Address) -> Subnet:
    for subnet in index.all(Subnet):
        if subnet.vpc_id == vpc.resource_id and address in subnet.network:
            return subnet
    raise node.error(f"{address} is in no subnet of VPC {vpc.name!r}")


def read_load_balancer(index: LabIndex, fabric: Fabric, node: Node) -> None:
    """`{name, vpc, subnets: [{subnet, address}], listeners: [{protocol, port, target_group, idle_timeout_s}]}`"""
    node.only("name", "vpc", "subnets", "listeners")
    name = doc.name(node.require("name"))
    vpc = index.find(node.require("vpc"), Vpc)
    load_balancer_id = ids.load_balancer_id(index.region, vpc.account_id, name)
    load_balancer = LoadBalancer(
        resource_id=load_balancer_id,
        name=name,
        account_id=vpc.account_id,
        vpc_id=vpc.resource_id,
        nodes=read_interfaces(index, vpc, load_balancer_id, node.require("subnets")),
        listeners=_listeners(index, fabric, vpc, node),
    )
    index.add(node.require("name"), name, load_balancer)


def _listeners(index: LabIndex, fabric: Fabric, vpc: Vpc, node: Node) -> tuple[Listener, ...]:
    listeners: list[Listener] = []
    for item in doc.items(node, "listeners"):
        listener = _listener(index, fabric, vpc, item)
        if any((other.protocol, other.port) == (listener.protocol, listener.port) for other in listeners):
            raise item.error(f"there already is a listener on {listener.protocol.name} {listener.port}")
        listeners.append(listener)
    if len(listeners) > limits.LISTENERS_PER_LOAD_BALANCER_MAX:
        raise node.require("listeners").error(f"at most {limits.LISTENERS_PER_LOAD_BALANCER_MAX}, not {len(listeners)}")
    return tuple(listeners)


def _listener(index: LabIndex, fabric: Fabric, vpc: Vpc, node: Node) -> Listener:
    node.only("protocol", "port", "target_group", "idle_timeout_s")
    protocol = PROTOCOLS[node.require("protocol").choice(PROTOCOLS)]
    group = index.find(node.require("target_group"), TargetGroup)
    if group.vpc_id != vpc.resource_id:
        raise node.require("target_group").error(f"target group {group.name!r} is not in VPC {vpc.name!r}")
    if group.protocol is not protocol:
        raise node.require("protocol").error(
            f"a {protocol.name} listener cannot forward to {group.name!r}, a {group.protocol.name} target group"
        )
    idle = node.optional("idle_timeout_s")
    if idle is not None and protocol is not Protocol.TCP:
        raise idle.error("only TCP listeners have an idle timeout of their own; UDP's is the fabric's timer udp_idle_s")
    return Listener(
        protocol=protocol,
        port=node.require("port").integer(1, 65_535),
        target_group_id=group.resource_id,
        idle_timeout_s=doc.integer(
            node,
            "idle_timeout_s",
            limits.TCP_IDLE_TIMEOUT_S_MIN,
            limits.TCP_IDLE_TIMEOUT_S_MAX,
            fabric.tcp_idle_timeout_s,
        ),
    )
