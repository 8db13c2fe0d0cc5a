"""The machine that the figures belong to."""

import json
import os
import platform
from pathlib import Path

from benchmark.layout import CLIENT, MIDDLES
from benchmark.processes import in_namespace, run

OFFLOADS = ("tx-checksum-ip-generic", "tcp-segmentation-offload", "generic-segmentation-offload")
RECEIVE_OFFLOADS = ("generic-receive-offload",)
LONG_NAMES = {"tx-checksum-ip-generic": "tx-checksum"}


def describe_machine() -> dict[str, object]:
    """Cores, CPU, memory, kernel, offloads of the wires (the ground must stand), versions of the other programs."""
    memory_kb = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_gib": round(memory_kb / (1 << 20), 1),
        "kernel": platform.release(),
        "system": _system(),
        "python": platform.python_version(),
        "offloads": _offloads(),
        "conntrack_max": _integer("/proc/sys/net/netfilter/nf_conntrack_max"),
        "versions": _versions(),
    }


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _system() -> str:
    pairs = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return pairs.get("PRETTY_NAME", "unknown").strip('"')


def _integer(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except FileNotFoundError:
        return None


def _offloads() -> dict[str, dict[str, bool]]:
    """Per namespace and link, as `ethtool -k` says."""
    links = [(CLIENT, middle.client_link) for middle in MIDDLES.values()]
    links += [(middle.namespace, middle.front_link) for middle in MIDDLES.values()]
    found = {}
    for namespace, link in links:
        features = json.loads(run(in_namespace(namespace, "ethtool", "--json", "-k", link)))[0]
        wanted = (*OFFLOADS, *RECEIVE_OFFLOADS)
        found[f"{namespace}/{link}"] = {name: bool(features[name]["active"]) for name in wanted if name in features}
    return found


def _versions() -> dict[str, str]:
    asked = {
        "haproxy": ["haproxy", "-v"],
        "iperf3": ["iperf3", "--version"],
        "nft": ["nft", "--version"],
    }
    return {name: run(command).splitlines()[0].strip() for name, command in asked.items()}


def machine_lines(machine: dict[str, object]) -> list[str]:
    """The same for people."""
    offloads = machine["offloads"]
    assert isinstance(offloads, dict)
    states = {tuple(sorted(state.items())) for state in offloads.values()}
    lines = [
        f"{machine['cores']} cores, {machine['cpu']}, {machine['memory_gib']} GiB",
        f"{machine['system']}, kernel {machine['kernel']}, Python {machine['python']}",
        "generator, contender and targets share these cores; MTU 1500 on every wire",
    ]
    if len(states) == 1:
        on = [LONG_NAMES.get(name, name) for name, active in states.pop() if active]
        lines.append(f"offloads, the same on every wire: {', '.join(on) or 'none'}")
    else:
        lines.append("warning: offloads differ between the wires, see the JSON")
    return lines
