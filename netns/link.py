"""One namespace's links, addresses, routes and rules, through one netlink socket.

`Netlink` is the only place that knows pyroute2. It speaks the values of `topology.py` both ways, so
that `build.py` can compare what is wanted with what is found. Three traps are closed here:

* pyroute2's `IPRoute(netns=…)` forks a process to open its socket (3.5 ms) and creates a namespace
  that does not exist. We step inside and open it there (0.4 ms); a missing namespace is an error.
* Its own event loop comes from asyncio's policy, which fails under uvloop. We give it a plain one,
  shared by a whole pool, so a namespace costs one file descriptor.
* A dump that the kernel interrupted by a change is repeated, not half believed.
"""

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import pyroute2
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError

from netns.errors import KernelError
from netns.link_state import LinkState, link_state_of
from netns.namespace import RUN_FOLDER, inside
from netns.route import (
    ROUTE_BY_KERNEL,
    describe_route,
    describe_rule,
    is_set,
    route_of,
    route_request,
    rule_of,
    rule_request,
)
from netns.topology import Route, Rule

SOCKETS_MAX = 256
"""Netlink sockets kept open at a time; the one used longest ago is closed for the next."""
DUMP_TRIES_MAX = 8

_ADDRESS_WITHOUT_DAD = 0x02  # linux/if_addr.h, IFA_F_NODAD
_LEARNED = 0x02 | 0x04 | 0x08 | 0x10
"""linux/neighbour.h, NUD_REACHABLE, STALE, DELAY, PROBE: somebody has told the MAC."""


class Netlink:
    """The netlink socket of one namespace. Errors of the kernel are raised as KernelError."""

    def __init__(self, namespace: str | None, loop: asyncio.AbstractEventLoop) -> None:
        """`namespace` None means the namespace of the calling thread."""
        self.namespace = namespace or "this namespace"
        with inside(namespace) if namespace else contextlib.nullcontext():
            self._ip: Any = pyroute2.IPRoute(use_event_loop=loop)

    def close(self) -> None:
        self._ip.close()

    # --- links ---

    def links(self) -> dict[str, LinkState]:
        """All links by name, lo included."""
        states = (link_state_of(message) for message in self._dump("links", self._ip.get_links))
        return {state.name: state for state in states}

    def add_bridge(self, name: str, mac: str) -> None:
        """A bridge that learns addresses and sends nothing of its own (no STP, no multicast snooping)."""
        with self._deed(f"add bridge {name}"):
            self._ip.link("add", ifname=name, kind="bridge", address=mac, br_mcast_snooping=0)

    def add_veth(self, name: str, mtu: int, peer_namespace: str, peer_name: str, peer_mtu: int) -> None:
        """A veth pair with its other end in another namespace, made there in one step."""
        deed = f"add veth {name} with {peer_name} in {peer_namespace}"
        with open(RUN_FOLDER / peer_namespace, "rb") as place, self._deed(deed):
            peer = {"ifname": peer_name, "mtu": peer_mtu, "net_ns_fd": place.fileno()}
            self._ip.link("add", ifname=name, kind="veth", mtu=mtu, peer=peer)

    def delete_link(self, name: str) -> None:
        """Remove a link; one that has gone meanwhile (with its peer) is as good."""
        with self._deed(f"delete link {name}"), self._tolerating(errno.ENODEV):
            self._ip.link("del", ifname=name)

    def set_link(self, name: str, index: int, **changes: object) -> None:
        """Change a link: address=, mtu=, master= (0 for none), state="up"."""
        with self._deed(f"set {', '.join(changes)} of {name}"):
            self._ip.link("set", index=index, **changes)

    def namespace_id(self, other: str) -> int | None:
        """The id by which links of this namespace point into another; None where it has no id here."""
        with open(RUN_FOLDER / other, "rb") as place, self._deed(f"ask for the id of {other}"):
            answer = self._ip.get_netnsid(fd=place.fileno())
        return None if answer is None or answer["nsid"] < 0 else int(answer["nsid"])

    # --- addresses ---

    def addresses(self) -> dict[int, set[str]]:
        """Addresses with prefix length by link index, without IPv6's link-local ones, which are the kernel's."""
        found: dict[int, set[str]] = {}
        for message in self._dump("addresses", self._ip.get_addr):
            text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            address = ipaddress.ip_interface(f"{text}/{message['prefixlen']}")
            if address.version == 4 or not address.ip.is_link_local:
                found.setdefault(message["index"], set()).add(str(address))
        return found

    def add_address(self, name: str, index: int, text: str) -> None:
        address = ipaddress.ip_interface(text)
        # Duplicate detection would delay the address and put packets on the wire; the validator knows of duplicates.
        extra = {"flags": _ADDRESS_WITHOUT_DAD} if address.version == 6 else {}
        with self._deed(f"add address {text} to {name}"):
            self._ip.addr("add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen, **extra)

    def delete_address(self, name: str, index: int, text: str) -> None:
        address = ipaddress.ip_interface(text)
        with self._deed(f"delete address {text} of {name}"), self._tolerating(errno.EADDRNOTAVAIL):
            self._ip.addr("del", index=index, address=str(address.ip), prefixlen=address.network.prefixlen)

    def routed_by_kernel(self) -> set[tuple[int, str]]:
        """(link index, destination) of the IPv4 routes that the kernel made for addresses."""
        return {
            (message.get_attr("RTA_OIF"), f"{message.get_attr('RTA_DST')}/{message['dst_len']}")
            for message in self._dump("routes", lambda: self._ip.get_routes(family=socket.AF_INET))
            if message["proto"] == ROUTE_BY_KERNEL
        }

    # --- neighbours ---

    def forget_neighbours(self, unwanted: Callable[[str, str], bool]) -> int:
        """Ask anew for unwanted pairs of address and MAC when they are needed next. Returns how many there were."""
        count = 0
        for message in self._dump("neighbours", self._ip.get_neighbours):
            address, mac = message.get_attr("NDA_DST"), message.get_attr("NDA_LLADDR")
            if message["state"] & _LEARNED and mac and unwanted(address, mac):
                count += 1
                with self._deed("forget a neighbour"), self._tolerating(errno.ENOENT, errno.ENODEV):
                    self._ip.neigh("del", dst=address, ifindex=message["ifindex"])
        return count

    def learned_ports(self) -> list[tuple[str, int]]:
        """(MAC, index of the port) of all that bridges have learned here."""
        messages = self._dump("bridge ports", lambda: self._ip.get_neighbours(family=socket.AF_BRIDGE))
        return [
            (message.get_attr("NDA_LLADDR"), message["ifindex"]) for message in messages if message["state"] & _LEARNED
        ]

    def forget_ports(self, bridge: str) -> None:
        """Let a bridge learn again behind which port each MAC is."""
        with self._deed(f"flush what {bridge} has learned"):
            self._ip.link("set", ifname=bridge, kind="bridge", br_fdb_flush=1)

    # --- routes ---

    def routes(self, names: dict[int, str]) -> list[Route | None]:
        """Routes that somebody set, not the kernel's own. None stands for one that `Route` cannot express.

        `names` are the links' names by index, as `links` told them.
        """
        return [route_of(message, names) for message in self._routes() if is_set(message)]

    def put_route(self, route: Route, index: int | None) -> None:
        """Add the route or replace the one that has its place."""
        with self._deed(f"add {describe_route(route)}"):
            self._ip.route("replace", **route_request(route, index))

    def delete_routes(self, names: dict[int, str], unwanted: Callable[[Route | None], bool]) -> int:
        """Delete the unwanted ones of `routes`; returns how many there were."""

        def matches(message: Any) -> bool:
            return is_set(message) and unwanted(route_of(message, names))

        return self._flush("routes", matches, self._routes, self._ip.flush_routes, (socket.AF_INET, socket.AF_INET6))

    # --- rules ---

    def rules(self) -> list[Rule | None]:
        """IPv4 policy rules. None stands for one that `Rule` cannot express."""
        return [rule_of(message) for message in self._rules()]

    def add_rule(self, rule: Rule) -> bool:
        """Add the rule. False where the kernel holds another one for the same."""
        try:
            with self._deed(f"add {describe_rule(rule)}"):
                self._ip.rule("add", **rule_request(rule))
        except KernelError as error:
            if error.errno != errno.EEXIST:
                raise
            return False
        return True

    def delete_rules(self, unwanted: Callable[[Rule | None], bool]) -> int:
        """Delete the unwanted ones of `rules`; returns how many there were."""

        def matches(message: Any) -> bool:
            return unwanted(rule_of(message))

        return self._flush("rules", matches, self._rules, self._ip.flush_rules, (socket.AF_INET,))

    # --- how pyroute2 is called ---

    def _routes(self) -> list[Any]:
        return self._dump("routes", lambda: [*self._ip.get_routes(family=2), *self._ip.get_routes(family=10)])

    def _rules(self) -> list[Any]:
        return self._dump("rules", lambda: self._ip.get_rules(family=socket.AF_INET))

    def _flush(
        self,
        what: str,
        matches: Callable[[Any], bool],
        dump: Callable[[], list[Any]],
        flush: Callable[..., object],
        families: tuple[int, ...],
    ) -> int:
        """Delete exactly the messages that match. The flush walks a moving list, so look again until none is left."""
        count = 0
        for _ in range(DUMP_TRIES_MAX):
            left = sum(1 for message in dump() if matches(message))
            count = count or left
            if not left:
                return count
            for family in families:
                with self._deed(f"delete {what}"), self._tolerating(errno.ESRCH, errno.ENOENT):
                    flush(family=family, match=matches)
        raise KernelError(errno.EBUSY, self.namespace, f"delete {what}")

    def _dump(self, what: str, ask: Callable[[], Any]) -> list[Any]:
        for attempt in range(DUMP_TRIES_MAX):
            try:
                with self._deed(f"list {what}"):
                    return list(ask())
            except NetlinkDumpInterrupted:
                if attempt == DUMP_TRIES_MAX - 1:
                    raise
        raise AssertionError("the loop returns or raises")

    @contextlib.contextmanager
    def _deed(self, deed: str) -> Iterator[None]:
        try:
            yield
        except NetlinkDumpInterrupted:
            raise
        except NetlinkError as error:
            raise KernelError(error.code, self.namespace, deed) from error

    @contextlib.contextmanager
    def _tolerating(self, *codes: int) -> Iterator[None]:
        try:
            yield
        except NetlinkError as error:
            if error.code not in codes:
                raise


class NetlinkPool:
    """Netlink sockets by namespace, opened when first asked for. A context manager; used by one thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop = asyncio.SelectorEventLoop()
        self._open: OrderedDict[str, Netlink] = OrderedDict()

    def __enter__(self) -> "NetlinkPool":
        return self

    def __exit__(self, *_: object) -> None:
        for netlink in self._open.values():
            netlink.close()
        self._open.clear()
        # A transport lets go of its socket in the loop's next round.
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def of(self, namespace: str) -> Netlink:
        """The socket of a namespace. Raises NamespaceMissing."""
        if namespace in self._open:
            self._open.move_to_end(namespace)
            return self._open[namespace]
        if len(self._open) >= SOCKETS_MAX:
            self._open.popitem(last=False)[1].close()
        netlink = Netlink(namespace, self._loop)
        self._open[namespace] = netlink
        return netlink

    def here(self) -> Netlink:
        """A socket of the calling thread's namespace. It is not kept: the caller closes it."""
        return Netlink(None, self._loop)
