"""Packets that no ordinary program sends, made with scapy and sent as they are from a namespace of the lab.

Raw IP packets are routed as any other. Raw frames go out of one link as they are.
"""

import socket
from collections.abc import Iterable
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.packet import Raw

from netns.namespace import open_socket


def send_ip(namespace: str, packets: Iterable[Any] | Any) -> None:
    """Send IP packets, addresses and checksums as scapy builds them. A source of zeros is kept, too."""
    with open_socket(namespace, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for packet in [packets] if isinstance(packets, IP) else packets:
            raw.sendto(bytes(packet), (packet.dst, 0))


def send_frames(namespace: str, link: str, frames: Iterable[Any]) -> None:
    """Send Ethernet frames out of a link."""
    with open_socket(namespace, socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((link, 0))
        for frame in frames:
            raw.send(bytes(frame))


def segment(source: tuple[str, int], destination: tuple[str, int], flags: str, data: bytes = b"", **fields: Any) -> Any:
    """A TCP segment; `fields` are scapy's of the TCP header."""
    header = TCP(sport=source[1], dport=destination[1], flags=flags, **fields)
    packet = IP(src=source[0], dst=destination[0]) / header
    return packet / Raw(data) if data else packet


def datagram(source: tuple[str, int], destination: tuple[str, int], data: bytes, **fields: Any) -> Any:
    """A UDP datagram; `fields` are scapy's of the IP header."""
    return IP(src=source[0], dst=destination[0], **fields) / UDP(sport=source[1], dport=destination[1]) / Raw(data)


def icmp_error(
    source: str, destination: str, icmp_type: int, code: int, quoted: Any, next_hop_mtu: int | None = None
) -> Any:
    """An ICMP error about `quoted`, an IP packet, of which the header and 8 bytes are told."""
    fields = {} if next_hop_mtu is None else {"nexthopmtu": next_hop_mtu}
    header = ICMP(type=icmp_type, code=code, **fields)
    return IP(src=source, dst=destination) / header / Raw(bytes(quoted)[:28])
