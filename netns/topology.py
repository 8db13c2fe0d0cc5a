"""A topology: namespaces and the veth links between them, as plain frozen values.

Nothing here touches the kernel. Addresses are text in the form that `ip` prints (`10.0.1.10/32`),
sysctls are (name, value) pairs of text. `validate.py` says which values make sense,
`topology_file.py` reads them from YAML, `build.py` makes the kernel match them.

What is said of a namespace is the whole truth about it: links with our prefix, addresses, routes
and rules that the topology does not name are taken away by `build`.
"""

from dataclasses import dataclass
from enum import Enum

TABLE_LOCAL = 255
TABLE_MAIN = 254
TABLE_DEFAULT = 253
MTU_DEFAULT = 1500

Sysctls = tuple[tuple[str, str], ...]


class Scope(Enum):
    """How far a route's destination is away (`rtnetlink(7)`, rtm_scope)."""

    GLOBAL = "global"
    LINK = "link"
    HOST = "host"


class Action(Enum):
    """What a policy rule does with a packet that it matches (`ip-rule(8)`)."""

    LOOKUP = "lookup"
    BLACKHOLE = "blackhole"


class IpProtocol(Enum):
    """Protocols that a rule may select. The value is the IANA number."""

    ICMP = 1
    TCP = 6
    UDP = 17


@dataclass(frozen=True, slots=True)
class Route:
    """`ip route`: destination is a network or "default"; `link` may be left out where `via` decides."""

    destination: str
    via: str | None = None
    link: str | None = None
    table: int = TABLE_MAIN
    source: str | None = None
    scope: Scope = Scope.GLOBAL


@dataclass(frozen=True, slots=True)
class Rule:
    """`ip rule` for IPv4. Without mark and protocol it matches every packet."""

    priority: int
    mark: int | None = None
    mask: int = 0xFFFFFFFF
    table: int | None = None
    ip_protocol: IpProtocol | None = None
    action: Action = Action.LOOKUP


KERNEL_RULES = (
    Rule(0, table=TABLE_LOCAL),
    Rule(32766, table=TABLE_MAIN),
    Rule(32767, table=TABLE_DEFAULT),
)
"""What a new namespace has (`ip-rule(8)`)."""


@dataclass(frozen=True, slots=True)
class Bridge:
    """A learning switch without STP. Its MAC address is derived from its name and never changes."""

    name: str
    addresses: tuple[str, ...] = ()
    mtu: int = MTU_DEFAULT


@dataclass(frozen=True, slots=True)
class Namespace:
    """`rules`: all IPv4 rules that the namespace shall have; none named means KERNEL_RULES."""

    name: str
    sysctls: Sysctls = ()
    """Full names, such as net.ipv4.ip_forward. Only `net.` is per namespace."""
    bridges: tuple[Bridge, ...] = ()
    rules: tuple[Rule, ...] = ()
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """One end of a veth pair. `routes` leave by this end, their `link` may be left out."""

    namespace: str
    name: str
    mac: str | None = None
    mtu: int = MTU_DEFAULT
    addresses: tuple[str, ...] = ()
    bridge: str | None = None
    routes: tuple[Route, ...] = ()
    sysctls: Sysctls = ()
    """Per link: ipv4.arp_ignore means net.ipv4.conf.<name>.arp_ignore; likewise ipv6."""
    cuts_datagrams: bool | None = None
    """Whether UDP super-packets are cut into their datagrams before they leave by this end (`offload.py`). None: as the
    kernel has it, or whoever else has set it."""


@dataclass(frozen=True, slots=True)
class Link:
    """A veth pair. The two ends may be in different namespaces, or in one."""

    a: LinkEnd
    b: LinkEnd


@dataclass(frozen=True, slots=True)
class Topology:
    """All of it. The order carries no meaning."""

    namespaces: tuple[Namespace, ...] = ()
    links: tuple[Link, ...] = ()

    def ends(self) -> tuple[LinkEnd, ...]:
        return tuple(end for link in self.links for end in (link.a, link.b))
