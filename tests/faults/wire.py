"""What the load's clients and servers say to each other.

One TCP port, the client speaks first: a line with the kind of the conversation and its seed, then

    down    the server sends blocks until it reads the byte "E", then an empty block and its digest
    up      the client sends blocks, each is answered by one byte; an empty block ends it, the digest comes back
    echo    what comes goes back, in pieces of PIECE_BYTES

A second port where the server speaks first: a banner, one line from the client, the same line back, the end.
A third one for UDP: every datagram goes back.

The bytes of a block depend on the conversation's seed and on the block's place, so bytes of another
conversation, a block twice, a block too few: each changes the digest.
"""

import hashlib
import random
import struct
from typing import NamedTuple

STREAM_PORT, BANNER_PORT, ECHO_PORT = 9001, 9003, 9002
"""Ports of the target."""

BLOCK_BYTES = 32 * 1024
BLOCK_PAUSE_S = 0.05
"""640 kB/s a bulk transfer: fifty of them leave a small machine some time for everything else."""

PIECE_BYTES = 64
END = b"E"
BANNER = b"220 speak\n"
LENGTH = struct.Struct("!I")
NUMBER = struct.Struct("!Q")

_NOISE = random.Random(1).randbytes(1 << 20)


class Hello(NamedTuple):
    """The first line of a conversation that the client opens."""

    kind: str
    seed: int
    pause_s: float

    def encode(self) -> bytes:
        return f"{self.kind} {self.seed} {self.pause_s}\n".encode()

    @classmethod
    def decode(cls, line: bytes) -> "Hello":
        kind, seed, pause_s = line.decode().split()
        return cls(kind, int(seed), float(pause_s))


class Blocks:
    """The blocks of one conversation, with a running digest of all that were made or taken in."""

    def __init__(self, seed: int) -> None:
        self._digest = hashlib.sha256()
        self._seed = seed
        self._place = 0

    def next(self) -> bytes:
        """The next block with its length before it."""
        at = (self._seed * 40_503 + self._place * 4_099) % (len(_NOISE) - BLOCK_BYTES)
        block = NUMBER.pack(self._seed << 32 | self._place) + _NOISE[at : at + BLOCK_BYTES - NUMBER.size]
        self._place += 1
        self._digest.update(block)
        return LENGTH.pack(len(block)) + block

    def take(self, block: bytes) -> None:
        self._digest.update(block)

    def digest(self) -> bytes:
        return self._digest.digest()
