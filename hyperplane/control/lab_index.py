"""What has been read of a lab so far: names for those who refer to them, addresses for those who collide.

Names are unique within their scope: a subnet's or a group's within its VPC, all others within the lab.
Two resources cannot have one id, and within one VPC two interfaces cannot have one address, whatever
they belong to.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TypeVar

from hyperplane.control import lab_document as doc
from hyperplane.control.lab_document import Node
from hyperplane.control.resources import (
    RESERVED_FIRST,
    Account,
    EndpointService,
    Instance,
    LoadBalancer,
    Resource,
    SecurityGroup,
    Subnet,
    TargetGroup,
    Vpc,
    VpcEndpoint,
)

_Kind = TypeVar("_Kind", bound=Resource)

WORDS: dict[type[Resource], str] = {
    Account: "account",
    Vpc: "VPC",
    Subnet: "subnet",
    SecurityGroup: "security group",
    Instance: "instance",
    TargetGroup: "target group",
    LoadBalancer: "load balancer",
    EndpointService: "endpoint service",
    VpcEndpoint: "endpoint",
}
"""What an error calls a kind."""


@dataclass(frozen=True, slots=True)
class _Named:
    resource: Resource
    line: int


class LabIndex:
    """Grows while a lab file is read."""

    def __init__(self, region: str) -> None:
        self.region = region
        self._named: dict[tuple[type[Resource], str], dict[str, _Named]] = {}
        self._lines_of_ids: dict[str, int] = {}
        self._lines_of_addresses: dict[tuple[str, IPv4Address], int] = {}
        self.resources: dict[str, Resource] = {}

    def add(self, node: Node, name: str, resource: Resource, scope: str = "") -> None:
        """Enter a resource under its name. `node` is what the file says of it, for errors."""
        kind = type(resource)
        names = self._named.setdefault((kind, scope), {})
        if name in names:
            raise node.error(f"{WORDS[kind]} {name!r} already exists (line {names[name].line})")
        if resource.resource_id in self._lines_of_ids:
            first = self._lines_of_ids[resource.resource_id]
            raise node.error(f"the id {resource.resource_id} is already taken (line {first})")
        names[name] = _Named(resource, node.line)
        self._lines_of_ids[resource.resource_id] = node.line
        self.resources[resource.resource_id] = resource

    def find(self, node: Node, kind: type[_Kind], scope: str = "") -> _Kind:
        """The resource that a node refers to by name."""
        name = node.text()
        names = self._named.get((kind, scope), {})
        if name not in names:
            raise doc.unknown(node, WORDS[kind], name, list(names))
        return self.named(kind, name, scope)

    def named(self, kind: type[_Kind], name: str, scope: str = "") -> _Kind:
        """The resource of a name that is known to be there."""
        resource = self._named[kind, scope][name].resource
        assert isinstance(resource, kind), "resources are filed under their kind"
        return resource

    def get(self, kind: type[_Kind], resource_id: str) -> _Kind:
        """The resource of an id that is known to be there."""
        resource = self.resources[resource_id]
        assert isinstance(resource, kind), f"{resource_id} is no {kind.__name__}"
        return resource

    def all(self, kind: type[_Kind]) -> tuple[_Kind, ...]:
        """Every resource of a kind so far."""
        return tuple(resource for resource in self.resources.values() if isinstance(resource, kind))

    def claim(self, node: Node, subnet: Subnet) -> IPv4Address:
        """The address that a node says, from now on taken. It must be in the subnet, not reserved, and free."""
        address = doc.address(node)
        if address not in subnet.network:
            raise node.error(f"{address} is not in subnet {subnet.name!r}, which is {subnet.network}")
        if subnet.is_reserved(address):
            raise node.error(
                f"{address} is reserved: of {subnet.network} the first {RESERVED_FIRST} addresses and the last "
                "are never given out"
            )
        key = (subnet.vpc_id, address)
        if key in self._lines_of_addresses:
            raise node.error(f"{address} is already taken in this VPC (line {self._lines_of_addresses[key]})")
        self._lines_of_addresses[key] = node.line
        return address
