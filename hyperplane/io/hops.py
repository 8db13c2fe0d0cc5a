"""The five places where a packet can be watched on its way, as namespaces and interfaces of a lab.

client      the instance's own link
endpoint    the endpoint's ENI in its zone's fabric: still the client's addresses
nlb         the load balancer's ENI in the same fabric: addresses rewritten
router      the provider VPC's router, at the port that leads to the target
target      the target's own link
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address

from hyperplane.control.resources import Instance, LoadBalancer, VpcEndpoint
from hyperplane.io.ground import INSTANCE_LINK, fabric_namespace, ground, instance_namespace
from hyperplane.io.running_lab import Lab
from hyperplane.snapshot import Eni, EniKind, Zone


class Hop(Enum):
    """Where on the way from client to target, in this order."""

    CLIENT = "client"
    ENDPOINT = "endpoint"
    NLB = "nlb"
    ROUTER = "router"
    TARGET = "target"


@dataclass(frozen=True, slots=True)
class Place:
    """One interface to watch. `what` is for people."""

    hop: Hop
    namespace: str
    interface: str
    address: str
    """Of whom stands there; of a router's port, that of the target behind it."""
    what: str

    @property
    def name(self) -> str:
        return f"{self.namespace}/{self.interface}"


class Places:
    """All places of one lab."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._router_port = {}
        for link in ground(lab.store, lab.snapshot).links:
            for end, other in ((link.a, link.b), (link.b, link.a)):
                if end.name == INSTANCE_LINK:
                    self._router_port[end.namespace] = other
        owners: tuple[LoadBalancer | VpcEndpoint, ...] = (*lab.store.all(LoadBalancer), *lab.store.all(VpcEndpoint))
        self._names = {owner.resource_id: owner.name for owner in owners}

    def client(self, instance: Instance) -> Place:
        """An instance's own link."""
        return self._instance(Hop.CLIENT, instance)

    def target(self, instance: Instance) -> Place:
        """The same, for an instance that serves."""
        return self._instance(Hop.TARGET, instance)

    def _instance(self, hop: Hop, instance: Instance) -> Place:
        vpc = self._lab.vpc_of(instance)
        what = f"{hop.value} {instance.name} in VPC {vpc.name}, account {vpc.account_id}"
        return Place(hop, instance_namespace(instance), INSTANCE_LINK, str(instance.address), what)

    def router(self, instance: Instance) -> Place:
        """The router's port that leads to a target."""
        port = self._router_port[instance_namespace(instance)]
        vpc = self._lab.vpc_of(instance)
        return Place(
            Hop.ROUTER,
            port.namespace,
            port.name,
            str(instance.address),
            f"router of VPC {vpc.name}, to {instance.name}",
        )

    def eni(self, zone: Zone, eni: Eni) -> Place:
        """An ENI's link in the fabric of its zone."""
        hop = Hop.ENDPOINT if eni.kind is EniKind.ENDPOINT else Hop.NLB
        what = f"{hop.value} {self._names.get(eni.owner_id, '')} ({eni.owner_id}) in {zone.name}"
        return Place(hop, fabric_namespace(zone.zone_id), eni.interface, str(ip_address(eni.address)), what)

    def around(self, client: Instance | None = None) -> list[Place]:
        """Every place that packets of a client can pass, or those of all clients; hop after hop, each once."""
        lab = self._lab
        clients = (
            [client] if client else [item for item in lab.store.all(Instance) if lab.endpoints_in(lab.vpc_of(item))]
        )
        doors = list(self._doors(clients))
        ways_out = [(zone, way_out) for zone, eni in doors if (way_out := lab.way_out(zone, eni))]
        balancers = {eni.owner_id for _, eni in ways_out}
        targets = [
            instance
            for balancer in lab.store.all(LoadBalancer)
            if balancer.resource_id in balancers
            for instance in lab.targets_of(balancer)
        ]
        found = [
            *map(self.client, clients),
            *(self.eni(zone, eni) for zone, eni in doors),
            *(self.eni(zone, eni) for zone, eni in ways_out),
            *map(self.router, targets),
            *map(self.target, targets),
        ]
        return list(dict.fromkeys(found))

    def _doors(self, clients: list[Instance]) -> Iterator[tuple[Zone, Eni]]:
        vpcs = dict.fromkeys(self._lab.vpc_of(instance) for instance in clients)
        for vpc in vpcs:
            for endpoint in self._lab.endpoints_in(vpc):
                for interface in endpoint.interfaces:
                    found = self._lab.eni(interface.eni_id)
                    if found is not None:
                        yield found
