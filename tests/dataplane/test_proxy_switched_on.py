"""PP-35: a flow that has no header when its target group gets one: no later stream on its tuple goes without.

As it once was: reset, ACK and SYN at once. The ACK takes the reset back, so the SYN was one inside a stream without a
header, and the target, which had believed the reset, began another.
"""

import pytest

from hyperplane.dataplane.verdict import DropReason
from hyperplane.flow.tcp_state import State
from hyperplane.limits import SNAT_PORT_MIN
from hyperplane.snapshot import HeaderPlacement
from tests.cases import ACK, CLIENT, ENDPOINT, PSH, RST, SYN, TARGET, Ip, linux_syn, tcp
from tests.dataplane.beginnings import port_of, the_flow
from tests.dissection import dissect
from tests.nodes import DOOR, EXIT, MemoryZone, Node, snapshot_of

FIRST, ANSWER = 1000, 2000
RESTS_UNTIL = 1 + 120 + 60
"""A port, whose flow was reset at one second: as if the flow had been remembered to its end, and a minute."""


def switched_on(steps: int) -> tuple[MemoryZone, Node]:
    """So many packets of a handshake without a header, which is then switched on."""
    zone = MemoryZone(snapshot_of(placement=HeaderPlacement.ON_FIRST_ACK), ports=2)
    zone.load(snapshot_of(version=2), 0.0)
    node = zone.node(0)
    syn = client(SYN, FIRST - 1, options=linux_syn(1400))
    balancer = dissect(node.send(syn, DOOR).packet).source
    answer = tcp(TARGET, balancer, flags=SYN | ACK, sequence=ANSWER - 1, acknowledgment=FIRST)
    for packet, eni in ((answer, EXIT), (client(ACK, FIRST), DOOR))[: steps - 1]:
        assert node.send(packet, eni).accepted
    zone.load(snapshot_of(version=3, placement=HeaderPlacement.ON_FIRST_ACK), 1.0)
    return zone, node


def client(flags: int, sequence: int, payload: bytes = b"", options: bytes = b"") -> bytes:
    return tcp(
        CLIENT, ENDPOINT, flags=flags, sequence=sequence, acknowledgment=ANSWER, payload=payload, options=options
    )  # fmt: skip


@pytest.mark.parametrize("sequence", [FIRST - 1, 5_000_000])
def test_a_syn_inside_a_stream_is_asked_about(sequence: int) -> None:
    _, node = switched_on(3)
    for flags in (RST | ACK, ACK):
        assert node.send(client(flags, FIRST), DOOR).accepted
    assert the_flow(node).state == State.ESTABLISHED
    out = node.send(client(SYN, sequence), DOOR)
    assert out.reason is DropReason.ANOTHER_SYN
    assert out.packet == tcp(
        ENDPOINT, CLIENT, flags=ACK, sequence=ANSWER - 1, acknowledgment=FIRST, window=0, ip=Ip(identification=0)
    )  # fmt: skip
    assert node.send(client(PSH | ACK, FIRST, b"the stream goes on"), DOOR).accepted


def test_a_node_that_knows_no_number_of_the_stream_says_nothing() -> None:
    zone, _ = switched_on(3)
    other = zone.node(1)
    other.dataplane.settle(1.0)
    out = other.send(client(SYN, 5_000_000), DOOR)
    assert (out.reason, out.packet) == (DropReason.ANOTHER_SYN, b"")


@pytest.mark.parametrize("steps", [1, 2])
def test_a_half_open_flow_begins_again_with_a_header(steps: int) -> None:
    """Another port: what the target knows of the flow before has no header."""
    _, node = switched_on(steps)
    before = port_of(the_flow(node))
    out = node.send(client(SYN, FIRST - 1), DOOR)
    assert out.moved["flows_reopened"] == 1 and port_of(the_flow(node)) != before
    injection = the_flow(node).injection
    assert injection is not None and injection.first == FIRST


def test_the_port_of_a_flow_without_a_header_that_makes_way_rests_as_long() -> None:
    """The target may have given out a SYN cookie for it, of which no node knows where it is good."""
    zone, node = switched_on(3)
    place = port_of(the_flow(node)) - SNAT_PORT_MIN
    assert node.send(client(RST | ACK, FIRST), DOOR).accepted
    assert node.send(client(SYN, 5_000_000), DOOR).moved["flows_reopened"] == 1
    (taken,) = zone.pools.values()
    for now in range(2, RESTS_UNTIL + 10):
        node.pass_time(float(now))
        assert bool(taken[place]) == (now < RESTS_UNTIL), now
