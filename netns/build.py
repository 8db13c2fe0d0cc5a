"""Make the kernel match a topology: the same call builds, repairs and checks.

Order matters, because packets may flow while we work:

1. namespaces, their sysctls, and their rules: rules that lead packets nowhere stand before any link does;
2. links of ours that the topology does not know go, then bridges and veth pairs come;
3. per link: sysctls before it is up (IPv6 acts at the moment a link comes up), then MAC, MTU,
   bridge, up, addresses;
4. routes, those to direct neighbours before those through them;
5. what neighbours and bridges believe of where an address or MAC is, and is not true any more, is forgotten.

A pair is whole when its two ends point at each other, by index and by namespace; a half, a
stranger under the right name, or an end whose peer sits elsewhere is deleted and made anew.
Links without our prefix are never touched.

Every deed is a `Change`. No change means that the kernel already was as the topology says.
An error leaves what was done so far; the next run goes on from there.
"""

from dataclasses import dataclass, replace

from netns import namespace as namespaces
from netns.link import Netlink, NetlinkPool
from netns.link_state import LinkState
from netns.names import is_ours
from netns.route import describe_rule
from netns.settle import bridge_mac, settle
from netns.sysctl import QUIET, known_here, set_sysctls
from netns.topology import KERNEL_RULES, Bridge, Link, LinkEnd, Namespace, Rule, Topology
from netns.validate import validate
from netns.whereabouts import forget_stale


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that `build` did."""

    namespace: str
    deed: str

    def __str__(self) -> str:
        return f"{self.namespace}: {self.deed}"


def build(topology: Topology) -> tuple[Change, ...]:
    """Make the kernel match. Returns what was changed.

    Raises TopologyError before anything is done; then KernelError, SysctlRefused or another OSError, and
    NamespaceMissing when somebody deletes a namespace meanwhile.
    """
    validate(topology)
    with NetlinkPool() as pool:
        return _Builder(topology, pool).run()


class _Builder:
    """One run over one topology."""

    def __init__(self, topology: Topology, pool: NetlinkPool) -> None:
        self._topology = topology
        self._pool = pool
        self._changes: list[Change] = []
        self._known: dict[str, dict[str, LinkState]] = {}
        """Links by namespace as last listed. Pairs made since are missing: their names are looked up once only."""
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
            ends = tuple(item for item in self._wanted[space.name].values() if isinstance(item, LinkEnd))
            for deed in settle(space, ends, self._pool.of(space.name)):
                self._did(space.name, deed)
        for name, deed in forget_stale(self._topology, self._pool):
            self._did(name, deed)
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
        netlink = self._pool.of(space.name)
        with namespaces.inside(space.name):
            said = dict(space.sysctls)
            quiet = known_here((name, value) for name, value in QUIET if name not in said)
            changed = set_sysctls((*quiet, *space.sysctls))
        if changed:
            self._did(space.name, f"set {', '.join(changed)}")
        self._match_rules(space, netlink)
        loopback = self._links(space.name)["lo"]
        if loopback.up and (loopback.index, "127.0.0.1/32") not in netlink.routed_by_kernel():
            netlink.set_link("lo", loopback.index, state="down")
            self._did(space.name, "lo set down, as the kernel's own routes to it are gone")
            loopback = replace(loopback, up=False)
        if not loopback.up:
            netlink.set_link("lo", loopback.index, state="up")
            self._did(space.name, "lo set up")

    def _match_rules(self, space: Namespace, netlink: Netlink) -> None:
        wanted = space.rules or KERNEL_RULES
        self._add_rules(space.name, wanted, netlink)
        if set(netlink.rules()) <= set(wanted):
            return
        count = netlink.delete_rules(lambda rule: rule not in wanted)
        self._did(space.name, f"{count} other rules deleted")
        # The kernel takes some other rules for ours (it overlooks "not") and refused to add ours beside them.
        self._add_rules(space.name, wanted, netlink)

    def _add_rules(self, namespace: str, wanted: tuple[Rule, ...], netlink: Netlink) -> None:
        found = set(netlink.rules())
        for rule in wanted:
            if rule not in found and netlink.add_rule(rule):
                self._did(namespace, f"{describe_rule(rule)} added")

    # --- links ---

    def _links(self, namespace: str) -> dict[str, LinkState]:
        if namespace not in self._known:
            self._known[namespace] = self._pool.of(namespace).links()
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
        self._pool.of(namespace).delete_link(state.name)
        self._did(namespace, f"{why} {state.name} deleted")
        self._forget(*self._known)

    def _make_bridge(self, namespace: str, bridge: Bridge) -> None:
        state = self._links(namespace).get(bridge.name)
        if state is not None and state.kind != "bridge":
            self._delete(namespace, state, "wrong kind of link")
            state = None
        if state is None:
            self._pool.of(namespace).add_bridge(bridge.name, bridge_mac(namespace, bridge.name))
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
        netlink = self._pool.of(link.a.namespace)
        netlink.add_veth(link.a.name, link.a.mtu, link.b.namespace, link.b.name, link.b.mtu)
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
        expected = self._pool.of(link.a.namespace).namespace_id(link.b.namespace)
        return expected is not None and a.peer_namespace_id == expected
