"""What a trace says: how far a call came, who took it, which counters moved."""

from dataclasses import replace
from pathlib import Path

import pytest

from hyperplane.cli.output import console
from hyperplane.cli.trace.evidence import (
    KERNEL_LOST,
    Moved,
    PortClaim,
    find_claim,
    handling_of,
    moved_between,
    packets_seen,
)
from hyperplane.cli.trace.report import LastSeen, Trace, draw_trace, last_seen
from hyperplane.cli.trace.sightings import Direction, HopView
from hyperplane.flow.ports import PoolKey
from hyperplane.io.call import Call
from hyperplane.io.claims import SharedPortClaims, pool_file_name
from hyperplane.io.flow_view import FlowView, SocketAddress
from hyperplane.io.hops import Hop, Place
from hyperplane.io.kernel_queues import KernelQueue
from hyperplane.io.runtime import zone_files
from hyperplane.limits import SNAT_PORT_MIN, SNAT_PORTS_PER_TARGET
from hyperplane.snapshot import Protocol
from tests.cli.made import ZONE_ID
from tests.cli.test_nodes import view
from tests.nodes import way_out

CLIENT, SERVER = SocketAddress("10.0.1.50", 51_000), SocketAddress("10.0.1.10", 443)
NAT, TARGET = SocketAddress("10.9.0.7", 20_000), SocketAddress("10.9.3.20", 8080)


def hops(seen: int, back: int, flags: str = "SA") -> list[HopView]:
    """`seen` hops saw the call, `back` hops an answer: from the target on if it came so far, else from the client."""
    views = []
    for number, hop in enumerate(Hop):
        place = Place(hop, f"hp-{hop.value}", "hp-eth0", "", "")
        original = Direction(CLIENT, SERVER, 64, 3, 180, 0.001, ("S",)) if number < seen else None
        answered = number >= len(Hop) - back if seen == len(Hop) else number < back
        reply = Direction(SERVER, CLIENT, 62, 2, 120, 0.002, (flags,)) if answered else None
        views.append(HopView(place, original, reply))
    return views


@pytest.mark.parametrize(
    ("seen", "back", "hop", "missing", "says"),
    [
        (0, 0, "none", "client", "nothing left the client"),
        (1, 0, "client", "endpoint", "never reached the endpoint's ENI"),
        (2, 0, "endpoint", "nlb", "was not sent on"),
        (3, 0, "nlb", "router", "did not carry it on"),
        (4, 0, "router", "target", "the target's link"),
        (5, 0, "target", None, "which did not answer"),
        (5, 1, "target", "router", "lost on its way back"),
        (5, 3, "nlb", "endpoint", "lost on its way back"),
        (5, 5, "client", None, "the target itself ended it"),
    ],
)
def test_a_lost_call_is_followed_to_where_it_was_last_seen(
    seen: int, back: int, hop: str, missing: str | None, says: str
) -> None:
    lost = last_seen(hops(seen, back))
    assert (lost.hop, lost.missing) == (hop, missing)
    assert says in lost.says


def test_a_reset_by_the_fabric_is_not_the_targets() -> None:
    lost = last_seen(hops(2, 2, flags="RA"))
    assert (lost.hop, lost.says) == ("endpoint", "answered by the fabric itself, not by a target: a reset")


def test_only_what_moved_is_told_and_losses_first() -> None:
    queue = KernelQueue(96, 0, 0, 0, 0)
    before = [replace(view(0, flows_new=5), kernel_queue=queue), replace(view(1), kernel_queue=queue)]
    after = [
        replace(view(0, flows_new=5, packets_original=2), kernel_queue=queue),
        replace(view(1, dropped_no_listener=3), kernel_queue=KernelQueue(96, 0, 2, 1, 9)),
    ]
    assert [(item.node, item.counter, item.by) for item in moved_between(before, after, ZONE_ID)] == [
        (1, "dropped_no_listener", 3),
        (1, KERNEL_LOST, 3),
        (0, "packets_original", 2),
    ]
    assert moved_between(before, after, "elsewhere") == []
    assert packets_seen([view(0, packets_original=2, packets_reply=3, packets_dropped=4, flows_new=9)], ZONE_ID) == 9


def test_a_node_that_began_anew_has_not_moved_back() -> None:
    assert moved_between([view(0, packets_original=9)], [view(0, packets_original=2)], ZONE_ID) == []


def test_a_claim_names_the_node_that_made_the_flow(tmp_path: Path) -> None:
    eni = way_out()
    key = PoolKey(eni.address, bytes([10, 9, 3, 20]), 8080, 6, eni.number)
    directory = zone_files(tmp_path, ZONE_ID).ports
    directory.mkdir(parents=True)
    for node, index in ((2, 77), (0, 5)):
        claims = SharedPortClaims(directory / pool_file_name(key), node, 3)
        assert claims.claim(index)
        claims.close()

    def claim(port: int, target: SocketAddress = TARGET) -> PortClaim | None:
        return find_claim(tmp_path, ZONE_ID, eni, Protocol.TCP, port, target)

    name = pool_file_name(key)
    assert claim(SNAT_PORT_MIN + 77) == PortClaim(SNAT_PORT_MIN + 77, name, 2, 2, SNAT_PORTS_PER_TARGET)
    assert claim(SNAT_PORT_MIN + 78) == PortClaim(SNAT_PORT_MIN + 78, name, None, 2, SNAT_PORTS_PER_TARGET)
    assert claim(SNAT_PORT_MIN + 77, SocketAddress("10.9.3.20", 8081)) is None


def flow(state: str = "CLOSED", told_by: tuple[str, ...] = ("0", "3")) -> FlowView:
    return FlowView(
        zone="us-east-2a",
        zone_id=ZONE_ID,
        endpoint_id="vpce-1",
        endpoint_eni=1,
        load_balancer_eni=9,
        protocol="tcp",
        client=CLIENT,
        endpoint=SERVER,
        load_balancer=NAT,
        target=TARGET,
        state=state,
        age_s=1.0,
        idle_s=0.5,
        expires_in_s=119.5,
        told_by=told_by,
        held_by=(0, 1, 3),
    )


@pytest.mark.parametrize(
    ("state", "told_by", "claimed_by", "original", "reply"),
    [
        ("CLOSED", ("0", "3"), 3, 3, 0),
        ("ESTABLISHED", ("3",), 3, 3, 3),  # one node took both directions
        ("SYN_SENT", ("3",), 3, 3, None),
        ("UNANSWERED", ("3",), 3, 3, None),
        ("CLOSED", ("1/2", "3"), 3, 3, 3),  # a row of an older generation tells nothing of this call
        ("CLOSED", ("0", "3"), None, None, None),
    ],
)
def test_who_took_which_direction(
    state: str, told_by: tuple[str, ...], claimed_by: int | None, original: int | None, reply: int | None
) -> None:
    claim = PortClaim(20_000, "pool", claimed_by, 1, 55_000)
    views = [replace(view(node), queue=32 + node) for node in range(4)]
    handling = handling_of(flow(state, told_by), claim, views)
    assert handling is not None
    assert (handling.original_node, handling.reply_node) == (original, reply)
    assert handling.original_queue == (None if original is None else 32 + original)
    assert handling.reply_queue == (None if reply is None else 32 + reply)


def test_without_a_flow_nobody_took_it() -> None:
    assert handling_of(None, None, []) is None


def traced(lost: LastSeen | None, views: list[HopView], moved: list[Moved], unwell: list[str]) -> Trace:
    call = Call("tcp", CLIENT.address, CLIENT.port, SERVER.address, SERVER.port, lost is None, None, 0.0012, "")
    if lost is None:
        call = replace(call, answer='HTTP/1.1 200 OK\r\nServer: x\r\n\r\n{"a": [1]}\n')
    else:
        call = replace(call, problem="no answer within 3 s", connect_s=None)
    return Trace(
        client="consumer-a",
        endpoint="orders-a",
        endpoint_id="vpce-1",
        zone="us-east-2a",
        call=call,
        hops=views,
        proxy_header=None,
        last_seen=lost,
        security_rule=None,
        listener=None,
        target=None,
        choice=None,
        source_port=None,
        handling=None,
        flow=None,
        timers=None,
        moved=moved,
        unwell=unwell,
    )


def test_a_good_trace_shows_both_ways_and_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    console().print(draw_trace(traced(None, hops(5, 5), [Moved(0, "packets_original", 5, "")], [])))
    out = capsys.readouterr().out
    assert "connected in 1.2 ms; HTTP/1.1 200 OK\n" in out
    assert '{"a": [1]}\n' in out
    rows = [line.split() for line in out.splitlines()]
    heads = [index for index, row in enumerate(rows) if row[:2] == ["HOP", "WHERE"]]
    there, back = ([row[1] for row in rows[at + 1 : at + 6]] for at in heads)
    assert there == back[::-1] == [hop.value for hop in Hop]
    assert "COUNTERS" not in out


def test_a_lost_call_is_told_with_counters_and_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    views = hops(2, 0)
    moved = [Moved(3, "dropped_no_listener", 1, "nobody listens"), Moved(3, "packets_dropped", 1, "")]
    console().print(draw_trace(traced(last_seen(views), views, moved, ["node 1 of us-east-2a is silent"])))
    out = capsys.readouterr().out
    assert "FAILED: no answer within 3 s\n" in out
    assert "last seen at hop endpoint (hp-endpoint/hp-eth0), client to target; not seen at hop nlb\n" in out
    assert "node 1 of us-east-2a is silent\n" in out
    assert "AND BACK" not in out
    assert ["node", "3", "dropped_no_listener", "+1", "nobody", "listens"] in [
        line.split() for line in out.splitlines()
    ]
