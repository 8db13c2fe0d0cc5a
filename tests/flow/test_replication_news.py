"""When the peers' news are read: before a packet is called unknown, once for what was read together."""

from hyperplane.dataplane.verdict import DropReason
from tests.cases import ACK, CLIENT, ENDPOINT, SYN, tcp
from tests.nodes import DOOR, MemoryZone

HALF_OPEN_S = 60


def client(number: int) -> tuple[str, int]:
    return CLIENT[0], 10_000 + number


def test_packets_that_were_read_together_are_informed_once() -> None:
    """What was told before a batch was read is known to all of it; what is told later, to the next batch."""
    zone = MemoryZone()
    maker, other = zone.node(0), zone.node(1)
    assert maker.send(tcp(client(0), ENDPOINT, flags=SYN), DOOR).accepted
    other.dataplane.begin_batch()
    assert other.send(tcp(client(0), ENDPOINT, flags=ACK), DOOR).accepted
    assert maker.send(tcp(client(1), ENDPOINT, flags=SYN), DOOR).accepted
    assert other.send(tcp(client(1), ENDPOINT, flags=ACK), DOOR).reason is DropReason.NO_FLOW
    other.dataplane.begin_batch()
    assert other.send(tcp(client(1), ENDPOINT, flags=ACK), DOOR).accepted


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
    other.dataplane.begin_batch()
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
