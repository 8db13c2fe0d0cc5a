"""What is said of nodes from files alone: alive, dead, silent, and what they count."""

from pathlib import Path

import pytest

from hyperplane.io.health import health
from hyperplane.io.kernel_queues import KernelQueue
from hyperplane.io.node_view import DEAD, SILENT, find_zones, view_nodes
from hyperplane.io.status import NodeState, StatusPage, Word
from hyperplane.limits import HEARTBEAT_AGE_MAX_S
from tests.cli.made import NOW, STARTED, ZONE_ID, MadeRuntime

OURS = "python -m hyperplane fabric --zone us-east-2a"


@pytest.fixture
def made(tmp_path: Path) -> MadeRuntime:
    return MadeRuntime(tmp_path)


def states(made: MadeRuntime) -> list[str]:
    return [view.state for view in view_nodes(made.runtime, NOW, made.proc)]


def test_a_node_with_a_fresh_heartbeat_serves(made: MadeRuntime) -> None:
    made.process(11, OURS)
    made.page(0, pid=11, beat_s=NOW - 0.02, packets_original=7, bytes_original=700)
    made.snapshot()
    (view,) = view_nodes(made.runtime, NOW, made.proc)
    assert (view.zone, view.zone_id, view.generation, view.node) == ("us-east-2a", ZONE_ID, 1, 0)
    assert (view.state, view.alive, view.in_force) == ("serving", True, True)
    assert (view.heartbeat_age_s, view.up_s, view.starts) == (0.02, 60.0, 1)
    assert view.counters == {"packets_original": 7, "bytes_original": 700, "starts": 1}


def test_without_a_snapshot_the_zone_has_its_id_for_a_name(made: MadeRuntime) -> None:
    made.page(0)
    assert [view.zone for view in view_nodes(made.runtime, NOW, made.proc)] == [ZONE_ID]


def test_a_node_without_a_process_is_dead(made: MadeRuntime) -> None:
    made.page(0, pid=12)
    assert states(made) == [DEAD]


def test_a_number_that_somebody_else_has_now_is_dead(made: MadeRuntime) -> None:
    made.process(12, OURS, started=STARTED + 1)
    made.page(0, pid=12)
    assert states(made) == [DEAD]


@pytest.mark.parametrize(
    ("state", "age_s", "shown"),
    [
        (NodeState.SERVING, HEARTBEAT_AGE_MAX_S + 0.01, SILENT),
        (NodeState.SERVING, HEARTBEAT_AGE_MAX_S - 0.01, "serving"),
        (NodeState.DRAINING, HEARTBEAT_AGE_MAX_S + 0.01, SILENT),
        (NodeState.STARTING, 30.0, "starting"),  # it takes in a million flows and has no time for its heart
    ],
)
def test_a_heart_that_stands_still_is_silent(made: MadeRuntime, state: NodeState, age_s: float, shown: str) -> None:
    made.process(11, OURS)
    made.page(0, pid=11, state=state, beat_s=NOW - age_s)
    assert states(made) == [shown]


def test_a_state_that_no_node_writes_is_shown_as_unknown(made: MadeRuntime) -> None:
    made.process(11, OURS)
    made.page(0, pid=11)
    page = StatusPage(made.files.status(1, 0), writable=True)
    page.put(Word.STATE, 2**63)
    page.close()
    made.snapshot()
    assert states(made) == ["unknown"]
    found = health(made.runtime)
    assert [(node.state, node.healthy) for zone in found.zones for node in zone.nodes] == [("unknown", False)]


def test_an_older_generation_is_shown_and_not_in_force(made: MadeRuntime) -> None:
    made.page(0, generation=9)
    made.page(0)
    assert [(view.generation, view.in_force) for view in view_nodes(made.runtime, NOW, made.proc)] == [
        (1, True),
        (9, False),
    ]


def test_nodes_are_in_order_of_their_numbers(made: MadeRuntime) -> None:
    for node in (10, 2, 0):
        made.page(node)
    assert [view.node for view in view_nodes(made.runtime, NOW, made.proc)] == [0, 2, 10]


def test_queues_are_seen_through_any_living_node(made: MadeRuntime) -> None:
    made.process(11, OURS, queues="   32  9  5 2 65531  1  2  99  1\n   33  9  0 2 65531  0  0  1  1\n")
    made.page(0, pid=12)
    made.page(1, pid=11)
    dead, alive = view_nodes(made.runtime, NOW, made.proc)
    assert dead.kernel_queue == KernelQueue(32, 5, 1, 2, 99)
    assert alive.kernel_queue == KernelQueue(33, 0, 0, 0, 1)


def test_the_switches_of_the_environment_are_told(made: MadeRuntime) -> None:
    made.process(11, OURS, environment="PATH=/bin HYPERPLANE_MUTANT=no-replay HYPERPLANE_POISON= HYPERPLANE_API=x")
    made.page(0, pid=11)
    (view,) = view_nodes(made.runtime, NOW, made.proc)
    assert view.switches == ("HYPERPLANE_MUTANT=no-replay",)


def test_what_cannot_be_looked_into_is_not_known(made: MadeRuntime) -> None:
    made.page(0, pid=12)
    assert [view.switches for view in view_nodes(made.runtime, NOW, made.proc)] == [None]


def test_a_page_that_is_just_being_made_is_left_out(made: MadeRuntime) -> None:
    made.files.status(1, 0).write_bytes(b"")
    assert view_nodes(made.runtime, NOW, made.proc) == []


def test_other_directories_are_no_zones(made: MadeRuntime) -> None:
    (made.runtime / "log").mkdir()
    (made.runtime / "snapshot").write_text("torn")
    assert [files.directory.name for files in find_zones(made.runtime)] == [ZONE_ID]


def test_no_runtime_is_no_zone(tmp_path: Path) -> None:
    assert view_nodes(tmp_path / "nowhere") == []
