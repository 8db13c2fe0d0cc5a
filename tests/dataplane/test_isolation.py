"""Tenants apart, one way only, and room for everybody (the checklist's rows are in the names)."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from hyperplane.dataplane.verdict import Drop, DropReason, Reply
from hyperplane.snapshot import Protocol, SecurityRule
from tests.cases import ACK, CLIENT, ENDPOINT, FIN, PSH, RST, SYN, TARGET, URG, Ip, linux_syn, tcp, udp
from tests.conversation import Conversation
from tests.dissection import dissect
from tests.malformed import MALFORMED, Malformed
from tests.nodes import (
    DATAGRAM_PORT,
    DOOR,
    DOOR_B,
    DOOR_C,
    ENDPOINT_C,
    EXIT,
    MemoryZone,
    Node,
    door,
    network,
    snapshot_of,
    way_out,
)

IDLE_S, HALF_OPEN_S, CLOSING_S, REST_S = 350, 60, 120, 60


def silent(node: Node, data: bytes, eni: int, reason: DropReason, now: float = 1.0) -> None:
    """Dropped without a word, one counter for it and no state."""
    flows = node.flows
    out = node.send(data, eni, now)
    assert out.verdict == Drop(reason)
    assert out.moved == {"packets_dropped": 1, f"dropped_{reason.value}": 1}
    assert node.flows == flows


# --- equal addresses ------------------------------------------------------------------------------------


def test_nat_03_s_13_consumers_with_equal_addresses_never_meet() -> None:
    """Same client, port, sequence number and moment behind two endpoints; and many of each at one target."""
    node = MemoryZone().node(0)
    pairs = []
    for number in range(100):
        client = (CLIENT[0], 10_000 + number)
        pair = Conversation(client), Conversation(client, door=DOOR_B)
        for talk in pair:
            assert talk.up(node, 1.0, SYN, options=linux_syn()).accepted
        pairs.append(pair)
    sources = {talk.source for pair in pairs for talk in pair}
    assert len(sources) == 200, "INV-1"
    for first, second in pairs:
        for talk, name in ((first, b"a"), (second, b"b")):
            assert talk.down(node, 1.0, SYN | ACK).accepted
            assert talk.up(node, 1.0).accepted
            out = talk.down(node, 1.0, PSH | ACK, b"for " + name)
            assert (out.eni, dissect(out.packet).destination) == (talk.door, talk.client)
            assert dissect(out.packet).payload == b"for " + name


def test_nat_12_a_target_may_be_its_own_client() -> None:
    """Hairpin: an endpoint in the provider's VPC, and the one target is the one who asks."""
    node = MemoryZone().node(0)
    talk = Conversation(TARGET, ENDPOINT_C, DOOR_C)
    talk.open(node, 1.0)
    out = talk.up(node, 1.0, PSH | ACK, b"to myself")
    seen = dissect(out.packet)
    assert (seen.destination, seen.payload) == (TARGET, b"to myself")
    assert seen.source not in (TARGET, ENDPOINT_C)
    assert dissect(talk.down(node, 1.0, PSH | ACK, b"from myself").packet).source == ENDPOINT_C


def test_s_05_what_comes_in_elsewhere_never_matches() -> None:
    """Resets, SYNs and data on A's very tuple, through B's door: the ENI is part of the key."""
    node = MemoryZone().node(0)
    talk = Conversation()
    talk.open(node, 1.0)
    talk.exchange(node, 1.0)
    before = node.dataplane.plane.table.original[next(iter(node.dataplane.plane.table.original))].state
    for flags in (RST, RST | ACK, ACK, FIN | ACK):
        for step in range(16):
            data = tcp(CLIENT, ENDPOINT, flags=flags, sequence=talk.client_next + (step << 16))
            assert not node.send(data, DOOR_B).accepted
            assert not node.send(data, DOOR_C).accepted
    (entry,) = node.dataplane.plane.table
    assert entry.state == before
    talk.exchange(node, 2.0)


# --- one way --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [SYN, SYN | PSH, SYN | URG, SYN | ACK, ACK, FIN | ACK, RST, PSH | ACK])
def test_s_02_nothing_that_a_target_sends_on_its_own_reaches_a_consumer(flags: int) -> None:
    node = MemoryZone().node(0)
    for destination in ("10.9.0.7", ENDPOINT[0], CLIENT[0], "10.9.3.99", "255.255.255.255", "224.0.0.1"):
        for port in (0, 22, 443, 1024, 40_000, 56_023, 65_535):
            out = node.send(tcp(TARGET, (destination, port), flags=flags), EXIT)
            assert not out.accepted
            if isinstance(out.verdict, Reply):
                assert (out.eni, destination, flags & RST) == (EXIT, "10.9.0.7", 0)
                assert dissect(out.packet).destination == TARGET
    assert node.flows == 0


def test_s_01_a_stranger_in_the_providers_vpc_gets_no_word() -> None:
    """Only a registered target is told that its flow has gone."""
    node = MemoryZone().node(0)
    talk = Conversation()
    talk.open(node, 1.0)
    assert talk.source is not None
    for flags in (SYN | ACK, ACK, FIN | ACK, RST):
        for stranger in (("10.9.3.21", 8080), ("10.9.3.20", 8081), ("10.9.0.7", 8080)):
            silent(node, tcp(stranger, talk.source, flags=flags), EXIT, DropReason.NO_FLOW)
    silent(node, udp(("10.9.3.20", 9053), talk.source, b"x"), EXIT, DropReason.NO_FLOW)


def test_s_03_after_the_end_only_the_provider_hears_of_it() -> None:
    node = MemoryZone().node(0)
    talk = Conversation()
    talk.open(node, 1.0)
    node.pass_time(1.0 + IDLE_S + 2)
    out = talk.down(node, 1.0 + IDLE_S + 2, PSH | ACK, b"still there?")
    assert (out.eni, out.reason, dissect(out.packet).destination) == (EXIT, DropReason.NO_FLOW, TARGET)


# --- who may come in ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    ["10.1.0.1", "10.9.3.20", "10.9.0.7", "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "169.254.1.1"],
)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_s_06_nat_52_a_source_that_is_not_of_the_vpc(source: str, protocol: str) -> None:
    """Foreign, martian, broadcast, multicast, the load balancer's own: no answer may go there either."""
    node = MemoryZone().node(0)
    if protocol == "tcp":
        for flags in (SYN, ACK):
            silent(node, tcp((source, 5000), ENDPOINT, flags=flags), DOOR, DropReason.FOREIGN_SOURCE)
    else:
        silent(node, udp((source, 5000), (ENDPOINT[0], DATAGRAM_PORT)), DOOR, DropReason.FOREIGN_SOURCE)


def test_nat_52_land() -> None:
    """Source and destination are the same."""
    node = MemoryZone().node(0)
    silent(node, tcp(ENDPOINT, ENDPOINT, flags=SYN), DOOR, DropReason.FOREIGN_SOURCE)


@pytest.mark.parametrize("destination", ["10.0.1.11", "10.9.3.20", "224.0.0.1", "255.255.255.255", "0.0.0.0"])
def test_s_07_a_destination_that_is_not_the_endpoint(destination: str) -> None:
    node = MemoryZone().node(0)
    silent(node, tcp(CLIENT, (destination, 443), flags=SYN), DOOR, DropReason.NOT_OUR_ADDRESS)


ONLY_443 = (SecurityRule(Protocol.TCP, 443, 443, network("10.0.1.0/24")),)


def closed_doors() -> Iterator[tuple[str, dict[str, object], DropReason]]:
    yield "not accepted yet", {"available": False}, DropReason.NOT_AVAILABLE
    yield "no node of the load balancer in this zone", {"load_balancer_eni": 0}, DropReason.NOT_AVAILABLE
    yield "no security rule", {"security_rules": ()}, DropReason.SECURITY_GROUP
    for rule in (
        SecurityRule(Protocol.UDP, 443, 443, network("0.0.0.0/0")),
        SecurityRule(Protocol.TCP, 444, 444, network("0.0.0.0/0")),
        SecurityRule(Protocol.TCP, 443, 443, network("10.0.2.0/24")),
    ):
        yield f"another rule: {rule}", {"security_rules": (rule,)}, DropReason.SECURITY_GROUP


@pytest.mark.parametrize(
    ("why", "changes", "reason"), list(closed_doors()), ids=lambda it: it if isinstance(it, str) else ""
)
def test_s_09_nat_44_a_closed_door_is_silent(why: str, changes: dict[str, object], reason: DropReason) -> None:
    zone = MemoryZone(snapshot_of(replace(door(), **changes), way_out()))  # type: ignore[arg-type]
    for flags in (SYN, ACK, FIN | ACK, RST):
        silent(zone.node(0), tcp(CLIENT, ENDPOINT, flags=flags), DOOR, reason)
    assert zone.ports_taken() == 0, why


def test_s_09_a_rejected_endpoint_cuts_its_flows_in_both_directions() -> None:
    zone = MemoryZone()
    node = zone.node(0)
    talk = Conversation()
    talk.open(node, 1.0)
    zone.load(snapshot_of(door(available=False), way_out(), version=2), 2.0)
    for out in (talk.up(node, 2.0, PSH | ACK, b"x"), talk.down(node, 2.0, PSH | ACK, b"y"), talk.up(node, 2.0, SYN)):
        assert out.verdict == Drop(DropReason.NOT_AVAILABLE)
    zone.load(snapshot_of(version=3), 3.0)
    talk.exchange(node, 3.0)


def test_s_09_a_deleted_endpoint_cuts_its_flows_and_they_end_in_time() -> None:
    zone = MemoryZone(ports=1)
    node = zone.node(0)
    talk = Conversation()
    talk.open(node, 1.0)
    zone.load(snapshot_of(way_out(), version=2), 2.0)
    for out in (talk.up(node, 2.0, PSH | ACK, b"x"), talk.down(node, 2.0, PSH | ACK, b"y")):
        assert out.verdict == Drop(DropReason.NOT_AVAILABLE)
    node.pass_time(IDLE_S + REST_S + 10.0)
    assert (node.flows, zone.ports_taken()) == (0, 0)


def test_s_10_a_rule_taken_away_closes_the_door_and_leaves_who_is_inside() -> None:
    """As tracked connections in AWS: the flow goes on until it is idle; a new one is refused."""
    zone = MemoryZone()
    node = zone.node(0)
    talk = Conversation()
    talk.open(node, 1.0)
    zone.load(snapshot_of(door(security_rules=()), way_out(), version=2), 2.0)
    for now in (3.0, 300.0, 600.0):
        node.pass_time(now)
        talk.exchange(node, now)
    silent(node, tcp((CLIENT[0], 50_000), ENDPOINT, flags=SYN), DOOR, DropReason.SECURITY_GROUP, 600.0)


def test_a_port_without_a_listener_is_silent() -> None:
    node = MemoryZone().node(0)
    silent(node, tcp(CLIENT, (ENDPOINT[0], 444), flags=SYN), DOOR, DropReason.NO_LISTENER)
    silent(node, udp(CLIENT, (ENDPOINT[0], 443)), DOOR, DropReason.NO_LISTENER)


def test_an_eni_that_nobody_knows() -> None:
    node = MemoryZone().node(0)
    silent(node, tcp(CLIENT, ENDPOINT, flags=SYN), 77, DropReason.UNKNOWN_INTERFACE)


PIECES = ("first fragment", "last fragment")
"""No packets by themselves, but pieces that wait for others: `test_fragments.py`."""


@pytest.mark.parametrize(
    "case", [case for case in MALFORMED if case.description not in PIECES], ids=lambda case: case.description
)
@pytest.mark.parametrize("eni", [DOOR, EXIT])
def test_nat_32_nat_48_s_08_malformed_packets_leave_a_counter_and_nothing_else(case: Malformed, eni: int) -> None:
    silent(MemoryZone().node(0), case.packet, eni, DropReason(case.malformation.value))


# --- ports over time ------------------------------------------------------------------------------------


def test_nat_07_nat_08_a_port_comes_back_to_the_target_when_it_has_rested() -> None:
    """One port only: from the end of a flow to the next there is the closing time, then a minute."""
    zone = MemoryZone(ports=1)
    node = zone.node(0)
    talk = Conversation()
    talk.open(node, 1.0)
    talk.close(node, 2.0)
    other = Conversation((CLIENT[0], 50_000))
    ended = None
    for step in range(10, 2500):
        now = step / 10
        node.pass_time(now)
        if ended is None and node.flows == 0:
            ended = now
        if ended is None or now < ended + REST_S - 1:
            out = other.up(node, now, SYN, options=linux_syn())
            assert out.moved == {
                "packets_dropped": 1,
                "port_allocation_errors": 1,
                "rejected_flows": 1,
                "dropped_port_allocation": 1,
            }
        elif now > ended + REST_S + 1:
            break
    assert ended is not None
    assert ended == pytest.approx(2.0 + CLOSING_S, abs=2)
    other.open(node, now)
    assert other.source == talk.source


def test_nat_11_a_node_that_is_nearly_full_translates_like_one_that_is_empty() -> None:
    """RFC 4787 REQ-11: never change behaviour under load."""

    def outs(crowd: int) -> list[bytes]:
        room = snapshot_of(flows_per_node_max=1000, flows_per_endpoint_max=1000, half_open_per_endpoint_max=999)
        node = MemoryZone(room, rows=1000).node(0)
        seen = [node.send(tcp(CLIENT, ENDPOINT, flags=SYN, options=linux_syn()), DOOR).packet]
        for number in range(crowd):
            assert node.send(tcp(("10.0.7.7", number + 1), ENDPOINT, flags=SYN), DOOR).accepted
        source = dissect(seen[0]).source
        seen.append(node.send(tcp(TARGET, source, flags=SYN | ACK), EXIT).packet)
        seen += [node.send(tcp(CLIENT, ENDPOINT, payload=bytes(size)), DOOR).packet for size in (0, 1, 1000)]
        seen.append(node.send(tcp(CLIENT, ENDPOINT, flags=RST, ip=Ip(traffic_class=3)), DOOR).packet)
        return seen

    assert outs(9) == outs(990)
