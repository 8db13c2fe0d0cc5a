"""Ways to try a lab: which instance can call what, and what its target is told of it."""

from collections.abc import Iterator
from dataclasses import dataclass

from hyperplane.control.resources import EndpointState, Instance, VpcEndpoint
from hyperplane.control.store import Store
from hyperplane.snapshot import Protocol, Snapshot


@dataclass(frozen=True, slots=True)
class Door:
    """One way to try the lab: who calls, what, from where."""

    client: str
    endpoint: str
    address: str
    port: int
    protocol: Protocol
    has_header: bool
    """Whether the target gets a Proxy Protocol v2 header."""


def doors(store: Store, snapshot: Snapshot) -> list[Door]:
    """For every instance next to an available endpoint: the calls a user can make."""
    known = _Known(snapshot)
    return [
        door
        for endpoint in store.all(VpcEndpoint)
        if endpoint.state is EndpointState.AVAILABLE
        for door in known.doors(store, endpoint)
    ]


class _Known:
    """What the snapshot says, by id."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._interfaces = {eni.eni_id: eni for zone in snapshot.zones for eni in zone.enis}
        self._owners = {(eni.zone, eni.number): eni.owner_id for eni in self._interfaces.values()}
        self._listeners = {item.load_balancer_id: item.listeners for item in snapshot.load_balancers}
        self._headers = {group.target_group_id: group.proxy_protocol_v2 for group in snapshot.target_groups}

    def doors(self, store: Store, endpoint: VpcEndpoint) -> Iterator[Door]:
        for interface in endpoint.interfaces:
            eni = self._interfaces[interface.eni_id]
            balancer_id = self._owners.get((eni.zone, eni.load_balancer_eni), "")
            clients = [item.name for item in store.all(Instance) if item.subnet_id == interface.subnet_id]
            for client in clients:
                for listener in self._listeners.get(balancer_id, ()):
                    has_header = self._headers[listener.target_group_id] is not None
                    address = str(interface.address)
                    yield Door(client, endpoint.name, address, listener.port, listener.protocol, has_header)
