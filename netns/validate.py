"""Which topologies make sense: refused here, before anything in the kernel is touched.

`validate` raises `TopologyError` for the first fault, with the path of the offending value
(`links[3].a.addresses[0]`), so that a reader of files can add the line. What only the kernel can
know (is a next hop reachable) is left to the kernel, whose refusal `build` reports.

Two links of one namespace may carry equal addresses: routing by mark tells them apart.
"""

import re
from collections.abc import Callable
from typing import TypeVar

from netns.addressing import check_address, check_destination, check_interface_address, check_mac
from netns.names import check_link_name, check_namespace_name
from netns.topology import (
    TABLE_LOCAL,
    Action,
    Bridge,
    Link,
    LinkEnd,
    Namespace,
    Route,
    Rule,
    Sysctls,
    Topology,
)

MTU_MIN = 68
"""RFC 791 3.2: every module must forward 68 bytes; Linux takes no less for IPv4."""
MTU_MAX = 65535
NUMBER_MAX = 0xFFFFFFFF
SYSCTL_VALUE_BYTES_MAX = 128

_SYSCTL = re.compile(r"net(\.[a-z0-9_-]+)+", re.ASCII)
_LINK_SYSCTL = re.compile(r"ipv[46]\.[a-z0-9_]+", re.ASCII)
_SYSCTL_VALUE = re.compile(r"[\x21-\x7e]+( [\x21-\x7e]+)*", re.ASCII)
_Checked = TypeVar("_Checked")


class TopologyError(ValueError):
    """A topology that cannot be built. `path` says where, `message` what."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


def validate(topology: Topology) -> None:
    """Raise TopologyError unless the topology can be built."""
    _unique("namespaces", [namespace.name for namespace in topology.namespaces], "namespace")
    spaces = {namespace.name: namespace for namespace in topology.namespaces}
    links_of = _links_by_namespace(topology)
    sources = _addresses_by_namespace(topology)
    for i, namespace in enumerate(topology.namespaces):
        path = f"namespaces[{i}]"
        _check_namespace(path, namespace)
        for j, route in enumerate(namespace.routes):
            if route.link is None and route.via is None:
                raise TopologyError(f"{path}.routes[{j}]", "a route needs a link, a via, or both")
        _check_routes(path, namespace.routes, links_of[namespace.name], sources[namespace.name])
    for i, link in enumerate(topology.links):
        for side, end in (("a", link.a), ("b", link.b)):
            path = f"links[{i}].{side}"
            _check_end(path, end, spaces)
            _check_routes(path, end.routes, {end.name}, sources[end.namespace])
        _check_pair(f"links[{i}]", link)
    _check_unique_links(topology)
    _check_unique_routes(topology)


def _links_by_namespace(topology: Topology) -> dict[str, set[str]]:
    names = {namespace.name: {bridge.name for bridge in namespace.bridges} for namespace in topology.namespaces}
    for end in topology.ends():
        names.setdefault(end.namespace, set()).add(end.name)
    return names


def _addresses_by_namespace(topology: Topology) -> dict[str, set[str]]:
    held: dict[str, set[str]] = {namespace.name: set() for namespace in topology.namespaces}
    for namespace in topology.namespaces:
        for bridge in namespace.bridges:
            held[namespace.name].update(address.partition("/")[0] for address in bridge.addresses)
    for end in topology.ends():
        held.setdefault(end.namespace, set()).update(address.partition("/")[0] for address in end.addresses)
    return held


def _check_namespace(path: str, namespace: Namespace) -> None:
    _well_formed(f"{path}.name", check_namespace_name, namespace.name)
    _check_sysctls(f"{path}.sysctls", namespace.sysctls, _SYSCTL, "a name below net., such as net.ipv4.ip_forward")
    for i, bridge in enumerate(namespace.bridges):
        _check_bridge(f"{path}.bridges[{i}]", bridge)
    for i, rule in enumerate(namespace.rules):
        _check_rule(f"{path}.rules[{i}]", rule)
    _unique(f"{path}.rules", list(namespace.rules), "rule")


def _check_bridge(path: str, bridge: Bridge) -> None:
    _well_formed(f"{path}.name", check_link_name, bridge.name)
    _in_range(f"{path}.mtu", bridge.mtu, MTU_MIN, MTU_MAX)
    _check_addresses(f"{path}.addresses", bridge.addresses)


def _check_end(path: str, end: LinkEnd, spaces: dict[str, Namespace]) -> None:
    if end.namespace not in spaces:
        raise TopologyError(f"{path}.namespace", f"there is no namespace {end.namespace!r}")
    _well_formed(f"{path}.name", check_link_name, end.name)
    _in_range(f"{path}.mtu", end.mtu, MTU_MIN, MTU_MAX)
    if end.mac is not None:
        _well_formed(f"{path}.mac", check_mac, end.mac)
    _check_addresses(f"{path}.addresses", end.addresses)
    _check_sysctls(f"{path}.sysctls", end.sysctls, _LINK_SYSCTL, "ipv4.NAME or ipv6.NAME")
    if end.bridge is None:
        return
    if end.bridge not in {bridge.name for bridge in spaces[end.namespace].bridges}:
        raise TopologyError(f"{path}.bridge", f"there is no bridge {end.bridge!r} in {end.namespace}")
    if end.addresses:
        raise TopologyError(f"{path}.addresses", "an end in a bridge has no address; give it to the bridge")


def _check_pair(path: str, link: Link) -> None:
    if link.a.mac is not None and link.a.mac == link.b.mac:
        raise TopologyError(f"{path}.b.mac", "the two ends of a link need different MAC addresses")


def _check_addresses(path: str, addresses: tuple[str, ...]) -> None:
    for i, address in enumerate(addresses):
        _well_formed(f"{path}[{i}]", check_interface_address, address)
    _unique(path, list(addresses), "address")


def _check_sysctls(path: str, sysctls: Sysctls, pattern: re.Pattern[str], wanted: str) -> None:
    for name, value in sysctls:
        if not pattern.fullmatch(name):
            raise TopologyError(f'{path}["{name}"]', f"is not {wanted}")
        if not _SYSCTL_VALUE.fullmatch(value) or len(value) > SYSCTL_VALUE_BYTES_MAX:
            raise TopologyError(f'{path}["{name}"]', f"{value!r} is no value of a sysctl")
    _unique(path, [name for name, _ in sysctls], "sysctl")


def _check_rule(path: str, rule: Rule) -> None:
    _in_range(f"{path}.priority", rule.priority, 0, NUMBER_MAX)
    _in_range(f"{path}.mask", rule.mask, 1, NUMBER_MAX)
    if rule.mark is not None:
        _in_range(f"{path}.mark", rule.mark, 0, NUMBER_MAX)
        if rule.mark & ~rule.mask:
            raise TopologyError(f"{path}.mark", f"mark {rule.mark:#x} has bits outside its mask {rule.mask:#x}")
    if rule.action is Action.LOOKUP:
        if rule.table is None:
            raise TopologyError(f"{path}.table", "a lookup needs a table")
        _in_range(f"{path}.table", rule.table, 1, NUMBER_MAX)
    elif rule.table is not None:
        raise TopologyError(f"{path}.table", "a blackhole looks up no table")


def _check_routes(path: str, routes: tuple[Route, ...], links: set[str], sources: set[str]) -> None:
    for i, route in enumerate(routes):
        _check_route(f"{path}.routes[{i}]", route, links, sources)


def _check_route(path: str, route: Route, links: set[str], sources: set[str]) -> None:
    version = _well_formed(f"{path}.destination", check_destination, route.destination)
    _in_range(f"{path}.table", route.table, 1, NUMBER_MAX)
    if route.table == TABLE_LOCAL:
        raise TopologyError(f"{path}.table", "the local table is the kernel's own")
    if route.link is not None and route.link not in links:
        raise TopologyError(f"{path}.link", f"there is no link {route.link!r} here")
    for name, text in (("via", route.via), ("source", route.source)):
        if text is not None:
            found = _well_formed(f"{path}.{name}", check_address, text)
            version = version or found
            if found != version:
                raise TopologyError(f"{path}.{name}", f"{text} is not of the route's IP version, {version}")
    if route.source is not None and route.source not in sources:
        raise TopologyError(f"{path}.source", f"the namespace has no address {route.source}")


def _check_unique_links(topology: Topology) -> None:
    seen: set[tuple[str, str]] = set()
    for i, namespace in enumerate(topology.namespaces):
        for j, bridge in enumerate(namespace.bridges):
            _once(seen, (namespace.name, bridge.name), f"namespaces[{i}].bridges[{j}].name")
    for i, link in enumerate(topology.links):
        _once(seen, (link.a.namespace, link.a.name), f"links[{i}].a.name")
        _once(seen, (link.b.namespace, link.b.name), f"links[{i}].b.name")


def _once(seen: set[tuple[str, str]], key: tuple[str, str], path: str) -> None:
    if key in seen:
        raise TopologyError(path, f"{key[0]} already has a link {key[1]!r}")
    seen.add(key)


def _check_unique_routes(topology: Topology) -> None:
    seen: set[tuple[str, int, str, bool]] = set()
    placed = [(n.name, f"namespaces[{i}]", n.routes) for i, n in enumerate(topology.namespaces)]
    for i, link in enumerate(topology.links):
        placed += [(end.namespace, f"links[{i}].{side}", end.routes) for side, end in (("a", link.a), ("b", link.b))]
    for namespace, path, routes in placed:
        for i, route in enumerate(routes):
            key = (namespace, route.table, route.destination, ":" in (route.via or ""))
            if key in seen:
                raise TopologyError(
                    f"{path}.routes[{i}]", f"table {route.table} of {namespace} already has {route.destination}"
                )
            seen.add(key)


def _well_formed(path: str, check: Callable[[str], _Checked], text: str) -> _Checked:
    """What the check returns; its ValueError gets the path."""
    try:
        return check(text)
    except ValueError as error:
        raise TopologyError(path, str(error)) from None


def _in_range(path: str, value: int, minimum: int, maximum: int) -> None:
    if not minimum <= value <= maximum:
        raise TopologyError(path, f"{value} is not between {minimum} and {maximum}")


def _unique(path: str, values: list[object] | list[str] | list[Rule], what: str) -> None:
    for i, value in enumerate(values):
        if value in values[:i]:
            raise TopologyError(f"{path}[{i}]", f"{what} {value} is there twice")
