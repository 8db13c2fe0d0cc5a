"""TCP segments for the in-process figures, written into buffers that are used again and again."""

import struct

from benchmark.frames import checksum

HEADERS_BYTES = 40
SYN, ACK, SYN_ACK, DATA = 0x02, 0x10, 0x12, 0x18

SEGMENT = struct.Struct("!BBHHHBBH12sIIBBHHH")
"""IPv4 and TCP header, the tuple's addresses and ports in one piece."""
IDENTIFICATION_AND_FLAGS = 0x4000
"""Do not fragment."""


def write_segment(buffer: bytearray, tuple_bytes: bytes, flags: int, payload_bytes: int) -> int:
    """Write a segment with good checksums at the start of `buffer`. Returns its length."""
    length = HEADERS_BYTES + payload_bytes
    SEGMENT.pack_into(
        buffer, 0, 0x45, 0, length, 0, IDENTIFICATION_AND_FLAGS, 64, 6, 0, tuple_bytes, 1, 1, 0x50, flags, 65_535, 0, 0
    )
    buffer[HEADERS_BYTES:length] = bytes(payload_bytes)
    struct.pack_into("!H", buffer, 10, checksum(buffer[:20]))
    pseudo = tuple_bytes[:8] + struct.pack("!HH", 6, length - 20)
    struct.pack_into("!H", buffer, 36, checksum(pseudo + buffer[20:length]))
    return length


def flipped(tuple_bytes: bytes) -> bytes:
    """The tuple of the answer."""
    return tuple_bytes[4:8] + tuple_bytes[:4] + tuple_bytes[10:12] + tuple_bytes[8:10]
