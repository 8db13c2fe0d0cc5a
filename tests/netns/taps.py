"""A tap: one raw socket on one link of a namespace, which sends and sees whole Ethernet packets.

That something does *not* arrive is shown by what arrives next: send the one that must not pass, then one
that must; the tap sees packets in order, so if the second is seen first, the first did not pass.
"""

import socket
from collections.abc import Callable
from types import TracebackType

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from netns.namespace import open_socket

ALL_PROTOCOLS = 0x0003
"""linux/if_ether.h, ETH_P_ALL"""
PACKET_OUTGOING = 4
"""linux/if_packet.h: a packet that this link sent itself."""
HANG_GUARD_S = 30
"""Ends a test that would wait for ever. No test's result depends on it."""


class Tap:
    """A context manager. Taps must be open before what they shall see is sent."""

    def __init__(self, namespace: str, link: str) -> None:
        self._socket = open_socket(namespace, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
        self._socket.bind((link, ALL_PROTOCOLS))
        self._socket.settimeout(HANG_GUARD_S)

    def __enter__(self) -> "Tap":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, packet: Packet) -> None:
        self._socket.send(bytes(packet))

    def next(self, wanted: Callable[[Packet], bool]) -> Packet:
        """The next packet that came in and is of the wanted kind."""
        while True:
            data, address = self._socket.recvfrom(65536)
            if address[2] != PACKET_OUTGOING and wanted(packet := Ether(data)):
                return packet


def is_udp(packet: Packet) -> bool:
    return UDP in packet and IP in packet


def is_arp_reply(packet: Packet) -> bool:
    return ARP in packet and packet[ARP].op == 2


def payload(packet: Packet) -> bytes:
    return bytes(packet[Raw].load)


def arp_request(mac: str, source: str, wanted: str) -> Packet:
    return Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=mac, psrc=source, pdst=wanted)


def udp(macs: tuple[str, str], addresses: tuple[str, str], ports: tuple[int, int], data: bytes) -> Packet:
    ip = IP(src=addresses[0], dst=addresses[1])
    return Ether(src=macs[0], dst=macs[1]) / ip / UDP(sport=ports[0], dport=ports[1]) / Raw(data)


def tcp(macs: tuple[str, str], addresses: tuple[str, str], ports: tuple[int, int]) -> Packet:
    ip = IP(src=addresses[0], dst=addresses[1])
    return Ether(src=macs[0], dst=macs[1]) / ip / TCP(sport=ports[0], dport=ports[1], flags="S")


def echo(macs: tuple[str, str], addresses: tuple[str, str]) -> Packet:
    return Ether(src=macs[0], dst=macs[1]) / IP(src=addresses[0], dst=addresses[1]) / ICMP(type=8)
