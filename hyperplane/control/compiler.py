"""The compiler: all resources in, one whole snapshot out.

There is no partial compilation and no memory of an earlier one: the same store gives the same
snapshot, byte for byte. What must outlive a change (interface numbers, the version) is in the store;
what needs no memory is derived: shards by rendezvous hashing, the load balancer that an endpoint's
interface leaves by in the same way.

Only here do `ipaddress` objects become bytes. State becomes a single bit: an interface of an
endpoint that is not `available` is in the snapshot, with its address, and closed (AWS: packets sent
to it go nowhere); a deleted one is not in it.
"""

from dataclasses import replace
from hashlib import blake2b

from hyperplane import snapshot
from hyperplane.balance.shuffle_shard import shuffle_shard
from hyperplane.control.resources import (
    AvailabilityZone,
    EndpointService,
    EndpointState,
    LoadBalancer,
    NetworkInterface,
    TargetGroup,
    Vpc,
    VpcEndpoint,
)
from hyperplane.control.security import FlatRules, compiled_network
from hyperplane.control.store import Store
from hyperplane.snapshot import EniKind, Protocol, Snapshot

_Owner = LoadBalancer | VpcEndpoint


def interface_name(number: int) -> str:
    """Name of an interface's link in the fabric of its zone."""
    return f"hp-e{number}"


def compile_snapshot(store: Store) -> Snapshot:
    """The whole snapshot of a store. Raises `ConfigurationError` where resources exceed a limit of the snapshot."""
    fabric = store.fabric
    compilation = _Compilation(store)
    return Snapshot(
        version=store.version,
        zones=tuple(compilation.zone(zone) for zone in store.zones),
        load_balancers=tuple(
            _load_balancer(load_balancer, fabric.udp_idle_timeout_s)
            for load_balancer in sorted(store.all(LoadBalancer), key=lambda item: item.resource_id)
        ),
        target_groups=tuple(
            _target_group(group) for group in sorted(store.all(TargetGroup), key=lambda item: item.resource_id)
        ),
        udp_idle_timeout_s=fabric.udp_idle_timeout_s,
        half_open_timeout_s=fabric.half_open_timeout_s,
        closing_timeout_s=fabric.closing_timeout_s,
        flows_per_node_max=fabric.flows_per_node_max,
        flows_per_endpoint_max=fabric.flows_per_endpoint_max,
        half_open_per_endpoint_max=fabric.half_open_per_endpoint_max,
        steering=fabric.steering,
    )


class _Compilation:
    """What one compilation looks up again and again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rules = FlatRules(store)
        self._in_zone: dict[str, list[tuple[_Owner, NetworkInterface]]] = {}
        self._exits: dict[tuple[str, str], int] = {}
        """(load balancer id, zone name) to the number of its node there."""
        for owner, interface in store.interfaces():
            zone_name = store.zone_of(interface)
            self._in_zone.setdefault(zone_name, []).append((owner, interface))
            if isinstance(owner, LoadBalancer):
                number = store.numbering.number(zone_name, interface.eni_id)
                self._exits[owner.resource_id, zone_name] = number

    def zone(self, zone: AvailabilityZone) -> snapshot.Zone:
        enis = []
        for owner, interface in self._in_zone.get(zone.name, []):
            eni = self._eni(zone, owner, interface)
            enis.append(self._door(zone, owner, interface, eni) if isinstance(owner, VpcEndpoint) else eni)
        return snapshot.Zone(
            name=zone.name,
            zone_id=zone.zone_id,
            node_count=self._store.fabric.nodes_per_zone,
            enis=tuple(sorted(enis, key=lambda eni: eni.number)),
        )

    def _eni(self, zone: AvailabilityZone, owner: _Owner, interface: NetworkInterface) -> snapshot.Eni:
        """What the interfaces of endpoints and of load balancers have in common."""
        store, fabric = self._store, self._store.fabric
        number = store.numbering.number(zone.name, interface.eni_id)
        shard = shuffle_shard(fabric.seed, zone.zone_id, owner.resource_id, fabric.nodes_per_zone, fabric.shard_size)
        return snapshot.Eni(
            number=number,
            eni_id=interface.eni_id,
            kind=EniKind.LOAD_BALANCER,
            zone=zone.name,
            address=interface.address.packed,
            mtu=fabric.mtu,
            interface=interface_name(number),
            shard=shard,
            owner_id=owner.resource_id,
            vpc_networks=tuple(compiled_network(network) for network in store.get(Vpc, owner.vpc_id).networks),
        )

    def _door(
        self, zone: AvailabilityZone, endpoint: VpcEndpoint, interface: NetworkInterface, eni: snapshot.Eni
    ) -> snapshot.Eni:
        """An endpoint's interface: the same, and guarded."""
        return replace(
            eni,
            kind=EniKind.ENDPOINT,
            available=endpoint.state is EndpointState.AVAILABLE,
            security_rules=self._rules.of(f"endpoint {endpoint.name}", endpoint.security_group_ids),
            load_balancer_eni=self._exit(endpoint, zone, interface),
        )

    def _exit(self, endpoint: VpcEndpoint, zone: AvailabilityZone, interface: NetworkInterface) -> int:
        """Number of the load balancer's node in this zone; 0 when the service has none here.

        Of several load balancers AWS gives an interface one at random and for ever; rendezvous hashing does.
        """
        service = self._store.get(EndpointService, endpoint.service_id)
        here = [key for key in service.load_balancer_ids if (key, zone.name) in self._exits]
        if not here:
            return 0
        best = max(here, key=lambda key: blake2b(f"{interface.eni_id}\0{key}".encode(), digest_size=8).digest())
        return self._exits[best, zone.name]


def _load_balancer(load_balancer: LoadBalancer, udp_idle_timeout_s: int) -> snapshot.LoadBalancer:
    listeners = sorted(load_balancer.listeners, key=lambda item: (item.protocol.value, item.port))
    return snapshot.LoadBalancer(
        load_balancer_id=load_balancer.resource_id,
        listeners=tuple(
            snapshot.Listener(
                protocol=listener.protocol,
                port=listener.port,
                target_group_id=listener.target_group_id,
                idle_timeout_s=listener.idle_timeout_s if listener.protocol is Protocol.TCP else udp_idle_timeout_s,
            )
            for listener in listeners
        ),
    )


def _target_group(group: TargetGroup) -> snapshot.TargetGroup:
    targets = sorted(group.targets, key=lambda target: (target.address.packed, target.port))
    return snapshot.TargetGroup(
        target_group_id=group.resource_id,
        protocol=group.protocol,
        targets=tuple(
            snapshot.Target(target.target_id, target.address.packed, target.port, target.zone_name, target.healthy)
            for target in targets
        ),
        cross_zone=group.cross_zone,
        stickiness=group.stickiness,
        proxy_protocol_v2=group.header_placement if group.proxy_protocol_v2 else None,
    )
