"""What clients forge at random, in whatever order: what a target reads begins with the header, or there is no stream.

Random numbers are near each other here, and streams short. And that this is not because nothing could go wrong: without
any one of the four rules of `flow/injector.py` some client gets past the header.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest

from hyperplane.dataplane import admission, tracking
from hyperplane.dataplane.passage import Passage
from hyperplane.dataplane.plane import Plane
from hyperplane.flow.another_syn import Syn
from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.ports import PortPools
from hyperplane.nat.port_pool import PortPool
from hyperplane.snapshot import HeaderPlacement
from tests.dataplane.liars import Liar

SEEDS, SEEDS_MAX = 60, 400
DEEDS = 120

Change = Callable[[pytest.MonkeyPatch], None]


def lie(seed: int, placement: HeaderPlacement, cookies: bool, nodes: int, off: str = "") -> Liar:
    """One client's whole life. `off`: a protection that its nodes do without."""
    liar = Liar(seed, placement, cookies, nodes)
    for index in range(nodes):
        plane = liar.zone.node(index).dataplane.plane
        plane.protections = replace(plane.protections, **{off: False} if off else {})
    for _ in range(DEEDS):
        liar.act()
    return liar


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("cookies", [False, True], ids=["strict", "cookies"])
@pytest.mark.parametrize("placement", list(HeaderPlacement))
def test_no_lie_gets_past_the_header(placement: HeaderPlacement, cookies: bool, nodes: int) -> None:
    begun = told = 0
    for seed in range(SEEDS):
        liar = lie(seed, placement, cookies, nodes)
        begun += len(liar.target.begun)
        told += len(list(liar.told_the_truth()))
    assert begun >= told > SEEDS / 10, "most lies lead nowhere, but not all"


def some_lie_gets_past(off: str = "") -> bool:
    for seed, placement, cookies, nodes in product(range(SEEDS_MAX), HeaderPlacement, (True, False), (1, 2)):
        try:
            lie(seed, placement, cookies, nodes, off)
        except AssertionError as failure:
            assert "target reads" in str(failure)
            return True
    return False


@pytest.mark.parametrize("protection", ["waits", "refuses", "spoils"])
def test_without_a_protection_some_lie_does(protection: str) -> None:
    assert some_lie_gets_past(protection)


def any_syn_goes_on(patch: pytest.MonkeyPatch) -> None:
    """Streams with different numbers share the target's four numbers."""
    patch.setattr(admission, "becomes_of_syn", lambda *_: Syn.GOES_ON)


def every_answer_counts(patch: pytest.MonkeyPatch) -> None:
    """Another answer moves the numbers that a cookie is told by, and the one before is as good for another minute."""

    def is_the_answer(_: Plane, passage: Passage, entry: FlowEntry) -> bool:
        packet, injection = passage.packet, entry.injection
        if injection is None or packet.acknowledgment != injection.first:
            return False
        injection.note_answer(packet.sequence + 1, 1400)
        return True

    patch.setattr(tracking, "_is_the_answer", is_the_answer)


def ports_rest_briefly(patch: pytest.MonkeyPatch) -> None:
    """A port is another stream's at once, and the target has the one before still."""
    patch.setattr(PortPools, "give_back", lambda _, pool, port, now: _free(pool, port))


def _free(pool: PortPool, port: int) -> None:
    pool.claims.release(port - 1024)


@pytest.mark.parametrize("change", [any_syn_goes_on, every_answer_counts, ports_rest_briefly])
def test_without_a_rule_some_lie_does(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    change(monkeypatch)
    assert some_lie_gets_past()
