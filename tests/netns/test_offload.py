"""UDP super-packets between two namespaces: whole, or cut by the link that is told to. ethtool says the same."""

import shutil
import socket
import subprocess

import pytest

from netns.build import build
from netns.errors import KernelError
from netns.namespace import inside, open_socket
from netns.offload import cut_datagrams, cuts_datagrams
from netns.topology import Link, LinkEnd, Namespace, Topology
from tests.netns.taps import ALL_PROTOCOLS, HANG_GUARD_S

pytestmark = pytest.mark.netns

UDP_SEGMENT = 103
SIZE, COUNT = 100, 5


def topology(prefix: str, cut: bool | None) -> Topology:
    left, right = f"{prefix}-left", f"{prefix}-right"
    return Topology(
        (Namespace(left), Namespace(right)),
        (
            Link(
                LinkEnd(left, "hp-eth0", addresses=("10.0.1.2/24",), cuts_datagrams=cut),
                LinkEnd(right, "hp-eth0", addresses=("10.0.1.3/24",)),
            ),
        ),
    )


def told_by_ethtool(namespace: str) -> str:
    if shutil.which("ethtool") is None:
        pytest.skip("ethtool is not installed")
    with inside(namespace):
        lines = subprocess.run(["ethtool", "-k", "hp-eth0"], capture_output=True, text=True, check=True).stdout
    return next(line.split()[1] for line in lines.splitlines() if line.startswith("tx-udp-segmentation"))


def lengths_on_the_wire(prefix: str) -> list[int]:
    """UDP lengths of what leaves when five datagrams are sent at once."""
    ears = open_socket(f"{prefix}-right", socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ALL_PROTOCOLS))
    mouth = open_socket(f"{prefix}-left", socket.AF_INET, socket.SOCK_DGRAM)
    with ears, mouth:
        ears.bind(("hp-eth0", ALL_PROTOCOLS))
        ears.settimeout(HANG_GUARD_S)
        mouth.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, SIZE)
        mouth.sendto(bytes(SIZE * COUNT), ("10.0.1.3", 9))
        found: list[int] = []
        while sum(found) < SIZE * COUNT:
            packet, (_, protocol, *_) = ears.recvfrom(65_535)
            if protocol == 0x0800 and packet[9] == socket.IPPROTO_UDP:
                found.append(len(packet) - 28)
        return found


def test_a_link_cuts_or_passes_as_it_is_told_and_can_be_told_anew(prefix: str) -> None:
    left = f"{prefix}-left"
    build(topology(prefix, True))
    assert told_by_ethtool(left) == "off"
    assert lengths_on_the_wire(prefix) == [SIZE] * COUNT
    assert build(topology(prefix, True)) == ()
    changes = [str(change) for change in build(topology(prefix, False))]
    assert changes == [f"{left}: hp-eth0 passes UDP super-packets"]
    assert told_by_ethtool(left) == "on"
    assert lengths_on_the_wire(prefix) == [SIZE * COUNT]
    assert build(topology(prefix, False)) == ()


def test_who_does_not_care_finds_what_another_has_set(prefix: str) -> None:
    left = f"{prefix}-left"
    build(topology(prefix, None))
    with inside(left):
        cut_datagrams("hp-eth0", True)
        assert cuts_datagrams("hp-eth0")
    assert told_by_ethtool(left) == "off"
    assert build(topology(prefix, None)) == ()
    assert told_by_ethtool(left) == "off"


def test_a_link_that_is_not_there(prefix: str) -> None:
    build(topology(prefix, None))
    with inside(f"{prefix}-left"), pytest.raises(KernelError, match="hp-eth9: cannot ask or set what it offloads"):
        cuts_datagrams("hp-eth9")
