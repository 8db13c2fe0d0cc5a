"""The namespaces and wires between client, contenders and server, as one topology of the project's own ground.

This project's middle namespace is a crossing, as every fabric is; the others forward as the kernel does.
What an earlier, killed run left behind is found by its names and removed first.
"""

import os
import signal

from benchmark.failure import BenchmarkError
from benchmark.layout import CLIENT, MIDDLES, SERVER, SINK, TARGET_ADDRESS, Middle
from benchmark.processes import in_namespace, run
from netns.build import build
from netns.crossing import crossing_end, crossing_namespace
from netns.topology import Link, LinkEnd, Namespace, Route, Sysctls, Topology

NAMESPACES = (CLIENT, SERVER, *(middle.namespace for middle in MIDDLES.values()))

SYSCTLS: Sysctls = (
    ("net.ipv4.ip_local_port_range", "1024 65535"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv4.tcp_max_tw_buckets", "2000000"),
    ("net.core.somaxconn", "4096"),
    ("net.ipv4.tcp_max_syn_backlog", "4096"),
)
"""The same in every namespace: wide ports, and no table of closed connections that overflows within a run."""

FORWARDING: Sysctls = (("net.ipv4.ip_forward", "1"),)


def build_ground() -> None:
    """Make all namespaces and wires. Errors: BenchmarkError; what was made by then is left to `remove_ground`."""
    if os.geteuid() != 0:
        raise BenchmarkError("namespaces need root: run it with sudo")
    remove_ground()
    build(topology())
    run(["ip", "-n", SERVER, "address", "add", f"{TARGET_ADDRESS}/32", "dev", "lo"])
    _drop_at_sink()


def topology() -> Topology:
    """Client and server with a wire to each of the middle namespaces."""
    middles = tuple(_middle_namespace(middle) for middle in MIDDLES.values())
    links = tuple(link for middle in MIDDLES.values() for link in _wires(middle))
    return Topology((Namespace(CLIENT, SYSCTLS), Namespace(SERVER, SYSCTLS), *middles), links)


def _middle_namespace(middle: Middle) -> Namespace:
    if middle.is_crossing:
        return crossing_namespace(middle.namespace, (middle.front_number, middle.back_number))
    return Namespace(middle.namespace, (*SYSCTLS, *FORWARDING))


def _wires(middle: Middle) -> tuple[Link, Link]:
    """One veth to the client, one to the server."""
    client = LinkEnd(CLIENT, middle.client_link, addresses=(f"{middle.client_address}/24",))
    server = LinkEnd(SERVER, middle.server_link, addresses=(f"{middle.server_address}/24",))
    if middle.is_crossing:
        name = middle.namespace
        front = crossing_end(name, middle.front_number, middle.front_address, middle.client_network, None)
        back = crossing_end(
            name, middle.back_number, middle.source_address, middle.server_network, middle.server_address
        )
    else:
        to_targets = Route(f"{TARGET_ADDRESS}/32", via=middle.server_address)
        front = LinkEnd(middle.namespace, middle.front_link, addresses=(f"{middle.front_address}/24",))
        back = LinkEnd(
            middle.namespace, middle.back_link, addresses=(f"{middle.source_address}/24",), routes=(to_targets,)
        )
    return Link(client, front), Link(server, back)


def remove_ground() -> None:
    """Remove every namespace of ours with all that still runs in it. Nothing there is not an error."""
    present = {line.split()[0] for line in run(["ip", "netns", "list"]).splitlines() if line.strip()}
    for namespace in NAMESPACES:
        if namespace in present:
            _end_processes(namespace)
            run(["ip", "netns", "delete", namespace])


def _end_processes(namespace: str) -> None:
    for pid in run(["ip", "netns", "pids", namespace]).split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue


def _drop_at_sink() -> None:
    """UDP at the targets is counted at the interface and dropped before it costs anything more."""
    last = SINK.target_port_first + SINK.target_count - 1
    rules = f"""table ip hp_bench_sink {{
        chain sink {{
            type filter hook prerouting priority raw;
            udp dport {SINK.target_port_first}-{last} drop
        }}
    }}
    """
    run(in_namespace(SERVER, "nft", "-f", "-"), text_in=rules)
