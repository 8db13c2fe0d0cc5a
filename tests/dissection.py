"""A packet read back for assertions, by code that shares nothing with the product.

    seen = dissect(packet)
    assert (seen.source, seen.destination) == (BALANCER, TARGET)
    assert seen.sums_are_right and seen.payload == b"hello"

`dissect` expects a complete IPv4 or IPv6 packet with TCP, UDP or ICMP inside, and fails the
test with an AssertionError on anything else.
"""

import struct
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from tests.cases import ICMP, ICMPV6, TCP, UDP, SocketAddress, internet_sum, pseudo_header


@dataclass(frozen=True, slots=True)
class Seen:
    """One packet, taken apart. Fields that its protocol lacks are 0 or empty; ICMP ports are 0."""

    version: int
    protocol: int
    source: SocketAddress
    destination: SocketAddress
    ttl: int
    traffic_class: int
    identification: int
    dont_fragment: bool
    payload: bytes
    """TCP or UDP payload; of ICMP what follows the second word."""
    header_sum_is_right: bool
    """Always True for IPv6."""
    transport_sum_is_right: bool
    """Also True for UDP without a checksum over IPv4."""
    checksum: int
    """The transport checksum field."""
    flags: int = 0
    sequence: int = 0
    acknowledgment: int = 0
    window: int = 0
    options: bytes = b""
    icmp_type: int = 0
    icmp_code: int = 0
    icmp_rest: int = 0

    @property
    def sums_are_right(self) -> bool:
        """Both sums, as the receiving host will check them."""
        return self.header_sum_is_right and self.transport_sum_is_right


def dissect(packet: bytes | bytearray | memoryview) -> Seen:
    """Take a whole packet apart."""
    packet = bytes(packet)
    if packet[0] >> 4 == 4:
        header_bytes = (packet[0] & 0xF) * 4
        assert int.from_bytes(packet[2:4], "big") == len(packet), "total length"
        protocol, ttl, source, destination = packet[9], packet[8], packet[12:16], packet[16:20]
        traffic_class, header_sum_is_right = packet[1], internet_sum(packet[:header_bytes]) == 0xFFFF
        identification, dont_fragment = int.from_bytes(packet[4:6], "big"), bool(packet[6] & 0x40)
    else:
        assert packet[0] >> 4 == 6, "version"
        header_bytes = 40
        assert int.from_bytes(packet[4:6], "big") + 40 == len(packet), "payload length"
        protocol, ttl, source, destination = packet[6], packet[7], packet[8:24], packet[24:40]
        traffic_class, header_sum_is_right = int.from_bytes(packet[:2], "big") >> 4 & 0xFF, True
        identification, dont_fragment = 0, True
    transport = packet[header_bytes:]
    ports, rest, checksum = _transport(protocol, transport)
    return Seen(
        version=packet[0] >> 4,
        protocol=protocol,
        source=(str(ip_address(source)), ports[0]),
        destination=(str(ip_address(destination)), ports[1]),
        ttl=ttl,
        traffic_class=traffic_class,
        identification=identification,
        dont_fragment=dont_fragment,
        header_sum_is_right=header_sum_is_right,
        transport_sum_is_right=_transport_sum_is_right(source, destination, protocol, transport, checksum),
        checksum=checksum,
        **rest,
    )


def _transport_sum_is_right(source: bytes, destination: bytes, protocol: int, transport: bytes, checksum: int) -> bool:
    if protocol == UDP and checksum == 0:
        return len(source) == 4
    pseudo = b"" if protocol == ICMP else pseudo_header(source, destination, protocol, len(transport))
    return internet_sum(pseudo + transport) == 0xFFFF


def _transport(protocol: int, transport: bytes) -> tuple[tuple[int, int], dict[str, Any], int]:
    """(ports, the fields of this protocol, checksum)."""
    if protocol == TCP:
        source, destination, sequence, acknowledgment, offset_flags, window, checksum, _ = struct.unpack_from(
            "!HHIIHHHH", transport
        )
        header_bytes = (offset_flags >> 12) * 4
        assert 20 <= header_bytes <= len(transport), "data offset"
        fields: dict[str, Any] = {
            "flags": offset_flags & 0x1FF,
            "sequence": sequence,
            "acknowledgment": acknowledgment,
            "window": window,
            "options": transport[20:header_bytes],
            "payload": transport[header_bytes:],
        }
        return (source, destination), fields, checksum
    if protocol == UDP:
        source, destination, length, checksum = struct.unpack_from("!HHHH", transport)
        assert length == len(transport), "UDP length"
        return (source, destination), {"payload": transport[8:]}, checksum
    assert protocol in (ICMP, ICMPV6), "protocol"
    icmp_type, code, checksum, rest = struct.unpack_from("!BBHI", transport)
    fields = {"icmp_type": icmp_type, "icmp_code": code, "icmp_rest": rest, "payload": transport[8:]}
    return (0, 0), fields, checksum
