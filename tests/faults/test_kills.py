"""Nodes are killed and frozen under load: nothing is lost, and the tests notice when a protection is off.

The slow one kills a hundred times instead of twenty. HYPERPLANE_FAULTS_SEED repeats a run.
"""

import contextlib
import os
import random
import secrets
import select
import signal
import socket
import threading
import time

import pytest

from hyperplane.io.status import NodeState
from netns.namespace import open_socket
from tests.faults.conftest import StandingLoad, standing_load
from tests.faults.lab import HANG_GUARD_S, FaultLab, until
from tests.faults.plan import CONSUMERS
from tests.faults.stalls import figures, longest_by_fault, stalls_by_connection, stalls_by_fault

pytestmark = [pytest.mark.netns, pytest.mark.fault]

PAUSE_MAX_S = 0.5
ECHO, ROUNDS = 53, 50
SLOW_TURNS, SLOW_TURN_S = 30, 0.1
TCP_LOAD = ({"bulk": 4, "idle": 4, "loops": 4},) * 3
RANDOM_SEED = int(os.environ.get("HYPERPLANE_FAULTS_SEED") or secrets.randbits(32))


def let_pass(seconds: float) -> None:
    """Time in which the load runs on."""
    threading.Event().wait(seconds)


def kill_at_random(lab: FaultLab, count: int, chance: random.Random) -> list[float]:
    """SIGKILL random nodes at random moments, also while they start. Returns the moments."""
    killed: dict[int, int] = {}
    moments = []
    for _ in range(count):
        let_pass(chance.uniform(0, PAUSE_MAX_S))
        index = chance.choice(sorted(lab.pids()))
        until(lambda index=index: lab.pids()[index] != killed.get(index), f"a new node {index}")  # type: ignore[misc]
        moments.append(time.monotonic())
        killed[index] = lab.kill_node(index)
    lab.wait_for_another(killed)
    return moments


@pytest.mark.parametrize("kills", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_nodes_lose_nothing(
    lab: FaultLab, whole_load: StandingLoad, measured: dict[str, object], kills: int
) -> None:
    """F-01."""
    before = lab.counters()["starts"]
    moments = kill_at_random(lab, kills, random.Random(RANDOM_SEED))
    whole_load.assert_whole()
    reports = whole_load.reports
    measured[f"kill -9, {kills} times"] = {
        "connections": sum(report.connections for report in reports),
        "seed": RANDOM_SEED,
        "datagrams sent": sum(report.rounds["udp"] + report.missing for report in reports),
        "datagrams missing": sum(report.missing for report in reports),
        "longest stall by kill and connection": figures(stalls_by_fault(moments, reports)),
        "longest stall by kill": figures(longest_by_fault(moments, reports)),
        "longest stall by connection": figures(stalls_by_connection(reports)),
        "load (1 minute)": os.getloadavg()[0],
    }
    assert lab.counters()["starts"] == before + kills


def test_all_nodes_one_after_the_other(lab: FaultLab, light_load: StandingLoad) -> None:
    for index in sorted(lab.pids()):
        gone = lab.kill_node(index)
        lab.wait_for_another({index: gone})
    light_load.assert_whole()


def test_all_nodes_at_once(lab: FaultLab, light_load: StandingLoad) -> None:
    """F-36: every node of every shard. The journals hold what they knew, the kernel what they had in hand."""
    gone = lab.pids()
    for pid in gone.values():
        os.kill(pid, signal.SIGKILL)
    lab.wait_for_another(gone)
    light_load.assert_whole()


def test_kills_while_packets_are_sprayed(lab: FaultLab, light_load: StandingLoad) -> None:
    """Every node forwards every flow, and any may die."""
    with lab.sprayed():
        kill_at_random(lab, 8, random.Random(RANDOM_SEED))
        light_load.assert_whole()


def test_a_frozen_node_is_fenced(lab: FaultLab, light_load: StandingLoad, measured: dict[str, object]) -> None:
    """F-02: it is killed before another takes its place, so waking it up wakes nobody."""
    gone = {0: lab.kill_node(0, signal.SIGSTOP)}
    lab.wait_for_another(gone)
    with pytest.raises(ProcessLookupError):
        os.kill(gone[0], signal.SIGCONT)
    assert f"(pid {gone[0]}) is silent: killed" in lab.log()
    light_load.assert_whole()
    measured["SIGSTOP"] = {"longest stall by connection": figures(stalls_by_connection(light_load.reports))}


def test_a_whole_shard_frozen(lab: FaultLab, light_load: StandingLoad) -> None:
    """F-36: both nodes of flt-a's endpoint and load balancer."""
    shard = lab.eni("10.9.0.7").shard
    gone = {index: lab.kill_node(index, signal.SIGSTOP) for index in shard}
    lab.wait_for_another(gone)
    light_load.assert_whole()


def test_other_shards_do_not_notice(lab: FaultLab, light_load: StandingLoad) -> None:
    """F-36: both nodes of flt-a's endpoint are gone and nobody replaces them. flt-b goes on; flt-a's packets wait."""
    fabric, shard = lab.fabric_pid(), lab.eni("10.9.0.7").shard
    with (
        open_socket("hp-flt-a", socket.AF_INET, socket.SOCK_DGRAM) as cut_off,
        open_socket("hp-flt-b", socket.AF_INET, socket.SOCK_DGRAM) as spared,
    ):
        for consumer, talking in (("flt-a", cut_off), ("flt-b", spared)):
            talking.connect((CONSUMERS[consumer], ECHO))
            talking.settimeout(HANG_GUARD_S)
            assert echo(talking, b"before") == b"before"
        os.kill(fabric, signal.SIGSTOP)
        try:
            gone = {index: lab.kill_node(index) for index in shard}
            until(lambda: not any(lab.is_running(pid) for pid in gone.values()), "the end of a shard")
            cut_off.send(b"during")
            for number in range(ROUNDS):
                assert echo(spared, b"%d" % number) == b"%d" % number
            assert not select.select([cut_off], [], [], 0)[0]
        finally:
            os.kill(fabric, signal.SIGCONT)
        assert cut_off.recv(64) == b"during"
    lab.wait_for_another(gone)
    light_load.assert_whole()


def echo(talking: socket.socket, data: bytes) -> bytes:
    """There and back again."""
    talking.send(data)
    return talking.recv(64)


def test_a_slow_node_loses_nothing(lab: FaultLab, light_load: StandingLoad) -> None:
    """F-03: it runs a tenth of the time. It may be taken for one that hangs; either way all comes to its end."""
    index = lab.eni("10.9.0.7").shard[0]
    slow = lab.pids()[index]
    for _ in range(SLOW_TURNS):
        with contextlib.suppress(ProcessLookupError):
            os.kill(slow, signal.SIGSTOP)
            let_pass(SLOW_TURN_S * 0.9)
            os.kill(slow, signal.SIGCONT)
            let_pass(SLOW_TURN_S * 0.1)
    light_load.assert_whole()


def test_a_busy_machine_is_not_a_hang(lab: FaultLab, light_load: StandingLoad) -> None:
    """A node that wants to run and may not is left alone: killing it would cost the machine even more."""
    before = lab.pids()
    spinners = [os.posix_spawn("/bin/sh", ["sh", "-c", "while :; do :; done"], {}) for _ in range(24)]
    try:
        let_pass(4)
        assert lab.pids() == before
    finally:
        for pid in spinners:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    light_load.assert_whole()


def test_without_replication_connections_are_lost(lab: FaultLab) -> None:
    """The load must notice when nodes tell each other nothing."""
    lab.new_generation(HYPERPLANE_MUTANT="no-replication")
    try:
        with standing_load(TCP_LOAD, patience_s=3) as load:
            for index in sorted(lab.pids()):
                gone = lab.kill_node(index)
                lab.wait_for_another({index: gone})
            reports = load.finish()
    finally:
        lab.new_generation()
    assert sum(len(report.lost) for report in reports) > 0
    assert all(view.state is NodeState.SERVING for view in lab.nodes())
