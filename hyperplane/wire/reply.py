"""Whole packets that answer a packet: a reset, or an ICMP error. Family-neutral.

A reply goes back to where the packet came from, out of the same interface. It is an atomic
datagram (RFC 6864 section 4: DF set, identification 0) with a fresh time to live of 64.

    reset_packet    from the packet's destination: the sender believes that its peer answered
    error_packet    from an address of ours: a router's voice

Not everything may be answered, and then the functions give None:

    RFC 9293 section 3.10.7.1             a reset is never answered with a reset
    RFC 1122 section 3.2.2, RFC 1812      no error about ICMP, about a packet to a broadcast or
    section 4.3.2.7, RFC 4443 2.4 (e)     multicast address, or from one that is no single host

About fragments neither: `Packet` has refused them. How many replies are sent per second is the
caller's limit. RFC 4443 lets "too big" answer a multicast packet; we forward none, so we do not.
"""

from hyperplane.wire.icmp import IcmpError
from hyperplane.wire.ipv4 import Ipv4Header
from hyperplane.wire.ipv6 import Ipv6Header
from hyperplane.wire.packet import ICMP, ICMPV6, TCP, UDP, Packet
from hyperplane.wire.tcp import reset_for

_INTERNETWORK_CONTROL = 0xC0
"""RFC 1812 section 4.3.2.5: ICMP errors carry precedence 6."""

_IPV4_LOOPBACK, _IPV4_CLASS_D = 127, 224
_IPV6_MULTICAST = 0xFF
_IPV6_UNSPECIFIED = bytes(16)
_IPV6_LOOPBACK = bytes(15) + b"\x01"


def reset_packet(packet: Packet) -> bytes | None:
    """The reset that answers a TCP segment of no known flow, as a whole IP packet. None for a reset."""
    assert packet.protocol == TCP
    source, destination = _addresses(packet)
    header = reset_for(
        source_port=int.from_bytes(packet.tuple_bytes[-4:-2], "big"),
        destination_port=int.from_bytes(packet.tuple_bytes[-2:], "big"),
        sequence=packet.sequence,
        acknowledgment=packet.acknowledgment,
        flags=packet.flags,
        payload_bytes=packet.end - packet.payload,
    )
    if header is None:
        return None
    return _ip_packet(destination, source, TCP, header.emit(destination + source))


def error_packet(packet: Packet, error: IcmpError, source: bytes) -> bytes | None:
    """`error` on its way to the sender of `packet`, from our address `source`. None where no error may be sent."""
    sender, receiver = _addresses(packet)
    if packet.protocol not in (TCP, UDP) or not _is_one_host(sender) or not _is_one_host(receiver):
        return None
    protocol, traffic_class = (ICMP, _INTERNETWORK_CONTROL) if packet.version == 4 else (ICMPV6, 0)
    return _ip_packet(source, sender, protocol, error.emit(source + sender), traffic_class)


def _addresses(packet: Packet) -> tuple[bytes, bytes]:
    size = 4 if packet.version == 4 else 16
    return packet.tuple_bytes[:size], packet.tuple_bytes[size : 2 * size]


def _is_one_host(address: bytes) -> bool:
    """Whether an address can mean one host somewhere else: not "this", loopback, multicast, reserved or broadcast."""
    if len(address) == 4:
        return address[0] not in (0, _IPV4_LOOPBACK) and address[0] < _IPV4_CLASS_D
    return address[0] != _IPV6_MULTICAST and address not in (_IPV6_UNSPECIFIED, _IPV6_LOOPBACK)


def _ip_packet(source: bytes, destination: bytes, protocol: int, payload: bytes, traffic_class: int = 0) -> bytes:
    if len(source) == 4:
        total_length = 20 + len(payload)
        return Ipv4Header(source, destination, protocol, total_length, traffic_class=traffic_class).emit() + payload
    return Ipv6Header(source, destination, protocol, len(payload), traffic_class=traffic_class).emit() + payload
