"""The set of all resources: whole, frozen, versioned.

Every change makes a new store with the next version; an old one stays as it was. So whoever holds
a store holds a consistent picture, and the compiler's output is a function of it.

The store also holds the interfaces' numbers (`numbering.py`), because they must outlive a removal.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeVar

from hyperplane.control.numbering import Numbering
from hyperplane.control.resources import (
    AvailabilityZone,
    EndpointState,
    Fabric,
    LoadBalancer,
    NetworkInterface,
    Resource,
    Subnet,
    VpcEndpoint,
)

_Kind = TypeVar("_Kind", bound=Resource)


@dataclass(frozen=True)
class Store:
    """Resources by id, in the order in which they came. `zones` and `fabric` are the region's, not a tenant's."""

    region: str
    zones: tuple[AvailabilityZone, ...]
    fabric: Fabric = field(default_factory=Fabric)
    resources: Mapping[str, Resource] = field(default_factory=lambda: MappingProxyType({}))
    numbering: Numbering = field(default_factory=Numbering)
    version: int = 1

    def all(self, kind: type[_Kind]) -> tuple[_Kind, ...]:
        """Every resource of a kind, in the order in which they came."""
        return tuple(resource for resource in self.resources.values() if isinstance(resource, kind))

    def find(self, kind: type[_Kind], resource_id: str) -> _Kind | None:
        """The resource of that kind and id, None when there is none."""
        resource = self.resources.get(resource_id)
        return resource if isinstance(resource, kind) else None

    def get(self, kind: type[_Kind], resource_id: str) -> _Kind:
        """The resource of that kind and id. That it exists was checked when the id came in."""
        resource = self.find(kind, resource_id)
        assert resource is not None, f"there is no {kind.__name__} {resource_id}"
        return resource

    def put(self, resources: Sequence[Resource], now: float) -> "Store":
        """The next version, with these resources added or in the place of those with the same id."""
        return self._next(dict(self.resources) | {resource.resource_id: resource for resource in resources}, now)

    def remove(self, resource_ids: Sequence[str], now: float) -> "Store":
        """The next version, without these resources."""
        gone = set(resource_ids)
        assert gone <= self.resources.keys(), "only what exists can be removed"
        return self._next({key: value for key, value in self.resources.items() if key not in gone}, now)

    def continued_from(self, numbering: Numbering, version: int, now: float) -> "Store":
        """This store as the one that follows a version, keeping that one's numbers."""
        return replace(self, version=version + 1, numbering=numbering.renewed(self._eni_ids(), now))

    def zone_of(self, interface: NetworkInterface) -> str:
        """Name of the zone that an interface's subnet is in."""
        return self.get(Subnet, interface.subnet_id).zone_name

    def interfaces(self) -> Iterator[tuple[LoadBalancer | VpcEndpoint, NetworkInterface]]:
        """Every interface that the fabric has to hold, with its owner: load balancers first, nothing deleted."""
        for load_balancer in self.all(LoadBalancer):
            for node in load_balancer.nodes:
                yield load_balancer, node
        for endpoint in self.all(VpcEndpoint):
            if endpoint.state is not EndpointState.DELETED:
                for interface in endpoint.interfaces:
                    yield endpoint, interface

    def _next(self, resources: dict[str, Resource], now: float) -> "Store":
        changed = replace(self, resources=MappingProxyType(resources), version=self.version + 1)
        return replace(changed, numbering=self.numbering.renewed(changed._eni_ids(), now))

    def _eni_ids(self) -> dict[str, list[str]]:
        eni_ids: dict[str, list[str]] = {zone.name: [] for zone in self.zones}
        for _, interface in self.interfaces():
            eni_ids[self.zone_of(interface)].append(interface.eni_id)
        return eni_ids
