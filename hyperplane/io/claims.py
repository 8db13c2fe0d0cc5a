"""Port claims in shared memory: one file per pool, one byte per port.

A byte is 0 (free) or the number of the owner plus one. To claim a port a node takes the kernel's
record lock on that one byte, looks, writes, and lets go (fcntl(2), POSIX record locks). The lock
is never waited for: a port that somebody else is just looking at is not taken, another is drawn.
So a node that is stopped while it holds a lock delays nobody, and one that is killed holds none.
"""

import fcntl
import mmap
import os
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from hyperplane.flow.ports import PoolKey
from hyperplane.limits import SNAT_PORTS_PER_TARGET


def pool_file_name(key: PoolKey) -> str:
    """A short name that only this pool has."""
    identity = b"|".join((key.address, key.target, b"%d|%d|%d" % (key.target_port, key.protocol, key.eni_number)))
    return blake2b(identity, digest_size=12).hexdigest()


class SharedPortClaims:
    """The claims of one pool as one node sees them."""

    def __init__(self, path: Path, node: int, node_count: int, ports: int = SNAT_PORTS_PER_TARGET) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o660)
        if os.fstat(self._file).st_size < ports:
            os.ftruncate(self._file, ports)
        self._memory = mmap.mmap(self._file, ports)
        self._tag = node + 1
        # With fewer nodes than before, the ports of those that are gone are shared out among the rest.
        self._marks = bytes(tag > 0 and (tag - 1) % node_count == node for tag in range(256))

    def claim(self, index: int) -> bool:
        """Take port `index` if it is free. Atomic among all nodes."""
        if self._memory[index]:
            return False
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, index)
        except OSError:
            return False
        try:
            if self._memory[index]:
                return False
            self._memory[index] = self._tag
            return True
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, index)

    def release(self, index: int) -> None:
        """Make port `index` free."""
        self._memory[index] = 0

    def taken(self) -> bytes:
        """A copy of all bytes."""
        return self._memory[:]

    def take_over(self, index: int) -> None:
        """Become the owner of port `index`, whose owner is going away."""
        self._memory[index] = self._tag

    def is_mine(self, index: int) -> bool:
        """Whether this node has to give port `index` back."""
        return bool(self._marks[self._memory[index]])

    def owned(self) -> Iterator[int]:
        """All ports that this node has to give back."""
        marked = self._memory[:].translate(self._marks)
        index = marked.find(1)
        while index >= 0:
            yield index
            index = marked.find(1, index + 1)

    def close(self) -> None:
        self._memory.close()
        os.close(self._file)
