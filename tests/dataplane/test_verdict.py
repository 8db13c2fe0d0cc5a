"""Verdicts are values, and everything that can be wrong with a packet has its drop reason."""

from hyperplane.dataplane.verdict import DROPS, MALFORMED, Accept, Drop, DropReason, Reply
from hyperplane.errors import Malformation


def test_every_malformation_has_the_drop_reason_of_its_name() -> None:
    assert {fault: drop.reason.value for fault, drop in MALFORMED.items()} == {
        fault: fault.value for fault in Malformation
    }


def test_drops_are_made_once() -> None:
    assert {reason: drop.reason for reason, drop in DROPS.items()} == {reason: reason for reason in DropReason}
    assert all(MALFORMED[fault] is DROPS[DropReason(fault.value)] for fault in Malformation)


def test_verdicts_of_one_kind_are_equal_by_value() -> None:
    assert Accept(7) == Accept(7) != Accept(8)
    assert Drop(DropReason.NO_FLOW) == DROPS[DropReason.NO_FLOW]
    assert Reply(DropReason.NO_FLOW, b"x", 1) != Reply(DropReason.NO_FLOW, b"y", 1)
