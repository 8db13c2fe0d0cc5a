"""Headers whose protections are taken away, one at a time: a *world* of the simulator must notice each.

Most of them the product itself can do without (`Protections`); the others are taken away here. What one exact packet
shows is in `test_proxy_mutants.py`: there the *test* that was written for a protection must fail. What a client that
lies could do is in `test_liar_mutants.py`.
"""

from dataclasses import replace
from typing import Any

import pytest

from hyperplane.dataplane import admission, engine, injection, plane, stages, tracking
from hyperplane.dataplane.passage import Passage
from hyperplane.dataplane.plane import Plane
from hyperplane.dataplane.verdict import Verdict
from hyperplane.flow import replication
from hyperplane.flow.another_syn import Syn
from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.injector import Injection, Protections
from hyperplane.flow.journal import JournalWriter
from hyperplane.flow.replication import Replication
from hyperplane.snapshot import HeaderPlacement
from hyperplane.wire.header_template import HeaderTemplate
from hyperplane.wire.packet import RST, Packet
from tests.sim.header_plan import AT_ONCE, WITH_PAYLOAD, HeaderPlan
from tests.sim.notice import Patch, in_worlds
from tests.sim.plan import Plan
from tests.sim.test_mutants import RESET, lagging, many_nodes, quiet

PLACEMENTS = (AT_ONCE, WITH_PAYLOAD)


def headed(plan: Plan, **changes: Any) -> Plan:
    """Two in ten packets are lost, nothing else goes wrong but what is added. Targets get headers."""
    return replace(quiet(plan), loss=0.2, calls=8, talkers=0, headers=replace(HeaderPlan(), **changes))


def unloaded(plan: Plan, **changes: Any) -> Plan:
    """The same, and nothing is lost."""
    return replace(headed(plan, **changes), loss=0.0)


def greeted(plan: Plan, **changes: Any) -> Plan:
    """Clients that wait to be greeted, and targets that repeat no SYN-ACK."""
    return headed(plan, greets=True, waits=1.0, cookies=True, **changes)


def weaken(patch: Patch, **protections: bool) -> None:
    patch.setattr(plane, "Protections", lambda: Protections(**protections))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_header_is_inserted_once(monkeypatch: Patch, placement: HeaderPlacement) -> None:
    """As others do it: what is lost then is nobody's to repeat."""
    weaken(monkeypatch, repeats=False, resends=False)
    in_worlds(monkeypatch, "is still", lambda plan: headed(plan, placement=placement))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_acknowledgments_are_not_clamped(monkeypatch: Patch, placement: HeaderPlacement) -> None:
    weaken(monkeypatch, clamps=False)
    in_worlds(monkeypatch, "INV-6", lambda plan: headed(plan, placement=placement, segment_bytes=88))


def test_the_ack_is_forwarded_beside_the_header(monkeypatch: Patch) -> None:
    """The target believes that the handshake is over, and nobody brings a silent client to send another ACK."""
    weaken(monkeypatch, replaces=False)
    in_worlds(monkeypatch, "INV-12|is still listening", lambda plan: headed(plan, greets=True, waits=1.0))


def test_a_lost_header_has_no_timer(monkeypatch: Patch) -> None:
    weaken(monkeypatch, resends=False)
    in_worlds(monkeypatch, "INV-12|(is still|was reset while) listening", greeted)


@pytest.mark.parametrize("told", ["doubles", "holes"])
def test_sack_blocks_are_not_mapped(monkeypatch: Patch, told: str) -> None:
    weaken(monkeypatch, maps_sack=False)
    changes = {"tells_doubles": told == "doubles", "holds": told == "holes", "question_bytes": 4000}
    in_worlds(monkeypatch, "INV-6", lambda plan: headed(plan, **changes))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_window_is_not_narrowed(monkeypatch: Patch, placement: HeaderPlacement) -> None:
    weaken(monkeypatch, narrows=False)
    in_worlds(monkeypatch, "header bytes are out", lambda plan: unloaded(plan, placement=placement, room=2000, shift=2))


# --- what it says ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("talkers", [0, 2], ids=["streams", "datagrams"])
def test_the_header_tells_of_another_client(monkeypatch: Patch, talkers: int) -> None:
    """A port that is one too high, with the right checksum."""
    header_for = HeaderTemplate.header_for

    def of_neighbour(self: HeaderTemplate, client: bytes, port: bytes) -> bytes:
        return header_for(self, client, (int.from_bytes(port, "big") + 1).to_bytes(2, "big"))

    monkeypatch.setattr(HeaderTemplate, "header_for", of_neighbour)
    in_worlds(monkeypatch, "INV-2", lambda plan: replace(unloaded(plan), calls=4 - 2 * talkers, talkers=talkers))


def test_datagrams_go_without_a_header(monkeypatch: Patch) -> None:
    monkeypatch.setattr(injection, "_lead_datagram", lambda plane, passage, entry, injected: None)
    in_worlds(monkeypatch, "INV-2", lambda plan: replace(unloaded(plan), talkers=2))


# --- who knows of it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_peers_are_not_told_where_the_stream_begins(monkeypatch: Patch, placement: HeaderPlacement) -> None:
    """The row says 0."""
    write = JournalWriter.write

    def write_zero(self: JournalWriter, entry: FlowEntry) -> None:
        injection = entry.injection
        if injection is None:
            write(self, entry)
            return
        first, injection.first = injection.first, 0
        write(self, entry)
        injection.first = first

    def worlds(plan: Plan) -> Plan:
        return replace(many_nodes(plan), headers=HeaderPlan(placement))

    monkeypatch.setattr(JournalWriter, "write", write_zero)
    in_worlds(monkeypatch, "INV-2|INV-4|INV-6|INV-11|INV-12|INV-13|header bytes", worlds)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_node_that_does_not_know_of_the_header_forwards(monkeypatch: Patch, placement: HeaderPlacement) -> None:
    """It learns everything of the flow but that: unshifted, without a header."""
    learn = Replication._learn

    def learn_less(self: Replication, *what: Any) -> FlowEntry | None:
        entry = learn(self, *what)
        if entry is not None:
            entry.injection = None
        return entry

    monkeypatch.setattr(Replication, "_learn", learn_less)
    in_worlds(
        monkeypatch,
        "INV-2|INV-6|INV-11|INV-13|header bytes",
        lambda plan: replace(many_nodes(plan), headers=HeaderPlan(placement)),
    )


# --- another stream on the same tuple -------------------------------------------------------------------


def reopening(plan: Plan) -> Plan:
    """Ports are used again and again, before and after the end."""
    plan = headed(plan, abandons=1.0, placement=WITH_PAYLOAD)
    return replace(plan, calls=3, loss=0.02, together=True, node_count=2, spray=True)


def test_any_syn_goes_on_in_the_flow_that_exists(monkeypatch: Patch) -> None:
    """As if nothing of a stream depended on its first number."""
    monkeypatch.setattr(admission, "becomes_of_syn", lambda entry, sequence, gets_header: Syn.GOES_ON)
    in_worlds(monkeypatch, "INV-2|INV-13", reopening)


def test_any_syn_begins_another_flow(monkeypatch: Patch) -> None:
    """Also a very late one, and one that is only repeated."""
    monkeypatch.setattr(admission, "becomes_of_syn", lambda entry, sequence, gets_header: Syn.BEGINS)
    in_worlds(monkeypatch, "INV-4", reopening)


def test_peers_do_not_hear_of_the_answer(monkeypatch: Patch) -> None:
    join = Injection.join_marks
    monkeypatch.setattr(Injection, "join_marks", lambda self, marks, offer: join(self, 0, 0))
    in_worlds(monkeypatch, f"INV-11|is still|{RESET}", lambda plan: replace(many_nodes(plan), headers=HeaderPlan()))


def test_a_reset_of_the_stream_before_ends_the_next(monkeypatch: Patch) -> None:
    """A client answers what is late of its last stream, and has begun another."""
    is_older = tracking._is_of_an_older_stream

    def believes(packet: Packet, entry: FlowEntry, original: bool) -> bool:
        return not packet.flags & RST and is_older(packet, entry, original)

    monkeypatch.setattr(tracking, "_is_of_an_older_stream", believes)
    in_worlds(monkeypatch, f"{RESET}|INV-4", lambda plan: replace(lagging(plan), headers=HeaderPlan()))


def test_the_port_of_a_flow_that_made_way_rests_no_longer_than_others(monkeypatch: Patch) -> None:
    monkeypatch.setattr(replication, "CLOSING_TIMEOUT_S", 0)
    in_worlds(monkeypatch, "INV-1:", lambda plan: replace(reopening(plan), ports=4, calls=12, headers=HeaderPlan()))


def test_a_header_follows_the_attribute(monkeypatch: Patch) -> None:
    """It is not frozen: every packet is treated as the target group is set now."""

    def look_again(plane: Plane, passage: Passage) -> Verdict | None:
        entry = passage.entry
        if entry is not None and entry.injection is not None:
            port = int.from_bytes(entry.original_key[-5:-3], "big")
            placement = entry.endpoint.service(entry.protocol, port).proxy_protocol_v2
            if placement is None:
                entry.injection = None
        return None

    inject = injection.inject

    def changed(plane: Plane, passage: Passage) -> Verdict | None:
        return look_again(plane, passage) or inject(plane, passage)

    monkeypatch.setattr(engine, "DECIDING", tuple(changed if it is inject else it for it in stages.DECIDING))
    in_worlds(
        monkeypatch,
        "INV-2|INV-6|INV-13",
        lambda plan: headed(plan, toggles=((20.0, None), (21.0, AT_ONCE), (40.0, None))),
    )


# --- what a killed node leaves ----------------------------------------------------------------------------


def test_what_is_told_of_a_header_is_told_too_late(monkeypatch: Patch) -> None:
    """A flow's row is written when its SYN-ACK comes: the node that forwarded the SYN may be dead by then."""
    tell = Replication.tell

    def tell_answered(self: Replication, entry: FlowEntry) -> None:
        if entry.state > 0:
            tell(self, entry)

    monkeypatch.setattr(Replication, "tell", tell_answered)
    in_worlds(monkeypatch, "INV-5|INV-4", lambda plan: replace(lagging(plan), headers=HeaderPlan()))
