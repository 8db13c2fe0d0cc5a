"""A test that cannot fail proves nothing: each protection is taken away here, and the simulator must notice.

The switches are in this file only. Protections that one exact packet shows are in `test_mutants_one_by_one.py`.
"""

from dataclasses import replace
from typing import Any

import pytest

from hyperplane.dataplane import engine, stages
from hyperplane.dataplane.passage import Passage
from hyperplane.dataplane.plane import Plane
from hyperplane.dataplane.verdict import Verdict
from hyperplane.flow import entry as entries
from hyperplane.flow import journal
from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.journal import JournalReader
from hyperplane.flow.ports import PortPools
from hyperplane.flow.replication import Replication
from hyperplane.flow.table import FlowTable
from hyperplane.nat.port_pool import RestingPorts
from hyperplane.wire.packet import Packet
from tests.sim.ends import Violation
from tests.sim.faults import FaultyClaims
from tests.sim.notice import Patch, in_worlds
from tests.sim.plan import Plan

RESET = r"call \d+ was reset"
NEVER_READ = ((0.0, 0, 60.0), (0.0, 1, 60.0), (0.0, 2, 60.0))


def quiet(plan: Plan) -> Plan:
    """Nothing goes wrong but what is added, and targets get no header."""
    plan = replace(plan, headers=None)
    calm = replace(plan, loss=0.0, duplication=0.0, corruption=0.0, overtaking=0.0, late_s=0.0, upgrade=None)
    return replace(calm, skew_s=0.0, batch_s=0.0, kills=(), stale=(), reloads=(), sleeps=(), generations=())


def many_nodes(plan: Plan) -> Plan:
    return replace(quiet(plan), node_count=3, spray=True)


def busy(plan: Plan) -> Plan:
    """Few ports and many calls, so that ports come round."""
    return replace(quiet(plan), ports=4, calls=12, node_count=2, spray=True, shared_shards=True)


def dying(plan: Plan) -> Plan:
    return replace(quiet(plan), kills=tuple((at, node, at % 7) for at in range(0, 60, 3) for node in (0, 1)), calls=12)


def lagging(plan: Plan) -> Plan:
    """Nodes that read their peers' journals only when they meet something unknown."""
    return replace(many_nodes(plan), stale=NEVER_READ, calls=12)


def full(plan: Plan) -> Plan:
    """Less room than calls."""
    return replace(quiet(plan), node_count=1, calls=12, talkers=0, together=True, ports=64, flows_max=3)


# --- replication --------------------------------------------------------------------------------------


def test_nothing_is_told(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Replication, "tell", lambda self, entry: None)
    in_worlds(monkeypatch, "INV-5", many_nodes)


def test_flows_are_told_after_their_packet_has_left(monkeypatch: Patch) -> None:
    """IPVS and others do that: a node that dies in between, or a quick reply, finds nobody who knows."""
    tell, advance = Replication.tell, Replication.advance
    late: dict[Replication, list[FlowEntry]] = {}

    def tell_later(self: Replication, entry: FlowEntry) -> None:
        late.setdefault(self, []).append(entry)

    def advance_and_tell(self: Replication, now: float) -> None:
        for entry in late.pop(self, []):
            if entry.state >= 0:
                tell(self, entry)
        advance(self, now)

    monkeypatch.setattr(Replication, "tell", tell_later)
    monkeypatch.setattr(Replication, "advance", advance_and_tell)
    in_worlds(monkeypatch, "INV-5", many_nodes)


def test_only_new_flows_are_told(monkeypatch: Patch) -> None:
    """What happens to a flow later stays with the node that saw it."""
    tell = Replication.tell

    def tell_once(self: Replication, entry: FlowEntry) -> None:
        if entry.row < 0:
            tell(self, entry)

    monkeypatch.setattr(Replication, "tell", tell_once)
    in_worlds(monkeypatch, f"INV-11|{RESET}", many_nodes)


def test_unknown_packets_are_judged_without_asking(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Replication, "take_in_news", lambda self, now: True)
    in_worlds(monkeypatch, f"INV-4|{RESET}", lagging)


def test_the_news_of_one_batch_serve_the_next(monkeypatch: Patch) -> None:
    inform = Replication.inform_batch
    informed: set[Replication] = set()

    def once_for_ever(self: Replication, now: float) -> bool:
        if self in informed:
            return True
        if inform(self, now):
            informed.add(self)
        return self in informed

    monkeypatch.setattr(Replication, "inform_batch", once_for_ever)
    in_worlds(monkeypatch, f"INV-4|INV-1:|{RESET}", lambda plan: replace(lagging(plan), batch_s=0.001))


def test_what_peers_tell_is_not_joined(monkeypatch: Patch) -> None:
    monkeypatch.setattr(FlowEntry, "join", lambda self, *what: False)
    in_worlds(monkeypatch, f"INV-11|{RESET}", many_nodes)


def test_ages_are_never_told(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Replication, "advance", lambda self, now: None)
    monkeypatch.setattr(Replication, "refresh", lambda self, entry, now: setattr(entry, "seen_at", now))
    in_worlds(monkeypatch, f"{RESET}|INV-4", lambda plan: replace(many_nodes(plan), calls=12))


def test_a_reopened_conversation_keeps_its_epoch(monkeypatch: Patch) -> None:
    monkeypatch.setattr(FlowEntry, "revive", FlowEntry.enter)
    in_worlds(monkeypatch, f"{RESET}|INV-11", lambda plan: replace(many_nodes(plan), calls=12))


def test_a_restarted_node_does_not_look_into_its_journal(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Replication, "resume", lambda self, now: iter([0]))
    in_worlds(monkeypatch, f"INV-4|{RESET}", lambda plan: replace(dying(plan), node_count=1))


def test_an_old_generation_is_not_adopted(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Replication, "_adopt", lambda self, entry, delta: None)
    in_worlds(
        monkeypatch,
        f"{RESET}|INV-4|INV-11",
        lambda plan: replace(dying(plan), generations=((10.0, 2), (20.0, 4), (40.0, 3))),
    )


def test_the_ring_is_trusted_after_a_lap(monkeypatch: Patch) -> None:
    """A reader that was lapped goes on as if it had missed nothing."""

    def forget_the_walk(self: JournalReader) -> None:
        self.position = self.header[journal._COUNT]

    rebuild = JournalReader.rebuild
    begun: list[JournalReader] = []

    def only_first(self: JournalReader) -> None:
        if any(self is it for it in begun):
            forget_the_walk(self)
        else:
            rebuild(self)
            begun.append(self)

    monkeypatch.setattr(JournalReader, "rebuild", only_first)
    in_worlds(monkeypatch, "INV-4|INV-11|was reset", lambda plan: replace(lagging(plan), ring=4))


# --- ports --------------------------------------------------------------------------------------------


def test_ports_do_not_rest(monkeypatch: Patch) -> None:
    make = RestingPorts.__init__
    monkeypatch.setattr(RestingPorts, "__init__", lambda self, rest_s=0.0: make(self, 0.0))
    in_worlds(monkeypatch, "INV-1:", lambda plan: replace(busy(plan), sleeps=((20.0, 400.0),)))


def test_claims_are_not_atomic(monkeypatch: Patch) -> None:
    def look_then_take(self: FaultyClaims, index: int) -> bool:
        free = not self._taken[index]
        self._at_point()
        if free:
            self._taken[index] = self._tag
        return free

    monkeypatch.setattr(FaultyClaims, "claim", look_then_take)
    in_worlds(monkeypatch, "INV-1:", lambda plan: replace(busy(plan), overtaking=0.5, together=True))


def test_nobody_sweeps(monkeypatch: Patch) -> None:
    monkeypatch.setattr(PortPools, "sweep", lambda self, has_flow, now, at_most: 0)
    in_worlds(monkeypatch, "never given back", dying)


# --- ends and bounds ----------------------------------------------------------------------------------


def test_flows_never_end(monkeypatch: Patch) -> None:
    monkeypatch.setattr(FlowTable, "due", lambda self, now, at_most: [])
    in_worlds(monkeypatch, "still holds", quiet)


def test_flows_outlive_their_time(monkeypatch: Patch) -> None:
    """A target's late word comes in to a client who is gone for long."""
    enter = FlowEntry.enter

    def stay(self: FlowEntry, state: int) -> None:
        enter(self, state)
        self.timeout_s *= 10

    monkeypatch.setattr(FlowEntry, "enter", stay)
    in_worlds(monkeypatch, "INV-3", lambda plan: replace(quiet(plan), late_s=400.0))


def test_a_full_table_takes_more(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Replication, "has_room", lambda self: True)
    in_worlds(monkeypatch, "INV-8", full)


def test_unknown_packets_wait_for_ever(monkeypatch: Patch) -> None:
    """A node that never says that it knows all: safe, and of no use."""
    monkeypatch.setattr(Replication, "inform_batch", lambda self, now: False)
    monkeypatch.setattr(Replication, "begin_batch", lambda self, now: None)
    in_worlds(monkeypatch, "is still opening", many_nodes)


# --- packets ------------------------------------------------------------------------------------------


def test_checksums_are_not_verified(monkeypatch: Patch) -> None:
    def believe(self: Packet, field: int) -> None:
        self.checksum = field

    monkeypatch.setattr(Packet, "_settle_checksum", believe)
    in_worlds(monkeypatch, "INV-10: .* damaged", lambda plan: replace(quiet(plan), corruption=0.05))


def test_checksums_are_not_adjusted(monkeypatch: Patch) -> None:
    monkeypatch.setattr(entries, "transport_delta", lambda before, after: 0)
    in_worlds(monkeypatch, "INV-10: .* wrong checksum", quiet)


def test_packets_leave_as_they_came(monkeypatch: Patch) -> None:
    def let_pass(plane: Plane, passage: Passage) -> Verdict:
        assert passage.entry is not None
        return plane.accept(passage.entry.balancer.number)

    monkeypatch.setattr(engine, "DECIDING", (*(it for it in stages.DECIDING if it is not stages.rewrite), let_pass))
    in_worlds(monkeypatch, "INV-13", quiet)


def test_replies_leave_by_the_wrong_door(monkeypatch: Patch) -> None:
    accept = Plane.accept

    def other_door(self: Plane, number: int) -> Any:
        return accept(self, {1: 2, 2: 1}.get(number, number))

    monkeypatch.setattr(Plane, "accept", other_door)
    in_worlds(monkeypatch, "INV-3", quiet)


def test_a_violation_is_an_assertion() -> None:
    """Optimised Python would not notice a bare `assert`, and pytest shows a violation as a failure."""
    with pytest.raises(AssertionError):
        raise Violation
