"""What keeps a stream with a header whole: each protection is taken away, and the *test* written for it fails.

What a whole world of the simulator notices is in `test_header_mutants.py`; what a client must not be able to do, in
`test_forgery_mutants.py` (by the test written for it) and `test_liar_mutants.py` (in worlds).
"""

from collections.abc import Callable
from typing import Any

import pytest

from hyperplane.dataplane import engine, header_emission, injection, plane, stages
from hyperplane.dataplane.admission import Stage
from hyperplane.dataplane.passage import Passage
from hyperplane.dataplane.plane import Plane
from hyperplane.dataplane.verdict import Verdict
from hyperplane.flow import header_timers, injector, replication
from hyperplane.flow.entry import STATE_MASK, FlowEntry
from hyperplane.flow.injector import HEADER_PAST, Injection, Protections
from hyperplane.flow.opening import Opening
from hyperplane.wire.packet import ChecksumState
from hyperplane.wire.segment import tcp_packet
from tests.dataplane import (
    test_proxy_answers,
    test_proxy_closing,
    test_proxy_cookies,
    test_proxy_datagrams,
    test_proxy_errors,
    test_proxy_forgery,
    test_proxy_handover,
    test_proxy_numbers,
    test_proxy_options,
    test_proxy_placement,
    test_proxy_repetition,
    test_proxy_sack,
    test_proxy_toggling,
    test_proxy_window,
)
from tests.dataplane.header_road import AT_ONCE, WITH_PAYLOAD, Way
from tests.dataplane.narrow_target import Case, Narrow
from tests.flow import test_injector
from tests.nodes import MemoryZone, snapshot_of
from tests.sim.notice import Patch, in_test
from tests.sim.test_mutants_one_by_one import always

PLAIN: Way = (4, ChecksumState.FINISHED, WITH_PAYLOAD)
PLAIN_AT_ONCE: Way = (4, ChecksumState.FINISHED, AT_ONCE)


def inject_by(patch: Patch, stage: Stage) -> None:
    """Another inject stage."""
    patch.setattr(engine, "DECIDING", tuple(stage if it is injection.inject else it for it in stages.DECIDING))


def weakened(patch: Patch, **off: bool) -> None:
    """Nodes without one of the protections that the product itself can do without."""
    patch.setattr(plane, "Protections", lambda: Protections(**off))


def a_cookie_is_lowered(way: Way) -> None:
    told, acknowledged = test_proxy_cookies.KINDS[0]
    test_proxy_cookies.test_as_long_as_the_flow_lives(way, told, acknowledged)


@pytest.mark.parametrize(
    ("field", "test", "way"),
    [
        ("clamps", test_proxy_numbers.test_pp_16_an_acknowledgment_inside_the_header_is_the_first_byte, PLAIN),
        ("repeats", test_proxy_repetition.test_pp_02_the_clients_first_data_brings_the_header_until_it_is_acknowledged,
         PLAIN),
        ("repeats", test_proxy_repetition.test_pp_03_the_targets_syn_ack_again_makes_the_client_bring_the_header_again,
         PLAIN_AT_ONCE),
        ("resends", test_proxy_repetition.test_pp_04_a_target_that_repeats_nothing_gets_it_by_the_timer,
         PLAIN_AT_ONCE),
        ("maps_sack", test_proxy_sack.test_pp_14_blocks_are_told_in_the_clients_numbers_and_in_order, PLAIN),
        ("maps_sack", test_proxy_sack.test_pp_05_a_second_header_is_never_reported_to_the_client, PLAIN),
        ("replaces", test_proxy_placement.test_pp_01_the_header_takes_the_place_of_the_handshakes_ack, PLAIN_AT_ONCE),
        ("narrows", test_proxy_window.test_pp_18_the_client_is_offered_what_the_header_leaves, PLAIN),
        ("waits", test_proxy_answers.test_nothing_of_the_clients_passes_before_the_answer, PLAIN),
        ("refuses",
         test_proxy_forgery.test_a_segment_that_begins_before_the_first_byte_and_ends_behind_it_is_refused, PLAIN),
        ("spoils", a_cookie_is_lowered, PLAIN),
    ],
)  # fmt: skip
def test_a_protection_is_off(monkeypatch: Patch, field: str, test: Any, way: Way) -> None:
    weakened(monkeypatch, **{field: False})
    in_test(monkeypatch, test, way)


def test_every_protection_has_a_test() -> None:
    (mark,) = [mark for mark in test_a_protection_is_off.pytestmark if mark.name == "parametrize"]
    assert {field for field, _, _ in mark.args[1]} == set(Protections.__dataclass_fields__)


# --- what nodes tell each other -------------------------------------------------------------------------


def whole(test: Callable[..., None]) -> Callable[..., None]:
    """The test, which takes a packet apart: that none came out is noticed, too."""

    def noticing(*arguments: Any) -> None:
        try:
            test(*arguments)
        except IndexError as nothing:
            raise AssertionError("a packet is lost") from nothing

    return noticing


def test_nobody_notes_that_a_stream_is_long(monkeypatch: Patch) -> None:
    mark = Injection.mark
    monkeypatch.setattr(Injection, "mark", lambda self, it: mark(self, it & ~HEADER_PAST))
    test = test_injector.test_pp_32_a_stream_of_nine_gib_keeps_its_numbers
    in_test(monkeypatch, whole(test), WITH_PAYLOAD, test_injector.ONE_NODE)


def test_that_a_stream_is_long_is_learned_too_late(monkeypatch: Patch) -> None:
    """As it once was: just where a node believes no number any more."""
    for module in (injector, injection):
        monkeypatch.setattr(module, "LONG_STREAM_BYTES", 1 << 30)
    test = test_injector.test_pp_33_a_node_that_starts_anew_keeps_a_long_streams_numbers
    in_test(monkeypatch, whole(test), WITH_PAYLOAD, None, 1)


def test_marks_are_not_told(monkeypatch: Patch) -> None:
    monkeypatch.setattr(FlowEntry, "told_state", property(lambda self: self.state))
    test = test_injector.test_pp_32_a_stream_of_nine_gib_keeps_its_numbers
    in_test(monkeypatch, test, WITH_PAYLOAD, test_injector.TWO_NODES)


def test_marks_are_told_and_not_joined(monkeypatch: Patch) -> None:
    join = FlowEntry.join

    def without_marks(self: FlowEntry, epoch: int, told_state: int, *rest: Any) -> bool:
        return join(self, epoch, told_state & STATE_MASK, *rest)

    monkeypatch.setattr(FlowEntry, "join", without_marks)
    test = test_injector.test_pp_32_a_stream_of_nine_gib_keeps_its_numbers
    in_test(monkeypatch, test, WITH_PAYLOAD, test_injector.TWO_NODES)


def test_peers_are_not_told_of_the_header(monkeypatch: Patch) -> None:
    monkeypatch.setattr(replication, "PLACEMENTS", (None, None, None))
    in_test(
        monkeypatch, test_proxy_handover.test_pp_33_at_every_step_any_two_nodes_give_way_to_any_two, PLAIN, 3, False
    )


def test_peers_are_told_of_another_placement(monkeypatch: Patch) -> None:
    monkeypatch.setattr(replication, "PLACEMENTS", (None, AT_ONCE, WITH_PAYLOAD))
    test = test_proxy_toggling.test_pp_35_a_stream_keeps_what_it_began_with
    in_test(monkeypatch, test, AT_ONCE, None, "before the data", (2, 1))


# --- windows, sizes, timers -----------------------------------------------------------------------------


def test_a_window_that_the_header_closes_stays_closed(monkeypatch: Patch) -> None:
    """As it once was, where the window's unit is larger than the header."""
    monkeypatch.setattr(Opening, "hides", always(False))
    name = "test_pp_19_a_window_that_is_closed_by_its_own_units_is_no_dead_end"
    in_test(monkeypatch, getattr(test_proxy_window, name), PLAIN)


def test_the_header_is_sent_beyond_the_window(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Opening, "sendable", lambda self, first: len(self.header))
    test = test_proxy_window.test_pp_19_a_target_that_only_takes_what_it_has_room_for_gets_everything
    in_test(monkeypatch, test, AT_ONCE, 20, 0, False)


def test_the_rest_of_the_header_is_not_sent_when_there_is_room(monkeypatch: Patch) -> None:
    monkeypatch.setattr(injection, "send_rest", lambda *_: None)
    in_test(
        monkeypatch, test_proxy_window.test_pp_19_the_header_goes_as_far_as_the_window_allows, PLAIN_AT_ONCE
    )  # fmt: skip


def test_header_and_data_share_a_segment_again_and_again(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Opening, "shared", always(False))
    name = "test_pp_08_a_narrow_way_to_the_target_does_not_lose_the_same_segment_for_ever"
    in_test(monkeypatch, getattr(test_proxy_errors, name), PLAIN)


def test_header_and_data_share_a_segment_of_any_size(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Opening, "fits_before", lambda self, payload_bytes, options_bytes, first: True)
    in_test(monkeypatch, test_proxy_options.test_pp_08_a_first_segment_of_full_size_stays_as_it_is, PLAIN)


def test_a_super_packet_gets_the_header_into_itself(monkeypatch: Patch) -> None:
    monkeypatch.setattr(header_emission, "_SEGMENTED", None)
    in_test(monkeypatch, test_proxy_options.test_pp_09_a_small_super_packet_is_not_joined_with_the_header,
            (4, ChecksumState.UNFINISHED, WITH_PAYLOAD))  # fmt: skip


def test_a_super_packet_of_datagrams_is_led_once(monkeypatch: Patch) -> None:
    monkeypatch.setattr(injection, "_SEGMENTED", None)
    in_test(monkeypatch, test_proxy_datagrams.test_pp_38_a_super_packet_of_datagrams_is_refused, PLAIN)


def test_the_timer_never_ends(monkeypatch: Patch) -> None:
    monkeypatch.setattr(header_timers, "HEADER_RESENDS_MAX", 99)
    in_test(
        monkeypatch,
        test_proxy_repetition.test_pp_04_a_target_that_repeats_nothing_gets_it_by_the_timer,
        PLAIN_AT_ONCE,
    )


def test_the_timer_speaks_with_the_clients_first_words(monkeypatch: Patch) -> None:
    remember = header_emission.remember

    def once(opening: Opening, passage: Passage) -> None:
        if not opening.window:
            remember(opening, passage)

    monkeypatch.setattr(injection, "remember", once)
    in_test(
        monkeypatch, test_proxy_repetition.test_pp_13_the_timer_speaks_with_the_clients_last_words, PLAIN_AT_ONCE
    )  # fmt: skip


# --- sums, errors, counters -----------------------------------------------------------------------------


def test_pp_40_a_sum_that_is_wrong_by_the_headers_length(monkeypatch: Patch) -> None:
    """What a network card with checksum offload would hide."""

    def change(plane: Plane, passage: Passage) -> Verdict | None:
        sum_before = passage.packet.checksum
        verdict = injection.inject(plane, passage)
        passage.packet.checksum = sum_before
        return verdict

    inject_by(monkeypatch, change)
    in_test(monkeypatch, test_proxy_closing.test_pp_23_a_reset_in_the_middle, PLAIN)


def test_pp_40_a_headers_own_sum_is_wrong(monkeypatch: Patch) -> None:

    def damaged(*fields: Any) -> bytes:
        packet = tcp_packet(*fields)
        return packet[:37] + bytes([packet[37] ^ 100]) + packet[38:]

    monkeypatch.setattr(header_emission, "tcp_packet", damaged)
    in_test(monkeypatch, test_proxy_options.test_pp_08_a_first_segment_of_full_size_stays_as_it_is, PLAIN)


def test_errors_quote_the_targets_number(monkeypatch: Patch) -> None:
    monkeypatch.setattr(stages, "quote_as_sent", lambda entry, quoted, direction: (None, 0))
    in_test(monkeypatch, test_proxy_errors.test_pp_31_the_client_hears_of_its_own_sequence_number, PLAIN)
    monkeypatch.setattr(stages, "quote_as_sent", lambda entry, quoted, direction: (None, 0))
    in_test(monkeypatch, test_proxy_errors.test_pp_31_a_quoted_datagram_is_as_short_as_the_client_sent_it, PLAIN)


def test_a_header_counts_as_the_clients_bytes(monkeypatch: Patch) -> None:
    count = stages._count_lead
    monkeypatch.setattr(
        stages, "_count_lead", lambda values, passage, lead: count(values, passage, lead._replace(added_bytes=0))
    )
    in_test(monkeypatch, test_proxy_placement.test_pp_42_bytes_are_counted_as_the_client_sent_them, PLAIN)


def test_a_narrow_target_that_gets_nothing_is_noticed() -> None:
    """The model itself: a target with a tiny window and no header to it hears what the client says."""
    node = MemoryZone(snapshot_of()).node(0)
    ends = Narrow(Case(20, question=b"q" * 100), node, node)
    ends.run(100)
    assert ends.got == b"q" * 100
