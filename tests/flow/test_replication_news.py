"""When the peers' news are read: before a packet is called unknown, once for what was read together."""

import pytest

from hyperplane.dataplane.verdict import DropReason
from hyperplane.flow.entry import GONE
from hyperplane.limits import NEWS_PER_PACKET_MAX, REPLICATION_BATCH_MAX
from tests.cases import ACK, CLIENT, ENDPOINT, SYN, tcp
from tests.nodes import DOOR, MemoryZone, snapshot_of

HALF_OPEN_S = 60


def client(number: int) -> tuple[str, int]:
    return CLIENT[0], 10_000 + number


def test_packets_that_were_read_together_are_informed_once() -> None:
    """What was told before a batch was read is known to all of it; what is told later, to the next batch."""
    zone = MemoryZone()
    maker, other = zone.node(0), zone.node(1)
    assert maker.send(tcp(client(0), ENDPOINT, flags=SYN), DOOR).accepted
    other.dataplane.begin_batch(1.0)
    assert other.send(tcp(client(0), ENDPOINT, flags=ACK), DOOR).accepted
    assert maker.send(tcp(client(1), ENDPOINT, flags=SYN), DOOR).accepted
    assert other.send(tcp(client(1), ENDPOINT, flags=ACK), DOOR).reason is DropReason.NO_FLOW
    other.dataplane.begin_batch(1.0)
    assert other.send(tcp(client(1), ENDPOINT, flags=ACK), DOOR).accepted


def test_what_comes_at_another_moment_is_of_another_batch() -> None:
    """A shell that forgets to begin a batch is slow, not wrong."""
    zone = MemoryZone()
    maker, other = zone.node(0), zone.node(1)
    assert maker.send(tcp(client(0), ENDPOINT, flags=SYN), DOOR, 1.0).accepted
    other.dataplane.begin_batch(1.0)
    assert other.send(tcp(client(0), ENDPOINT, flags=ACK), DOOR, 1.0).accepted
    assert maker.send(tcp(client(1), ENDPOINT, flags=SYN), DOOR, 1.0).accepted
    assert other.send(tcp(client(1), ENDPOINT, flags=ACK), DOOR, 1.1).accepted


@pytest.mark.parametrize("batch", [False, True], ids=["alone", "in a batch"])
def test_a_backlog_of_news_is_never_taken_for_all_there_is(batch: bool) -> None:
    """More was told than one packet may take in, and no walk is under way: nobody is reset, and all is found soon."""
    many = NEWS_PER_PACKET_MAX + REPLICATION_BATCH_MAX
    room = snapshot_of(
        flows_per_node_max=1 << 15, flows_per_endpoint_max=1 << 15, half_open_per_endpoint_max=(1 << 15) - 1
    )
    zone = MemoryZone(room, rows=1 << 15, ring=1 << 16)
    maker, other = zone.node(0), zone.node(1)
    other.dataplane.settle(1.0)
    for number in range(many):
        assert maker.send(tcp(client(number), ENDPOINT, flags=SYN), DOOR, 1.0).accepted
    outcomes = []
    for step in range(10):
        now = 1.1 + step / 100
        if batch:
            other.dataplane.begin_batch(now)
        outcomes += [other.send(tcp(client(many - 1), ENDPOINT, flags=ACK), DOOR, now) for _ in range(2)]
        if outcomes[-1].accepted:
            break
    assert outcomes[-1].accepted
    assert {outcome.reason for outcome in outcomes if not outcome.accepted} == {DropReason.CATCHING_UP}


def test_a_backlog_of_news_ends_no_flow() -> None:
    """Timers wait as well: the refresh that keeps a flow alive may be at the end of it."""
    many = NEWS_PER_PACKET_MAX + REPLICATION_BATCH_MAX
    room = snapshot_of(
        flows_per_node_max=1 << 15, flows_per_endpoint_max=1 << 15, half_open_per_endpoint_max=(1 << 15) - 1
    )
    zone = MemoryZone(room, rows=1 << 15, ring=1 << 16)
    maker, other = zone.node(0), zone.node(1)
    assert maker.send(tcp(CLIENT, ENDPOINT, flags=SYN), DOOR, 1.0).accepted
    other.dataplane.settle(1.0)
    late = 1.0 + HALF_OPEN_S - 1
    for number in range(many):
        assert maker.send(tcp(client(number), ENDPOINT, flags=SYN), DOOR, late).accepted
    assert maker.send(tcp(CLIENT, ENDPOINT, flags=SYN), DOOR, late).accepted
    (held,) = other.dataplane.plane.table
    for step in range(8):
        other.dataplane.handle_timeout(1.0 + HALF_OPEN_S + 2 + step / 100)
        assert held.state != GONE


def test_a_packet_that_was_read_alone_is_always_informed() -> None:
    zone = MemoryZone()
    maker, other = zone.node(0), zone.node(1)
    for number in range(3):
        assert maker.send(tcp(client(number), ENDPOINT, flags=SYN), DOOR).accepted
        assert other.send(tcp(client(number), ENDPOINT, flags=ACK), DOOR).accepted


def test_a_batch_does_not_keep_a_flow_from_being_revived_by_a_peer_before_it_ends() -> None:
    """Timers read the news whatever the last batch knew."""
    zone = MemoryZone()
    maker, other = zone.node(0), zone.node(1)
    assert maker.send(tcp(CLIENT, ENDPOINT, flags=SYN), DOOR, 1.0).accepted
    other.dataplane.begin_batch(1.0)
    assert other.send(tcp(CLIENT, ENDPOINT, flags=SYN), DOOR, 1.0).accepted
    assert maker.send(tcp(CLIENT, ENDPOINT, flags=SYN), DOOR, 1.0 + HALF_OPEN_S - 1).accepted
    for _ in range(3):
        other.dataplane.handle_timeout(1.0 + HALF_OPEN_S + 2)
    assert other.flows == 1


def test_flows_that_peers_made_and_that_are_over_are_let_go() -> None:
    zone = MemoryZone()
    maker, other = zone.node(0), zone.node(1)
    assert maker.send(tcp(CLIENT, ENDPOINT, flags=SYN), DOOR, 1.0).accepted
    other.dataplane.settle(1.0)
    known = [reader.known for reader in other.dataplane.peers.values()]
    assert sum(map(len, known)) == 1
    for step in range(5):
        other.dataplane.handle_timeout(1.0 + HALF_OPEN_S + step)
    assert other.flows == 0 and sum(map(len, known)) == 0
