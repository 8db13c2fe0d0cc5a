"""CRC32C, the cyclic redundancy check with Castagnoli's polynomial (RFC 3720 section 12.1, vectors in appendix B.4).

    generator   0x11EDC6F41; written lowest bit first, as here, 0x82F63B78
    register    32 ones at the start, takes each byte lowest bit first, complemented at the end

Which byte of the number comes first on the wire is its user's business: iSCSI and SCTP send the
lowest first, the Proxy Protocol sends the highest first.

The remainder of a sum (XOR) is the sum of the remainders. So if one byte of a message changes,
its CRC changes by a number that follows from the change and from how many bytes stand behind
it, whatever those are. `changes` has these numbers: with them the CRC of a known text with a
few new bytes costs one look-up for each new byte instead of one step for each byte.

Our own because the packet core takes no third-party package, and Python's `zlib` and `binascii`
know only the other polynomial.
"""

from collections.abc import Iterable
from functools import lru_cache

CRC_BYTES = 4

_POLYNOMIAL = 0x82F63B78
_ALL_ONES = 0xFFFFFFFF

_TABLES_KEPT = 64
"""Tables of `changes`. Our choice: the usual IPv4 and IPv6 headers share 24, the rest is for unusual lengths."""


def _spread(bit_changes: Iterable[int]) -> tuple[int, ...]:
    """What each of the 256 bytes does, from what its single bits do, lowest first."""
    table = [0]
    for bit_change in bit_changes:
        table += [change ^ bit_change for change in table]
    return tuple(table)


def _shifted(register: int) -> int:
    for _ in range(8):
        register = register >> 1 ^ (_POLYNOMIAL if register & 1 else 0)
    return register


_TABLE = _spread(_shifted(1 << bit) for bit in range(8))


def crc32c(data: bytes | bytearray | memoryview, initial: int = 0) -> int:
    """The CRC of `data`. `initial`: the CRC of what stands before it, so that a text can be taken in pieces."""
    register = initial ^ _ALL_ONES
    for byte in data:
        register = _TABLE[(register ^ byte) & 0xFF] ^ register >> 8
    return register ^ _ALL_ONES


@lru_cache(_TABLES_KEPT)
def changes(bytes_behind: int) -> tuple[int, ...]:
    """By value 0 .. 255: what to XOR to the CRC when a byte with so many bytes behind it becomes this instead of 0."""
    bit_changes = [_TABLE[1 << bit] for bit in range(8)]
    for _ in range(bytes_behind):
        bit_changes = [_TABLE[change & 0xFF] ^ change >> 8 for change in bit_changes]
    return _spread(bit_changes)
