"""Replication: what one node knows, all can know; joining needs no order; ports go back once."""

from dataclasses import replace
from itertools import permutations

import pytest

from hyperplane.dataplane.verdict import Drop, DropReason, Reply
from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.journal import JournalReader, JournalWriter, format_journal, journal_bytes
from hyperplane.flow.replication import Replication
from hyperplane.flow.tcp_state import State
from hyperplane.limits import REPLICATION_BATCH_MAX
from tests.cases import ACK, CLIENT, ENDPOINT, PSH, SYN, TARGET, tcp, udp
from tests.conversation import Conversation
from tests.flow.flows import Flows
from tests.nodes import DATAGRAM_PORT, DOOR, EXIT, MemoryZone, Node, door, snapshot_of, way_out

IDLE_S, HALF_OPEN_S = 350, 60


def client(number: int) -> tuple[str, int]:
    return CLIENT[0], 10_000 + number


def the_flow(node: Node) -> FlowEntry:
    (entry,) = node.dataplane.plane.table
    return entry


def replication(node: Node) -> Replication:
    return node.dataplane.plane.replication


# --- reading ------------------------------------------------------------------------------------------


def test_a_flow_behind_many_that_are_over_is_still_found() -> None:
    """A batch of changes that tells of nothing any more is not the end of the journal."""
    many = REPLICATION_BATCH_MAX + 1
    room = snapshot_of(flows_per_node_max=many, flows_per_endpoint_max=many, half_open_per_endpoint_max=many)
    zone = MemoryZone(room, rows=many, ring=1 << 15)
    maker, other = zone.node(0), zone.node(1)
    other.dataplane.settle(1.0)
    for number in range(many - 1):
        assert maker.send(tcp(client(number), ENDPOINT, flags=SYN), DOOR).accepted
    for entry in list(maker.dataplane.plane.table):
        replication(maker).forget(entry, 1.0)
    assert maker.send(tcp(CLIENT, ENDPOINT, flags=SYN), DOOR).accepted
    assert other.send(tcp(CLIENT, ENDPOINT, flags=ACK), DOOR).accepted


def test_a_node_takes_in_the_flows_of_its_shards_only() -> None:
    """Those of endpoints and of load balancers that it serves."""
    zone = MemoryZone(snapshot_of(door(shard=(0,)), way_out(shard=(1,))))
    maker, by_balancer, stranger = (zone.node(index) for index in range(3))
    Conversation().up(maker, 1.0, SYN)
    for node in (by_balancer, stranger):
        node.dataplane.settle(1.0)
    assert (maker.flows, by_balancer.flows, stranger.flows) == (1, 1, 0)


def test_a_node_that_joins_a_shard_learns_its_flows() -> None:
    zone = MemoryZone(snapshot_of(door(shard=(0,)), way_out(shard=(0,))))
    maker, joiner = zone.node(0), zone.node(1)
    talk = Conversation()
    talk.open(maker, 1.0)
    joiner.dataplane.settle(1.0)
    assert joiner.flows == 0
    zone.load(snapshot_of(door(shard=(0, 1)), way_out(shard=(0, 1)), version=2), 2.0)
    assert talk.up(joiner, 3.0, PSH | ACK, b"hello").accepted


def test_flows_of_an_eni_that_is_not_known_yet_are_taken_in_when_it_is() -> None:
    zone = MemoryZone()
    maker, late = zone.node(0), zone.node(1)
    late.dataplane.load_snapshot(snapshot_of(way_out(), version=2), 0.0)
    talk = Conversation()
    talk.open(maker, 1.0)
    late.dataplane.settle(1.0)
    assert late.flows == 0
    late.dataplane.load_snapshot(snapshot_of(version=3), 2.0)
    assert talk.up(late, 3.0, PSH | ACK, b"hello").accepted


def test_what_a_target_answers_by_a_node_that_does_not_know_the_endpoint_yet_is_not_reset() -> None:
    """The second node is late with the snapshot that brings the endpoint; a target's own mistake is told as ever."""
    zone = MemoryZone()
    maker, late = zone.node(0), zone.node(1)
    late.dataplane.load_snapshot(snapshot_of(way_out(), version=2), 0.0)
    talk = Conversation()
    assert talk.up(maker, 1.0, SYN).accepted
    assert talk.down(late, 1.0, SYN | ACK).verdict == Drop(DropReason.CATCHING_UP)
    assert talk.source is not None
    stray = tcp(TARGET, (talk.source[0], talk.source[1] ^ 1), flags=ACK)
    assert late.send(stray, EXIT, 1.0).reason is DropReason.NO_FLOW
    assert isinstance(late.send(stray, EXIT, 1.0).verdict, Reply)
    late.dataplane.load_snapshot(snapshot_of(version=3), 2.0)
    assert talk.down(late, 2.0, SYN | ACK).accepted


def test_a_snapshot_that_brings_nothing_new_reads_nothing_again() -> None:
    """Snapshots come ten times a second; journals may hold a million flows of others."""
    zone = MemoryZone(snapshot_of(door(shard=(0,)), way_out(shard=(0,))))
    maker, stranger = zone.node(0), zone.node(1)
    Conversation().open(maker, 1.0)
    stranger.dataplane.settle(1.0)
    stranger.dataplane.load_snapshot(replace(zone.snapshot, version=2), 2.0)
    assert replication(stranger).caught_up()


# --- rivals -------------------------------------------------------------------------------------------


def journal_with(*entries: FlowEntry) -> JournalReader:
    memory = bytearray(journal_bytes(8, 64))
    format_journal(memoryview(memory), 8, 64)
    writer = JournalWriter(memoryview(memory))
    for entry in entries:
        entry.row = -1
        writer.write(entry)
    return JournalReader(memoryview(memory))


def keys_of(node: Node) -> set[tuple[bytes, bytes, int]]:
    table = node.dataplane.plane.table
    assert {id(entry) for entry in table.original.values()} == {id(entry) for entry in table.translated.values()}
    return {(entry.original_key, entry.translated_key, entry.born_ms) for entry in table}


def told(node: Node, *entries: FlowEntry, now: float) -> None:
    """Let the node take in these flows, in this order."""
    for at, entry in enumerate(entries):
        node.dataplane.set_peers({f"{at}": journal_with(entry)})
        node.dataplane.settle(now)


@pytest.mark.parametrize("older_seen_at", [10.0, 350.0, 370.0], ids=["over", "just alive", "alive"])
@pytest.mark.parametrize("gap_s", [0.0, 0.001, 300.0, 351.0])
@pytest.mark.parametrize("same", ["client", "source port", "both"])
def test_of_two_flows_on_one_key_all_nodes_keep_the_younger(same: str, gap_s: float, older_seen_at: float) -> None:
    """Whoever made it knew no other any more. What decides never changes, so no node can see it differently."""
    if same == "both" and not gap_s:
        return  # that is one flow
    flows = Flows()
    older = flows.entry(1, now=10.0, snat_port=20_000)
    younger = flows.entry(
        1 if same != "source port" else 2, now=10.0 + gap_s, snat_port=20_000 if same != "client" else 20_001
    )
    younger.enter(State.ESTABLISHED)
    older.enter(State.ESTABLISHED)
    older.seen_at = older_seen_at
    kept = set()
    for order in permutations((older, younger)):
        node = MemoryZone().node(0)
        told(node, *order, now=11.0)
        kept |= {frozenset(keys_of(node))}
    (held,) = kept
    if gap_s:
        assert held == {(younger.original_key, younger.translated_key, younger.born_ms)}
    assert len(held) == 1


def test_a_younger_flow_on_the_very_same_keys_is_another_flow() -> None:
    """The port came back to the same client: what the old conversation was in must not stick to the new one."""
    flows, node = Flows(), MemoryZone().node(0)
    old = flows.entry(1, now=10.0)
    old.enter(State.CLOSED)
    new = flows.entry(1, now=100.0)
    told(node, old, new, now=100.0)
    assert (the_flow(node).state, the_flow(node).born_ms) == (State.SYN_SENT, 100_000)
    told(node, old, now=100.0)
    assert (the_flow(node).state, the_flow(node).born_ms) == (State.SYN_SENT, 100_000)


def test_a_flow_that_must_give_way_to_one_rival_drives_the_other_away_from_nothing() -> None:
    flows, node = Flows(), MemoryZone().node(0)
    by_client = flows.entry(1, now=10.0, snat_port=20_001)
    by_port = flows.entry(2, now=12.0, snat_port=20_002)
    loser = flows.entry(1, now=11.0, snat_port=20_002)
    told(node, by_client, by_port, loser, now=13.0)
    assert len(keys_of(node)) == 2


def test_nodes_that_made_the_same_flow_at_once_agree_in_the_end() -> None:
    """Two copies of one SYN, at two nodes that have not heard of each other."""
    zone = MemoryZone()
    here, there = zone.node(0), zone.node(1)
    for node in (here, there):
        node.dataplane.settle(0.5)
    journals = [bytes(journal) for journal in zone.journals]
    assert here.send(tcp(CLIENT, ENDPOINT, flags=SYN), DOOR).accepted
    told_by_here = bytes(zone.journals[0])
    zone.journals[0][:] = journals[0]
    assert there.send(tcp(CLIENT, ENDPOINT, flags=SYN), DOOR).accepted
    zone.journals[0][:] = told_by_here
    for node in (here, there):
        node.dataplane.settle(1.0)
    assert keys_of(here) == keys_of(there)
    assert len(keys_of(here)) == 1


# --- ages ---------------------------------------------------------------------------------------------


def test_the_last_packet_of_a_flow_is_told_of_though_none_follows() -> None:
    """A packet soon after another is not told of at once; but it must not stay unknown for ever."""
    zone = MemoryZone()
    here, there = zone.node(0), zone.node(1)
    talk = Conversation()
    talk.open(here, 10.0)
    for now in (20.0, 20.9):
        here.pass_time(now)
        assert talk.up(here, now, PSH | ACK, b"x").accepted
    for now in (21.0, 22.0, 23.0):
        here.pass_time(now)
        there.pass_time(now)
        there.dataplane.receive_deltas(now)
    assert the_flow(there).seen_at == pytest.approx(20.9, abs=0.001)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_f_35_age_travels(protocol: str) -> None:
    """Idle for most of its time at one node, the flow goes on at another, and ends at its moment."""
    idle_s = IDLE_S if protocol == "tcp" else 120
    zone = MemoryZone()
    here, there = zone.node(0), zone.node(1)
    talk = Conversation()

    def send(node: Node, now: float) -> bool:
        if protocol == "tcp":
            return talk.up(node, now, PSH | ACK, b"x").accepted
        return node.send(udp(CLIENT, (ENDPOINT[0], DATAGRAM_PORT), b"x"), DOOR, now).accepted

    if protocol == "tcp":
        talk.open(here, 10.0)
    send(here, 10.0)
    for now in range(11, 10 + idle_s - 20, 5):
        here.pass_time(now)
        there.pass_time(now)
    assert send(there, 10.0 + idle_s - 10), "alive at the other node"
    for now in range(10 + idle_s - 9, 10 + 2 * idle_s - 12):
        here.pass_time(now)
        there.pass_time(now)
        for node in (here, there):
            node.dataplane.receive_deltas(now)
    assert here.flows == 1, "the first node knows of it"
    here.pass_time(10 + 2 * idle_s - 8)
    assert here.flows == 0


def test_an_age_is_told_though_a_peer_told_of_the_same_flow_just_before() -> None:
    zone = MemoryZone()
    here, there = zone.node(0), zone.node(1)
    talk = Conversation()
    talk.open(here, 10.0)
    there.dataplane.settle(10.0)
    for step in range(1, 100):
        now = 10.0 + step / 4
        by = here if step % 2 else there
        if step < 80:
            assert talk.up(by, now, PSH | ACK, b"x").accepted
        for node in (here, there):
            node.dataplane.receive_deltas(now)
            node.dataplane.handle_timeout(now)
    last = 10.0 + 79 / 4
    assert the_flow(here).seen_at == pytest.approx(last)
    assert the_flow(there).seen_at == pytest.approx(last)


@pytest.mark.parametrize("silence_s", [2.0, 15.0, 300.0])
def test_a_killed_node_takes_no_age_with_it(silence_s: float) -> None:
    """After a silence the first packet is told of before it leaves, however soon the node is killed then."""
    zone = MemoryZone()
    here, there = zone.node(0), zone.node(1)
    talk = Conversation()
    talk.open(here, 10.0)
    here.pass_time(10.0 + silence_s)
    assert talk.up(here, 10.0 + silence_s, PSH | ACK, b"x").accepted
    again = zone.restart(0, 11.0 + silence_s)
    for node in (again, there):
        node.dataplane.settle(11.0 + silence_s)
        assert the_flow(node).seen_at == pytest.approx(10.0 + silence_s, abs=0.001)


def test_ages_are_told_at_a_bounded_rate() -> None:
    """With many flows the ages take longer to travel; packets never wait for them."""
    flows, step_s = 3000, 0.025
    room = snapshot_of(flows_per_node_max=4096, flows_per_endpoint_max=4096, half_open_per_endpoint_max=4096)
    zone = MemoryZone(room, rows=4096)
    node = zone.node(0)
    for now in (1.0, 1.6):
        for number in range(flows):
            node.send(udp(client(number), (ENDPOINT[0], DATAGRAM_PORT), b"x"), DOOR, now)
    reader = JournalReader(memoryview(zone.journals[0]))
    told = []
    for step in range(80):
        before = reader.header[4]
        node.dataplane.handle_timeout(2.7 + step * step_s)
        told.append(reader.header[4] - before)
    assert sum(told) == flows, "each once"
    assert max(told) <= 20_000 * step_s + 1
    assert all(delta.seen_at == pytest.approx(1.6) for delta in reader.read(4096))


# --- a life after another -----------------------------------------------------------------------------


def test_a_killed_node_comes_back_with_its_flows() -> None:
    zone = MemoryZone()
    talk = Conversation()
    talk.open(zone.node(0), 1.0)
    again = zone.restart(0, 2.0)
    assert talk.up(again, 2.0, PSH | ACK, b"x").accepted
    assert talk.down(again, 2.0, PSH | ACK, b"y").accepted


def test_what_ended_while_the_node_was_away_does_not_come_back() -> None:
    zone = MemoryZone()
    Conversation().open(zone.node(0), 1.0)
    again = zone.restart(0, 1.0 + IDLE_S + 1)
    assert again.flows == 0
    assert not list(JournalWriter(memoryview(zone.journals[0])).own_deltas())


# --- ports of flows that others revive or adopt -------------------------------------------------------


def test_a_flow_that_a_peer_revives_keeps_its_port() -> None:
    """INV-1: one node calls the flow over and lets its port rest; the other knows better."""
    zone = MemoryZone(ports=1)
    here, there = zone.node(0), zone.node(1)
    talk = Conversation()
    talk.open(here, 1.0)
    assert talk.up(there, 1.9, PSH | ACK, b"x").accepted  # there is no tick in which it could tell
    here.pass_time(IDLE_S + 1.5)
    here.pass_time(IDLE_S + 2.0)
    assert here.flows == 0
    assert talk.up(there, IDLE_S + 1.8, PSH | ACK, b"x").accepted
    for step in range(0, 200, 5):
        now = IDLE_S + 5.0 + step
        for node in (here, there):
            node.dataplane.receive_deltas(now)
            node.pass_time(now)
        assert talk.up(there, now, PSH | ACK, b"x").accepted
        assert zone.ports_taken() == 1
        assert here.send(tcp(client(1), ENDPOINT, flags=SYN), DOOR, now).reason is DropReason.PORT_ALLOCATION


@pytest.mark.parametrize("node_count", [1, 2, 4, 5])
def test_f_32_flows_outlive_another_number_of_nodes(node_count: int) -> None:
    """Shards are dealt anew: who adopts a flow need not serve it, and who claimed its port may not exist."""
    zone = MemoryZone(node_count=3)
    talks = []
    for number in range(30):
        talk = Conversation(client(number))
        talk.open(zone.node(number % 3), 1.0, back=zone.node((number + 1) % 3))
        talks.append(talk)
    last = node_count - 1
    dealt = replace(zone.snapshot, zones=snapshot_of(door(shard=(last,)), way_out(shard=(last,)), version=2).zones)
    young = zone.next_generation(dealt, node_count, 2.0)
    young.end_older(2.5)
    for index in range(node_count):
        young.restart(index, 3.0)
    for now in range(4, 304):
        for node in young.nodes.values():
            node.dataplane.receive_deltas(float(now))
            node.pass_time(float(now))
        if now % 30 == 0:
            assert zone.ports_taken() == 30
    for talk in talks:
        assert talk.up(young.node(last), 304.0, PSH | ACK, b"still here").accepted
        assert talk.down(young.node(last), 304.0, PSH | ACK, b"so am I").accepted
    for now in range(305, 304 + IDLE_S + 70):
        for node in young.nodes.values():
            node.dataplane.receive_deltas(float(now))
            node.pass_time(float(now))
    assert zone.ports_taken() == 0, "every port comes back, whoever had claimed it"
