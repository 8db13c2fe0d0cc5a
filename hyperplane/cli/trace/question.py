"""Who calls whom: the words of the command line, found in the lab that is up."""

from dataclasses import dataclass
from ipaddress import ip_address

from hyperplane.cli.output import unknown
from hyperplane.control.resources import Instance, LoadBalancer, NetworkInterface, Subnet, VpcEndpoint
from hyperplane.io.hops import Place, Places
from hyperplane.io.running_lab import Lab
from hyperplane.snapshot import Eni, Protocol, Zone


@dataclass(frozen=True, slots=True)
class Question:
    """One call that is to be made."""

    client: Instance
    endpoint: VpcEndpoint
    zone: Zone
    eni: Eni
    """Of the endpoint."""
    way_out: Eni | None
    """Of the load balancer; None when its service has no node in the zone."""
    protocol: Protocol
    port: int

    @property
    def address(self) -> str:
        return str(ip_address(self.eni.address))


def ask(lab: Lab, client_name: str, endpoint_name: str, protocol: Protocol, port: int) -> Question:
    """Find both ends. Raises BadParameter with the names that there are."""
    client = lab.instance(client_name)
    if client is None:
        raise unknown("instance", client_name, lab.instance_names())
    reachable = list(_reachable(lab, client))
    chosen = [(endpoint, interface) for endpoint, interface, words in reachable if endpoint_name in words]
    if not chosen:
        known = [word for _, _, words in reachable for word in words]
        raise unknown("endpoint", endpoint_name, list(dict.fromkeys(known)), f" in the VPC of {client.name}")
    endpoint, interface = min(chosen, key=lambda pair: _distance(lab, client, pair[1]))
    found = lab.eni(interface.eni_id)
    if found is None:
        raise unknown("ENI in the snapshot", interface.eni_id, [])
    zone, eni = found
    return Question(client, endpoint, zone, eni, lab.way_out(zone, eni), protocol, port)


def _reachable(lab: Lab, client: Instance) -> list[tuple[VpcEndpoint, NetworkInterface, tuple[str, ...]]]:
    """Every interface of an endpoint in the client's VPC, and what it may be called by."""
    return [
        (endpoint, interface, (str(interface.address), endpoint.name, endpoint.resource_id, interface.eni_id))
        for endpoint in lab.endpoints_in(lab.vpc_of(client))
        for interface in endpoint.interfaces
    ]


def _distance(lab: Lab, client: Instance, interface: NetworkInterface) -> int:
    """An endpoint that is called by its name answers in the client's subnet first, then in its zone."""
    own = lab.subnet_of(client)
    subnet = lab.store.get(Subnet, interface.subnet_id)
    return 0 if subnet == own else 1 if subnet.zone_name == own.zone_name else 2


def places_on_the_way(lab: Lab, question: Question) -> list[Place]:
    """Where to listen, from client to target. Which target it will be is not known yet: all of them."""
    places = Places(lab)
    found = [places.client(question.client), places.eni(question.zone, question.eni)]
    if question.way_out is None:
        return found
    balancer = lab.store.get(LoadBalancer, question.way_out.owner_id)
    targets = lab.targets_of(balancer)
    found.append(places.eni(question.zone, question.way_out))
    return [*found, *map(places.router, targets), *map(places.target, targets)]
