"""Clients that lie, in worlds where one protection is taken away: their targets must read their bytes, and we notice.

Each is noticed twice: where a packet leaves a node, and, by `targets_alone`, only where a target reads it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hyperplane.dataplane import admission, injection, tracking
from hyperplane.dataplane.passage import Passage
from hyperplane.dataplane.plane import Plane
from hyperplane.dataplane.verdict import Verdict
from hyperplane.flow.another_syn import Syn
from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.injector import HEADER_PAST
from hyperplane.flow.key import Direction
from hyperplane.limits import LONG_STREAM_BYTES
from tests.sim.halves import distance
from tests.sim.header_flows import HeaderFlows
from tests.sim.header_judge import HeaderJudge
from tests.sim.header_plan import AT_ONCE, WITH_PAYLOAD
from tests.sim.notice import Patch, in_worlds
from tests.sim.plan import Plan
from tests.sim.test_header_mutants import headed, weaken
from tests.sim.test_proxy_mutants import inject_by

READS = "a target of the liar .* reads"
Worlds = Callable[[Plan], Plan]


def lied_to(**changes: Any) -> Worlds:
    """Four liars, and honest callers among them."""

    def worlds(plan: Plan) -> Plan:
        lied = headed(plan, liars=4, **changes)
        return replace(lied, calls=3, loss=0.05, node_count=2, spray=True, shared_shards=True, ports=64)

    return worlds


def targets_alone(patch: Patch) -> None:
    """Nobody looks at what leaves a node."""
    patch.setattr(HeaderJudge, "_judge_segment", lambda *_: None)
    patch.setattr(HeaderFlows, "judge_beginning", lambda *_: None)
    patch.setattr(HeaderFlows, "_may_follow", lambda *_: True)


@pytest.mark.parametrize("placement", [AT_ONCE, WITH_PAYLOAD])
def test_data_from_before_the_first_byte_passes(monkeypatch: Patch, placement: Any) -> None:
    weaken(monkeypatch, refuses=False)
    in_worlds(monkeypatch, "INV-2.* from before the first byte", lied_to(placement=placement))


def test_a_target_reads_what_is_from_before_the_first_byte(monkeypatch: Patch) -> None:
    weaken(monkeypatch, refuses=False)
    targets_alone(monkeypatch)
    in_worlds(monkeypatch, READS, lied_to(placement=WITH_PAYLOAD))


@pytest.mark.parametrize("placement", [AT_ONCE, WITH_PAYLOAD])
def test_a_target_believes_cookies_behind_the_header(monkeypatch: Patch, placement: Any) -> None:
    weaken(monkeypatch, spoils=False)
    in_worlds(monkeypatch, READS, lied_to(placement=placement, cookies=True))


def test_a_client_speaks_before_its_target_has_answered(monkeypatch: Patch) -> None:
    weaken(monkeypatch, waits=False)
    in_worlds(monkeypatch, "INV-13.* before its SYN is answered", lied_to())


def test_a_target_believes_a_cookie_that_no_node_has_seen(monkeypatch: Patch) -> None:
    weaken(monkeypatch, waits=False)
    targets_alone(monkeypatch)
    in_worlds(monkeypatch, READS, lied_to(cookies=True))


def test_a_client_says_that_its_stream_is_long(monkeypatch: Patch) -> None:
    """As it once was: after that nothing was before the first byte any more."""

    def believe(plane: Plane, passage: Passage) -> Verdict | None:
        it = passage.entry.injection if passage.entry else None
        if it is not None and passage.direction is Direction.ORIGINAL and not it.is_open:
            it.mark(HEADER_PAST if distance(passage.packet.sequence, it.first) >= LONG_STREAM_BYTES else 0)
        return injection.inject(plane, passage)

    inject_by(monkeypatch, believe)
    in_worlds(monkeypatch, "INV-2.* from before the first byte|INV-13.* sends byte -", lied_to())


def test_any_syn_of_a_liar_goes_on(monkeypatch: Patch) -> None:
    monkeypatch.setattr(admission, "becomes_of_syn", lambda entry, sequence, gets_header: Syn.GOES_ON)
    in_worlds(monkeypatch, "INV-2", lied_to())


def test_any_answer_is_believed(monkeypatch: Patch) -> None:
    """Of a target that has forgotten its first, and knows nothing of what it was told since."""
    is_the_answer = tracking._is_the_answer

    def believe(plane: Plane, passage: Passage, entry: FlowEntry) -> bool:
        return is_the_answer(plane, passage, entry) or True

    monkeypatch.setattr(tracking, "_is_the_answer", believe)
    in_worlds(monkeypatch, "INV-13.* two answers", lied_to(restarts=tuple(range(2, 60, 2))))
