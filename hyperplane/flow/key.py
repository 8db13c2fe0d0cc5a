"""What a flow is found by.

A key is the packet's tuple (addresses and ports as on the wire: 12 or 36 bytes), then the number
of the ENI (2 bytes) and the protocol (1 byte). The ENI is what keeps two consumers with equal
addresses apart: their packets come in by different interfaces (RFC 4787 REQ-7).

A flow has two keys. The *original* key is the client's packet as it reaches the endpoint ENI.
The *translated* key is the same packet as it leaves for the target, with the load balancer's
ENI. A reply carries the translated tuple turned round, so `flipped` finds it.
"""

from enum import IntEnum
from struct import Struct

_SUFFIX = Struct("!HB")
_PORTS = Struct("!HH")


class Direction(IntEnum):
    """Which way a packet of a flow goes (netfilter's words)."""

    ORIGINAL = 0
    """From the client to the target."""
    REPLY = 1


def suffix(eni_number: int, protocol: int) -> bytes:
    """What follows the tuple in a key: 3 bytes."""
    return _SUFFIX.pack(eni_number, protocol)


def tuple_of(source: bytes, destination: bytes, source_port: int, destination_port: int) -> bytes:
    """Tuple bytes from their parts: 12 bytes for IPv4, 36 for IPv6."""
    return source + destination + _PORTS.pack(source_port, destination_port)


def parts_of(tuple_bytes: bytes) -> tuple[bytes, bytes, int, int]:
    """(source, destination, source port, destination port) of tuple bytes."""
    half = (len(tuple_bytes) - 4) // 2
    source_port, destination_port = _PORTS.unpack_from(tuple_bytes, half * 2)
    return tuple_bytes[:half], tuple_bytes[half : half * 2], source_port, destination_port


SUFFIX_BYTES = _SUFFIX.size
