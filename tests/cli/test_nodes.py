"""`hyperplane nodes` on made files: what a person sees, what a program reads."""

import json
from pathlib import Path

import pytest

from hyperplane.cli.nodes import COLUMNS, WatchedNodes, draw_counters, draw_nodes
from hyperplane.cli.output import console
from hyperplane.io.kernel_queues import KernelQueue
from hyperplane.io.node_view import NodeView
from tests.cli.commands import Commands
from tests.cli.made import ZONE_ID, MadeRuntime


def view(node: int = 0, switches: tuple[str, ...] | None = (), **counters: int) -> NodeView:
    return NodeView(
        zone="us-east-2a",
        zone_id=ZONE_ID,
        generation=3,
        in_force=True,
        node=node,
        pid=4711,
        state="serving",
        heartbeat_age_s=0.02,
        up_s=61.0,
        starts=2,
        flows=5,
        snapshot_version=1,
        queue=96,
        kernel_queue=KernelQueue(96, 4, 10, 1, 99),
        switches=switches,
        counters=counters,
    )


def drawn(capsys: pytest.CaptureFixture[str], *views: NodeView, counters: bool = False) -> list[list[str]]:
    console().print((draw_counters if counters else draw_nodes)(list(views), {}))
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_a_row_says_it_all(capsys: pytest.CaptureFixture[str]) -> None:
    counted = view(
        flows_new=6,
        packets_original=20_000,
        packets_reply=7,
        bytes_original=3_000_000,
        bytes_reply=900,
        packets_dropped=8,
    )
    heads, row = drawn(capsys, counted)
    assert heads == list(COLUMNS)
    words = "us-east-2a 3 0 4711 serving 20 ms 61 s 2 5 6 20.0k 7 3.00M 900 8 96 4 11"
    assert row == words.split()


def test_a_switch_that_is_set_is_shouted(capsys: pytest.CaptureFixture[str]) -> None:
    lines = drawn(capsys, view(switches=("HYPERPLANE_MUTANT=no-replay",)))
    assert lines[-1] == "us-east-2a node 0: started with HYPERPLANE_MUTANT=no-replay".split()


def test_counters_stand_beside_each_other_and_drops_last(capsys: pytest.CaptureFixture[str]) -> None:
    lines = drawn(capsys, view(0, packets_original=3, dropped_no_listener=2), view(1, packets_reply=4), counters=True)
    assert lines[0] == ["COUNTER", "us-east-2a/0", "us-east-2a/1", "MEANS"]
    assert [line[:3] for line in lines[1:]] == [
        ["packets_original", "3", "0"],
        ["packets_reply", "0", "4"],
        ["dropped_no_listener", "2", "0"],
    ]
    assert "listener" in lines[-1][3:]


def test_json_has_every_figure(commands: Commands, made: MadeRuntime) -> None:
    made.page(0, packets_original=123_456, packets_dropped=1)
    made.page(1)
    done = commands("nodes", "--json", "--runtime", made.runtime)
    first, second = json.loads(done.out)
    assert (done.status, first["node"], second["node"]) == (0, 0, 1)
    assert first["counters"] == {"packets_original": 123_456, "packets_dropped": 1, "starts": 1}
    assert (first["state"], first["kernel_queue"], first["heartbeat_age_s"]) == ("dead", None, 0.0)


def test_a_table_of_the_dead(commands: Commands, made: MadeRuntime) -> None:
    made.page(0)
    done = commands("nodes", "--runtime", made.runtime)
    assert done.status == 0
    assert done.rows()[1][:5] == [ZONE_ID, "1", "0", "-", "dead"]


def test_without_a_lab_the_command_fails_and_says_what_to_type(commands: Commands, tmp_path: Path) -> None:
    done = commands("nodes", "--runtime", tmp_path / "nothing")
    assert (done.status, done.out) == (1, "")
    assert "hyperplane lab up" in done.err


def test_watching_shows_packets_per_second(
    made: MadeRuntime, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made.page(0, packets_original=100, packets_reply=100)
    watched = WatchedNodes(made.runtime, counters=False)
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    console().print(watched())
    assert "PKTS/S" not in capsys.readouterr().out
    made.page(0, packets_original=400, packets_reply=150)
    monkeypatch.setattr("time.monotonic", lambda: 102.0)
    console().print(watched())
    heads, row = (line.split() for line in capsys.readouterr().out.splitlines())
    assert (heads[-1], row[-1]) == ("PKTS/S", "175")


def test_watching_for_programs_is_a_document_a_line(
    commands: Commands, made: MadeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.page(0)
    monkeypatch.setattr("hyperplane.cli.nodes.ticks", lambda: iter([None, None]))
    done = commands("nodes", "--json", "--watch", "--runtime", made.runtime)
    assert [len(json.loads(line)) for line in done.out.splitlines()] == [1, 1]
