"""Where every address and MAC is now; what neighbours and bridges believe otherwise, they forget.

An address that comes to another link, or a link that gets another MAC, is news to the neighbours: for half a minute
and more they would go on sending to whoever had the address before (RFC 1122 section 2.3.2.1), and a bridge to the port
where a MAC was before. A host on a real wire announces itself (RFC 5227 section 2.3), and hopes that it is heard.

What is believed is compared with what is, at the end of every build, whoever moved what and whenever: so a build
that failed half way leaves nothing stale behind the one that ends well. Addresses of several networks may be equal;
a belief that is right for one of them is left alone.
"""

from collections.abc import Iterator

from netns.link import NetlinkPool
from netns.link_state import LinkState
from netns.topology import Bridge, LinkEnd, Namespace, Topology


def forget_stale(topology: Topology, pool: NetlinkPool) -> Iterator[tuple[str, str]]:
    """(namespace, deed) of whatever was forgotten. All links exist. Raises KernelError, NamespaceMissing."""
    whereabouts = _Whereabouts(topology, pool)
    for space in topology.namespaces:
        for deed in whereabouts.settle(space):
            yield space.name, deed


class _Whereabouts:
    """What is true at this moment."""

    def __init__(self, topology: Topology, pool: NetlinkPool) -> None:
        self._pool = pool
        self._links: dict[str, dict[str, LinkState]] = {
            space.name: pool.of(space.name).links() for space in topology.namespaces
        }
        self._macs: dict[str, set[str]] = {}
        """MACs of all who have an address, without prefix length."""
        self._ports: dict[str, dict[str, int]] = {space.name: {} for space in topology.namespaces}
        """By namespace: index of the port behind which a MAC is."""
        for space in topology.namespaces:
            for bridge in space.bridges:
                self._has(space.name, bridge)
        for link in topology.links:
            for near, far in ((link.a, link.b), (link.b, link.a)):
                self._has(near.namespace, near)
                if near.bridge:
                    mac = self._links[far.namespace][far.name].mac
                    self._ports[near.namespace][mac] = self._links[near.namespace][near.name].index

    def _has(self, namespace: str, item: LinkEnd | Bridge) -> None:
        for address in item.addresses:
            self._macs.setdefault(address.partition("/")[0], set()).add(self._links[namespace][item.name].mac)

    def settle(self, space: Namespace) -> Iterator[str]:
        """Forget what is wrong in one namespace."""
        netlink = self._pool.of(space.name)
        ports = self._ports[space.name]
        believed = netlink.learned_ports() if ports else ()
        if any(ports.get(mac, port) != port for mac, port in believed):
            for bridge in space.bridges:
                netlink.forget_ports(bridge.name)
            yield "forgot behind which ports MACs are"

        def is_stale(address: str, mac: str) -> bool:
            return address in self._macs and mac not in self._macs[address]

        if count := netlink.forget_neighbours(is_stale):
            yield f"forgot {count} neighbours whose addresses have moved"
