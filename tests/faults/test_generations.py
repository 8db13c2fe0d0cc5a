"""The fabric is restarted, upgraded, resized, killed and stopped under load: connections go on.

The slow ones restart it a hundred times and stand still for ten seconds.
"""

import os
import signal
from dataclasses import replace

import pytest

from hyperplane.io import processes
from hyperplane.io.lab import CONTROL
from tests.faults.conftest import StandingLoad
from tests.faults.lab import FABRIC, FaultLab, until
from tests.faults.test_kills import let_pass

pytestmark = [pytest.mark.netns, pytest.mark.fault]

standstills = pytest.mark.parametrize("standstill_s", [3.0, pytest.param(10.0, marks=pytest.mark.slow)])
"""How long nobody serves. The ends wait for as long again, and longer: they try at growing intervals."""


def assert_only_the_newest_is_left(lab: FaultLab) -> None:
    """An old generation leaves neither files nor processes."""
    until(lambda: lab.zone_files.generations() == [lab.generation], "the end of the old generation's files")


def kill(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("restarts", [5, pytest.param(100, marks=pytest.mark.slow)])
def test_restarts_interrupt_nothing(lab: FaultLab, light_load: StandingLoad, restarts: int) -> None:
    """F-06: a new fabric beside the old one, again and again."""
    first = lab.generation
    for _ in range(restarts):
        before = {lab.fabric_pid(), *lab.pids().values()}
        lab.new_generation()
        assert_only_the_newest_is_left(lab)
        assert not [pid for pid in before if lab.is_running(pid)]
    assert lab.generation == first + restarts
    light_load.assert_whole()


@pytest.mark.parametrize("counts", [(2, 8, 3, 4)])
def test_other_numbers_of_nodes(lab: FaultLab, light_load: StandingLoad, counts: tuple[int, ...]) -> None:
    """F-32: the lab file says how many nodes; the shards move, the flows stay, in the journals too."""
    for count in counts:
        generation = lab.generation
        lab.write(replace(lab.plan, nodes=count))
        until(lambda generation=generation: lab.generation > generation, f"{count} nodes")  # type: ignore[misc]
        lab.wait_until_well()
        assert sorted(lab.pids()) == list(range(count))
        assert_only_the_newest_is_left(lab)
        gone = lab.pids()
        kill(list(gone.values()))
        lab.wait_for_another(gone)
    light_load.assert_whole()


def test_other_shards(lab: FaultLab, light_load: StandingLoad) -> None:
    """The same nodes, dealt anew: who serves a flow from now on has to know it."""
    plan = lab.plan
    for seed, shard_size in ((5, 3), (6, 1), (plan.seed, plan.shard_size)):
        version = lab.snapshot().version
        lab.write(replace(plan, seed=seed, shard_size=shard_size))
        until(lambda version=version: lab.nodes_have_newer_than(version), "the next snapshot")  # type: ignore[misc]
        let_pass(1)
    light_load.assert_whole()


def test_the_fabric_is_killed(lab: FaultLab, light_load: StandingLoad) -> None:
    """F-37: its nodes go on without it, and the next one adopts what they know."""
    nodes = lab.pids()
    os.kill(lab.fabric_pid(), signal.SIGKILL)
    until(lambda: not lab.fabric_pid(), "the fabric's end")
    let_pass(1)
    assert lab.pids() == nodes and all(lab.is_running(pid) for pid in nodes.values())
    kill([nodes[0]])  # nobody replaces it now; the packets in its queue are lost, its flows are not
    assert "started" in lab.mend()
    assert not [pid for pid in nodes.values() if lab.is_running(pid)]
    assert_only_the_newest_is_left(lab)
    light_load.assert_whole()


@standstills
def test_everything_is_killed_at_once(lab: FaultLab, light_load: StandingLoad, standstill_s: float) -> None:
    """F-38: fabric and nodes. What is left are the journals in memory."""
    generation = lab.generation
    kill([lab.fabric_pid(), *lab.pids().values()])
    until(lambda: not lab.fabric_pid(), "the fabric's end")
    let_pass(standstill_s)
    lab.mend()
    lab.wait_until_well()
    assert lab.generation == generation + 1
    assert_only_the_newest_is_left(lab)
    light_load.assert_whole()


@standstills
def test_everything_is_stopped_and_started(lab: FaultLab, light_load: StandingLoad, standstill_s: float) -> None:
    """F-07: in order, with a pause."""
    assert processes.end(lab.process_files, FABRIC)
    let_pass(standstill_s)
    lab.mend()
    lab.wait_until_well()
    light_load.assert_whole()


def test_nobody_notices_that_control_is_gone(lab: FaultLab, light_load: StandingLoad) -> None:
    """F-18: the packet plane goes on from the last snapshot, also a node that is started meanwhile."""
    os.kill(processes.running(lab.process_files, CONTROL), signal.SIGKILL)
    until(lambda: not processes.running(lab.process_files, CONTROL), "control's end")
    gone = lab.pids()
    kill(list(gone.values()))
    lab.wait_for_another(gone)
    lab.new_generation()
    light_load.assert_whole()
    lab.mend()
    assert processes.running(lab.process_files, CONTROL)
