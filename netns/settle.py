"""What the links of one namespace carry: sysctls, MAC, MTU, bridge, state, addresses, routes.

The last steps of `build`, for links that all exist.
"""

import hashlib
import ipaddress
from collections.abc import Iterator

from netns.link import Netlink
from netns.link_state import LinkState
from netns.namespace import inside
from netns.offload import cut_datagrams, cuts_datagrams
from netns.route import describe_route, is_same_route, route_place
from netns.sysctl import link_sysctls, set_sysctls
from netns.topology import Bridge, LinkEnd, Namespace, Route


def settle(space: Namespace, ends: tuple[LinkEnd, ...], netlink: Netlink) -> Iterator[str]:
    """Make the links of the namespace carry what they shall; yields the deeds as they are done.

    Raises KernelError, SysctlRefused, NamespaceMissing.
    """
    return _Settler(space, ends, netlink).run()


def bridge_mac(namespace: str, name: str) -> str:
    """A fixed local address. Left alone, a bridge takes its lowest port's and changes it under its neighbours."""
    digest = hashlib.sha256(f"{namespace}/{name}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in bytes([0x02]) + digest[:5])


def _routes_of(address: str) -> set[str]:
    """Destinations of the routes that the kernel makes for an IPv4 address: itself, and its network."""
    interface = ipaddress.ip_interface(address)
    if interface.version == 6:
        return set()  # they go with the address, and a flush that takes only them is not known
    return {f"{interface.ip}/32", str(interface.network)}


class _Settler:
    """One namespace, one run. Every method yields the deeds it did."""

    def __init__(self, space: Namespace, ends: tuple[LinkEnd, ...], netlink: Netlink) -> None:
        self._space = space
        self._ends = ends
        self._netlink = netlink
        self._links = netlink.links()

    def run(self) -> Iterator[str]:
        yield from self._match_sysctls()
        yield from self._match_offloads()
        for end in self._ends:
            yield from self._match_end(end)
        if self._space.bridges:
            # A bridge's MTU follows its ports' until somebody sets it, so it is read after they were settled.
            self._links = self._netlink.links()
        for bridge in self._space.bridges:
            mac = bridge_mac(self._space.name, bridge.name)
            yield from self._match_link(self._links[bridge.name], mac, bridge)
        items: tuple[LinkEnd | Bridge, ...] = (*self._ends, *self._space.bridges)
        if items:
            held, routed = self._netlink.addresses(), self._netlink.routed_by_kernel()
            for item in items:
                yield from self._match_addresses(item, held, routed)
        yield from self._match_routes()

    def _match_sysctls(self) -> Iterator[str]:
        with inside(self._space.name):
            changed = [name for end in self._ends for name in set_sysctls(link_sysctls(end.name, end.sysctls))]
        if changed:
            yield f"set {', '.join(changed)}"

    def _match_offloads(self) -> Iterator[str]:
        wanted = {end.name: end.cuts_datagrams for end in self._ends if end.cuts_datagrams is not None}
        if not wanted:
            return
        with inside(self._space.name):
            changed = {link: cut for link, cut in wanted.items() if cuts_datagrams(link) is not cut}
            for link, cut in changed.items():
                cut_datagrams(link, cut)
        for link, cut in changed.items():
            yield f"{link} {'cuts' if cut else 'passes'} UDP super-packets"

    def _match_end(self, end: LinkEnd) -> Iterator[str]:
        state = self._links[end.name]
        bridge_index = self._links[end.bridge].index if end.bridge else 0
        if state.bridge_index != bridge_index:
            self._netlink.set_link(state.name, state.index, master=bridge_index)
            yield f"{state.name} put into {end.bridge}" if end.bridge else f"{state.name} taken out of its bridge"
        yield from self._match_link(state, end.mac or state.mac, end)

    def _match_link(self, state: LinkState, mac: str, item: LinkEnd | Bridge) -> Iterator[str]:
        if state.mac != mac:
            self._netlink.set_link(state.name, state.index, address=mac)
            yield f"{state.name} given MAC {mac}"
        if state.mtu != item.mtu:
            self._netlink.set_link(state.name, state.index, mtu=item.mtu)
            yield f"{state.name} given MTU {item.mtu}"
        if not state.up:
            self._netlink.set_link(state.name, state.index, state="up")
            yield f"{state.name} set up"

    def _match_addresses(
        self, item: LinkEnd | Bridge, held: dict[int, set[str]], routed: set[tuple[int, str]]
    ) -> Iterator[str]:
        index = self._links[item.name].index
        found = held.get(index, set())
        if not {(index, place) for address in found for place in _routes_of(address)} <= routed:
            for address in sorted(found):
                self._netlink.delete_address(item.name, index, address)
            yield f"addresses of {item.name} deleted, as the kernel's own routes to them are gone"
            found = set()
        for address in sorted(found - set(item.addresses)):
            self._netlink.delete_address(item.name, index, address)
            yield f"address {address} of {item.name} deleted"
        for address in item.addresses:
            if address not in found:
                self._netlink.add_address(item.name, index, address)
                yield f"address {address} of {item.name} added"

    def _match_routes(self) -> Iterator[str]:
        names = {state.index: state.name for state in self._links.values()}
        wanted = {route_place(route): route for route in self._routes()}

        def is_wanted(other: Route | None) -> bool:
            route = None if other is None else wanted.get(route_place(other))
            return other is not None and route is not None and is_same_route(route, other)

        found = self._netlink.routes(names)
        there = {route_place(route) for route in found if route is not None and is_wanted(route)}
        # Those to neighbours first: the kernel takes a next hop only when it can reach it.
        for place, route in sorted(wanted.items(), key=lambda pair: pair[1].via is not None):
            if place not in there:
                self._netlink.put_route(route, None if route.link is None else self._links[route.link].index)
                yield f"{describe_route(route)} added"
        if all(is_wanted(route) for route in found):
            return
        count = self._netlink.delete_routes(names, lambda route: not is_wanted(route))
        if count:
            yield f"{count} other routes deleted"

    def _routes(self) -> Iterator[Route]:
        yield from self._space.routes
        for end in self._ends:
            for route in end.routes:
                yield Route(route.destination, route.via, end.name, route.table, route.source, route.scope)
