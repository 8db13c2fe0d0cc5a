"""Source ports: random, one owner each, exact at exhaustion, rested before they come back."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from hyperplane.limits import PORT_REST_S, SNAT_PORT_MIN, SNAT_PORTS_PER_TARGET
from hyperplane.nat.port_pool import Draws, PortPool, RestingPorts
from tests.nodes import MemoryClaims

SMALL = 500


def draws(number: int = 1) -> Draws:
    return Draws(number.to_bytes(32, "big"))


def pools(ports: int, nodes: int = 1) -> list[PortPool]:
    """The same pool as each of so many nodes sees it."""
    taken = bytearray(ports)
    return [PortPool(MemoryClaims(taken, node, nodes), ports) for node in range(nodes)]


# --- chance -------------------------------------------------------------------------------------------


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    first, second, other = draws(1), draws(1), draws(2)
    drawn = [first.draw(55_000) for _ in range(100)]
    assert [second.draw(55_000) for _ in range(100)] == drawn
    assert [other.draw(55_000) for _ in range(100)] != drawn


@pytest.mark.parametrize("below", [1, 2, 3, 500, 55_000, 65_535, 65_536])
def test_a_draw_is_below_its_bound(below: int) -> None:
    source = draws()
    drawn = [source.draw(below) for _ in range(2000)]
    assert set(drawn) <= set(range(below))
    assert below > 100 or set(drawn) == set(range(below))


def test_nat_04_ports_are_spread_evenly_and_follow_no_step() -> None:
    """RFC 6056: chi-square over 64 buckets (63 degrees of freedom: 103.4 is the 0.1 % point), and no progression."""
    (pool,) = pools(SNAT_PORTS_PER_TARGET)
    source, ports = draws(7), []
    for _ in range(10_000):
        port = pool.allocate(source)
        assert port is not None
        ports.append(port - SNAT_PORT_MIN)
    expected = len(ports) / 64
    buckets = Counter(port * 64 // SNAT_PORTS_PER_TARGET for port in ports)
    assert sum((buckets[bucket] - expected) ** 2 / expected for bucket in range(64)) < 103.4
    steps = Counter((after - before) % SNAT_PORTS_PER_TARGET for before, after in pairwise(ports))
    assert steps.most_common(1)[0][1] <= 5, "the best guess of the next port is nearly always wrong"


# --- exhaustion -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [1, 2, 4])
def test_nat_05_a_pool_is_empty_exactly_when_all_its_ports_are_taken(nodes: int) -> None:
    shared = pools(SMALL, nodes)
    sources = [draws(node) for node in range(nodes)]
    ports = [shared[step % nodes].allocate(sources[step % nodes]) for step in range(SMALL)]
    assert set(ports) == set(range(SNAT_PORT_MIN, SNAT_PORT_MIN + SMALL)), "every port once"
    for pool, source in zip(shared, sources, strict=True):
        assert pool.allocate(source) is None
    shared[0].claims.release(123)
    assert shared[-1].allocate(sources[-1]) == SNAT_PORT_MIN + 123
    assert shared[0].allocate(sources[0]) is None


def test_nat_05_the_real_size_55_000() -> None:
    (pool,) = pools(SNAT_PORTS_PER_TARGET)
    source = draws()
    ports = {pool.allocate(source) for _ in range(SNAT_PORTS_PER_TARGET)}
    assert ports == set(range(1024, 56_024)), "AWS's 55,000, and none below 1024"
    assert pool.allocate(source) is None


def test_a_port_that_another_node_takes_during_the_search_is_not_taken_twice() -> None:
    """The search works on a copy of all claims; the claim itself decides."""
    taken = bytearray(b"\2\2\0\2\0\2")
    theirs = MemoryClaims(taken, 1, 2)

    class Overtaken(MemoryClaims):
        def taken(self) -> bytes:
            before = super().taken()
            assert theirs.claim(2)
            return before

    class NoLuck(Draws):
        def draw(self, below: int) -> int:
            return 1

    assert PortPool(Overtaken(taken, 0, 2), 6).allocate(NoLuck(b"")) == SNAT_PORT_MIN + 4


# --- rest -----------------------------------------------------------------------------------------------


def test_nat_07_a_port_rests_before_it_comes_back() -> None:
    (pool,) = pools(SMALL)
    source, resting = draws(), RestingPorts()
    for _ in range(SMALL):
        pool.allocate(source)
    port = SNAT_PORT_MIN + 77
    resting.add(pool, port, 100.0)
    assert resting.has(pool, port)
    for now in (100.0, 100.0 + PORT_REST_S - 1):
        assert resting.free(now, 10) == 0
        assert all(pool.allocate(source) is None for _ in range(1000))
    assert resting.next_timeout() == 100.0 + PORT_REST_S
    assert resting.free(100.0 + PORT_REST_S, 10) == 1
    assert not resting.has(pool, port)
    assert len(resting) == 0
    assert pool.allocate(source) == port


def test_ports_come_back_in_bounded_steps() -> None:
    (pool,) = pools(SMALL)
    source, resting = draws(), RestingPorts(rest_s=1.0)
    for _ in range(10):
        port = pool.allocate(source)
        assert port is not None
        resting.add(pool, port, 0.0)
    assert [resting.free(5.0, 4) for _ in range(4)] == [4, 4, 2, 0]
    assert pool.claims.taken() == bytes(SMALL)


def test_a_port_in_use_again_is_not_freed_and_rests_anew_when_it_is_let_go_again() -> None:
    (pool,) = pools(SMALL)
    resting = RestingPorts()
    port = pool.allocate(draws())
    assert port is not None
    resting.add(pool, port, 0.0)
    resting.discard(pool, port)
    assert not resting.has(pool, port)
    assert resting.free(PORT_REST_S + 1, 10) == 0
    resting.add(pool, port, 70.0)
    resting.discard(pool, port)
    resting.add(pool, port, 90.0)
    assert resting.free(70.0 + PORT_REST_S, 10) == 0, "it has not rested since it was let go last"
    assert resting.free(90.0 + PORT_REST_S, 10) == 1


def test_a_port_that_another_node_answers_for_by_now_is_not_freed() -> None:
    ours, theirs = pools(SMALL, 2)
    resting = RestingPorts()
    port = ours.allocate(draws())
    assert port is not None
    resting.add(ours, port, 0.0)
    theirs.claims.take_over(port - SNAT_PORT_MIN)
    assert resting.free(PORT_REST_S, 10) == 0
    assert theirs.claims.is_mine(port - SNAT_PORT_MIN)


class PortsOfManyNodes(RuleBasedStateMachine):
    """NAT-02, INV-1: whatever nodes take, let go and free, no port has two users."""

    ports = Bundle("ports")

    def __init__(self) -> None:
        super().__init__()
        self.shared = pools(6, 3)
        self.sources = [draws(node) for node in range(3)]
        self.resting = [RestingPorts(rest_s=10.0) for _ in range(3)]
        self.used: dict[int, int] = {}
        self.now = 0.0

    @rule(target=ports, node=st.integers(0, 2))
    def take(self, node: int) -> object:
        port = self.shared[node].allocate(self.sources[node])
        if port is None:
            assert len(self.used) + sum(map(len, self.resting)) == 6, "exact at exhaustion"
            return multiple()
        assert port not in self.used
        self.resting[node].discard(self.shared[node], port)
        self.used[port] = node
        return port

    @rule(port=consumes(ports))
    def let_go(self, port: int) -> None:
        node = self.used.pop(port)
        self.resting[node].add(self.shared[node], port, self.now)

    @rule(seconds=st.sampled_from([1.0, 10.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for resting in self.resting:
            resting.free(self.now, 3)

    @invariant()
    def taken_are_the_used_and_the_resting(self) -> None:
        taken = self.shared[0].claims.taken()
        assert 6 - taken.count(0) == len(self.used) + sum(map(len, self.resting))
        assert all(taken[port - SNAT_PORT_MIN] == node + 1 for port, node in self.used.items())


TestPortsOfManyNodes = PortsOfManyNodes.TestCase
TestPortsOfManyNodes.settings = settings(max_examples=50, stateful_step_count=40)


@given(st.lists(st.integers(0, 5), max_size=6, unique=True))
def test_what_is_owned_is_what_was_claimed(indexes: list[int]) -> None:
    ours, theirs = pools(6, 2)
    for index in range(6):
        (ours if index in indexes else theirs).claims.claim(index)
    assert list(ours.claims.owned()) == sorted(indexes)
