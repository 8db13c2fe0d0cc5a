"""What two nodes know only together: it is told too, and outlives both."""

import pytest

from tests.cases import ACK, PSH
from tests.conversation import Conversation
from tests.nodes import MemoryZone


@pytest.mark.parametrize("how", ["one restarts", "both restart", "a new generation"])
def test_a_handshake_whose_halves_two_nodes_saw_outlives_them(how: str) -> None:
    """Each node's own half is half open, and its time is over. So it is where one of them is late with its reading."""
    zone = MemoryZone(node_count=2)
    talk = Conversation()
    with pytest.MonkeyPatch.context() as late:
        late.setattr(zone.node(0).dataplane.plane.replication, "inform_batch", lambda now: True)
        talk.open(zone.node(0), 1.0, back=zone.node(1))
    for now in range(2, 90, 4):
        for node in zone.nodes.values():
            node.dataplane.receive_deltas(float(now))
            node.pass_time(float(now))
    if how == "a new generation":
        zone = zone.next_generation(zone.snapshot, 2, 90.0)
    else:
        zone.restart(0, 90.0)
        if how == "both restart":
            zone.restart(1, 90.0)
    for node in zone.nodes.values():
        node.dataplane.settle(90.0)
    assert talk.up(zone.node(0), 91.0, PSH | ACK, b"still here").accepted
