"""Source ports towards one target: random, never two owners, exact at exhaustion.

A pool is the 55,000 ports 1024 .. 56023 of one (load balancer address, target, protocol), as in
AWS ("Network Load Balancer troubleshooting: port allocation errors"). All nodes of a zone draw
from the same pool. The one byte per port that says who has it lives behind `PortClaims`, where
a claim is atomic; so no port has two owners (RFC 4787 REQ-3, RFC 7857 section 3) and the pool
is empty exactly when all 55,000 are taken or resting, whatever the number of nodes.

A port is drawn at random (RFC 6056) by a generator keyed with the node's seed; after
`PORT_PROBES_MAX` draws the rest of the pool is searched from a random place on. A port that
was let go rests `PORT_REST_S` before it is free again (RFC 6888 REQ-8), because a target keeps
a closed connection in TIME_WAIT and would drop a SYN that seems older.
"""

from collections.abc import Callable, Iterator
from hashlib import blake2b
from heapq import heappop, heappush
from itertools import count
from struct import unpack
from typing import Protocol

from hyperplane.limits import PORT_PREFERENCES_MAX, PORT_PROBES_MAX, PORT_REST_S, SNAT_PORT_MIN, SNAT_PORTS_PER_TARGET


class PortClaims(Protocol):
    """One byte per port of one pool, 0 is free, shared by all nodes of a zone."""

    def claim(self, index: int) -> bool:
        """Take port `index` if it is free. Atomic among all nodes. False: somebody has it."""

    def release(self, index: int) -> None:
        """Make port `index` free. Only its owner may."""

    def taken(self) -> bytes:
        """A copy of all bytes."""

    def take_over(self, index: int) -> None:
        """Become the owner of port `index`, whose owner is going away."""

    def is_mine(self, index: int) -> bool:
        """Whether this node (also in an earlier life) is the owner of port `index`."""

    def close(self) -> None:
        """Let go of the shared memory."""

    def owned(self) -> Iterator[int]:
        """All ports of which this node is the owner."""


class Draws:
    """Unpredictable 16 bit numbers from a secret seed: keyed BLAKE2b over a counter."""

    def __init__(self, seed: bytes) -> None:
        self._key = seed[:64]
        self._counter = 0
        self._ready: list[int] = []

    def draw(self, below: int) -> int:
        """A number 0 .. below-1, each equally likely (draws that do not fit are thrown away)."""
        assert 0 < below <= 1 << 16
        limit = (1 << 16) - (1 << 16) % below
        while True:
            if not self._ready:
                block = blake2b(self._counter.to_bytes(8, "big"), key=self._key).digest()
                self._counter += 1
                self._ready = list(unpack("!32H", block))
            value = self._ready.pop()
            if value < limit:
                return value % below


class PortPool:
    """The ports of one (load balancer address, target, protocol) as one node sees them."""

    __slots__ = ("claims", "ports")

    def __init__(self, claims: PortClaims, ports: int = SNAT_PORTS_PER_TARGET) -> None:
        self.claims = claims
        self.ports = ports

    def allocate(self, draws: Draws, prefer: Callable[[int], bool] | None = None) -> int | None:
        """A port number that is this node's from now on, or None: all are taken or resting.

        The first draws look for a port that `prefer` likes; after them any port will do.
        """
        claim = self.claims.claim
        for probe in range(PORT_PROBES_MAX):
            index = draws.draw(self.ports)
            port = SNAT_PORT_MIN + index
            if prefer is not None and probe < PORT_PREFERENCES_MAX and not prefer(port):
                continue
            if claim(index):
                return port
        index = self._search(draws.draw(self.ports))
        return None if index < 0 else SNAT_PORT_MIN + index

    def _search(self, begin: int) -> int:
        """The first port that can be claimed from `begin` on, all the way round; -1 if there is none."""
        claims = self.claims
        taken = claims.taken()[: self.ports]
        for first, last in ((begin, self.ports), (0, begin)):
            index = taken.find(0, first, last)
            while index >= 0:
                if claims.claim(index):
                    return index
                index = taken.find(0, index + 1, last)
        return -1


class RestingPorts:
    """Ports that were let go and wait. All rest equally long, but some are let go later than they are added."""

    def __init__(self, rest_s: float = PORT_REST_S) -> None:
        self._rest_s = rest_s
        self._queue: list[tuple[float, int, PortPool, int]] = []
        """A heap: (until, number of its adding, pool, port)."""
        self._added = count()
        self._until: dict[tuple[PortPool, int], float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def add(self, pool: PortPool, port: int, now: float) -> None:
        """`port` of `pool` is not in use any more from `now` on."""
        until = now + self._rest_s
        heappush(self._queue, (until, next(self._added), pool, port))
        self._until[pool, port] = until

    def discard(self, pool: PortPool, port: int) -> None:
        """`port` is in use after all: it will not be freed before it is added again."""
        self._until.pop((pool, port), None)

    def has(self, pool: PortPool, port: int) -> bool:
        """Whether `port` of `pool` rests now."""
        return (pool, port) in self._until

    def next_timeout(self) -> float | None:
        """When there may be a port that has rested enough."""
        return self._queue[0][0] if self._queue else None

    def free(self, now: float, at_most: int) -> int:
        """Free the ports that have rested until `now`; look at `at_most` of them. Returns how many.

        Only what is still this node's: another may answer for the port by now.
        """
        queue = self._queue
        freed = 0
        for _ in range(at_most):
            if not queue or queue[0][0] > now:
                break
            until, _, pool, port = heappop(queue)
            if self._until.get((pool, port)) != until:
                continue  # taken in use again since, and perhaps let go once more
            del self._until[pool, port]
            index = port - SNAT_PORT_MIN
            if pool.claims.is_mine(index):
                pool.claims.release(index)
                freed += 1
        return freed
