"""What the kernel can do, found by letting it do that in scratch namespaces."""

import os
import secrets
import socket
import subprocess
from collections.abc import Callable

from hyperplane.cli.doctor.finding import Absent, Probe
from hyperplane.cli.doctor.scratch import (
    DATAGRAM_BYTES,
    SEGMENT_BYTES,
    catch,
    fragments,
    run_ip,
    super_packet,
    veth_pair,
)
from hyperplane.io.emitter import Emitter
from hyperplane.wire.packet import ChecksumState
from netns import namespace as namespaces
from netns.crossing import INTERFACE_SYSCTLS, SYSCTLS
from netns.iptables import restore
from netns.namespace import inside_scratch
from netns.steer import InterfaceSteering, Mode, Steering, expected_fingerprint
from netns.sysctl import link_sysctls, set_sysctls

_HASH = "--hmark-tuple src,dst,sport,dport --hmark-proto-mask 0xff --hmark-rnd 1 --hmark-mod 2 --hmark-offset 1"


def _named_namespace() -> str:
    name = f"hp-doctor-{secrets.token_hex(4)}"
    namespaces.create([name])
    try:
        with namespaces.inside(name):
            pass
    finally:
        namespaces.delete(name)
    return "made, entered, deleted"


def _veth() -> str:
    with veth_pair():
        return "made a pair"


def _bridge() -> str:
    with inside_scratch():
        run_ip("link add hp-d0 type bridge", "link set hp-d0 up")
    return "made one"


def _policy_routing() -> str:
    with inside_scratch():
        run_ip(
            "rule add pref 100 fwmark 1/0xffff lookup 10001",
            "rule add pref 200 ipproto udp blackhole",
            "rule add pref 300 lookup local",
            "rule del pref 0",
        )
    return "rules by mark, by protocol, blackhole"


def _sysctls() -> str:
    with veth_pair():
        wanted = (*SYSCTLS, *link_sysctls("hp-d1", INTERFACE_SYSCTLS))
        set_sysctls(wanted)
    return f"set {len(wanted)} in a namespace"


def _rule(table: str, rule: str) -> Callable[[], str]:
    def look() -> str:
        with inside_scratch():
            restore(f"*{table}\n-A PREROUTING {rule}\nCOMMIT\n", "")
        return "taken by iptables-restore"

    return look


def _steering(mode: Mode) -> Callable[[], str]:
    def look() -> str:
        expected_fingerprint(Steering((InterfaceSteering("hp-e1", (0, 1)),), mode))
        return "the whole rule set is taken"

    return look


def _super_packets() -> str:
    packets, segment_bytes = super_packet()
    caught = catch(packets, segment_bytes)
    if caught is None:
        raise Absent("a packet was sent into a queue and never came out")
    length, state = caught
    if length < SEGMENT_BYTES or state is not ChecksumState.SEGMENTED:
        raise Absent(f"a super-packet of {SEGMENT_BYTES} bytes came out of the queue as {length} bytes")
    return f"{length} bytes came out of a queue whole"


def _fragments() -> str:
    caught = catch(fragments())
    if caught is None:
        raise Absent("a fragment was sent into a queue and never came out")
    if caught[0] > DATAGRAM_BYTES:
        raise Absent(f"three fragments came out of the queue as one packet of {caught[0]} bytes")
    return f"a fragment of {caught[0]} bytes came out of a queue as it was"


def _nft_queue() -> str:
    rules = "add table ip hp-d\nadd chain ip hp-d c { type filter hook prerouting priority -150; }\n"
    with inside_scratch():
        try:
            done = subprocess.run(
                ["nft", "-f", "-"],
                input=f"{rules}add rule ip hp-d c queue num 1\n",
                text=True,
                capture_output=True,
                check=False,
            )
        except FileNotFoundError:
            raise Absent("nft is not installed") from None
    if done.returncode != 0:
        raise Absent("the kernel refuses nft's queue statement")
    return "taken by nft"


def _raw_sockets() -> str:
    with inside_scratch():
        emitter = Emitter()
        emitter.close()
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW):
            return "opened both kinds"


def _pidfd() -> str:
    os.close(os.pidfd_open(os.getpid()))
    return "opened one"


def _config(*options: str) -> str:
    return "a kernel with " + ", ".join(f"CONFIG_{option}" for option in options)


PROBES = (
    Probe(
        "network namespaces",
        _named_namespace,
        "no lab, no fabric",
        _config("NET_NS") + "; a container needs more rights",
    ),
    Probe("veth links", _veth, "nothing can be wired together", _config("VETH")),
    Probe("bridges", _bridge, "a VPC has no subnets", _config("BRIDGE")),
    Probe(
        "policy routing",
        _policy_routing,
        "overlapping networks cannot be told apart",
        _config("IP_MULTIPLE_TABLES"),
    ),
    Probe(
        "sysctls of namespaces",
        _sysctls,
        "the fabric would answer ARP wrongly or drop good packets",
        "a writable /proc/sys",
    ),
    Probe(
        "NFQUEUE target",
        _rule("mangle", "-p tcp -j NFQUEUE --queue-num 1"),
        "no packet reaches a node",
        _config("NETFILTER_XT_TARGET_NFQUEUE", "NETFILTER_NETLINK_QUEUE"),
    ),
    Probe(
        "HMARK target",
        _rule("mangle", f"-p tcp -j HMARK {_HASH}"),
        "packets cannot be dealt to nodes by their whole 5-tuple",
        _config("NETFILTER_XT_TARGET_HMARK"),
    ),
    Probe(
        "CT target, notrack",
        _rule("raw", "-j CT --notrack"),
        "connection tracking would mix up flows with equal addresses",
        _config("NETFILTER_XT_TARGET_CT"),
    ),
    Probe(
        "mark match and MARK target",
        _rule("mangle", "-m mark --mark 0x0/0x1 -j MARK --set-xmark 0x1/0xffffffff"),
        "the way out of a packet cannot be chosen",
        _config("NETFILTER_XT_MARK"),
    ),
    Probe("steering rules", _steering(Mode.HASH), "the fabric drops everything", "what is missing above"),
    Probe(
        "spray steering",
        _steering(Mode.SPRAY),
        "the lab setting `steering: spray` (a test of replication) cannot be used",
        _config("NETFILTER_XT_MATCH_STATISTIC", "NETFILTER_XT_MATCH_U32"),
        required=False,
    ),
    Probe(
        "super-packets in a queue",
        _super_packets,
        "the fabric does not start: it wants a sender's packets whole, which is ten times faster",
        _config("NETFILTER_NETLINK_QUEUE") + " that knows NFQA_CFG_F_GSO",
    ),
    Probe(
        "fragments in a queue",
        _fragments,
        "the kernel puts fragments together itself, and mixes those of hosts with equal addresses",
        "no rule or module that asks for connection states (NF_DEFRAG_IPV4) in new namespaces",
    ),
    Probe("raw sockets", _raw_sockets, "no resets and ICMP errors, no trace, no capture", "the capability CAP_NET_RAW"),
    Probe("pidfd", _pidfd, "a dead node is noticed late", "a kernel with pidfd_open(2)", as_root=False),
    Probe(
        "nft queue statement",
        _nft_queue,
        "nothing: iptables' NFQUEUE target is used",
        _config("NFT_QUEUE"),
        required=False,
    ),
)
