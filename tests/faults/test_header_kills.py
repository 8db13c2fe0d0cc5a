"""Nodes are killed, and the attribute is switched, while connections are set up that get a Proxy Protocol v2 header.

The slow ones do it a hundred times. HYPERPLANE_FAULTS_SEED repeats a run.
"""

import asyncio
import itertools
import random
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import pytest

from hyperplane.snapshot import Snapshot
from tests.faults.header_talks import AT_ONCE, CLIENTS, WITH_PAYLOAD, Clients, Kind, Report, Talk, clients
from tests.faults.lab import FaultLab, until
from tests.faults.plan import Plan
from tests.faults.test_kills import RANDOM_SEED, kill_at_random

pytestmark = [pytest.mark.netns, pytest.mark.fault]

PLAN = Plan(headers=True)

Speeches = tuple[tuple[Kind, str], ...]
SPEECHES: Speeches = ((Kind.CLIENT_FIRST, WITH_PAYLOAD), (Kind.CLIENT_FIRST, AT_ONCE), (Kind.TARGET_FIRST, AT_ONCE))
TALKERS = 12
"""Each opens its next connection as soon as the last one is over."""

WITH_HEADER, WITHOUT_HEADER = range(100, 108), range(200, 208)
"""Seeds of connections that are set up before the first change of the attribute, and after it."""


async def talker(holding: Clients, working: "asyncio.Future[None]", number: int, speeches: Speeches) -> None:
    """One connection after the other for as long as the work takes."""
    consumer = list(CLIENTS)[number % len(CLIENTS)]
    for seed in itertools.count((number + 1) * 1_000_000):
        if working.done():
            return
        kind, placement = speeches[seed % len(speeches)]
        await holding.hold(Talk(kind, placement, seed, consumer))


async def talk_meanwhile(snapshot: Snapshot, work: Callable[[], None], speeches: Speeches) -> Report:
    async with clients(snapshot) as holding:
        working = asyncio.ensure_future(asyncio.to_thread(work))
        await asyncio.gather(*(talker(holding, working, number, speeches) for number in range(TALKERS)))
        await working
    return holding.report


KILLS = {"hash": (20, 100), "spray": (10, 100)}
"""By steering: every day, and when there is time."""


@pytest.mark.parametrize(
    ("steering", "kills"),
    [
        pytest.param(steering, kills, marks=[pytest.mark.slow] if is_slow else [])
        for steering, both in KILLS.items()
        for is_slow, kills in enumerate(both)
    ],
)
def test_f_12_nodes_killed_while_headers_are_sent(
    lab: FaultLab, measured: dict[str, object], steering: str, kills: int
) -> None:
    chance = random.Random(RANDOM_SEED)

    def kill() -> None:
        kill_at_random(lab, kills, chance)

    with lab.sprayed() if steering == "spray" else nullcontext():
        before = lab.counters()["starts"]
        report = asyncio.run(talk_meanwhile(lab.snapshot(), kill, SPEECHES))
    measured[f"headers, kill -9, {kills} times, {steering}"] = {
        "connections": report.talks,
        "lost": len(report.lost),
        "slowest": round(max(report.seconds), 2),
        "seed": RANDOM_SEED,
    }
    report.assert_whole()
    assert lab.counters()["starts"] == before + kills


def switch(lab: FaultLab, plan: Plan) -> None:
    """Write it, and wait until all nodes have it."""
    version = lab.snapshot().version
    lab.write(plan)
    until(lambda: lab.nodes_have_newer_than(version), "nodes that have it")


async def talk_while_switching(lab: FaultLab, changes: int) -> Report:
    """Connections of all ages: short ones, and some that are set up before the changes and end after them."""

    def go_on() -> None:
        for number in range(changes - 1):
            switch(lab, replace(PLAN, headers=number % 2 == 0))

    async with clients(lab.snapshot(), needs_header=False) as holding:
        at_the_end, held = asyncio.Event(), []
        for seeds in (WITH_HEADER, WITHOUT_HEADER):
            for seed in seeds:
                kind, placement = SPEECHES[seed % 2]
                held.append(asyncio.create_task(holding.hold(Talk(kind, placement, seed, "flt-a"), at_the_end)))
            while holding.connected < len(held):
                await asyncio.sleep(0.01)
            if seeds is WITH_HEADER:
                await asyncio.to_thread(switch, lab, replace(PLAN, headers=False))
        working = asyncio.ensure_future(asyncio.to_thread(go_on))
        await asyncio.gather(*(talker(holding, working, number, SPEECHES[:2]) for number in range(TALKERS)))
        await working
        at_the_end.set()
        await asyncio.gather(*held)
    return holding.report


@pytest.mark.parametrize("changes", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_pp_35_the_attribute_is_switched(lab: FaultLab, measured: dict[str, object], changes: int) -> None:
    """Each stream has the whole header or none, from its SYN to its end."""
    report = asyncio.run(talk_while_switching(lab, changes))
    measured[f"headers, switched {changes} times"] = {"connections": report.talks, "without": len(report.bare)}
    report.assert_whole()
    bare = {talk.seed for talk in report.bare}
    assert bare & {*WITH_HEADER, *WITHOUT_HEADER} == {*WITHOUT_HEADER}
    assert len(WITHOUT_HEADER) < len(bare) < report.talks - len(WITH_HEADER)
