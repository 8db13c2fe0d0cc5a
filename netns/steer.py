"""Packet steering of one namespace: which queue a packet of an interface goes to, as iptables rules.

    PREROUTING  raw      no connection tracking
                mangle   lo passes; all else must be TCP, UDP or ICMP from a known interface:
                         the interface's chain chooses one of its queues, marks the packet, queues it
    routing              the mark of the verdict chooses the table (policy rules, not here)
    FORWARD     filter   only what carries a verdict's mark
    INPUT, OUTPUT        lo; out also what was marked by its sender
    IPv6                 nothing

The mark, 32 bits:

    bit 31       replay: a verdict "repeat" set it; the low byte already says which queue
    bit 30       steered: set here with the choice; a verdict that sets no mark of its own leaves it,
                 and such a packet is not forwarded
    low byte     while steered or replayed: the place of the queue in the interface's list, from 1
    low 16 bits  in a verdict: the way out. 0 is no way out

Everything fails closed: policies are DROP, so a flushed chain drops; no rule has --queue-bypass, so a queue
without a reader drops; every chain ends in DROP.

Fragments are queued as they are, all of one datagram to the same queue: their reader puts them together.
The kernel must not, because it tells them apart by addresses, protocol and identification alone
(`net/ipv4/ip_fragment.c`), and equal addresses on two interfaces are two hosts here: it would make one datagram
of both. Its defragmentation (`nf_defrag_ipv4`) is turned on by any rule that asks for a connection's state, so
there is none.

iptables and not nft, because kernels without CONFIG_NFT_QUEUE refuse nft's queue statement and take this one.
Queues are chosen by HMARK over addresses and ports. `--queue-balance` hashes addresses only, which would put
all of a client's flows on one queue. The protocol stays out: HMARK turns the hash's low bits by it and then scales
by the high ones (`net/netfilter/xt_HMARK.c`), so it changes nothing.
"""

from dataclasses import dataclass
from enum import Enum

from netns.iptables import RulesetError, fingerprint_here, restore
from netns.names import check_link_name
from netns.namespace import inside, inside_scratch

REPLAY_BIT = 0x8000_0000
STEERED_BIT = 0x4000_0000
QUEUE_MASK = 0xFF
WAY_OUT_MASK = 0xFFFF

QUEUES_PER_INTERFACE_MAX = 32
QUEUE_NUMBER_MAX = 0xFFFF
HASH_SEED = 0x68_70_2D_31
"""Fixed, so that a flow keeps its queue when rules are written again. Our choice; any number serves."""

DIRECT_MAX = 8
"""A chain that tells more interfaces apart than this does it in steps. A rule costs a packet some 35 ns."""

_DISPATCH = "hp-in_"
"""No interface's chain is called so, because no interface's name has an underscore."""
_HASHED = f"--hmark-tuple src,dst,sport,dport --hmark-rnd {HASH_SEED:#x}"
"""Of fragments the kernel's hash takes the addresses only, of the first as of the others."""
_IS_FRAGMENT = "-m u32 --u32 4&0x3FFF=1:0x3FFF"
"""More fragments, or an offset: `-f` overlooks the first one."""


class Mode(Enum):
    """How a packet is given to one of its interface's queues."""

    HASH = "hash"
    """All packets of one direction of a flow to the same queue."""
    SPRAY = "spray"
    """Each packet to any queue: proves that every reader can serve every flow."""


class SteeringRefused(ValueError):
    """A steering that makes no sense."""


@dataclass(frozen=True, slots=True)
class InterfaceSteering:
    """Where the packets that come in by one interface go. Raises SteeringRefused, NameRefused."""

    interface: str
    queues: tuple[int, ...]
    """Distinct queue numbers, 1 to 32 of them."""

    def __post_init__(self) -> None:
        check_link_name(self.interface)
        if not 1 <= len(self.queues) <= QUEUES_PER_INTERFACE_MAX:
            raise SteeringRefused(f"{self.interface}: needs 1 to {QUEUES_PER_INTERFACE_MAX} queues")
        if len(set(self.queues)) != len(self.queues):
            raise SteeringRefused(f"{self.interface}: a queue is there twice")
        if not all(0 <= queue <= QUEUE_NUMBER_MAX for queue in self.queues):
            raise SteeringRefused(f"{self.interface}: queue numbers have 16 bits")


@dataclass(frozen=True, slots=True)
class Steering:
    """All steering of one namespace. Raises SteeringRefused."""

    interfaces: tuple[InterfaceSteering, ...] = ()
    """None at all: every packet is dropped."""
    mode: Mode = Mode.HASH

    def __post_init__(self) -> None:
        names = [item.interface for item in self.interfaces]
        if len(set(names)) != len(names):
            raise SteeringRefused("an interface is there twice")


def render(steering: Steering) -> str:
    """The IPv4 rules, for iptables-restore."""
    return "\n".join([*_filter_table(), *_raw_table(), *_mangle_table(steering), ""])


def render_ipv6() -> str:
    """The IPv6 rules, for ip6tables-restore: nothing passes."""
    hooks = {"filter": ("INPUT", "FORWARD", "OUTPUT"), "raw": ("PREROUTING", "OUTPUT")}
    tables = ([f"*{table}", *(f":{hook} DROP [0:0]" for hook in names), "COMMIT"] for table, names in hooks.items())
    return "\n".join([*(line for table in tables for line in table), ""])


def apply(namespace: str, steering: Steering) -> str:
    """Write the rules, each table atomically. Returns the fingerprint that the namespace has now.

    The rules are first tried in a scratch namespace, so rules that the kernel refuses change nothing.
    Raises RulesetError with the tool's words, NamespaceMissing.
    """
    wanted = expected_fingerprint(steering)
    with inside(namespace):
        restore(render(steering), render_ipv6())
        found = fingerprint_here()
    if found != wanted:
        raise RulesetError(f"{namespace}: the rules were written, but something else changes them too")
    return found


def matches(namespace: str, steering: Steering) -> bool:
    """Whether exactly these rules are in force. Raises RulesetError, NamespaceMissing."""
    return fingerprint(namespace) == expected_fingerprint(steering)


def fingerprint(namespace: str) -> str:
    """A digest of the rules in force, whatever their counters say. 5 ms. Raises RulesetError, NamespaceMissing."""
    with inside(namespace):
        return fingerprint_here()


def expected_fingerprint(steering: Steering) -> str:
    """What `fingerprint` is once the rules are in force, from a scratch namespace. 0.1 s. Raises RulesetError.

    The tools print rules in their own words, which differ between versions; so they are asked.
    """
    with inside_scratch():
        restore(render(steering), render_ipv6())
        return fingerprint_here()


def _filter_table() -> list[str]:
    marked = f"-m mark ! --mark 0x0/{WAY_OUT_MASK:#x} -m mark --mark 0x0/{REPLAY_BIT | STEERED_BIT:#x}"
    return [
        "*filter",
        ":INPUT DROP [0:0]",
        ":FORWARD DROP [0:0]",
        ":OUTPUT DROP [0:0]",
        "-A INPUT -i lo -j ACCEPT",
        "-A INPUT -j DROP",
        f"-A FORWARD {marked} -j ACCEPT",
        "-A FORWARD -j DROP",
        "-A OUTPUT -o lo -j ACCEPT",
        *(f"-A OUTPUT -p {protocol} {marked} -j ACCEPT" for protocol in ("tcp", "udp", "icmp")),
        "-A OUTPUT -j DROP",
        "COMMIT",
    ]


def _raw_table() -> list[str]:
    hooks = ("PREROUTING", "OUTPUT")
    return [
        "*raw",
        *(f":{hook} ACCEPT [0:0]" for hook in hooks),
        *(f"-A {hook} -j CT --notrack" for hook in hooks),
        "COMMIT",
    ]


def _mangle_table(steering: Steering) -> list[str]:
    dispatch = _dispatch_chains("hp-", [item.interface for item in steering.interfaces])
    return [
        "*mangle",
        ":PREROUTING DROP [0:0]",
        *(f":{chain} - [0:0]" for chain in dispatch),
        *(f":{item.interface} - [0:0]" for item in steering.interfaces),
        "-A PREROUTING -i lo -j ACCEPT",
        *(f"-A PREROUTING -p {protocol} -j {_DISPATCH}" for protocol in ("tcp", "udp", "icmp")),
        "-A PREROUTING -j DROP",
        *(f"-A {chain} {rule}" for chain, rules in dispatch.items() for rule in rules),
        *(line for item in steering.interfaces for line in _interface_chain(item, steering.mode)),
        "COMMIT",
    ]


def _dispatch_chains(start: str, interfaces: list[str]) -> dict[str, list[str]]:
    """Chains by name that lead from the interface to its own chain, letter by letter where there are many.

    All `interfaces` begin with `start`. The first chain is the one to enter.
    """
    rules: list[str] = []
    further: dict[str, list[str]] = {}
    groups: dict[str, list[str]] = {}
    for name in interfaces:
        groups.setdefault(name if len(interfaces) <= DIRECT_MAX else name[: len(start) + 1], []).append(name)
    for beginning, names in groups.items():
        if len(names) == 1:
            rules.append(f"-i {names[0]} -j {names[0]}")
        else:
            rules.append(f"-i {beginning}+ -j {_DISPATCH}{beginning[3:]}")
            further |= _dispatch_chains(beginning, names)
    return {f"{_DISPATCH}{start[3:]}": [*rules, "-j DROP"], **further}


def _interface_chain(item: InterfaceSteering, mode: Mode) -> list[str]:
    chain = f"-A {item.interface}"
    count = len(item.queues)
    fresh = f"-m mark --mark 0x0/{REPLAY_BIT:#x}"
    by_hash = f"-j HMARK {_HASHED} --hmark-mod {count} --hmark-offset {STEERED_BIT + 1:#x}"
    if count == 1:
        choice = [f"{chain} {fresh} -j MARK --set-xmark {STEERED_BIT | 1:#x}/0xffffffff"]
    elif mode is Mode.HASH:
        choice = [f"{chain} {fresh} {by_hash}"]
    else:
        undecided = f"-m mark --mark 0x0/{REPLAY_BIT | STEERED_BIT:#x}"
        choice = [f"{chain} {undecided} {_IS_FRAGMENT} {by_hash}"]
        for place in range(1, count + 1):
            # Each of the places that are left is as likely as the others; the last takes what remains.
            left = count - place + 1
            luck = f"-m statistic --mode random --probability {1 / left:.10f} " if left > 1 else ""
            choice.append(f"{chain} {undecided} {luck}-j MARK --set-xmark {STEERED_BIT | place:#x}/0xffffffff")
    queues = [
        f"{chain} -m mark --mark {place:#x}/{QUEUE_MASK:#x} -j NFQUEUE --queue-num {queue}"
        for place, queue in enumerate(item.queues, start=1)
    ]
    return [*choice, *queues, f"{chain} -j DROP"]
