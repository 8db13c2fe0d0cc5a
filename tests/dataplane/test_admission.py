"""Who may start a flow, who is told why not, and that a refusal leaves nothing behind."""

from dataclasses import replace
from typing import Any

import pytest

from hyperplane.dataplane.verdict import Drop, DropReason
from hyperplane.snapshot import SecurityRule
from hyperplane.wire.packet import ChecksumState
from tests.cases import CLIENT, CLIENT_6, ENDPOINT, SYN, TARGET, Ip, linux_syn, tcp, udp
from tests.conversation import Conversation
from tests.dissection import dissect
from tests.nodes import (
    BALANCER_6,
    DATAGRAM_PORT,
    DOOR,
    DOOR_B,
    ENDPOINT_6,
    EXIT,
    MemoryZone,
    Node,
    door,
    network,
    snapshot_of,
    way_out,
)

DATAGRAMS = (ENDPOINT[0], DATAGRAM_PORT)


def syn(number: int = 0) -> bytes:
    return tcp((CLIENT[0], 10_000 + number), ENDPOINT, flags=SYN, options=linux_syn())


def leaves_nothing(zone: MemoryZone, node: Node) -> None:
    assert node.flows == 0
    assert zone.ports_taken() == 0
    assert not any(zone.journals[0][4096:])


# --- bounds -------------------------------------------------------------------------------------------


def test_nat_10_a_full_table_refuses_and_keeps_what_it_has() -> None:
    zone = MemoryZone(snapshot_of(flows_per_node_max=100, flows_per_endpoint_max=100, half_open_per_endpoint_max=100))
    node = zone.node(0)
    talks = []
    for number in range(100):
        talk = Conversation((CLIENT[0], 10_000 + number))
        talk.open(node, 1.0)
        talks.append(talk)
    for number in range(100, 120):
        out = node.send(syn(number), DOOR)
        assert out.verdict == Drop(DropReason.FLOW_TABLE_FULL)
        assert out.moved == {"packets_dropped": 1, "rejected_flows": 1, "dropped_flow_table_full": 1}
    for talk in talks:
        talk.exchange(node, 2.0)
    assert zone.ports_taken() == 100


def test_nat_09_s_12_an_endpoint_at_its_bound_disturbs_no_other() -> None:
    zone = MemoryZone(snapshot_of(flows_per_endpoint_max=10, half_open_per_endpoint_max=10))
    node = zone.node(0)
    for number in range(10):
        Conversation((CLIENT[0], 10_000 + number)).open(node, 1.0)
    out = node.send(syn(99), DOOR)
    assert out.moved == {"packets_dropped": 1, "rejected_flows": 1, "dropped_endpoint_flows_full": 1}
    for number in range(10):
        Conversation((CLIENT[0], 10_000 + number), door=DOOR_B).open(node, 1.0)


def test_s_12_a_flood_of_syns_pushes_out_the_oldest_half_open_flow_and_no_established_one() -> None:
    zone = MemoryZone(snapshot_of(half_open_per_endpoint_max=10))
    node = zone.node(0)
    talk = Conversation()
    talk.open(node, 1.0)
    for number in range(50):
        out = node.send(syn(number), DOOR)
        assert out.moved.get("half_open_evicted", 0) == (number >= 10)
    assert node.flows == 11
    talk.exchange(node, 1.0)
    ports = {entry.original_key[8:10] for entry in node.dataplane.plane.table}
    assert {int.from_bytes(port, "big") for port in ports} == {CLIENT[1], *range(10_040, 10_050)}


@pytest.mark.parametrize("want", ["target", "port"])
def test_a_flow_that_cannot_be_made_pushes_nobody_out(want: str) -> None:
    """A flood at a service without targets or ports must not end the flows that wait for their answer."""
    zone = MemoryZone(snapshot_of(half_open_per_endpoint_max=10), ports=10)
    node = zone.node(0)
    for number in range(10):
        assert node.send(syn(number), DOOR).accepted
    if want == "target":
        zone.load(snapshot_of(half_open_per_endpoint_max=10, targets=(), version=2), 1.0)
    out = node.send(syn(99), DOOR)
    assert out.reason is (DropReason.NO_TARGET if want == "target" else DropReason.PORT_ALLOCATION)
    assert node.flows == 10
    assert "half_open_evicted" not in out.moved


def test_nat_05_exhausted_ports_refuse_exactly_the_next_flow() -> None:
    zone = MemoryZone(ports=100)
    nodes = [zone.node(index) for index in range(3)]
    for number in range(100):
        assert nodes[number % 3].send(syn(number), DOOR).accepted
    for node in nodes:
        out = node.send(syn(200), DOOR)
        assert out.moved == {
            "packets_dropped": 1,
            "port_allocation_errors": 1,
            "rejected_flows": 1,
            "dropped_port_allocation": 1,
        }
    assert nodes[0].send(udp(CLIENT, DATAGRAMS, b"x"), DOOR).accepted, "other protocols have ports of their own"


@pytest.mark.slow
def test_f_17_the_real_55_000_ports() -> None:
    count = 55_000
    room = snapshot_of(flows_per_node_max=60_000, flows_per_endpoint_max=60_000, half_open_per_endpoint_max=59_999)
    zone = MemoryZone(room, rows=60_000)
    node = zone.node(0)
    seen = set()
    for number in range(count):
        source = CLIENT[0], 1 + number
        seen.add(dissect(node.send(tcp(source, ENDPOINT, flags=SYN), DOOR).packet).source)
    assert len(seen) == count
    assert {port for _, port in seen} == set(range(1024, 56_024))
    assert node.send(tcp((CLIENT[0], 60_000), ENDPOINT, flags=SYN), DOOR).reason is DropReason.PORT_ALLOCATION


# --- packets that may not be forwarded -----------------------------------------------------------------


@pytest.mark.parametrize("size", [1501, 1501 + 1000])
def test_a_first_packet_that_is_too_big_makes_no_flow(size: int) -> None:
    zone = MemoryZone()
    node = zone.node(0)
    out = node.send(udp(CLIENT, DATAGRAMS, bytes(size - 28)), DOOR)
    assert out.reason is DropReason.TOO_BIG
    assert dissect(out.packet).icmp_rest == 1500
    assert out.moved == {"packets_dropped": 1, "replies": 1, "dropped_too_big": 1}
    leaves_nothing(zone, node)
    assert node.send(udp(CLIENT, DATAGRAMS, bytes(size - 28), ip=Ip(dont_fragment=False)), DOOR).accepted


@pytest.mark.parametrize("mismatch", ["target", "load balancer"])
def test_a_packet_is_never_given_addresses_of_another_family(mismatch: str) -> None:
    """A snapshot may say so; a packet of 20 bytes of addresses is none of ours."""
    if mismatch == "target":
        snapshot = snapshot_of(targets=("fd00:9:3::20",))
    else:
        snapshot = snapshot_of(door(), way_out(BALANCER_6[0], "fd00:9::/32"))
    zone = MemoryZone(snapshot)
    node = zone.node(0)
    out = node.send(syn(), DOOR)
    assert out.reason is (DropReason.NO_TARGET if mismatch == "target" else DropReason.NOT_AVAILABLE)
    leaves_nothing(zone, node)


def test_an_endpoint_of_the_other_family_does_not_lead_to_a_target() -> None:
    zone = MemoryZone(snapshot_of(door(DOOR, ENDPOINT_6[0], "fd00::/16"), way_out()))
    out = zone.node(0).send(tcp(CLIENT_6, ENDPOINT_6, flags=SYN), DOOR)
    assert out.reason is DropReason.NOT_AVAILABLE


# --- expired on the way --------------------------------------------------------------------------------


NOBODY = (SecurityRule(None, 0, 65_535, network("10.0.99.0/24")),)


@pytest.mark.parametrize(
    ("description", "changes", "source"),
    [
        ("endpoint not accepted", {"available": False}, CLIENT),
        ("security groups closed", {"security_rules": ()}, CLIENT),
        ("not allowed", {"security_rules": NOBODY}, CLIENT),
        ("foreign source", {}, ("203.0.113.1", 40_000)),
        ("its own address", {}, ENDPOINT),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nat_44_who_may_not_come_in_is_not_told_that_a_packet_expired_here(
    description: str, changes: dict[str, Any], source: tuple[str, int]
) -> None:
    zone = MemoryZone(snapshot_of(replace(door(), **changes), way_out()))
    out = zone.node(0).send(tcp(source, ENDPOINT, flags=SYN, ip=Ip(ttl=1)), DOOR)
    assert out.verdict == Drop(DropReason.TIME_EXCEEDED), description
    leaves_nothing(zone, zone.node(0))


def test_nat_51_nodes_of_a_zone_never_give_out_the_same_identification() -> None:
    """Many clients fall onto one source address; fragments of two datagrams must never be mixed (RFC 6864)."""
    given: list[set[int]] = []
    for index in range(3):
        plane = MemoryZone().node(index).dataplane.plane
        given.append({plane.next_identification() for _ in range(70_000)})
    assert all(len(numbers) == 21_845 for numbers in given), "a third of all, used round and round"
    assert not (given[0] & given[1] | given[1] & given[2] | given[0] & given[2])


def test_a_super_packet_may_be_longer_than_the_mtu() -> None:
    """The kernel cuts it into segments."""
    node = MemoryZone().node(0)
    talk = Conversation()
    talk.open(node, 1.0)
    assert talk.up(node, 2.0, payload=bytes(60_000), state=ChecksumState.SEGMENTED).accepted
    assert dissect(node.send(tcp(TARGET, talk.source or TARGET, payload=b"x"), EXIT, 2.0).packet).payload == b"x"
