"""The sniffer sees what it is there for: otherwise all the tests that it watches over would prove nothing."""

import socket

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.packet import Packet, Raw

from netns.namespace import open_socket
from tests.faults.lab import FaultLab, until
from tests.faults.sniffer import Sniffer

pytestmark = [pytest.mark.netns, pytest.mark.fault]

OWN = IP(src="10.9.3.20", dst="10.9.3.21") / UDP(sport=1, dport=2) / Raw(b"x")
LEAKS = {
    "source": IP(src="10.1.1.50", dst="10.9.3.20") / UDP(sport=1, dport=2) / Raw(b"x"),
    "destination": IP(src="10.9.3.1", dst="10.1.1.50") / UDP(sport=1, dport=2) / Raw(b"x"),
    "quote": IP(src="10.9.3.1", dst="10.9.3.20") / ICMP(type=3, code=1) / IP(src="10.1.1.50", dst="10.9.3.20"),
}


def send(packet: Packet) -> None:
    """From the provider's router, towards its targets."""
    with open_socket("hp-vpc-flt-p", socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sending:
        sending.sendto(bytes(packet), ("10.9.3.20", 0))


def wait_for_leaks(sniffer: Sniffer) -> list[str]:
    """All that have been seen once there is one."""
    seen: list[str] = []

    def any_seen() -> bool:
        seen.extend(sniffer.leaks())
        return bool(seen)

    until(any_seen, "a leak")
    return seen


@pytest.mark.parametrize("kind", LEAKS)
def test_a_leak_is_seen(lab: FaultLab, sniffer: Sniffer, kind: str) -> None:
    send(LEAKS[kind])
    seen = wait_for_leaks(sniffer)
    assert any(leak.startswith("hp-flt-t1 hp-eth0: ") and "10.1.1.50" in leak for leak in seen)


def test_what_belongs_there_is_none(lab: FaultLab, sniffer: Sniffer) -> None:
    send(OWN)
    send(LEAKS["source"])
    assert all("10.1.1.50" in leak for leak in wait_for_leaks(sniffer))
