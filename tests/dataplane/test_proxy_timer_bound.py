"""PP-04: headers that nobody else repeats are sent again, so many in one tick at most, and the rest in the next."""

import pytest

from hyperplane.dataplane import header_emission
from hyperplane.dataplane.engine import Dataplane
from hyperplane.snapshot import HeaderPlacement
from tests.cases import ACK, CLIENT, ENDPOINT, SYN, TARGET, linux_syn, tcp
from tests.dissection import dissect
from tests.header_oracle import proxy_header
from tests.nodes import DOOR, EXIT, MemoryZone, Node, snapshot_of

CALLS, AT_MOST = 8, 3
LATER = 2.5
"""The headers, sent at one second, are due a second after that."""


def begin_a_call(node: Node, port: int) -> None:
    """A handshake whose header is lost."""
    client = CLIENT[0], port
    syn = node.send(tcp(client, ENDPOINT, flags=SYN, sequence=999, options=linux_syn(1400)), DOOR)
    balancer = dissect(syn.packet).source
    answer = tcp(
        TARGET, balancer, flags=SYN | ACK, sequence=1999, acknowledgment=1000, options=linux_syn(1400)
    )  # fmt: skip
    assert node.send(answer, EXIT).accepted
    assert node.send(tcp(client, ENDPOINT, flags=ACK), DOOR).moved["headers_sent"] == 1


def sent_by(plane: Dataplane) -> set[bytes]:
    """The headers that a tick sends."""
    plane.handle_timeout(LATER)
    return {dissect(packet).payload for packet, _ in plane.packets_to_send()}


def test_one_tick_sends_a_bounded_number_and_the_next_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_emission, "HEADERS_RESENT_PER_TICK_MAX", AT_MOST)
    node = MemoryZone(snapshot_of(placement=HeaderPlacement.ON_FIRST_ACK), ports=100).node(0)
    ports = range(40_000, 40_000 + CALLS)
    for port in ports:
        begin_a_call(node, port)
    plane = node.dataplane
    ticks = [sent_by(plane) for _ in range(4)]
    assert [len(sent) for sent in ticks] == [3, 3, 2, 0]
    assert set().union(*ticks) == {proxy_header((CLIENT[0], port), ENDPOINT, "vpce-1") for port in ports}
    assert plane.next_timeout() > LATER, "nothing that is due is left"
