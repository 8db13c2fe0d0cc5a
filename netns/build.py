"""Make the kernel match a topology: the same call builds, repairs and checks.

Order matters, because packets may flow while we work:

1. namespaces, their sysctls, and their rules: rules that lead packets nowhere stand before any link does;
2. links of ours that the topology does not know go, then bridges and veth pairs come;
3. per link: sysctls before it is up (IPv6 acts at the moment a link comes up), then MAC, MTU,
   bridge, up, addresses;
4. routes last, those to direct neighbours before those through them.

A pair is whole when its two ends point at each other, by index and by namespace; a half, a
stranger under the right name, or an end whose peer sits elsewhere is deleted and made anew.
Links without our prefix are never touched.

Every deed is a `Change`. No change means that the kernel already was as the topology says.
An error leaves what was done so far; the next run goes on from there.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from netns import namespace as namespaces
from netns.link import LinkState, Session, Sessions
from netns.names import is_ours
from netns.route import describe_route, describe_rule, is_same_route, route_place
from netns.sysctl import QUIET, known_here, link_sysctls, set_sysctls
from netns.topology import KERNEL_RULES, Bridge, Link, LinkEnd, Namespace, Route, Topology
from netns.validate import validate


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that `build` did."""

    namespace: str
    deed: str

    def __str__(self) -> str:
        return f"{self.namespace}: {self.deed}"


def build(topology: Topology) -> tuple[Change, ...]:
    """Make the kernel match. Returns what was changed. Raises TopologyError, KernelError, SysctlRefused, OSError."""
    validate(topology)
    with Sessions() as sessions:
        return _Builder(topology, sessions).run()


class _Builder:
    """One run over one topology."""

    def __init__(self, topology: Topology, sessions: Sessions) -> None:
        self._topology = topology
        self._sessions = sessions
        self._changes: list[Change] = []
        self._known: dict[str, dict[str, LinkState]] = {}
        """Links by namespace as last listed. What we make since is missing here until `_forget`."""
        self._wanted: dict[str, dict[str, LinkEnd | Bridge]] = {
            space.name: {bridge.name: bridge for bridge in space.bridges} for space in topology.namespaces
        }
        for end in topology.ends():
            self._wanted[end.namespace][end.name] = end

    def run(self) -> tuple[Change, ...]:
        spaces = self._topology.namespaces
        self._make_namespaces()
        for space in spaces:
            self._prepare(space)
        for space in spaces:
            self._drop_strangers(space)
        for space in spaces:
            for bridge in space.bridges:
                self._make_bridge(space.name, bridge)
        for link in self._topology.links:
            self._make_pair(link)
        for space in spaces:
            self._settle(space)
        return tuple(self._changes)

    def _did(self, namespace: str, deed: str) -> None:
        self._changes.append(Change(namespace, deed))

    # --- namespaces ---

    def _make_namespaces(self) -> None:
        missing = [space.name for space in self._topology.namespaces if not namespaces.exists(space.name)]
        namespaces.create(missing)
        for name in missing:
            self._did(name, "namespace made")

    def _prepare(self, space: Namespace) -> None:
        session = self._sessions.of(space.name)
        with namespaces.inside(space.name):
            said = dict(space.sysctls)
            quiet = known_here((name, value) for name, value in QUIET if name not in said)
            changed = set_sysctls((*quiet, *space.sysctls))
        if changed:
            self._did(space.name, f"set {', '.join(changed)}")
        self._match_rules(space, session)
        loopback = self._links(space.name)["lo"]
        if not loopback.up:
            session.set_link("lo", loopback.index, state="up")
            self._did(space.name, "lo set up")

    def _match_rules(self, space: Namespace, session: Session) -> None:
        wanted = space.rules or KERNEL_RULES
        found = set(session.rules())
        for rule in wanted:
            if rule not in found:
                session.add_rule(rule)
                self._did(space.name, f"{describe_rule(rule)} added")
        if found <= set(wanted):
            return
        count = session.delete_rules(lambda rule: rule not in wanted)
        self._did(space.name, f"{count} other rules deleted")

    # --- links ---

    def _links(self, namespace: str) -> dict[str, LinkState]:
        if namespace not in self._known:
            self._known[namespace] = self._sessions.of(namespace).links()
        return self._known[namespace]

    def _forget(self, *names: str) -> None:
        for name in names:
            self._known.pop(name, None)

    def _drop_strangers(self, space: Namespace) -> None:
        for name, state in list(self._links(space.name).items()):
            if is_ours(name) and name not in self._wanted[space.name]:
                self._delete(space.name, state, "stale link")

    def _delete(self, namespace: str, state: LinkState, why: str) -> None:
        """Delete a link. A veth takes its peer along, so what we know of any namespace may be old."""
        self._sessions.of(namespace).delete_link(state.name)
        self._did(namespace, f"{why} {state.name} deleted")
        self._forget(*self._known)

    def _make_bridge(self, namespace: str, bridge: Bridge) -> None:
        state = self._links(namespace).get(bridge.name)
        if state is not None and state.kind != "bridge":
            self._delete(namespace, state, "wrong kind of link")
            state = None
        if state is None:
            self._sessions.of(namespace).add_bridge(bridge.name, _bridge_mac(namespace, bridge.name))
            self._did(namespace, f"bridge {bridge.name} made")
            self._forget(namespace)

    def _make_pair(self, link: Link) -> None:
        if self._is_whole(link):
            return
        for end in (link.a, link.b):
            # Looked up anew: the second may have gone with the first.
            state = self._links(end.namespace).get(end.name)
            if state is not None:
                self._delete(end.namespace, state, "broken link")
        session = self._sessions.of(link.a.namespace)
        session.add_veth(link.a.name, link.a.mtu, link.b.namespace, link.b.name, link.b.mtu)
        self._did(link.a.namespace, f"link {link.a.name} to {link.b.name} in {link.b.namespace} made")

    def _is_whole(self, link: Link) -> bool:
        a = self._links(link.a.namespace).get(link.a.name)
        b = self._links(link.b.namespace).get(link.b.name)
        if a is None or b is None:
            return False
        if (a.kind, b.kind, a.peer_index, b.peer_index) != ("veth", "veth", b.index, a.index):
            return False
        if link.a.namespace == link.b.namespace:
            return a.peer_namespace_id is None
        expected = self._sessions.of(link.a.namespace).namespace_id(link.b.namespace)
        return expected is not None and a.peer_namespace_id == expected

    # --- what a link carries ---

    def _settle(self, space: Namespace) -> None:
        session = self._sessions.of(space.name)
        wanted = self._wanted[space.name]
        if not wanted.keys() <= self._links(space.name).keys():
            self._forget(space.name)
        with namespaces.inside(space.name):
            for item in wanted.values():
                changed = set_sysctls(link_sysctls(item.name, item.sysctls)) if isinstance(item, LinkEnd) else []
                if changed:
                    self._did(space.name, f"set {', '.join(changed)}")
        for item in wanted.values():
            if isinstance(item, LinkEnd):
                self._match_end(space.name, session, item)
        for bridge in space.bridges:
            self._match_bridge(space.name, session, bridge)
        held = session.addresses() if wanted else {}
        for item in wanted.values():
            state = self._links(space.name)[item.name]
            self._match_addresses(space.name, session, state, held.get(state.index, set()), item.addresses)
        self._match_routes(space, session)

    def _match_end(self, namespace: str, session: Session, end: LinkEnd) -> None:
        state = self._links(namespace)[end.name]
        bridge_index = self._links(namespace)[end.bridge].index if end.bridge else 0
        if end.mac is not None and state.mac != end.mac:
            self._set(namespace, session, state, f"given MAC {end.mac}", address=end.mac)
        if state.mtu != end.mtu:
            self._set(namespace, session, state, f"given MTU {end.mtu}", mtu=end.mtu)
        if state.bridge_index != bridge_index:
            place = f"put into {end.bridge}" if end.bridge else "taken out of its bridge"
            self._set(namespace, session, state, place, master=bridge_index)
        if not state.up:
            self._set(namespace, session, state, "set up", state="up")

    def _match_bridge(self, namespace: str, session: Session, bridge: Bridge) -> None:
        # Its MTU follows its ports' until somebody sets it, so it is read after they were settled.
        state = session.links()[bridge.name]
        mac = _bridge_mac(namespace, bridge.name)
        if state.mac != mac:
            self._set(namespace, session, state, f"given MAC {mac}", address=mac)
        if state.mtu != bridge.mtu:
            self._set(namespace, session, state, f"given MTU {bridge.mtu}", mtu=bridge.mtu)
        if not state.up:
            self._set(namespace, session, state, "set up", state="up")

    def _set(self, namespace: str, session: Session, link: LinkState, deed: str, **changes: object) -> None:
        session.set_link(link.name, link.index, **changes)
        self._did(namespace, f"{link.name} {deed}")

    def _match_addresses(
        self, namespace: str, session: Session, state: LinkState, found: set[str], wanted: tuple[str, ...]
    ) -> None:
        for address in sorted(found - set(wanted)):
            session.delete_address(state.name, state.index, address)
            self._did(namespace, f"address {address} of {state.name} deleted")
        for address in wanted:
            if address not in found:
                session.add_address(state.name, state.index, address)
                self._did(namespace, f"address {address} of {state.name} added")

    def _match_routes(self, space: Namespace, session: Session) -> None:
        names = {state.index: state.name for state in self._links(space.name).values()}
        wanted = {route_place(route): route for route in self._routes_of(space)}

        def is_wanted(other: Route | None) -> bool:
            route = None if other is None else wanted.get(route_place(other))
            return other is not None and route is not None and is_same_route(route, other)

        found = session.routes(names)
        there = {route_place(route) for route in found if route is not None and is_wanted(route)}
        for place, route in sorted(wanted.items(), key=lambda pair: pair[1].via is not None):
            if place not in there:
                index = None if route.link is None else self._links(space.name)[route.link].index
                session.put_route(route, index)
                self._did(space.name, f"{describe_route(route)} added")
        if all(is_wanted(route) for route in found):
            return
        count = session.delete_routes(names, lambda route: not is_wanted(route))
        if count:
            self._did(space.name, f"{count} other routes deleted")

    def _routes_of(self, space: Namespace) -> Iterator[Route]:
        yield from space.routes
        for item in self._wanted[space.name].values():
            if isinstance(item, LinkEnd):
                for route in item.routes:
                    yield Route(route.destination, route.via, item.name, route.table, route.source, route.scope)


def _bridge_mac(namespace: str, name: str) -> str:
    """A fixed local address. Left alone, a bridge takes its lowest port's and changes it under its neighbours."""
    digest = hashlib.sha256(f"{namespace}/{name}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in bytes([0x02]) + digest[:5])
