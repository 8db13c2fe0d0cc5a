"""Flows from journals: joined as the nodes join them, named by the snapshot, gone when their time has run out."""

from pathlib import Path

import pytest

from hyperplane.flow.journal import HEADER_BYTES
from hyperplane.flow.tcp_state import State
from hyperplane.io.flow_view import FlowView, SocketAddress, endpoints_of, view_flows
from hyperplane.limits import CLOSING_TIMEOUT_S, HALF_OPEN_TIMEOUT_S
from hyperplane.snapshot import Snapshot
from hyperplane.wire.packet import ACK, FIN, RST, SYN
from tests.cases import BALANCER, CLIENT, ENDPOINT, TARGET, tcp, udp
from tests.cli.made import NOW, MadeRuntime
from tests.dissection import dissect
from tests.nodes import DATAGRAM_PORT, DOOR, DOOR_B, EXIT, MemoryZone, Outcome, snapshot_of


@pytest.fixture
def made(tmp_path: Path) -> MadeRuntime:
    made = MadeRuntime(tmp_path)
    made.snapshot()
    return made


def whole_zone(snapshot: Snapshot | None = None) -> MemoryZone:
    """A zone whose nodes all live, so that each hears what the others tell."""
    zone = MemoryZone(snapshot)
    for number in range(zone.node_count):
        zone.node(number)
    return zone


def opened(zone: MemoryZone, node: int = 0, door: int = DOOR, now: float = NOW - 1) -> Outcome:
    """A client's SYN at a node."""
    return zone.node(node).send(tcp(CLIENT, ENDPOINT, flags=SYN), door, now)


def answered(zone: MemoryZone, out: Outcome, node: int = 1, flags: int = SYN | ACK, now: float = NOW - 1) -> None:
    """The target's answer at another node."""
    seen = dissect(out.packet)
    zone.node(node).send(tcp(seen.destination, seen.source, flags=flags), EXIT, now)


def only(made: MadeRuntime, zone: MemoryZone, now: float = NOW) -> FlowView:
    made.journals(zone)
    (view,) = view_flows(made.runtime, now).views
    return view


def test_a_flow_has_both_sides_of_the_translation(made: MadeRuntime) -> None:
    zone = whole_zone()
    out = opened(zone)
    view = only(made, zone)
    source = dissect(out.packet).source
    assert (view.zone, view.endpoint_id, view.protocol) == ("us-east-2a", f"vpce-{DOOR}", "tcp")
    assert (view.client, view.endpoint) == (SocketAddress(*CLIENT), SocketAddress(*ENDPOINT))
    assert (view.load_balancer, view.target) == (SocketAddress(*source), SocketAddress(*TARGET))
    assert view.load_balancer.address == BALANCER[0]
    assert (view.state, view.told_by, view.held_by) == ("SYN_SENT", ("0",), (0, 1, 2))
    assert (view.age_s, view.idle_s, view.expires_in_s) == (1.0, 1.0, HALF_OPEN_TIMEOUT_S - 1.0)


def test_rows_of_several_nodes_are_one_flow(made: MadeRuntime) -> None:
    zone = whole_zone()
    out = opened(zone)
    answered(zone, out, now=NOW - 0.5)
    view = only(made, zone)
    assert (view.state, view.told_by, view.idle_s) == ("SYN_RECEIVED", ("0", "1"), 0.5)


def test_states_are_united_whoever_saw_them(made: MadeRuntime) -> None:
    """One node saw the client's FIN, another the target's: neither knows that the flow is closed, both together do."""
    zone = whole_zone()
    out = opened(zone)
    answered(zone, out)
    made.journals(zone)
    answered(zone, out, node=1, flags=FIN | ACK)
    zone.node(0).send(tcp(CLIENT, ENDPOINT, flags=FIN | ACK), DOOR, NOW - 1)
    view = only(made, zone)
    assert view.state == State.CLOSED.name
    assert view.expires_in_s == CLOSING_TIMEOUT_S - 1.0


def test_a_reopened_flow_is_as_the_newest_epoch_says(made: MadeRuntime) -> None:
    zone = whole_zone()
    out = opened(zone, now=NOW - 3)
    answered(zone, out, now=NOW - 3)
    answered(zone, out, flags=RST | ACK, now=NOW - 2)
    opened(zone, now=NOW - 1)
    assert only(made, zone).state == State.SYN_SENT.name


def test_an_established_flow_has_its_listeners_timer(made: MadeRuntime) -> None:
    snapshot = snapshot_of(idle_timeout_s=77)
    made.snapshot(snapshot)
    zone = whole_zone(snapshot)
    out = opened(zone)
    answered(zone, out)
    zone.node(0).send(tcp(CLIENT, ENDPOINT, flags=ACK), DOOR, NOW - 1)
    view = only(made, zone)
    assert (view.state, view.expires_in_s) == (State.ESTABLISHED.name, 76.0)


def test_datagrams_have_words_of_their_own(made: MadeRuntime) -> None:
    zone = whole_zone()
    out = zone.node(0).send(udp(CLIENT, (ENDPOINT[0], DATAGRAM_PORT)), DOOR, NOW - 1)
    view = only(made, zone)
    assert (view.protocol, view.state, view.expires_in_s) == ("udp", "UNANSWERED", 119.0)
    seen = dissect(out.packet)
    zone.node(1).send(udp(seen.destination, seen.source), EXIT, NOW - 1)
    assert only(made, zone).state == "ANSWERED"


def test_what_has_run_out_is_no_flow(made: MadeRuntime) -> None:
    zone = whole_zone()
    opened(zone)
    made.journals(zone)
    assert view_flows(made.runtime, NOW + HALF_OPEN_TIMEOUT_S - 1.01).total == 1
    assert view_flows(made.runtime, NOW + HALF_OPEN_TIMEOUT_S - 0.99).total == 0


def test_equal_addresses_of_two_consumers_are_two_flows(made: MadeRuntime) -> None:
    zone = whole_zone()
    opened(zone, door=DOOR)
    opened(zone, door=DOOR_B)
    made.journals(zone)
    found = view_flows(made.runtime, NOW).views
    assert {view.endpoint_id for view in found} == {f"vpce-{DOOR}", f"vpce-{DOOR_B}"}
    assert {view.client for view in found} == {SocketAddress(*CLIENT)}


@pytest.mark.parametrize("name", [f"vpce-{DOOR_B}", f"eni-{DOOR_B}"])
def test_flows_of_one_endpoint(made: MadeRuntime, name: str) -> None:
    zone = whole_zone()
    opened(zone, door=DOOR)
    opened(zone, door=DOOR_B)
    made.journals(zone)
    assert [view.endpoint_id for view in view_flows(made.runtime, NOW, name).views] == [f"vpce-{DOOR_B}"]


def test_the_latest_come_first_and_few_are_enough(made: MadeRuntime) -> None:
    zone = whole_zone()
    for number in range(5):
        zone.node(0).send(tcp((CLIENT[0], 5000 + number), ENDPOINT, flags=SYN), DOOR, NOW - number)
    made.journals(zone)
    found = view_flows(made.runtime, NOW, limit=2)
    assert [view.client.port for view in found.views] == [5000, 5001]
    assert found.total == 5


def test_without_a_snapshot_flows_are_still_told(made: MadeRuntime) -> None:
    (made.runtime / "snapshot").unlink()
    zone = whole_zone()
    opened(zone)
    view = only(made, zone)
    assert (view.endpoint_id, view.endpoint.address, view.target) == (f"ENI {DOOR}", "?", SocketAddress(*TARGET))


def test_an_older_generation_is_named(made: MadeRuntime) -> None:
    zone = whole_zone()
    opened(zone)
    made.journals(zone, generation=9)
    (view,) = view_flows(made.runtime, NOW).views
    assert view.told_by == ("9/0",)


@pytest.mark.parametrize("content", [b"", bytes(100), bytes(HEADER_BYTES), bytes(HEADER_BYTES * 2)])
def test_a_journal_that_is_just_being_made_tells_nothing(made: MadeRuntime, content: bytes) -> None:
    made.files.journal(1, 0).write_bytes(content)
    assert view_flows(made.runtime, NOW).total == 0


def test_endpoints_are_those_of_the_snapshot(made: MadeRuntime) -> None:
    assert endpoints_of(made.runtime) == ["vpce-1", "vpce-2", "vpce-3"]
