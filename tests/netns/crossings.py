"""One crossing with three neighbours: two whose addresses are equal, down to the MAC, and one elsewhere.

left  10.0.1.50 ── hp-e1 10.0.1.10 ┐
                                   ├ crossing ┤ hp-e3 10.9.0.7 ── far 10.9.0.20
right 10.0.1.50 ── hp-e2 10.0.1.10 ┘
"""

import json
import subprocess
from dataclasses import dataclass

from netns.build import build
from netns.crossing import crossing_end, crossing_namespace
from netns.topology import Link, LinkEnd, Namespace, Route, Topology
from tests.netns.taps import Tap

NEAR_MAC = "02:00:00:00:00:50"
NEAR, NEAR_INTERFACE = "10.0.1.50", "10.0.1.10"
FAR, FAR_INTERFACE = "10.9.0.20", "10.9.0.7"


@dataclass(frozen=True)
class Crossing:
    """Names of the four namespaces."""

    name: str
    left: str
    right: str
    far: str

    def macs(self, number: int) -> tuple[str, str]:
        """Source and destination MAC of a packet that a near neighbour sends to its interface."""
        return NEAR_MAC, self.mac(number)

    def mac(self, number: int) -> str:
        shown = run("ip", "-n", self.name, "-j", "link", "show", f"hp-e{number}")
        return str(json.loads(shown)[0]["address"])

    def tap(self, namespace: str) -> Tap:
        return Tap(namespace, "hp-eth0")

    def iptables(self, *words: str) -> str:
        return run("ip", "netns", "exec", self.name, "iptables", "-w", *words)


def build_crossing(prefix: str) -> tuple[Crossing, Topology]:
    crossing = Crossing(f"{prefix}-x", f"{prefix}-left", f"{prefix}-right", f"{prefix}-far")
    topology = Topology(
        (
            crossing_namespace(crossing.name, [1, 2, 3]),
            Namespace(crossing.left),
            Namespace(crossing.right),
            Namespace(crossing.far),
        ),
        (
            Link(near(crossing.left), crossing_end(crossing.name, 1, NEAR_INTERFACE, "10.0.1.0/24", None)),
            Link(near(crossing.right), crossing_end(crossing.name, 2, NEAR_INTERFACE, "10.0.1.0/24", None)),
            Link(
                LinkEnd(
                    crossing.far,
                    "hp-eth0",
                    addresses=(f"{FAR}/24",),
                    routes=(Route("default", via=FAR_INTERFACE),),
                ),
                crossing_end(crossing.name, 3, FAR_INTERFACE, "10.9.0.0/24", None),
            ),
        ),
    )
    build(topology)
    return crossing, topology


def near(namespace: str) -> LinkEnd:
    return LinkEnd(
        namespace,
        "hp-eth0",
        mac=NEAR_MAC,
        addresses=(f"{NEAR}/24",),
        routes=(Route("default", via=NEAR_INTERFACE),),
    )


def run(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout
