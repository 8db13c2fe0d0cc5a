"""A lab as boxes in groups, and arrows between them: what every format draws.

Three columns, in the order that a packet takes: consumers, the fabric, providers. A group is a VPC or a
zone's fabric; the interfaces stand in the fabric, because that is where their links are. Arrows:

    instance -> endpoint         of its own subnet, else every one of its VPC
    endpoint -> load balancer    of the same zone
    load balancer -> target      of the same zone, with cross-zone balancing of every zone
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_address

from hyperplane.control.resources import Instance, LoadBalancer, Subnet, TargetGroup, Vpc, VpcEndpoint
from hyperplane.io.ground import fabric_namespace, instance_namespace, router_namespace
from hyperplane.io.running_lab import Lab
from hyperplane.snapshot import Eni, EniKind, Zone


class Column(Enum):
    """Where a group stands."""

    CONSUMER = 0
    FABRIC = 1
    PROVIDER = 2


class Kind(Enum):
    """What a box is."""

    INSTANCE = "instance"
    ENDPOINT = "endpoint"
    LOAD_BALANCER = "load balancer"
    TARGET = "target"


@dataclass(frozen=True, slots=True)
class Box:
    """One thing with an address. `key` is unique in the drawing and made of letters and digits."""

    key: str
    kind: Kind
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A VPC or a fabric."""

    key: str
    column: Column
    lines: tuple[str, ...]
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Arrow:
    """From one box to another, the way a new flow goes."""

    tail: str
    head: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """All of it."""

    title: str
    groups: tuple[Group, ...]
    arrows: tuple[Arrow, ...]

    def column(self, column: Column) -> list[Group]:
        return [group for group in self.groups if group.column is column]


@dataclass
class _Keys:
    """Short names for ids that no format has to quote."""

    given: dict[str, str] = field(default_factory=dict)

    def of(self, letter: str, identity: str) -> str:
        return self.given.setdefault(f"{letter} {identity}", f"{letter}{len(self.given)}")


def draw(lab: Lab) -> Drawing:
    """The drawing of a lab."""
    return _Draughtsman(lab).drawing()


class _Draughtsman:
    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._keys = _Keys()
        self._providers = {balancer.vpc_id for balancer in lab.store.all(LoadBalancer)}
        self._names = {owner.resource_id: owner.name for owner in self._owners()}
        self._targets = {
            instance.resource_id for balancer in lab.store.all(LoadBalancer) for instance in lab.targets_of(balancer)
        }

    def _owners(self) -> Iterator[LoadBalancer | VpcEndpoint]:
        yield from self._lab.store.all(LoadBalancer)
        yield from self._lab.store.all(VpcEndpoint)

    def drawing(self) -> Drawing:
        store, snapshot = self._lab.store, self._lab.snapshot
        groups = (*map(self._vpc, store.all(Vpc)), *map(self._fabric, snapshot.zones))
        arrows = (*self._doors_of_instances(), *self._crossings(), *self._roads_to_targets())
        nodes = "; ".join(f"{zone.name}: {zone.node_count} nodes" for zone in snapshot.zones)
        return Drawing(f"{store.region} ({nodes}; steering: {snapshot.steering})", groups, arrows)

    # --- boxes -------------------------------------------------------------------------------

    def _vpc(self, vpc: Vpc) -> Group:
        store = self._lab.store
        instances = [item for item in store.all(Instance) if self._lab.vpc_of(item).resource_id == vpc.resource_id]
        return Group(
            self._keys.of("g", vpc.resource_id),
            Column.PROVIDER if vpc.resource_id in self._providers else Column.CONSUMER,
            (
                f"VPC {vpc.name}  {', '.join(map(str, vpc.networks))}",
                f"account {vpc.account_id}",
                f"router {router_namespace(vpc)}",
            ),
            tuple(self._instance(instance) for instance in instances),
        )

    def _instance(self, instance: Instance) -> Box:
        is_target = instance.resource_id in self._targets
        return Box(
            self._keys.of("i", instance.resource_id),
            Kind.TARGET if is_target else Kind.INSTANCE,
            (
                instance.name,
                str(instance.address),
                self._lab.subnet_of(instance).zone_name,
                instance_namespace(instance),
            ),
        )

    def _fabric(self, zone: Zone) -> Group:
        return Group(
            self._keys.of("z", zone.zone_id),
            Column.FABRIC,
            (f"fabric {zone.name}", fabric_namespace(zone.zone_id), f"nodes 0 to {zone.node_count - 1}"),
            tuple(self._interface(zone, eni) for eni in zone.enis),
        )

    def _interface(self, zone: Zone, eni: Eni) -> Box:
        is_endpoint = eni.kind is EniKind.ENDPOINT
        name = f"{'endpoint' if is_endpoint else 'NLB'} {self._names.get(eni.owner_id, eni.owner_id)}"
        return Box(
            self._keys.of("e", eni.eni_id),
            Kind.ENDPOINT if is_endpoint else Kind.LOAD_BALANCER,
            (
                name if eni.available else f"{name} (closed)",
                str(ip_address(eni.address)),
                eni.interface,
                f"nodes {' '.join(map(str, eni.shard))}",
            ),
        )

    # --- arrows ------------------------------------------------------------------------------

    def _doors_of_instances(self) -> Iterator[Arrow]:
        lab = self._lab
        for instance in lab.store.all(Instance):
            for endpoint in lab.endpoints_in(lab.vpc_of(instance)):
                near = [item for item in endpoint.interfaces if item.subnet_id == instance.subnet_id]
                for interface in near or endpoint.interfaces:
                    tail = self._keys.of("i", instance.resource_id)
                    yield Arrow(tail, self._keys.of("e", interface.eni_id))

    def _crossings(self) -> Iterator[Arrow]:
        for zone in self._lab.snapshot.zones:
            for eni in zone.enis:
                way_out = self._lab.way_out(zone, eni)
                if way_out is not None:
                    yield Arrow(self._keys.of("e", eni.eni_id), self._keys.of("e", way_out.eni_id))

    def _roads_to_targets(self) -> Iterator[Arrow]:
        store = self._lab.store
        for balancer in store.all(LoadBalancer):
            for node in balancer.nodes:
                zone_name = store.get(Subnet, node.subnet_id).zone_name
                roads: dict[str, list[str]] = {}
                for listener in balancer.listeners:
                    group = store.get(TargetGroup, listener.target_group_id)
                    for instance, port in self._reachable(group, zone_name):
                        label = f"{listener.protocol.name} {listener.port} > {port}"
                        roads.setdefault(instance.resource_id, []).append(label)
                for resource_id, labels in roads.items():
                    head = self._keys.of("i", resource_id)
                    yield Arrow(self._keys.of("e", node.eni_id), head, ", ".join(labels))

    def _reachable(self, group: TargetGroup, zone_name: str) -> Iterator[tuple[Instance, int]]:
        for target in group.targets:
            instance = self._lab.instance_at(group.vpc_id, str(target.address))
            if instance is not None and (group.cross_zone or target.zone_name == zone_name):
                yield instance, target.port
