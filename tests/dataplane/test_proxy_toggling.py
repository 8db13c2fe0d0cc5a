"""The attribute changes while flows live: each keeps what it began with, and what begins then follows (PP-35)."""

from dataclasses import replace
from itertools import product

import pytest

from hyperplane.dataplane.verdict import DropReason
from hyperplane.snapshot import HeaderPlacement, Snapshot
from tests.cases import ACK, CLIENT, ENDPOINT, FIN, PSH, RST, SYN, TARGET, UDP, linux_syn, tcp, udp
from tests.conversation import Conversation
from tests.dissection import dissect
from tests.header_oracle import proxy_header
from tests.nodes import DATAGRAM_PORT, DOOR, MemoryZone, Node, Outcome, door, snapshot_of, way_out

WITH_PAYLOAD, AT_ONCE = HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD, HeaderPlacement.ON_FIRST_ACK
SETTINGS = (None, WITH_PAYLOAD, AT_ONCE)
CHANGES = [(before, after) for before, after in product(SETTINGS, SETTINGS) if before is not after]
NAMES = [f"{before and before.name} to {after and after.name}".lower() for before, after in CHANGES]
ENDPOINT_ID = "vpce-1"
DATAGRAMS = (ENDPOINT[0], DATAGRAM_PORT)


def zone_of(placement: HeaderPlacement | None) -> MemoryZone:
    """Three nodes that know this setting. There is room for headers, for one may be switched on."""
    zone = MemoryZone(snapshot_of(placement=WITH_PAYLOAD))
    for index in range(3):
        zone.node(index)
    load(zone, snapshot_of(placement=placement), 0.5)
    return zone


def load(zone: MemoryZone, snapshot: Snapshot, now: float) -> None:
    zone.load(snapshot, now)


def header_of(client: tuple[str, int]) -> bytes:
    return proxy_header(client, ENDPOINT, ENDPOINT_ID)


class Client:
    """A conversation that says what its target has read."""

    def __init__(self, port: int = CLIENT[1], isn: int = 1_000_000) -> None:
        self.talk = Conversation(client=(CLIENT[0], port), client_isn=isn)
        self.first = isn + 1
        self.read: dict[int, int] = {}

    def hear(self, out: Outcome) -> None:
        for packet in (*out.leading, out.packet):
            seen = dissect(packet)
            assert seen.sums_are_right
            begin = seen.sequence - self.first
            self.read.update(enumerate(seen.payload, begin))

    def begin(self, node: Node, back: Node, now: float) -> None:
        out = self.talk.up(node, now, SYN, options=linux_syn())
        assert out.accepted, out.verdict
        assert self.talk.down(back, now, SYN | ACK, options=linux_syn()).accepted
        self.hear(self.talk.up(node, now))

    def say(self, node: Node, payload: bytes, now: float, flags: int = PSH | ACK) -> None:
        self.hear(self.talk.up(node, now, flags, payload))

    def acknowledge(self, node: Node, now: float, flags: int = ACK) -> None:
        """All that the target has read; the client hears of its own bytes."""
        known = self.first + len(self.read)
        out = self.talk.down(node, now, flags, acknowledgment=known)
        assert dissect(out.packet).acknowledgment == self.talk.client_next

    @property
    def all_read(self) -> bytes:
        return bytes(self.read[place] for place in range(len(self.read)))


def expected(placement: HeaderPlacement | None, said: bytes, port: int = CLIENT[1]) -> bytes:
    return (header_of((CLIENT[0], port)) if placement else b"") + said


@pytest.mark.parametrize("nodes", [(0, 0), (0, 1), (2, 1)])
@pytest.mark.parametrize("moment", ["before the SYN-ACK", "before the data", "after the data"])
@pytest.mark.parametrize(("before", "after"), CHANGES, ids=NAMES)
def test_pp_35_a_stream_keeps_what_it_began_with(
    before: HeaderPlacement | None, after: HeaderPlacement | None, moment: str, nodes: tuple[int, int]
) -> None:
    """Whatever nodes go on with it: what they know of its header is from their peers, and not from the snapshot."""
    zone, client = zone_of(before), Client()
    here, back = zone.node(nodes[0]), zone.node(nodes[1])
    changed = snapshot_of(placement=after)
    talk = client.talk
    assert talk.up(zone.node(0), 1.0, SYN, options=linux_syn()).accepted
    if moment == "before the SYN-ACK":
        load(zone, changed, 1.1)
    assert talk.down(back, 1.2, SYN | ACK, options=linux_syn()).accepted
    client.hear(talk.up(here, 1.3))
    assert client.all_read == (expected(before, b"") if before is AT_ONCE else b"")
    if moment == "before the data":
        load(zone, changed, 1.4)
    client.say(here, b"question", 1.5)
    assert client.all_read == expected(before, b"question")
    if moment == "after the data":
        load(zone, changed, 1.6)
    client.acknowledge(back, 1.7)
    client.say(here, b" and more", 1.8, FIN | PSH | ACK)
    assert client.all_read == expected(before, b"question and more")


@pytest.mark.parametrize(("before", "after"), CHANGES, ids=NAMES)
def test_pp_35_what_begins_after_a_change_follows_it(
    before: HeaderPlacement | None, after: HeaderPlacement | None
) -> None:
    zone = zone_of(before)
    for number, placement in enumerate((before, after, before)):
        now = 1.0 + number
        load(zone, snapshot_of(placement=placement), now)
        client = Client(port=41_000 + number)
        client.begin(zone.node(0), zone.node(1), now)
        client.say(zone.node(0), b"question", now)
        assert client.all_read == expected(placement, b"question", 41_000 + number)


ALIKE = [(placement, placement) for placement in SETTINGS]


@pytest.mark.parametrize("third", [False, True], ids=["the same nodes", "another node goes on"])
@pytest.mark.parametrize("ending", ["both ends", "a reset"])
@pytest.mark.parametrize(("before", "after"), CHANGES + ALIKE, ids=[*NAMES, *(f"still {it}" for it, _ in ALIKE)])
def test_pp_35_a_tuple_that_begins_again_follows_the_change(
    before: HeaderPlacement | None, after: HeaderPlacement | None, ending: str, third: bool
) -> None:
    """The old flow is still remembered, with the old header or none: the new stream gets what a new one gets now. It is
    another flow, from another port, unless neither has a header: then it is the old one, which opens again."""
    zone, old = zone_of(before), Client()
    here, back = zone.node(0), zone.node(1)
    old.begin(here, back, 1.0)
    old.say(here, b"question", 1.1)
    old.acknowledge(back, 1.2)
    if ending == "a reset":
        old.say(here, b"", 1.3, RST | ACK)
    else:
        old.say(here, b"", 1.3, FIN | ACK)
        known = old.first + len(old.read) + 1
        assert old.talk.down(back, 1.4, FIN | ACK, acknowledgment=known).accepted
        old.say(here, b"", 1.5, ACK)
    load(zone, snapshot_of(placement=after), 2.0)
    new = Client(isn=3_000_000)
    out = new.talk.up(here, 2.1, SYN, options=linux_syn())
    is_new = bool(before or after)
    counted = {"flows_reopened": 1} | ({"flows_new": 1} if is_new else {})
    assert out.moved == {"packets_original": 1, "bytes_original": 60} | counted
    assert (new.talk.source != old.talk.source) == is_new
    assert new.talk.down(back, 2.2, SYN | ACK, options=linux_syn()).accepted
    onward = zone.node(2) if third else here
    new.hear(new.talk.up(onward, 2.3))
    new.say(onward, b"question", 2.4)
    assert new.all_read == expected(after, b"question")
    new.acknowledge(back, 2.5)
    for node in zone.nodes.values():
        node.dataplane.settle(2.6)
        assert node.flows == 1
    assert zone.ports_taken() == 1 + is_new, "the old port rests"


def without_listener(placement: HeaderPlacement | None) -> Snapshot:
    snapshot = snapshot_of(placement=placement)
    (balancer,) = snapshot.load_balancers
    return replace(snapshot, load_balancers=(replace(balancer, listeners=balancer.listeners[1:]),))


OTHER_TARGET = "10.9.4.20"


@pytest.mark.parametrize(("before", "after"), CHANGES + ALIKE, ids=[*NAMES, *(f"still {it}" for it, _ in ALIKE)])
def test_pp_35_a_tuple_that_begins_again_gives_its_target_what_that_expects(
    before: HeaderPlacement | None, after: HeaderPlacement | None
) -> None:
    """The listener leads elsewhere by now, where the setting is another. A flow that begins goes there, with what is
    given there; one that opens again keeps its target, which gets no header and got none."""
    zone, old = zone_of(before), Client()
    here = zone.node(0)
    old.begin(here, here, 1.0)
    old.say(here, b"question", 1.1, RST | ACK)
    load(zone, snapshot_of(targets=(OTHER_TARGET,), placement=after), 2.0)
    new = Client(isn=3_000_000)
    new.begin(here, here, 2.1)
    new.say(here, b"question", 2.2)
    assert new.talk.target[0] == (OTHER_TARGET if before or after else TARGET[0])
    assert new.all_read == expected(after, b"question")


@pytest.mark.parametrize("before", SETTINGS)
def test_pp_35_a_tuple_whose_listener_has_gone_begins_nothing_with_a_header(before: HeaderPlacement | None) -> None:
    """As it once was: on, and without a header, at a target that expects one. A flow that never had one opens again."""
    zone, old = zone_of(before), Client()
    here = zone.node(0)
    old.begin(here, here, 1.0)
    old.say(here, b"question", 1.1, RST | ACK)
    load(zone, without_listener(before), 2.0)
    new = Client(isn=3_000_000)
    if before:
        assert new.talk.up(here, 2.1, SYN, options=linux_syn()).reason is DropReason.NO_LISTENER
        assert (here.flows, zone.ports_taken()) == (1, 1)
        return
    new.begin(here, here, 2.1)
    new.say(here, b"question", 2.2)
    assert (new.talk.source, new.talk.target[0]) == (old.talk.source, TARGET[0])
    assert new.all_read == b"question"


@pytest.mark.parametrize("first", SETTINGS)
def test_pp_35_a_hundred_changes_under_load(first: HeaderPlacement | None) -> None:
    """A stream of every setting, each of them older than all the changes that follow."""
    zone, streams = zone_of(first), []
    for number in range(100):
        now = 1.0 + number / 10
        placement = SETTINGS[(SETTINGS.index(first) + number) % 3]
        load(zone, snapshot_of(placement=placement, version=number + 2), now)
        here, back = zone.node(number % 3), zone.node(number // 3 % 3)
        client = Client(port=41_000 + number, isn=1_000_000 * number)
        client.begin(here, back, now)
        client.say(here, b"question", now)
        client.acknowledge(back, now)
        streams.append((placement, client))
        for _, older in streams[-10:]:
            older.say(zone.node((number + 1) % 3), b"!", now)
    for number, (placement, client) in enumerate(streams):
        assert client.all_read.rstrip(b"!") == expected(placement, b"question", 41_000 + number)


@pytest.mark.parametrize(("before", "after"), CHANGES, ids=NAMES)
def test_pp_35_datagrams_of_a_flow_keep_what_it_began_with(
    before: HeaderPlacement | None, after: HeaderPlacement | None
) -> None:
    zone = zone_of(before)
    for number, placement in enumerate((before, after)):
        client = (CLIENT[0], 42_000 + number)
        load(zone, snapshot_of(placement=placement), 1.0)
        header = proxy_header(client, DATAGRAMS, ENDPOINT_ID, UDP) if placement else b""
        for setting in (placement, after, before):
            load(zone, snapshot_of(placement=setting), 1.0)
            for node in zone.nodes.values():
                out = node.send(udp(client, DATAGRAMS, b"q"), DOOR)
                assert dissect(out.packet).payload == header + b"q"


@pytest.mark.parametrize("change", ["door removed", "door closed", "exit removed"])
@pytest.mark.parametrize("placement", [WITH_PAYLOAD, AT_ONCE])
def test_pp_35_a_deleted_endpoint_cuts_its_streams_and_no_timer_speaks_for_them(
    placement: HeaderPlacement, change: str
) -> None:
    """Nothing of a header leaves by an ENI that is gone, or for a client that is shut out."""
    zone, client = zone_of(placement), Client()
    node = zone.node(0)
    client.begin(node, node, 1.0)
    doors = {
        "door removed": (way_out(),),
        "door closed": (door(available=False), way_out()),
        "exit removed": (door(load_balancer_eni=0),),
    }
    load(zone, snapshot_of(*doors[change], placement=placement), 1.5)
    node.pass_time(70.0)
    assert node.dataplane.packets_to_send() == []
    late = tcp(client.talk.client, ENDPOINT, flags=PSH | ACK, sequence=client.first, payload=b"late")
    out = node.send(late, DOOR, 70.0)
    assert out.reason in (DropReason.NOT_AVAILABLE, DropReason.UNKNOWN_INTERFACE) and not out.packet
