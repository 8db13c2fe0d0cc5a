"""The kernel as judge of what clients forge at random: what a program accepts from it begins with the header.

With SYN cookies the kernel takes an ACK for the end of a handshake that it has not kept. The forgeries are those of
`tests/dataplane/liars.py`; time does not pass, so that no cookie and no connection ends before its time.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from random import Random

import pytest

from hyperplane.dataplane import admission
from hyperplane.flow.another_syn import Syn
from hyperplane.snapshot import HeaderPlacement
from netns.namespace import inside_scratch
from tests.dataplane.liars import Liar
from tests.netns.kernel_target import KernelTarget

pytestmark = pytest.mark.netns

SEEDS = 60
DEEDS = 150


def lies(seed: int, placement: HeaderPlacement, cookies: bool, off: str = "") -> tuple[int, int]:
    """One client's life. Gives how many connections the kernel made, and how many of them began with the header."""
    with inside_scratch(), KernelTarget(cookies, Random(seed)) as target:
        liar = Liar(seed, placement, cookies, nodes=2, target=target, ports=20)
        liar.time_stands_still = True
        for index in range(2):
            plane = liar.zone.node(index).dataplane.plane
            plane.protections = replace(plane.protections, **{off: False} if off else {})
        for _ in range(DEEDS):
            liar.act()
        return len(target.begun), len(list(liar.told_the_truth()))


@pytest.mark.parametrize("cookies", [False, True], ids=["strict", "cookies"])
@pytest.mark.parametrize("placement", list(HeaderPlacement))
def test_no_lie_gets_past_the_header(placement: HeaderPlacement, cookies: bool) -> None:
    counts = [lies(seed, placement, cookies) for seed in range(SEEDS)]
    assert sum(begun for begun, _ in counts) and sum(told for _, told in counts)


def forged(off: str = "") -> Iterator[str]:
    """What programs read, if anything gets past the header."""
    for seed, placement, cookies in product(range(SEEDS), HeaderPlacement, (True, False)):
        try:
            lies(seed, placement, cookies, off)
        except AssertionError as failure:
            yield str(failure)


@pytest.mark.parametrize("protection", ["refuses", "spoils"])
def test_without_a_protection_some_lie_does(protection: str) -> None:
    assert "target reads" in next(forged(protection), "")


def test_without_another_port_for_another_syn_some_lie_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "becomes_of_syn", lambda *_: Syn.GOES_ON)
    assert "target reads" in next(forged(), "")
