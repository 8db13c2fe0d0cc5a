"""What a client must not be able to do: each protection is taken away, and the *test* that was written for it fails.

In whole worlds: `test_liar_mutants.py`.
"""

from hyperplane.dataplane import admission, engine, injection, stages, tracking
from hyperplane.dataplane.passage import Passage
from hyperplane.dataplane.plane import Plane
from hyperplane.dataplane.verdict import Verdict
from hyperplane.flow import injector, replication
from hyperplane.flow.another_syn import Syn
from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.injector import Injection, Start
from hyperplane.flow.tcp_state import State
from hyperplane.wire.packet import RST, SYN
from tests.dataplane import (
    test_proxy_answers,
    test_proxy_challenges,
    test_proxy_forgery,
    test_proxy_reopening,
    test_proxy_toggling,
)
from tests.dataplane.header_road import FIRST
from tests.sim.notice import Patch, in_test
from tests.sim.test_proxy_mutants import PLAIN


def becomes(patch: Patch, syn: Syn) -> None:
    """Of every SYN on the tuple of a flow."""
    patch.setattr(admission, "becomes_of_syn", lambda entry, sequence, gets_header: syn)


def test_a_segment_before_the_first_byte_is_old(monkeypatch: Patch) -> None:
    start_of = injector.start_of

    def careless(*segment: int) -> Start:
        start = start_of(*segment)
        return Start.OLD if start is Start.EARLY else start

    monkeypatch.setattr(injector, "start_of", careless)
    name = "test_a_segment_that_begins_before_the_first_byte_and_ends_behind_it_is_refused"
    in_test(monkeypatch, getattr(test_proxy_forgery, name), PLAIN)


# --- another SYN ----------------------------------------------------------------------------------------


def test_a_syn_after_the_end_goes_on(monkeypatch: Patch) -> None:
    becomes(monkeypatch, Syn.GOES_ON)
    test = test_proxy_reopening.test_pp_27_a_syn_after_the_end_begins_a_stream_with_a_header
    in_test(monkeypatch, test, PLAIN, "RESET", FIRST - 700, 1)


def test_a_syn_in_an_open_stream_goes_on(monkeypatch: Patch) -> None:
    """As it once was."""
    becomes(monkeypatch, Syn.GOES_ON)
    test = test_proxy_reopening.test_a_client_cannot_get_rid_of_the_header_by_a_reset_that_it_takes_back
    in_test(monkeypatch, test, PLAIN, 2)


def test_a_syn_in_an_open_stream_begins_another(monkeypatch: Patch) -> None:
    becomes(monkeypatch, Syn.BEGINS)
    test = test_proxy_challenges.test_pp_27_a_syn_inside_a_stream_is_asked_about
    in_test(monkeypatch, test, PLAIN, "ESTABLISHED", FIRST - 700, 1)


def test_a_repeated_syn_begins_another_stream(monkeypatch: Patch) -> None:
    becomes(monkeypatch, Syn.BEGINS)
    in_test(monkeypatch, test_proxy_reopening.test_pp_27_the_same_syn_again_changes_nothing, PLAIN)


def test_a_tuple_without_a_header_goes_on_when_its_target_gets_one(monkeypatch: Patch) -> None:
    becomes(monkeypatch, Syn.GOES_ON)
    test = test_proxy_toggling.test_pp_35_a_tuple_that_begins_again_gives_its_target_what_that_expects
    in_test(monkeypatch, test, None, test_proxy_toggling.WITH_PAYLOAD)


def test_a_flow_that_makes_way_is_younger_than_the_next(monkeypatch: Patch) -> None:
    """As when both are made within one millisecond, and the order of their ports decides."""
    monkeypatch.setattr(FlowEntry, "succeed", lambda self, other: setattr(self, "born_ms", other.born_ms - 1))
    test = test_proxy_reopening.test_pp_27_two_streams_of_one_millisecond_are_settled_alike_on_all_nodes
    in_test(monkeypatch, test, PLAIN)


def test_the_port_of_a_flow_that_made_way_rests_as_any_other(monkeypatch: Patch) -> None:
    monkeypatch.setattr(replication, "CLOSING_TIMEOUT_S", 0)
    test = test_proxy_reopening.test_the_port_of_a_flow_that_made_way_rests_longer_and_none_leaks
    in_test(monkeypatch, test, PLAIN, "RESET", 120, 0)


# --- the answer -----------------------------------------------------------------------------------------


def test_any_answer_begins_a_stream(monkeypatch: Patch) -> None:
    monkeypatch.setattr(tracking, "_is_the_answer", lambda plane, passage, entry: True)
    test = test_proxy_answers.test_an_answer_to_a_syn_that_nobody_sent_does_not_pass
    in_test(monkeypatch, test, PLAIN, "ESTABLISHED", 1)


def test_another_answer_to_the_same_syn_passes(monkeypatch: Patch) -> None:
    is_the_answer = tracking._is_the_answer

    def believe(plane: Plane, passage: Passage, entry: FlowEntry) -> bool:
        return is_the_answer(plane, passage, entry) or True

    monkeypatch.setattr(tracking, "_is_the_answer", believe)
    test = test_proxy_answers.test_pp_27_another_answer_to_the_same_syn_is_the_end_of_the_stream
    in_test(monkeypatch, test, PLAIN, "ESTABLISHED", 5000, 1)


def test_the_answer_is_not_told(monkeypatch: Patch) -> None:
    """Only the node that sees it knows of it, and what the client says then comes to another."""
    join = Injection.join_marks
    monkeypatch.setattr(Injection, "join_marks", lambda self, marks, offer: join(self, 0, 0))
    in_test(monkeypatch, test_proxy_answers.test_the_answer_is_told_before_the_client_can_have_it, PLAIN)


# --- news -----------------------------------------------------------------------------------------------


def find_as_for_any_flow(plane: Plane, passage: Passage) -> Verdict | None:
    """An established flow is found without a look at the news."""
    original = passage.direction is injection._ORIGINAL
    entry = (plane.table.original if original else plane.table.translated).get(passage.key)
    if entry is not None and entry.state == State.ESTABLISHED and not passage.packet.flags & (SYN | RST):
        passage.entry = entry
        return None
    return stages.find(plane, passage)


def test_news_of_another_stream_wait(monkeypatch: Patch) -> None:
    """As it once was."""
    deciding = [find_as_for_any_flow if stage is stages.find else stage for stage in stages.DECIDING]
    monkeypatch.setattr(engine, "DECIDING", deciding)
    in_test(
        monkeypatch, test_proxy_reopening.test_pp_34_a_third_node_that_knows_only_the_stream_before, PLAIN, "a reset"
    )
