"""Sees every packet that arrives in a VPC with an address that does not belong there.

In the provider's VPC no consumer's address may ever appear, in a consumer's none but its own: whatever
does has passed the fabric untranslated. One packet socket in each namespace; the kernel's own filter keeps
what belongs there from it (classic BPF: `linux/filter.h`), so that watching costs the load nothing. ICMP always
passes the filter, because what it quotes has addresses, too.
"""

import ctypes
import socket
import struct
from ipaddress import IPv4Address, IPv4Network
from types import TracebackType
from typing import Self

from netns.namespace import open_socket

NETWORKS = {
    "hp-flt-a": IPv4Network("10.1.0.0/16"),
    "hp-flt-b": IPv4Network("10.1.0.0/16"),
    "hp-flt-c": IPv4Network("10.3.0.0/16"),
    "hp-flt-t1": IPv4Network("10.9.0.0/16"),
    "hp-flt-t2": IPv4Network("10.9.0.0/16"),
    "hp-vpc-flt-a": IPv4Network("10.1.0.0/16"),
    "hp-vpc-flt-b": IPv4Network("10.1.0.0/16"),
    "hp-vpc-flt-c": IPv4Network("10.3.0.0/16"),
    "hp-vpc-flt-p": IPv4Network("10.9.0.0/16"),
}
"""Namespace and the only network whose addresses may arrive there."""

ETH_P_IP = 0x0800
_ICMP = 1
_SO_ATTACH_FILTER = 26
_LOAD_WORD, _LOAD_BYTE, _AND, _EQUALS, _RETURN = 0x20, 0x30, 0x54, 0x15, 0x06
_SOURCE_AT, _DESTINATION_AT, _PROTOCOL_AT = 12, 16, 9
_WHOLE = 0x40000


def _strangers(network: IPv4Network) -> bytes:
    """A filter that takes ICMP and all packets not from `network` to `network`."""
    prefix, mask = int(network.network_address), int(network.netmask)
    program = (
        (_LOAD_BYTE, 0, 0, _PROTOCOL_AT),
        (_EQUALS, 7, 0, _ICMP),
        (_LOAD_WORD, 0, 0, _SOURCE_AT),
        (_AND, 0, 0, mask),
        (_EQUALS, 0, 4, prefix),
        (_LOAD_WORD, 0, 0, _DESTINATION_AT),
        (_AND, 0, 0, mask),
        (_EQUALS, 0, 1, prefix),
        (_RETURN, 0, 0, 0),
        (_RETURN, 0, 0, _WHOLE),
    )
    return b"".join(struct.pack("=HBBI", *line) for line in program)


class Sniffer:
    """A context manager: open before the fault, ask `leaks` after it."""

    def __enter__(self) -> Self:
        self._sockets: dict[str, socket.socket] = {}
        for name, network in NETWORKS.items():
            program = _strangers(network)
            memory = ctypes.create_string_buffer(program)
            sniffing = open_socket(name, socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
            self._sockets[name] = sniffing
            header = struct.pack("HL", len(program) // 8, ctypes.addressof(memory))
            sniffing.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, header)
            sniffing.setblocking(False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sniffing in self._sockets.values():
            sniffing.close()

    def let_go(self, name: str) -> None:
        """Watch a namespace no longer, so that it can end: an open socket would keep it alive."""
        self._sockets.pop(name).close()

    def leaks(self) -> list[str]:
        """Every packet so far that came where its addresses do not belong."""
        found = []
        for name, sniffing in self._sockets.items():
            while True:
                try:
                    packet, (link, *_) = sniffing.recvfrom(65_536)
                except BlockingIOError:
                    break
                addresses = [IPv4Address(packet[at : at + 4]) for at in _address_places(packet)]
                if any(address not in NETWORKS[name] for address in addresses):
                    found.append(f"{name} {link}: {' '.join(map(str, addresses))}")
        return found


def _address_places(packet: bytes) -> list[int]:
    """Where the addresses stand: two in the header, two more in the header that an ICMP error quotes."""
    places = [_SOURCE_AT, _DESTINATION_AT]
    quote = (packet[0] & 0xF) * 4 + 8
    if packet[_PROTOCOL_AT] == _ICMP and len(packet) >= quote + 20:
        places += [quote + _SOURCE_AT, quote + _DESTINATION_AT]
    return places
