"""The port pools a node uses, and the ports that have no flow any more.

A pool is opened when its first flow is made. A port goes back when its flow ends: it rests, then
it is free. A port whose owner was killed between the claim and the flow belongs to nobody's flow;
`sweep` finds those and lets them rest too, so nothing leaks.
"""

from collections.abc import Callable
from typing import NamedTuple

from hyperplane.flow.interface import Interface
from hyperplane.flow.key import tuple_of
from hyperplane.limits import PORT_POOLS_MAX, PORT_REST_S, SNAT_PORT_MIN, SNAT_PORTS_PER_TARGET
from hyperplane.nat.port_pool import Draws, PortClaims, PortPool, RestingPorts


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
        self._rest_s = rest_s
        self.resting = RestingPorts(rest_s)
        self._suspects: set[tuple[PoolKey, int]] = set()

    def pool(self, interface: Interface, target: bytes, target_port: int, protocol: int) -> PortPool | None:
        """The pool of flows that leave by `interface` for this target; None when there are too many pools."""
        key = PoolKey(interface.address, target, target_port, protocol, interface.number)
        pool = self._pools.get(key)
        if pool is None and len(self._pools) < PORT_POOLS_MAX:
            pool = self._pools[key] = PortPool(self._open_claims(key), self._ports)
        return pool

    def allocate(self, pool: PortPool) -> int | None:
        """A port for a new flow, or None: exhausted."""
        return pool.allocate(self._draws)

    def give_back(self, pool: PortPool, port: int, now: float) -> None:
        """The flow that had `port` is over."""
        self.resting.add(pool, port, now)

    def sweep(self, has_flow: Callable[[bytes], bool], now: float) -> int:
        """Let ports rest that have been claimed by this node but carried no flow at two sweeps in a row.

        `has_flow` tells for a translated key. Ports already resting meet their end there: freeing a
        free port changes nothing. Returns how many were found.
        """
        suspects: set[tuple[PoolKey, int]] = set()
        found = 0
        for key, pool in self._pools.items():
            eni_suffix = key.eni_number.to_bytes(2, "big") + bytes([key.protocol])
            resting = self.resting.of(pool)
            for index in pool.claims.owned():
                port = SNAT_PORT_MIN + index
                translated = tuple_of(key.address, key.target, port, key.target_port) + eni_suffix
                if index in resting or has_flow(translated):
                    continue
                if (key, index) in self._suspects:
                    self.resting.add(pool, port, now)
                    found += 1
                else:
                    suspects.add((key, index))
        self._suspects = suspects
        return found
