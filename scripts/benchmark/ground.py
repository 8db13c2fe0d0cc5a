"""The namespaces and wires between client, contenders and server; built whole, removed whole.

Every name begins with `hp-bench-`, so that what an earlier, killed run left behind is found and removed first.
"""

import os
import signal
from collections.abc import Iterable

from benchmark.failure import BenchmarkError
from benchmark.layout import CLIENT, CLIENT_SIDE, MIDDLES, SERVER, SERVER_SIDE, SINK, TARGET_ADDRESS, Middle
from benchmark.processes import in_namespace, run

MTU = 1500

COMMON_SYSCTLS = {
    "net.ipv4.ip_local_port_range": "1024 65535",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv4.tcp_max_tw_buckets": "2000000",
    "net.core.somaxconn": "4096",
    "net.ipv4.tcp_max_syn_backlog": "4096",
    "net.ipv6.conf.all.disable_ipv6": "1",
}
"""The same in every namespace: wide ports, and no table of closed connections that overflows within a run."""

FORWARDING = {"net.ipv4.ip_forward": "1"}


def build_ground() -> None:
    """Make all namespaces and wires. Errors: BenchmarkError; what was made by then is left to `remove_ground`."""
    if os.geteuid() != 0:
        raise BenchmarkError("namespaces need root: run it with sudo")
    remove_ground()
    for namespace in (CLIENT, SERVER, *(middle.namespace for middle in MIDDLES.values())):
        _make_namespace(namespace)
    _ip(SERVER, [f"address add {TARGET_ADDRESS}/32 dev lo"])
    for middle in MIDDLES.values():
        _wire(middle)
    _drop_at_sink()


def remove_ground() -> None:
    """Remove every namespace of ours with all that still runs in it. Nothing there is not an error."""
    present = {line.split()[0] for line in run(["ip", "netns", "list"]).splitlines() if line.strip()}
    for namespace in sorted(present):
        if namespace in (CLIENT, SERVER) or namespace in {middle.namespace for middle in MIDDLES.values()}:
            _end_processes(namespace)
            run(["ip", "netns", "delete", namespace])


def _end_processes(namespace: str) -> None:
    for pid in run(["ip", "netns", "pids", namespace]).split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue


def _make_namespace(namespace: str) -> None:
    run(["ip", "netns", "add", namespace])
    _ip(namespace, ["link set lo up"])
    forwards = {} if namespace in (CLIENT, SERVER) else FORWARDING
    settings = [f"{name}={value}" for name, value in {**COMMON_SYSCTLS, **forwards}.items()]
    run(in_namespace(namespace, "sysctl", "-q", "-w", *settings))


def _wire(middle: Middle) -> None:
    """One veth to the client, one to the server, and the routes over them."""
    own = middle.namespace
    run(
        ["ip", "-batch", "-"],
        text_in="".join(
            f"link add {inner} mtu {MTU} netns {own} type veth peer name {outer} mtu {MTU} netns {other}\n"
            for inner, outer, other in (
                (CLIENT_SIDE, middle.client_link, CLIENT),
                (SERVER_SIDE, middle.server_link, SERVER),
            )
        ),
    )
    _ip(CLIENT, [*_up(middle.client_link, middle.client_address)])
    _ip(SERVER, [*_up(middle.server_link, middle.server_address)])
    _ip(
        own,
        [
            *_up(CLIENT_SIDE, middle.front_address),
            *_up(SERVER_SIDE, middle.source_address),
            f"route add {TARGET_ADDRESS}/32 via {middle.server_address}",
        ],
    )


def _up(link: str, address: str) -> list[str]:
    return [f"address add {address}/24 dev {link}", f"link set {link} up"]


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


def _ip(namespace: str, lines: Iterable[str]) -> None:
    run(["ip", "-n", namespace, "-batch", "-"], text_in="".join(f"{line}\n" for line in lines))
