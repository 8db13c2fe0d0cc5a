"""Protections that one exact packet, instant or rule shows: each is taken away, and the test written for it fails."""

import re
from typing import Any

import pytest

from hyperplane.dataplane import admission, tracking
from hyperplane.dataplane.limiter import TokenBucket
from hyperplane.flow import interface, journal, replication, tcp_state
from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.interface import Interface
from hyperplane.flow.journal import JournalReader, JournalWriter
from hyperplane.flow.passed_over import PassedOver
from hyperplane.flow.ports import PortPools
from hyperplane.flow.replication import Replication
from hyperplane.flow.tcp_state import State
from hyperplane.limits import JOURNAL_ROW_BYTES
from hyperplane.wire.reassembly import Reassembler
from hyperplane.wire.tcp_options import OptionArea
from netns import steer
from tests.dataplane import (
    test_admission,
    test_datagram_stories,
    test_fragments,
    test_isolation,
    test_tcp_stories,
    test_tracking,
)
from tests.dataplane.story import Road, Stories, play
from tests.flow import (
    test_journal,
    test_journal_instants,
    test_journal_order,
    test_known_rows,
    test_ports,
    test_replication,
    test_replication_halves,
)
from tests.nat import test_port_pool
from tests.netns import test_steer
from tests.nodes import MemoryClaims, MemoryZone
from tests.sim.notice import Patch, in_test

_WORDS_PER_ROW = JOURNAL_ROW_BYTES // 8


class Everything:
    """Contains whatever it is asked for."""

    def __contains__(self, _: object) -> bool:
        return True


def always(value: object) -> property:
    """An attribute that cannot be changed."""
    return property(lambda self: value, lambda self, _: None)


def test_what_was_passed_over_is_forgotten(monkeypatch: Patch) -> None:
    """A target's answer by a node that is late with a snapshot is reset, as if its flow were over."""
    monkeypatch.setattr(PassedOver, "__contains__", lambda self, key: False)
    test = test_replication.test_what_a_target_answers_by_a_node_that_does_not_know_the_endpoint_yet_is_not_reset
    in_test(monkeypatch, test)


def retell(stories: Stories, beginning: str) -> None:
    """Tell the stories whose description begins so, on their first road each."""
    told = {description: (story, road) for description, story, road in reversed(stories.rows)}
    chosen = [found for description, found in told.items() if description.startswith(beginning)]
    assert chosen, f"no story begins with {beginning}"
    for story, road in chosen:
        for _ in play(story, Road(*road)):
            pass


# --- replication --------------------------------------------------------------------------------------


def test_the_older_of_two_rivals_stays(monkeypatch: Patch) -> None:
    """As it once was: a flow that its maker had forgotten came back from another node's memory."""
    younger = replication._is_younger
    monkeypatch.setattr(replication, "_is_younger", lambda comer, standing: not younger(comer, standing))
    test = test_replication.test_of_two_flows_on_one_key_all_nodes_keep_the_younger
    in_test(monkeypatch, test, "client", 300.0, 350.0)


@pytest.mark.parametrize(
    "test",
    [
        test_replication.test_a_node_that_joins_a_shard_learns_its_flows,
        test_replication.test_flows_of_an_eni_that_is_not_known_yet_are_taken_in_when_it_is,
    ],
)
def test_after_a_new_snapshot_nobody_looks_again(monkeypatch: Patch, test: Any) -> None:
    monkeypatch.setattr(Replication, "interfaces_changed", lambda self: None)
    in_test(monkeypatch, test)


def test_an_age_is_told_later(monkeypatch: Patch) -> None:
    """After a silence too, so a node that is killed takes it along."""

    def carry(self: Replication, entry: FlowEntry, now: float) -> None:
        entry.seen_at = now
        entry.carries = True
        self._carrying.append(entry)

    monkeypatch.setattr(Replication, "refresh", carry)
    in_test(monkeypatch, test_replication.test_a_killed_node_takes_no_age_with_it, 300.0)


def test_a_dead_writers_last_change_is_not_announced_again(monkeypatch: Patch) -> None:
    monkeypatch.setattr(JournalWriter, "_announce", lambda self, row: None)
    in_test(monkeypatch, test_journal.test_a_reader_notices_a_new_life_and_reads_everything_again)


def test_a_row_is_looked_at_once(monkeypatch: Patch) -> None:
    """The writer changes the row's flow between two looks."""
    delta = JournalReader.delta

    def careless(self: JournalReader, row: int) -> object:
        words = self.words
        first = words[row * _WORDS_PER_ROW]

        class Frozen:
            def __getitem__(self, place: int) -> int:
                return first if place == row * _WORDS_PER_ROW else words[place]

        self.words = Frozen()  # type: ignore[assignment]
        try:
            return delta(self, row)
        finally:
            self.words = words

    monkeypatch.setattr(JournalReader, "delta", careless)
    test = test_journal_instants.test_a_row_that_changes_its_flow_under_the_reader_is_never_a_mixture
    in_test(monkeypatch, test, 4, False)


def test_a_rows_checksum_is_not_looked_at(monkeypatch: Patch) -> None:
    monkeypatch.setattr(journal, "crc32", lambda identity: 0)
    in_test(monkeypatch, test_journal_order.test_a_row_of_which_a_part_comes_late_is_not_read, False, True)


def test_a_rows_uses_are_not_counted(monkeypatch: Patch) -> None:
    monkeypatch.setattr(journal, "_USES", 1)
    in_test(monkeypatch, test_known_rows.test_the_very_same_flow_told_of_anew_is_read_whole)


def test_a_flow_is_announced_before_it_is_written(monkeypatch: Patch) -> None:
    write = JournalWriter.write

    def announce_first(self: JournalWriter, entry: FlowEntry) -> None:
        self.ring[self._count & self._mask] = self.header[journal._HIGH_WATER]
        self._count += 1
        self.header[journal._COUNT] = self._count
        write(self, entry)
        self._count -= 1
        self.header[journal._COUNT] = self._count

    monkeypatch.setattr(JournalWriter, "write", announce_first)
    in_test(monkeypatch, test_journal_instants.test_a_reader_that_looks_at_any_instant_of_a_telling_knows_it_in_the_end)


# --- ports --------------------------------------------------------------------------------------------


def test_a_revived_flow_does_not_take_its_port_off_the_list(monkeypatch: Patch) -> None:
    """As it once was: the port is freed under the living flow."""
    monkeypatch.setattr(PortPools, "is_in_use", lambda self, pool, port: None)
    in_test(monkeypatch, test_replication.test_a_flow_that_a_peer_revives_keeps_its_port)


def test_the_sweep_looks_once(monkeypatch: Patch) -> None:
    monkeypatch.setattr(PortPools, "_suspects", always(Everything()), raising=False)
    in_test(monkeypatch, test_ports.test_one_look_is_not_enough)


def test_a_port_is_freed_whoever_answers_for_it(monkeypatch: Patch) -> None:
    monkeypatch.setattr(MemoryClaims, "is_mine", lambda self, index: True)
    in_test(monkeypatch, test_port_pool.test_a_port_that_another_node_answers_for_by_now_is_not_freed)


# --- bounds -------------------------------------------------------------------------------------------


def test_no_bound_for_a_node(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Replication, "flows_max", always(10_000), raising=False)
    in_test(monkeypatch, test_admission.test_nat_10_a_full_table_refuses_and_keeps_what_it_has)


def test_no_bound_for_an_endpoint(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Interface, "flow_count", always(0))
    in_test(monkeypatch, test_admission.test_nat_09_s_12_an_endpoint_at_its_bound_disturbs_no_other)


def test_no_bound_for_half_open_flows(monkeypatch: Patch) -> None:
    monkeypatch.setattr(admission, "_make_way", lambda plane, endpoint, translated, now: None)
    test = test_admission.test_s_12_a_flood_of_syns_pushes_out_the_oldest_half_open_flow_and_no_established_one
    in_test(monkeypatch, test)


def test_answers_have_no_rate(monkeypatch: Patch) -> None:
    monkeypatch.setattr(TokenBucket, "take", lambda self, now: True)
    in_test(monkeypatch, test_datagram_stories.test_resets_are_sent_at_a_bounded_rate)


def test_errors_have_no_rate(monkeypatch: Patch) -> None:
    monkeypatch.setattr(TokenBucket, "take", lambda self, now: True)
    in_test(monkeypatch, test_datagram_stories.test_s_04_errors_are_passed_on_at_a_bounded_rate)


# --- tenants apart, one way -----------------------------------------------------------------------------


def test_the_eni_is_not_part_of_the_key(monkeypatch: Patch) -> None:
    """What comes in by another consumer's door meets the flow."""
    monkeypatch.setattr(interface, "suffix", lambda number, protocol: b"\0\0" + bytes([protocol]))
    in_test(monkeypatch, test_isolation.test_s_05_what_comes_in_elsewhere_never_matches)


def test_pieces_meet_whatever_door_they_came_by(monkeypatch: Patch) -> None:
    add = Reassembler.add
    monkeypatch.setattr(Reassembler, "add", lambda self, number, piece, now: add(self, 0, piece, now))
    test = test_fragments.test_pieces_of_two_consumers_with_equal_addresses_never_meet
    in_test(monkeypatch, lambda: test(MemoryZone().node(0)))


def test_any_source_is_of_the_vpc(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Interface, "in_vpc", lambda self, source: True)
    in_test(monkeypatch, test_isolation.test_s_06_nat_52_a_source_that_is_not_of_the_vpc, "10.1.0.1", "tcp")


def test_security_groups_are_not_asked(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Interface, "permits", lambda self, protocol, port, source: True)
    why, changes, reason = list(test_isolation.closed_doors())[2]
    in_test(monkeypatch, test_isolation.test_s_09_nat_44_a_closed_door_is_silent, why, changes, reason)


def test_a_closed_door_lets_its_flows_go_on(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Interface, "available", always(True))
    in_test(monkeypatch, test_isolation.test_s_09_a_rejected_endpoint_cuts_its_flows_in_both_directions)


def test_a_stranger_is_answered(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Interface, "target_addresses", always(Everything()))
    in_test(monkeypatch, test_isolation.test_s_01_a_stranger_in_the_providers_vpc_gets_no_word)


def test_a_syn_from_the_target_passes(monkeypatch: Patch) -> None:
    open_inputs = tuple(bytes(2 if it == tcp_state.REFUSED else it for it in row) for row in tcp_state.INPUTS)
    monkeypatch.setattr(tracking, "INPUTS", open_inputs)
    in_test(monkeypatch, retell, test_tcp_stories.stories, "NAT-20")


# --- what a segment may do ------------------------------------------------------------------------------


def test_resets_are_not_held_to_a_window(monkeypatch: Patch) -> None:
    monkeypatch.setattr(tracking, "_may_reset", lambda packet, entry, original: True)
    in_test(monkeypatch, test_tracking.test_nat_23_resets_in_and_out_of_the_window)


def test_what_an_error_quotes_is_not_held_to_a_window(monkeypatch: Patch) -> None:
    monkeypatch.setattr(tracking, "plausible", lambda sequence, seen, window: True)
    in_test(monkeypatch, retell, test_datagram_stories.stories, "S-04 an error that quotes")


def test_a_reset_is_for_ever(monkeypatch: Patch) -> None:
    """As it once was: what goes on after a reset that nobody believed stays under the shorter timer."""
    monkeypatch.setattr(
        tracking,
        "NEXT_STATE",
        bytes(State.RESET if place >> 3 == State.RESET else after for place, after in enumerate(tcp_state.NEXT_STATE)),
    )
    in_test(monkeypatch, test_tracking.test_nat_23_a_client_keeps_its_flow_after_a_reset_that_was_none)


@pytest.mark.parametrize("ending", ["closed", "reset"])
def test_a_target_may_keep_a_flow_that_is_over(monkeypatch: Patch, ending: str) -> None:
    monkeypatch.setattr(tracking, "_CLOSED", 99)
    in_test(monkeypatch, test_tracking.test_s_03_a_target_cannot_keep_a_flow_that_is_over, ending)


def test_segment_sizes_are_not_clamped(monkeypatch: Patch) -> None:
    monkeypatch.setattr(OptionArea, "clamp_mss", lambda self, size: 0)
    in_test(monkeypatch, retell, test_tcp_stories.stories, "NAT-26")


# --- rules of the kernel --------------------------------------------------------------------------------


def edit_rules(patch: Patch, pattern: str, by: str) -> None:
    render = steer.render

    def edited(steering: steer.Steering) -> str:
        text, count = re.subn(pattern, by, render(steering), flags=re.MULTILINE)
        assert count, f"no rule has {pattern}"
        return text

    patch.setattr(test_steer, "render", edited)


def test_a_chain_ends_without_a_drop(monkeypatch: Patch) -> None:
    edit_rules(monkeypatch, r"^-A hp-e\d+ -j DROP\n", "")
    in_test(monkeypatch, test_steer.test_one_queue_needs_no_choice)


@pytest.mark.parametrize("chain", ["PREROUTING", "hp-in_", "FORWARD"])
def test_a_chain_lets_the_rest_pass(monkeypatch: Patch, chain: str) -> None:
    edit_rules(monkeypatch, f"^-A {chain} -j DROP$", f"-A {chain} -j ACCEPT")
    test = test_steer.test_only_a_verdict_leaves
    if chain != "FORWARD":
        test = test_steer.test_nothing_passes_before_it_was_looked_at
    in_test(monkeypatch, test)


def test_a_queue_without_a_reader_lets_pass(monkeypatch: Patch) -> None:
    edit_rules(monkeypatch, r"(--queue-num \d+)", r"\1 --queue-bypass")
    in_test(monkeypatch, test_steer.test_one_queue_needs_no_choice)


def test_packets_without_a_verdict_are_forwarded(monkeypatch: Patch) -> None:
    edit_rules(monkeypatch, r"^-A FORWARD .* -j ACCEPT$", "-A FORWARD -j ACCEPT")
    in_test(monkeypatch, test_steer.test_only_a_verdict_leaves)


@pytest.mark.parametrize("how", ["one restarts", "both restart", "a new generation"])
def test_what_two_nodes_know_together_is_in_no_journal(monkeypatch: Patch, how: str) -> None:
    """As it once was: two halves of a handshake, and nobody told that it was whole."""

    def keep_quiet(self: Replication, entry: FlowEntry, told: int) -> None:
        self._table.state_changed(entry)

    monkeypatch.setattr(Replication, "_state_joined", keep_quiet)
    in_test(monkeypatch, test_replication_halves.test_a_handshake_whose_halves_two_nodes_saw_outlives_them, how)
