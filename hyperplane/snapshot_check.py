"""What the fields of a snapshot say about each other: nothing is named twice, nothing points at nothing.

Each field alone is checked by its form (`snapshot_codec.py`). Every rule here protects something the
packet plane relies on without asking again: a number is one interface, a shard is nodes that exist,
a flow that enters has an interface to leave by. Raises `ConfigurationError` with the path as place.
"""

import re
from collections.abc import Hashable, Iterable

from hyperplane import limits
from hyperplane.errors import ConfigurationError
from hyperplane.snapshot import Eni, EniKind, LoadBalancer, Protocol, Snapshot, TargetGroup, Zone

_ENDPOINT_ID = re.compile(r"vpce-[0-9a-f]+")
"""What a Proxy Protocol header can carry, see `wire/ppv2.py`."""


def check_references(snapshot: Snapshot) -> None:
    """Return when the whole snapshot holds together, else raise `ConfigurationError`."""
    _check_flow_limits(snapshot)
    _check_once("zones", "name", (zone.name for zone in snapshot.zones))
    _check_once("zones", "zone_id", (zone.zone_id for zone in snapshot.zones))
    load_balancer_ids = [load_balancer.load_balancer_id for load_balancer in snapshot.load_balancers]
    _check_once("load_balancers", "load_balancer_id", load_balancer_ids)
    group_ids = [group.target_group_id for group in snapshot.target_groups]
    _check_once("target_groups", "target_group_id", group_ids)
    known = frozenset(load_balancer_ids)
    seen: set[str] = set()
    for index, zone in enumerate(snapshot.zones):
        _check_zone(f"zones[{index}]", zone, known, seen)
    protocols = {group.target_group_id: group.protocol for group in snapshot.target_groups}
    for index, load_balancer in enumerate(snapshot.load_balancers):
        _check_load_balancer(f"load_balancers[{index}]", load_balancer, protocols)
    zone_names = frozenset(zone.name for zone in snapshot.zones)
    for index, group in enumerate(snapshot.target_groups):
        _check_target_group(f"target_groups[{index}]", group, zone_names)


def _check_flow_limits(snapshot: Snapshot) -> None:
    if snapshot.flows_per_endpoint_max > snapshot.flows_per_node_max:
        raise ConfigurationError("flows_per_endpoint_max", "is more than flows_per_node_max")
    if snapshot.half_open_per_endpoint_max > snapshot.flows_per_endpoint_max:
        raise ConfigurationError("half_open_per_endpoint_max", "is more than flows_per_endpoint_max")


def _check_once(place: str, field: str, values: Iterable[Hashable]) -> None:
    first_at: dict[Hashable, int] = {}
    for index, value in enumerate(values):
        first = first_at.setdefault(value, index)
        if first != index:
            raise ConfigurationError(f"{place}[{index}].{field}", f"is the same as in {place}[{first}]")


def _check_zone(place: str, zone: Zone, load_balancer_ids: frozenset[str], seen_eni_ids: set[str]) -> None:
    enis = zone.enis
    _check_once(f"{place}.enis", "number", (eni.number for eni in enis))
    _check_once(f"{place}.enis", "interface", (eni.interface for eni in enis))
    exits = frozenset(eni.number for eni in enis if eni.kind is EniKind.LOAD_BALANCER)
    for index, eni in enumerate(enis):
        here = f"{place}.enis[{index}]"
        if eni.eni_id in seen_eni_ids:
            raise ConfigurationError(f"{here}.eni_id", f"{eni.eni_id} occurs twice")
        seen_eni_ids.add(eni.eni_id)
        _check_eni(here, zone, eni)
        if eni.kind is EniKind.LOAD_BALANCER and eni.owner_id not in load_balancer_ids:
            raise ConfigurationError(f"{here}.owner_id", f"there is no load balancer {eni.owner_id}")
        if eni.load_balancer_eni and eni.load_balancer_eni not in exits:
            raise ConfigurationError(
                f"{here}.load_balancer_eni", f"{eni.load_balancer_eni} is no load balancer's interface of this zone"
            )


def _check_eni(place: str, zone: Zone, eni: Eni) -> None:
    if eni.zone != zone.name:
        raise ConfigurationError(f"{place}.zone", f"is {eni.zone} inside zone {zone.name}")
    if list(eni.shard) != sorted(set(eni.shard)):
        raise ConfigurationError(f"{place}.shard", "nodes must ascend, each once")
    if eni.shard[-1] >= zone.node_count:
        raise ConfigurationError(f"{place}.shard", f"node {eni.shard[-1]} of a zone of {zone.node_count} nodes")
    if eni.kind is EniKind.LOAD_BALANCER and eni.load_balancer_eni:
        raise ConfigurationError(f"{place}.load_balancer_eni", "is for endpoints only")
    if eni.kind is EniKind.ENDPOINT and _ENDPOINT_ID.fullmatch(eni.owner_id) is None:
        raise ConfigurationError(f"{place}.owner_id", f"{eni.owner_id} is no endpoint's id: vpce- and hex digits")
    for index, rule in enumerate(eni.security_rules):
        if rule.port_first > rule.port_last:
            raise ConfigurationError(f"{place}.security_rules[{index}].port_first", "is more than port_last")


def _check_load_balancer(place: str, load_balancer: LoadBalancer, protocols: dict[str, Protocol]) -> None:
    ports = ((listener.protocol, listener.port) for listener in load_balancer.listeners)
    _check_once(f"{place}.listeners", "port", ports)
    for index, listener in enumerate(load_balancer.listeners):
        here = f"{place}.listeners[{index}]"
        protocol = protocols.get(listener.target_group_id)
        if protocol is None:
            raise ConfigurationError(f"{here}.target_group_id", f"there is no target group {listener.target_group_id}")
        if protocol is not listener.protocol:
            raise ConfigurationError(
                f"{here}.protocol", f"is {listener.protocol.name}, its target group is {protocol.name}"
            )
        if protocol is Protocol.TCP and listener.idle_timeout_s < limits.TCP_IDLE_TIMEOUT_S_MIN:
            raise ConfigurationError(f"{here}.idle_timeout_s", f"is less than {limits.TCP_IDLE_TIMEOUT_S_MIN} for TCP")


def _check_target_group(place: str, group: TargetGroup, zone_names: frozenset[str]) -> None:
    _check_once(f"{place}.targets", "address", ((target.address, target.port) for target in group.targets))
    for index, target in enumerate(group.targets):
        if target.zone not in zone_names:
            raise ConfigurationError(f"{place}.targets[{index}].zone", f"there is no zone {target.zone}")
