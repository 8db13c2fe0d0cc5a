"""Endpoint services and endpoints in a lab file.

The checks are AWS's: who sees which service, in which zones it is offered, one subnet a zone. What
the real API answers with an error code stops the lab with file, line and path.
"""

from hyperplane import limits
from hyperplane.control import lab_document as doc
from hyperplane.control import permissions
from hyperplane.control.ids import Prefix
from hyperplane.control.lab_document import Node
from hyperplane.control.lab_index import LabIndex
from hyperplane.control.lab_network import chosen_id, read_group_ids, read_interfaces
from hyperplane.control.resources import EndpointService, EndpointState, LoadBalancer, Subnet, Vpc, VpcEndpoint


def read_endpoint_service(index: LabIndex, node: Node) -> None:
    """`{name, id, load_balancers: [...], acceptance_required, allowed_principals: [...]}`"""
    node.only("name", "id", "load_balancers", "acceptance_required", "allowed_principals")
    name = doc.name(node.require("name"))
    load_balancers = [_free_load_balancer(index, item) for item in node.require("load_balancers").items()]
    owners = {load_balancer.account_id for load_balancer in load_balancers}
    if len(owners) != 1:
        raise node.require("load_balancers").error("a service needs load balancers of one account, at least one")
    account_id = owners.pop()
    load_balancer_ids = tuple(load_balancer.resource_id for load_balancer in load_balancers)
    if len(set(load_balancer_ids)) < len(load_balancer_ids):
        raise node.require("load_balancers").error("a load balancer is there twice")
    service = EndpointService(
        resource_id=chosen_id(node, Prefix.ENDPOINT_SERVICE, index.region, account_id, name),
        name=name,
        account_id=account_id,
        load_balancer_ids=load_balancer_ids,
        acceptance_required=doc.flag(node, "acceptance_required", True),
        allowed_principals=tuple(_principal(item) for item in doc.items(node, "allowed_principals")),
    )
    index.add(node.require("name"), name, service)


def _free_load_balancer(index: LabIndex, node: Node) -> LoadBalancer:
    load_balancer = index.find(node, LoadBalancer)
    for service in index.all(EndpointService):
        if load_balancer.resource_id in service.load_balancer_ids:
            raise node.error(f"load balancer {load_balancer.name!r} already belongs to service {service.name!r}")
    return load_balancer


def _principal(node: Node) -> str:
    if not permissions.is_principal(node.text()):
        raise node.error(
            f"{node.text()!r} is no principal: arn:aws:iam::<account>:root, :role/<name>, :user/<name>, or *"
        )
    return node.text()


def read_endpoint(index: LabIndex, node: Node) -> None:
    """`{name, id, vpc, service, subnets: [{subnet, address}], security_groups: [...], state}`"""
    node.only("name", "id", "vpc", "service", "subnets", "security_groups", "state")
    name = doc.name(node.require("name"))
    vpc = index.find(node.require("vpc"), Vpc)
    service = _visible_service(index, vpc, node.require("service"))
    in_vpc = sum(other.vpc_id == vpc.resource_id for other in index.all(VpcEndpoint))
    if in_vpc == limits.ENDPOINTS_PER_VPC_MAX:
        raise node.error(f"VPC {vpc.name!r} has {in_vpc} endpoints already, the most that a VPC may have")
    endpoint_id = chosen_id(node, Prefix.ENDPOINT, vpc.resource_id, name)
    endpoint = VpcEndpoint(
        resource_id=endpoint_id,
        name=name,
        account_id=vpc.account_id,
        vpc_id=vpc.resource_id,
        service_id=service.resource_id,
        interfaces=read_interfaces(index, vpc, endpoint_id, node.require("subnets")),
        security_group_ids=read_group_ids(index, vpc, node),
        state=_state(service, node),
    )
    _check_zones(index, service, endpoint, node.require("subnets"))
    index.add(node.require("name"), name, endpoint)


def _visible_service(index: LabIndex, vpc: Vpc, node: Node) -> EndpointService:
    """The service of a name. One that the account may not see does not exist, in the very same words."""
    visible = {
        service.name: service
        for service in index.all(EndpointService)
        if permissions.is_visible(service, vpc.account_id)
    }
    if node.text() not in visible:
        raise doc.unknown(node, f"for account {vpc.account_id} the endpoint service", node.text(), list(visible))
    return visible[node.text()]


def _state(service: EndpointService, node: Node) -> EndpointState:
    state = node.optional("state")
    if state is None:
        return permissions.first_state(service)
    chosen = EndpointState(state.choice([known.value for known in EndpointState]))
    if chosen is EndpointState.PENDING_ACCEPTANCE and not service.acceptance_required:
        raise state.error(f"service {service.name!r} accepts everybody at once: acceptance_required is false")
    return chosen


def _check_zones(index: LabIndex, service: EndpointService, endpoint: VpcEndpoint, node: Node) -> None:
    offered = {
        index.get(Subnet, interface.subnet_id).zone_name
        for load_balancer_id in service.load_balancer_ids
        for interface in index.get(LoadBalancer, load_balancer_id).nodes
    }
    for item, interface in zip(node.items(), endpoint.interfaces, strict=True):
        subnet = index.get(Subnet, interface.subnet_id)
        if subnet.zone_name not in offered:
            raise item.require("subnet").error(
                f"subnet {subnet.name!r} is in zone {subnet.zone_name}; service {service.name!r} is offered "
                f"in {', '.join(sorted(offered))}"
            )
