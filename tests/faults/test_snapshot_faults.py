"""A damaged snapshot under a running fabric: the last good one stays in force, also for a node that starts now."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from hyperplane.io.runtime import snapshot_file, write_atomically
from tests.faults.conftest import StandingLoad, standing_load
from tests.faults.lab import FaultLab, until

pytestmark = [pytest.mark.netns, pytest.mark.fault]

Damage = Callable[[bytes], bytes]


def flipped(data: bytes) -> bytes:
    """One bit is another one."""
    chance = random.Random(1)
    place, bit = chance.randrange(len(data)), chance.randrange(8)
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


DAMAGES: dict[str, Damage] = {
    "truncated": lambda data: data[: len(data) // 2],
    "one byte short": lambda data: data[:-1],
    "flipped": flipped,
    "half old, half new": lambda data: data[: len(data) // 2] + data[len(data) // 2 :][::-1],
    "empty": lambda data: b"",
    "noise": lambda data: random.Random(2).randbytes(len(data)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_snapshot_changes_nothing(lab: FaultLab, light_load: StandingLoad, damage: str) -> None:
    """F-19."""
    path = snapshot_file(lab.runtime)
    good = path.read_bytes()
    version = lab.snapshot().version
    refused = lab.counters()["snapshots_refused"]
    path.write_bytes(DAMAGES[damage](good))  # in place, as nobody should
    try:
        until(lambda: lab.counters()["snapshots_refused"] >= refused + len(lab.nodes()), "every node's refusal")
        assert f"the last good one stays in force: {path}" in lab.log()
        # A node that is born now, and one that was there.
        gone = {index: lab.kill_node(index) for index in (0, 2)}
        lab.wait_for_nodes(gone)
        assert {view.snapshot_version for view in lab.nodes()} == {version}
    finally:
        write_atomically(path, good)
    light_load.assert_whole()


def test_a_snapshot_that_is_gone_changes_nothing(lab: FaultLab, light_load: StandingLoad) -> None:
    path = snapshot_file(lab.runtime)
    good = path.read_bytes()
    refused = lab.counters()["snapshots_refused"]
    path.unlink()
    try:
        until(lambda: lab.counters()["snapshots_refused"] >= refused + len(lab.nodes()), "every node's refusal")
        lab.wait_for_nodes({1: lab.kill_node(1)})
    finally:
        write_atomically(path, good)
    light_load.assert_whole()


def test_a_good_one_loads_again(lab: FaultLab, light_load: StandingLoad) -> None:
    """Damaged, then mended by the next change of the lab file; interfaces keep their numbers."""
    path = snapshot_file(lab.runtime)
    numbers = lab.numbers()
    seen = lab.nodes()[0].snapshot_version
    path.write_bytes(path.read_bytes()[:-10])
    lab.write(replace(lab.plan, timers="{udp_idle_s: 100}"))
    until(lambda: lab.has_udp_timer(100), "the changed snapshot")
    until(lambda: all(view.snapshot_version != seen for view in lab.nodes()), "the change at every node")
    assert lab.numbers() == numbers
    light_load.assert_whole()


def test_numbers_outlive_the_snapshot(lab: FaultLab) -> None:
    """An interface that is gone leaves a gap. Without it flows of one consumer would be taken for another's."""
    shape: tuple[dict[str, int], ...] = ({}, {"bulk": 2, "loops": 2}, {"bulk": 2, "loops": 2})
    plan = lab.plan
    with standing_load(shape) as load:
        before = len(lab.numbers())
        lab.write(replace(plan, endpoints=("flt-b", "flt-c")))
        until(lambda: len(lab.numbers()) == before - 1, "the end of flt-a's endpoint")
        numbers = lab.numbers()
        path = snapshot_file(lab.runtime)
        path.write_bytes(b"")
        lab.write(replace(plan, endpoints=("flt-b", "flt-c"), timers="{udp_idle_s: 101}"))
        until(lambda: lab.has_udp_timer(101), "the snapshot made anew")
        assert lab.numbers() == numbers
        load.assert_whole()
    lab.write(plan)
