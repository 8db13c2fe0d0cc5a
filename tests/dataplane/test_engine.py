"""The engine's verbs: what a node is told, what it answers, and that nothing a peer sends can end it."""

import pytest

from hyperplane.dataplane.verdict import DropReason
from tests.cases import ACK, CLIENT, CLIENT_6, ENDPOINT, SYN, Ip, linux_syn, tcp, udp
from tests.nodes import DOOR, MemoryZone, Node, door, snapshot_of, way_out


def established(node: Node, now: float = 1.0) -> bytes:
    """One open connection from CLIENT. Returns its SYN as the target saw it."""
    seen = node.send(tcp(CLIENT, ENDPOINT, flags=SYN, options=linux_syn()), DOOR, now)
    assert seen.accepted
    return seen.packet


def test_an_expired_packet_at_a_removed_eni_ends_nobody() -> None:
    """A removed ENI has no address to answer from."""
    zone = MemoryZone()
    node = zone.node(0)
    zone.load(snapshot_of(way_out(), version=2), 1.0)
    out = node.send(tcp(CLIENT, ENDPOINT, flags=SYN, ip=Ip(ttl=1)), DOOR, 1.0)
    assert (out.reason, out.packet) == (DropReason.TIME_EXCEEDED, b"")


def test_an_expired_packet_of_the_other_family_ends_nobody() -> None:
    out = MemoryZone().node(0).send(udp(CLIENT_6, ("fd00::1", 53), b"x", ip=Ip(ttl=1)), DOOR, 1.0)
    assert (out.reason, out.packet) == (DropReason.TIME_EXCEEDED, b"")


@pytest.mark.parametrize("flags", [SYN, ACK])
def test_a_flow_ends_with_the_eni_that_it_leaves_by(flags: int) -> None:
    """The endpoint is still there, the load balancer's ENI of this zone is not: nothing leaves by a dead number."""
    zone = MemoryZone()
    node = zone.node(0)
    established(node)
    zone.load(snapshot_of(door(load_balancer_eni=0), version=2), 2.0)
    out = node.send(tcp(CLIENT, ENDPOINT, flags=flags, options=linux_syn() if flags == SYN else b""), DOOR, 2.0)
    assert (out.reason, out.packet) == (DropReason.NOT_AVAILABLE, b"")
