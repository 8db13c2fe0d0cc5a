"""The pools of a node: opened when needed, ports given back, and what nobody's flow has found again."""

from collections.abc import Iterator

import pytest

from hyperplane.flow.key import suffix, tuple_of
from hyperplane.flow.ports import PoolKey, PortPools
from hyperplane.limits import (
    POOLS_SWEPT_PER_TICK_MAX,
    PORT_POOLS_MAX,
    PORT_REST_S,
    PORTS_SWEPT_PER_TICK_MAX,
    SNAT_PORT_MIN,
)
from hyperplane.nat.port_pool import Draws
from hyperplane.wire.packet import TCP, UDP
from tests.cases import packed
from tests.flow.flows import interface_of
from tests.nodes import EXIT, MemoryClaims

TARGET = packed("10.9.3.20")
ENOUGH = 100


class Pools:
    """Pools over memory, with the flows that are said to exist."""

    def __init__(self, ports: int = 8) -> None:
        self.taken: dict[PoolKey, bytearray] = {}
        self.balancer = interface_of(number=EXIT)
        self.flows: set[bytes] = set()
        self.pools = PortPools(
            lambda key: MemoryClaims(self.taken.setdefault(key, bytearray(ports)), 0, 1), Draws(bytes(32)), ports
        )

    def sweep(self, now: float) -> int:
        return self.pools.sweep(self.flows.__contains__, now, ENOUGH)

    def pass_time(self, first: int, last: int) -> int:
        """One sweep a second; returns how many ports were found."""
        found = 0
        for now in range(first, last):
            found += self.sweep(float(now))
            self.pools.resting.free(float(now), ENOUGH)
        return found


def test_nat_02_each_target_port_and_protocol_has_a_pool_of_its_own() -> None:
    """RFC 7857 section 3: the same port may serve different targets."""
    made = Pools(ports=1)
    ports = [
        made.pools.allocate(pool)
        for address, port, protocol in ((1, 80, TCP), (2, 80, TCP), (1, 81, TCP), (1, 80, UDP))
        if (pool := made.pools.pool(made.balancer, packed(f"10.9.3.{address}"), port, protocol))
    ]
    assert ports == [SNAT_PORT_MIN] * 4
    again = made.pools.pool(made.balancer, packed("10.9.3.1"), 80, TCP)
    assert again is not None
    assert made.pools.allocate(again) is None


def test_pools_are_bounded() -> None:
    made = Pools(ports=1)
    for number in range(PORT_POOLS_MAX):
        pool = made.pools.pool(made.balancer, TARGET, number, TCP)
        assert pool is not None and made.pools.allocate(pool) is not None
    assert made.pools.pool(made.balancer, TARGET, PORT_POOLS_MAX, TCP) is None
    assert made.pools.pool(made.balancer, TARGET, 7, TCP) is not None, "those that are open stay"


def test_a_pool_that_nobody_uses_gives_its_place_to_another() -> None:
    made = Pools(ports=1)
    for number in range(PORT_POOLS_MAX):
        pool = made.pools.pool(made.balancer, TARGET, number, TCP)
        assert pool is not None and (number == 7 or made.pools.allocate(pool) is not None)
    newest = made.pools.pool(made.balancer, TARGET, PORT_POOLS_MAX, TCP)
    assert newest is not None and made.pools.allocate(newest) is not None
    assert made.pools.pool(made.balancer, TARGET, PORT_POOLS_MAX + 1, TCP) is None


def test_a_port_rests_after_its_flow() -> None:
    made = Pools(ports=1)
    pool = made.pools.pool(made.balancer, TARGET, 8080, TCP)
    assert pool is not None
    assert made.pools.allocate(pool) == SNAT_PORT_MIN
    made.pools.give_back(pool, SNAT_PORT_MIN, 10.0)
    made.pools.resting.free(10.0 + PORT_REST_S - 0.1, ENOUGH)
    assert made.pools.allocate(pool) is None
    made.pools.resting.free(10.0 + PORT_REST_S, ENOUGH)
    assert made.pools.allocate(pool) == SNAT_PORT_MIN


def test_a_port_whose_flow_counts_as_over_later_rests_longer_and_keeps_nobody_waiting() -> None:
    made = Pools(ports=2)
    pool = made.pools.pool(made.balancer, TARGET, 8080, TCP)
    assert pool is not None
    longer, usual = made.pools.allocate(pool), made.pools.allocate(pool)
    assert longer is not None and usual is not None
    made.pools.give_back(pool, longer, 10.0 + 120.0)
    made.pools.give_back(pool, usual, 11.0)
    made.pools.resting.free(11.0 + PORT_REST_S, ENOUGH)
    assert made.pools.allocate(pool) == usual
    made.pools.resting.free(130.0 + PORT_REST_S - 0.1, ENOUGH)
    assert made.pools.allocate(pool) is None
    made.pools.resting.free(130.0 + PORT_REST_S, ENOUGH)
    assert made.pools.allocate(pool) == longer


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_a_port_that_belongs_to_no_flow_is_found_and_rests(protocol: int) -> None:
    """Its owner was killed between the claim and the flow."""
    made = Pools()
    pool = made.pools.pool(made.balancer, TARGET, 8080, protocol)
    assert pool is not None
    orphan, used = made.pools.allocate(pool), made.pools.allocate(pool)
    assert orphan is not None and used is not None
    key = tuple_of(made.balancer.address, TARGET, used, 8080) + suffix(EXIT, protocol)
    made.flows.add(key)
    assert made.pass_time(0, 10) == 1
    assert made.pools.resting.has(pool, orphan)
    assert made.pass_time(10, 15 + int(PORT_REST_S)) == 0
    assert {index for index, tag in enumerate(pool.claims.taken()) if tag} == {used - SNAT_PORT_MIN}


def test_one_look_is_not_enough() -> None:
    """On the first the delta of the flow that has the port may still be on its way."""
    made = Pools()
    pool = made.pools.pool(made.balancer, TARGET, 8080, TCP)
    assert pool is not None
    port = made.pools.allocate(pool)
    assert port is not None
    assert [made.sweep(now) for now in (0.0, 1.0)] == [0, 0]
    made.flows.add(tuple_of(made.balancer.address, TARGET, port, 8080) + suffix(EXIT, TCP))
    assert made.pass_time(2, 100) == 0


def test_a_sweep_looks_at_a_bounded_number_of_pools() -> None:
    made = Pools()
    opened: list[MemoryClaims] = []

    class Counting(MemoryClaims):
        def owned(self) -> Iterator[int]:
            opened.append(self)
            return super().owned()

    made.pools._open_claims = lambda key: Counting(bytearray(8), 0, 1)
    for number in range(100):
        made.pools.pool(made.balancer, TARGET, number, TCP)
    made.pools.sweep(made.flows.__contains__, 0.0, PORTS_SWEPT_PER_TICK_MAX)
    made.pools.sweep(made.flows.__contains__, 1.0, PORTS_SWEPT_PER_TICK_MAX)
    assert 0 < len(opened) <= POOLS_SWEPT_PER_TICK_MAX
    for now in range(2, 20):
        made.pools.sweep(made.flows.__contains__, float(now), PORTS_SWEPT_PER_TICK_MAX)
    assert len({id(claims) for claims in opened}) == 100, "and gets to all of them"
