"""`hyperplane flows` on made journals."""

import json
from pathlib import Path

import pytest

from hyperplane.snapshot import HeaderPlacement
from hyperplane.wire.packet import ACK, RST, SYN
from tests.cases import CLIENT, ENDPOINT, tcp
from tests.cli.commands import Commands
from tests.cli.made import NOW, MadeRuntime
from tests.conversation import Conversation
from tests.nodes import DOOR, DOOR_B, MemoryZone, snapshot_of


@pytest.fixture
def zone(made: MadeRuntime) -> MemoryZone:
    """Three flows of one endpoint, one of another, the latest first by port."""
    made.snapshot()
    zone = MemoryZone()
    for number in range(3):
        zone.node(0).send(tcp((CLIENT[0], 5000 + number), ENDPOINT, flags=SYN), DOOR, NOW - 1 - number)
    zone.node(0).send(tcp(CLIENT, ENDPOINT, flags=SYN), DOOR_B, NOW - 9)
    made.journals(zone)
    return zone


def test_a_row_shows_the_whole_way(commands: Commands, made: MadeRuntime, zone: MemoryZone) -> None:
    done = commands("flows", "--endpoint", f"vpce-{DOOR_B}", "--runtime", made.runtime)
    assert (done.status, done.err) == (0, "")
    (row,) = done.rows()[1:]
    way = " ".join(row[3:10])
    assert row[:3] == ["us-east-2a", "tcp", f"vpce-{DOOR_B}"]
    assert way.startswith("10.0.1.50:40000 > 10.0.1.10:443 => 10.9.0.7:")
    assert way.endswith("> 10.9.3.20:8080")
    assert row[10:] == ["SYN_SENT", "9.0", "s", "51", "s", "0"]


def test_the_latest_are_shown_first(commands: Commands, made: MadeRuntime, zone: MemoryZone) -> None:
    done = commands("flows", "--limit", 2, "--runtime", made.runtime)
    assert [row[3] for row in done.rows()[1:]] == ["10.0.1.50:5000", "10.0.1.50:5001"]


def test_limit_zero_is_all(commands: Commands, made: MadeRuntime, zone: MemoryZone) -> None:
    assert len(commands("flows", "--limit", 0, "--runtime", made.runtime).rows()) == 5


def test_json_holds_all_unless_told(commands: Commands, made: MadeRuntime, zone: MemoryZone) -> None:
    flows = json.loads(commands("flows", "--json", "--runtime", made.runtime).out)
    assert [flow["client"]["port"] for flow in flows] == [5000, 5001, 5002, 40_000]
    assert flows[0]["endpoint"] == {"address": ENDPOINT[0], "port": ENDPOINT[1]}
    assert (flows[0]["held_by"], flows[0]["told_by"], flows[0]["idle_s"]) == ([0, 1, 2], ["0"], 1.0)
    assert len(json.loads(commands("flows", "--json", "--limit", 1, "--runtime", made.runtime).out)) == 1


def test_json_says_where_a_target_gets_its_header(commands: Commands, made: MadeRuntime) -> None:
    """Also of a tuple on which another flow has begun, from another port: the younger is the flow, whoever tells of
    both."""
    made.snapshot()
    zone = MemoryZone(snapshot_of(placement=HeaderPlacement.ON_FIRST_ACK), ports=2)
    talk = Conversation()
    talk.open(zone.node(0), NOW - 9)
    zone.node(1).dataplane.settle(NOW - 9)
    assert talk.up(zone.node(1), NOW - 8, RST | ACK).accepted  # node 1 tells of the first one, and hears of no other
    zone.node(0).dataplane.settle(NOW - 8)
    assert zone.node(0).send(tcp(CLIENT, ENDPOINT, flags=SYN, sequence=77), DOOR, NOW - 7).accepted
    made.journals(zone)
    (flow,) = json.loads(commands("flows", "--json", "--runtime", made.runtime).out)
    assert (flow["proxy_protocol_v2"], flow["state"], flow["age_s"]) == ("on_first_ack", "SYN_SENT", 7.0)
    assert flow["told_by"] == ["0"]
    assert {flow["load_balancer"]["port"], talk.source[1] if talk.source else 0} == {1024, 1025}


def test_an_endpoint_without_flows_is_an_empty_table(commands: Commands, made: MadeRuntime, zone: MemoryZone) -> None:
    done = commands("flows", "--endpoint", "vpce-3", "--runtime", made.runtime)
    assert (done.status, len(done.rows())) == (0, 1)


def test_an_endpoint_that_is_none_is_wrong_usage(commands: Commands, made: MadeRuntime, zone: MemoryZone) -> None:
    done = commands("flows", "--endpoint", "vpce-33", "--runtime", made.runtime)
    assert (done.status, done.out) == (2, "")
    assert "vpce-3" in done.err


def test_a_torn_snapshot_does_not_hide_the_flows(commands: Commands, made: MadeRuntime, zone: MemoryZone) -> None:
    (made.runtime / "snapshot").write_text("torn")
    assert len(commands("flows", "--runtime", made.runtime).rows()) == 5
    assert commands("flows", "--endpoint", "vpce-1", "--runtime", made.runtime).status == 1


def test_without_a_lab_the_command_fails(commands: Commands, tmp_path: Path) -> None:
    done = commands("flows", "--runtime", tmp_path / "nothing")
    assert (done.status, done.out) == (1, "")
    assert "hyperplane lab up" in done.err
