"""The Proxy Protocol v2 header that a target must get, byte by byte, by code that shares nothing with the product.

    0   12  signature
    12   1  0x21: version 2, PROXY
    13   1  family and protocol: 0x11, 0x12 TCP and UDP over IPv4, 0x21, 0x22 over IPv6
    14   2  how many bytes follow
    16      client's address, endpoint's address (4 or 16 bytes each), client's port, listener's port
         7  TLV 0x03: CRC32C over the whole header with these four bytes as zeros, highest byte first
            TLV 0xEA: 1, then the endpoint's id in ASCII
            TLV 0x04: zeros, as many as make the header 100 bytes long, or 124 over IPv6

A real Network Load Balancer's header over IPv4 has these 100 bytes (github.com/aws/elastic-load-balancing-tools,
proprot). For IPv6 none was published: the length is the project's choice.
"""

from tests.cases import TCP, SocketAddress, packed

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
_CASTAGNOLI = 0x1EDC6F41


def _mirrored(value: int, bits: int) -> int:
    return int(format(value, f"0{bits}b")[::-1], 2)


def crc32c(data: bytes) -> int:
    """Long division of the message by the polynomial, one bit at a time, highest bit first (RFC 3720 appendix B.4)."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= _mirrored(byte, 8) << 24
        for _ in range(8):
            register = register << 1 ^ (_CASTAGNOLI if register >> 31 else 0)
            register &= 0xFFFFFFFF
    return _mirrored(register, 32) ^ 0xFFFFFFFF


def _tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


def proxy_header(client: SocketAddress, endpoint: SocketAddress, endpoint_id: str, protocol: int = TCP) -> bytes:
    """The whole header of a client that spoke to this endpoint."""
    source, destination = packed(client[0]), packed(endpoint[0])
    is_6 = len(source) == 16
    rest = source + destination + client[1].to_bytes(2, "big") + endpoint[1].to_bytes(2, "big")
    checksum_at = 16 + len(rest) + 3
    rest += _tlv(0x03, bytes(4)) + _tlv(0xEA, b"\x01" + endpoint_id.encode("ascii"))
    rest += _tlv(0x04, bytes((124 if is_6 else 100) - 16 - len(rest) - 3))
    family = (0x20 if is_6 else 0x10) | (0x01 if protocol == TCP else 0x02)
    blank = SIGNATURE + bytes([0x21, family]) + len(rest).to_bytes(2, "big") + rest
    return blank[:checksum_at] + crc32c(blank).to_bytes(4, "big") + blank[checksum_at + 4 :]
