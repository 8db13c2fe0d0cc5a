"""Any node goes on with a stream that gets a header, at any step (PP-33 and PP-34 of the checklist)."""

from itertools import product

import pytest

from hyperplane.dataplane.verdict import DropReason
from hyperplane.flow import replication
from hyperplane.flow.replication import Replication
from tests.cases import ACK, CLIENT, ENDPOINT, PSH, RST, SYN, TARGET, tcp, udp
from tests.dataplane.handed_stream import QUESTION, SCRIPT, STEPS, UPS, HandedStream, read_news
from tests.dataplane.header_road import PLAIN_WAYS, Way, name_of
from tests.dissection import dissect
from tests.nodes import DATAGRAM_PORT, DOOR, EXIT, MemoryZone, Node, Outcome, snapshot_of

PAIRS = list(product(range(3), repeat=2))
"""Whom the client's packets meet, and whom the target's."""
FIRST_PAIRS = PAIRS[:2]
"""One node for both, or two: the others are the same by other names."""


def stream_of(way: Way) -> HandedStream:
    zone = MemoryZone(snapshot_of(placement=way[2]))
    for index in range(3):
        zone.node(index)
    return HandedStream(way, zone)


def handler(pair: tuple[int, ...], number: int) -> int:
    """Who of the pair gets this step's packet."""
    return pair[SCRIPT[number][0] == "down"]


@pytest.mark.parametrize("reads", [True, False], ids=["news are read", "news are not read"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_pp_33_at_every_step_any_two_nodes_give_way_to_any_two(way: Way, step: int, reads: bool) -> None:
    for before, after in product(FIRST_PAIRS, PAIRS):
        stream = stream_of(way)
        for number in range(len(SCRIPT)):
            stream.plays(number, stream.zone.node(handler(before if number < step else after, number)))
            if reads:
                read_news(stream.zone)
        stream.judge()


@pytest.mark.parametrize("reads", [True, False], ids=["news are read", "news are not read"])
@pytest.mark.parametrize("turn", range(3))
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_pp_33_every_packet_by_another_node(way: Way, turn: int, reads: bool) -> None:
    stream = stream_of(way)
    for number in range(len(SCRIPT)):
        stream.plays(number, stream.zone.node((number * (turn + 1) + turn) % 3))
        if reads:
            read_news(stream.zone)
    stream.judge()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_pp_33_a_node_that_starts_anew_goes_on_from_its_journal(way: Way, step: int) -> None:
    """Alone, or beside another one, which sees the one direction or the other, or all at once."""
    for pair, killed in product(FIRST_PAIRS, ((0,), (1,), (0, 1, 2))):
        stream = stream_of(way)
        for number in range(len(SCRIPT)):
            if number == step:
                for index in killed:
                    stream.zone.restart(index, 1.0).dataplane.settle(1.0)
            stream.plays(number, stream.zone.node(handler(pair, number)))
        stream.judge()


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_pp_33_a_new_generation_goes_on(way: Way, step: int, count: int) -> None:
    """With its own journals, and the old ones only as long as it takes to adopt them."""
    for pair in FIRST_PAIRS:
        stream = stream_of(way)
        for number in range(len(SCRIPT)):
            if number == step:
                stream.zone = stream.zone.next_generation(stream.zone.snapshot, count, 1.0)
            if number == step + 1:
                stream.zone.end_older(1.0)
            stream.plays(number, stream.zone.node(handler(pair, number) % count))
        stream.judge()


@pytest.mark.parametrize("left", ["nothing", "the header", "everything"])
@pytest.mark.parametrize("step", UPS)
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_pp_33_a_node_that_is_killed_with_a_packet_in_its_hands(way: Way, step: int, left: str) -> None:
    """The kernel hands the packet out once more, to the next life: whatever has left before, the target discards what
    it has. No replica knows what left, so this is where a header is sent twice."""
    stream = stream_of(way)
    for number, (_, flags, payload) in enumerate(SCRIPT):
        node = stream.zone.node(0)
        if number != step:
            stream.plays(number, node)
            continue
        packet = stream.packet(flags, payload)
        out = node.send(packet, DOOR)
        leaves = {"nothing": (), "the header": out.leading, "everything": (*out.leading, out.packet)}[left]
        young = stream.zone.restart(0, 1.0)
        young.dataplane.settle(1.0)
        again = stream.send(young, packet, DOOR)
        for sent in (*leaves, *again.leading, again.packet):
            stream.at_target(sent)
    stream.counted |= {"flows_new": 1}  # a killed node has counted the flow that its next life found
    stream.counted.setdefault("headers_sent", 1)
    stream.judge()


# --- a node that knows nothing yet ----------------------------------------------------------------------


def late_node(stream: HandedStream, steps: int, monkeypatch: pytest.MonkeyPatch) -> Node:
    """A node that has read nothing of the stream, which stands behind other news, and takes one at a time."""
    here, late = stream.zone.node(0), stream.zone.node(2)
    late.dataplane.settle(1.0)
    for number in range(5):
        assert here.send(udp((CLIENT[0], 50_000 + number), (ENDPOINT[0], DATAGRAM_PORT), b"q"), DOOR).accepted
    for number in range(steps):
        stream.plays(number, here)
    monkeypatch.setattr(replication, "NEWS_PER_PACKET_MAX", 1)
    monkeypatch.setattr(replication, "NEWS_BATCH_MAX", 1)
    return late


def until_accepted(node: Node, packet: bytes, eni: int) -> Outcome:
    """What is dropped comes again."""
    drops = 0
    while not (out := node.send(packet, eni)).accepted:
        assert (out.reason, out.packet) == (DropReason.CATCHING_UP, b"")
        assert out.moved == {"packets_dropped": 1, "dropped_catching_up": 1}
        drops += 1
        assert drops < 20
    assert drops
    return out


@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_pp_34_nor_does_one_that_has_read_all_news_and_is_not_through_with_what_is_old(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose ring was lapped: what it knows of a tuple may be an older stream, and the next one's row is still unread.
    A batch that begins with no news is not informed by that."""
    stream = stream_of(way)
    here, late = stream.zone.node(0), stream.zone.node(2)
    for number in range(5):
        assert here.send(udp((CLIENT[0], 50_000 + number), (ENDPOINT[0], DATAGRAM_PORT), b"q"), DOOR).accepted
    for number in range(7):
        stream.plays(number, here)
    late.dataplane.settle(1.0)
    for reader in late.dataplane.peers.values():
        reader.rebuild()
    monkeypatch.setattr(Replication.take_in, "__defaults__", (1,))
    outcomes = []
    for step in range(20):
        late.dataplane.begin_batch(1.0 + step / 1000)
        outcomes.append(late.send(stream.packet(PSH | ACK, b"?"), DOOR, 1.0 + step / 1000))
    assert outcomes[0].reason is outcomes[1].reason is DropReason.CATCHING_UP
    assert outcomes[-1].accepted


@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_pp_34_a_node_that_has_not_read_of_the_stream_yet_drops_and_never_guesses(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not forwarded with the client's numbers, and not answered with a reset."""
    stream = stream_of(way)
    late = late_node(stream, 7, monkeypatch)
    out = until_accepted(late, stream.packet(PSH | ACK, b"?"), DOOR)
    stream.at_target(out.packet)
    assert stream.known == stream.road.length + len(QUESTION) + 1


@pytest.mark.parametrize("steps", [1, 6])
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_pp_34_a_reply_to_a_node_that_has_not_read_of_the_stream_yet(
    way: Way, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = stream_of(way)
    late = late_node(stream, steps, monkeypatch)
    flags = ACK if steps > 1 else SYN | ACK
    until_accepted(late, stream.answer(flags), EXIT)
    late.dataplane.settle(1.0)
    stream.answers(late, flags)


@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_pp_34_a_node_that_has_not_read_of_another_stream_yet_does_not_take_it_for_the_one_before(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would go by the port of the stream before, whose target has forgotten it, and resets what it does not know."""
    stream = stream_of(way)
    here, late = stream.zone.node(0), stream.zone.node(2)
    for number in range(7):
        stream.plays(number, here)
    late.dataplane.settle(1.0)
    assert late.flows == here.flows == 1
    assert here.send(stream.packet(RST | ACK), DOOR).accepted
    for number in range(5):
        assert here.send(udp((CLIENT[0], 50_000 + number), (ENDPOINT[0], DATAGRAM_PORT), b"q"), DOOR).accepted
    syn = here.send(tcp(CLIENT, ENDPOINT, flags=SYN, sequence=5_000_000), DOOR)
    assert syn.moved["flows_reopened"] == 1
    balancer = dissect(syn.packet).source
    assert here.send(tcp(TARGET, balancer, flags=SYN | ACK, sequence=7, acknowledgment=5_000_001), EXIT).accepted
    monkeypatch.setattr(replication, "NEWS_PER_PACKET_MAX", 1)
    monkeypatch.setattr(replication, "NEWS_BATCH_MAX", 1)
    data = tcp(CLIENT, ENDPOINT, flags=PSH | ACK, sequence=5_000_001, acknowledgment=8, payload=b"question")
    assert dissect(until_accepted(late, data, DOOR).packet).source == balancer
