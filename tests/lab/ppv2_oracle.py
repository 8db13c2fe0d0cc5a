"""The Proxy Protocol v2 header that a target must get, written a second time: nothing of the product is used here.

    0   12  signature
    12   1  0x21: version 2, PROXY
    13   1  0x11 TCP over IPv4, 0x12 UDP over IPv4
    14   2  length of what follows: 84
    16  12  client's address, endpoint ENI's address, client's port, listener's port
    28   7  TLV 0x03, CRC32C over all 100 bytes with these four as zeros
    35  26  TLV 0xEA, subtype 1 and the endpoint's id in ASCII
    61  39  TLV 0x04, 36 zeros

HAProxy's "The PROXY protocol", section 2.2, and the header of a real Network Load Balancer that AWS's own parser is
tested with (github.com/aws/elastic-load-balancing-tools, proprot). The CRC is computed bit by bit, from the polynomial.
"""

import struct
from ipaddress import IPv4Address

from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Packet

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
HEADER_BYTES = 100
CRC_AT, ID_AT, PADDING_AT = 31, 39, 64
"""Where the values of the three TLVs begin; the id's after its subtype."""
_FAMILY = {"tcp": 0x11, "udp": 0x12}
_CASTAGNOLI = 0x82F63B78
"""0x1EDC6F41 with its bits the other way round (RFC 3309 appendix B)."""


def crc32c(data: bytes) -> int:
    """The CRC of RFC 3309, one bit at a time."""
    rest = 0xFFFFFFFF
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = rest >> 1 ^ (_CASTAGNOLI if rest & 1 else 0)
    return rest ^ 0xFFFFFFFF


def header(protocol: str, client: tuple[str, int], door: tuple[str, int], endpoint_id: str) -> bytes:
    """All hundred bytes for a client at an endpoint's address and port."""
    addresses = IPv4Address(client[0]).packed + IPv4Address(door[0]).packed + struct.pack("!HH", client[1], door[1])
    endpoint = b"\x01" + endpoint_id.encode("ascii")
    tlvs = [(0x03, bytes(4)), (0xEA, endpoint), (0x04, bytes(36))]
    rest = addresses + b"".join(struct.pack("!BH", kind, len(value)) + value for kind, value in tlvs)
    made = SIGNATURE + struct.pack("!BBH", 0x21, _FAMILY[protocol], len(rest)) + rest
    assert len(made) == HEADER_BYTES
    return made[:CRC_AT] + struct.pack("!I", crc32c(made)) + made[CRC_AT + 4 :]


def with_flipped_bit(made: bytes, at: int) -> bytes:
    """The same header with one bit of one byte the other way."""
    return made[:at] + bytes([made[at] ^ 0x01]) + made[at + 1 :]


def payload(packet: Packet) -> bytes:
    """What a TCP or UDP packet carries, by the lengths in its headers: a short packet is padded on a link."""
    above = packet[TCP] if TCP in packet else packet[UDP]
    own = above.dataofs * 4 if TCP in packet else 8
    begin = packet[IP].ihl * 4 + own
    return bytes(packet[IP])[begin : packet[IP].len]
