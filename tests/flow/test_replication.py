"""Replication: what one node knows, all can know; joining needs no order; ports go back once."""

from hyperplane.limits import REPLICATION_BATCH_MAX
from tests.cases import ACK, CLIENT, ENDPOINT, SYN, tcp
from tests.nodes import DOOR, MemoryZone, snapshot_of


def client(number: int) -> tuple[str, int]:
    return CLIENT[0], 10_000 + number


def test_a_flow_behind_many_that_are_over_is_still_found() -> None:
    """A batch of changes that tells of nothing any more is not the end of the journal."""
    many = REPLICATION_BATCH_MAX + 1
    room = snapshot_of(flows_per_node_max=many, flows_per_endpoint_max=many, half_open_per_endpoint_max=many)
    zone = MemoryZone(room, rows=many, ring=1 << 15)
    maker, other = zone.node(0), zone.node(1)
    other.dataplane.settle(1.0)
    for number in range(many - 1):
        assert maker.send(tcp(client(number), ENDPOINT, flags=SYN), DOOR).accepted
    plane = maker.dataplane.plane
    for entry in list(plane.table):
        plane.replication.forget(entry, 1.0)
    assert maker.send(tcp(CLIENT, ENDPOINT, flags=SYN), DOOR).accepted
    assert other.send(tcp(CLIENT, ENDPOINT, flags=ACK), DOOR).accepted
