"""Counters: one place for each, the same for whoever reads the shared page."""

from array import array

from hyperplane.dataplane.counters import COUNTERS, DROP_INDEX, FIRST_DROP, NAMES, Count, Counters, named
from hyperplane.dataplane.verdict import DropReason


def test_every_drop_reason_has_a_counter_of_its_own() -> None:
    assert set(DROP_INDEX) == set(DropReason)
    places = [*Count, *DROP_INDEX.values()]
    assert len(set(places)) == len(places)
    assert max(Count) < FIRST_DROP
    assert max(places) == COUNTERS - 1


def test_names_are_unique_and_say_what_was_counted() -> None:
    assert len(set(NAMES.values())) == len(NAMES) == len(Count) + len(DropReason)
    assert NAMES[Count.PORT_ALLOCATION_ERRORS] == "port_allocation_errors"
    assert NAMES[DROP_INDEX[DropReason.SECURITY_GROUP]] == "dropped_security_group"


def test_only_what_moved_is_named() -> None:
    counters = Counters()
    assert counters.as_dict() == {}
    counters.add(Count.REPLIES)
    counters.add(Count.BYTES_REPLY, 1500)
    assert counters.as_dict() == {"bytes_reply": 1500, "replies": 1}


def test_a_page_that_was_copied_reads_the_same() -> None:
    counters = Counters()
    counters.add(Count.FLOWS_NEW, 7)
    page = array("Q", counters.values)
    assert named(memoryview(page)) == counters.as_dict()
