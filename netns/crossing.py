"""A crossing: a namespace in which a packet leaves only by the mark that it carries.

Every interface of a crossing has a number. A packet with that number in its mark's low 16 bits finds the
interface's own routing table, and no other. So interfaces may carry equal addresses and lead to equal
networks: the number decides, never the address. What has no number goes nowhere, by routing alone and
whatever the packet filter does:

    100  fwmark N/0xffff   lookup 10000+N     the way out of interface N
    200  ipproto tcp, udp, icmp   blackhole   unmarked
    300                    lookup local       what is left: the kernel asks here whether to answer an ARP request

The kernel's own rules 0, 32766 and 32767 are gone. ARP answers hold to the interface that was asked
(arp_ignore 1: `ip-sysctl`), because the same address may be on several.
"""

from collections.abc import Iterable

from netns.names import PREFIX
from netns.topology import (
    MTU_DEFAULT,
    TABLE_LOCAL,
    Action,
    IpProtocol,
    LinkEnd,
    Namespace,
    Route,
    Rule,
    Scope,
    Sysctls,
)

NUMBER_MAX = 0xFFFF
MARK_MASK = 0xFFFF
TABLE_BASE = 10_000
"""Above the tables that people and daemons number by hand (`/etc/iproute2/rt_tables`)."""

SYSCTLS: Sysctls = (
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    # These two hold where "all" or the interface says so, so "all" must be silent.
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv4.conf.all.accept_redirects", "0"),
    ("net.ipv4.conf.all.accept_source_route", "0"),
)

INTERFACE_SYSCTLS: Sysctls = (
    ("ipv4.arp_ignore", "1"),
    ("ipv4.arp_announce", "2"),
    ("ipv4.rp_filter", "0"),
    ("ipv4.accept_local", "1"),
    ("ipv4.send_redirects", "0"),
)
"""accept_local: after a translation of its source, a packet comes from an address of ours."""


def interface_name(number: int) -> str:
    """hp-e7 for interface 7."""
    if not 1 <= number <= NUMBER_MAX:
        raise ValueError(f"an interface's number is between 1 and {NUMBER_MAX}, not {number}")
    return f"{PREFIX}e{number}"


def crossing_namespace(name: str, numbers: Iterable[int]) -> Namespace:
    """The namespace with the rules for the interfaces that have these numbers."""
    ways_out = (Rule(100, mark=number, mask=MARK_MASK, table=TABLE_BASE + number) for number in sorted(numbers))
    blackholes = (
        Rule(200, ip_protocol=protocol, action=Action.BLACKHOLE)
        for protocol in (IpProtocol.TCP, IpProtocol.UDP, IpProtocol.ICMP)
    )
    return Namespace(name, SYSCTLS, rules=(*ways_out, *blackholes, Rule(300, table=TABLE_LOCAL)))


def crossing_end(
    namespace: str, number: int, address: str, network: str, router: str | None, mtu: int = MTU_DEFAULT
) -> LinkEnd:
    """Interface `number`: IPv4 `address` without prefix length, neighbours in `network`, the rest by `router`."""
    table = TABLE_BASE + number
    neighbours = Route(network, table=table, source=address, scope=Scope.LINK)
    rest = () if router is None else (Route("default", via=router, table=table, source=address),)
    return LinkEnd(
        namespace,
        interface_name(number),
        mtu=mtu,
        addresses=(f"{address}/32",),
        routes=(neighbours, *rest),
        sysctls=INTERFACE_SYSCTLS,
    )
