"""The port pools a node uses, and the ports that have no flow any more.

A pool is opened when its first flow is made. A port goes back when its flow ends: it rests, then
it is free. A port whose owner was killed between the claim and the flow belongs to nobody's flow;
`sweep` finds those and lets them rest too, so nothing leaks.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from hyperplane.flow.interface import Interface
from hyperplane.flow.key import suffix, tuple_of
from hyperplane.limits import (
    POOLS_SWEPT_PER_TICK_MAX,
    PORT_POOLS_MAX,
    PORT_REST_S,
    SNAT_PORT_MIN,
    SNAT_PORTS_PER_TARGET,
)
from hyperplane.nat.port_pool import Draws, PortClaims, PortPool, RestingPorts

_POOL_BEGINS = -1


class PoolKey(NamedTuple):
    """What a pool belongs to. Addresses are 4 or 16 bytes."""

    address: bytes
    """Of the load balancer's ENI."""
    target: bytes
    target_port: int
    protocol: int
    eni_number: int


class PortPools:
    """All pools of one node."""

    def __init__(
        self,
        open_claims: Callable[[PoolKey], PortClaims],
        draws: Draws,
        ports_per_target: int = SNAT_PORTS_PER_TARGET,
        rest_s: float = PORT_REST_S,
    ) -> None:
        self._open_claims = open_claims
        self._draws = draws
        self._ports = ports_per_target
        self._pools: dict[PoolKey, PortPool] = {}
        self.resting = RestingPorts(rest_s)
        self._suspects: set[tuple[PoolKey, int]] = set()
        self._new_suspects: set[tuple[PoolKey, int]] = set()
        self._sweeper: Iterator[tuple[PoolKey, PortPool, int]] = iter(())

    def pool(self, interface: Interface, target: bytes, target_port: int, protocol: int) -> PortPool | None:
        """The pool of flows that leave by `interface` for this target; None when there are too many pools."""
        # A PoolKey is equal to this tuple, and slower to make: this is on every first packet's way.
        key = (interface.address, target, target_port, protocol, interface.number)
        return self._pools.get(key) or self._open(PoolKey(*key))  # type: ignore[call-overload]

    def _open(self, key: PoolKey) -> PortPool | None:
        """A pool used for the first time; where there are too many, in the place of one that nobody uses."""
        if len(self._pools) >= PORT_POOLS_MAX and not self._close_unused():
            return None
        try:
            claims = self._open_claims(key)
        except OSError:
            return None  # no room for another file: the flow is refused and counted, those that exist go on
        pool = self._pools[key] = PortPool(claims, self._ports)
        return pool

    def _close_unused(self) -> bool:
        """Let go of one pool that has no port taken, by no node. False if there is none."""
        for key, pool in self._pools.items():
            if not any(pool.claims.taken()):
                pool.claims.close()
                del self._pools[key]
                return True
        return False

    def allocate(self, pool: PortPool, prefer: Callable[[int], bool] | None = None) -> int | None:
        """A port for a new flow, or None: exhausted. `prefer` as for `PortPool.allocate`."""
        port = pool.allocate(self._draws, prefer)
        if port is not None:
            self.is_in_use(pool, port)
        return port

    def is_in_use(self, pool: PortPool, port: int) -> None:
        """A flow has `port`, also if it seemed to be over before."""
        self.resting.discard(pool, port)

    def give_back(self, pool: PortPool, port: int, now: float) -> None:
        """The flow that had `port` is over, from `now` on."""
        self.resting.add(pool, port, now)

    def sweep(self, has_flow: Callable[[bytes], bool], now: float, at_most: int) -> int:
        """Look at the next `at_most` ports of this node; let those rest that belong to no flow. Returns how many.

        `has_flow` tells for a translated key. A port is let go when two passes in a row found it without a
        flow: on the first, a peer's delta may still be on its way.
        """
        found = pools = 0
        for _ in range(at_most):
            step = next(self._sweeper, None)
            if step is None:
                self._suspects, self._new_suspects = self._new_suspects, set()
                self._sweeper = self._owned_ports()
                return found
            key, pool, index = step
            if index == _POOL_BEGINS:
                pools += 1
                if pools == POOLS_SWEPT_PER_TICK_MAX:
                    return found
                continue
            port = SNAT_PORT_MIN + index
            translated = tuple_of(key.address, key.target, port, key.target_port) + suffix(key.eni_number, key.protocol)
            if has_flow(translated) or self.resting.has(pool, port):
                continue
            if (key, index) in self._suspects:
                self.resting.add(pool, port, now)
                found += 1
            else:
                self._new_suspects.add((key, index))
        return found

    def _owned_ports(self) -> Iterator[tuple[PoolKey, PortPool, int]]:
        """All ports of this node, each pool announced first."""
        for key, pool in tuple(self._pools.items()):
            yield key, pool, _POOL_BEGINS
            for index in pool.claims.owned():
                yield key, pool, index
