"""Every way to lose a packet is explained."""

from hyperplane.cli.drop_reasons import MEANINGS, dropped_for, meaning
from hyperplane.dataplane.counters import NAMES
from hyperplane.dataplane.verdict import DropReason


def test_every_reason_has_a_meaning_of_its_own() -> None:
    assert set(MEANINGS) == set(DropReason)
    assert len(set(MEANINGS.values())) == len(MEANINGS)


def test_every_counter_of_drops_is_recognised() -> None:
    reasons = [reason for name in NAMES.values() if (reason := dropped_for(name))]
    assert reasons == list(DropReason)


def test_other_counters_mean_no_drop() -> None:
    assert dropped_for("packets_dropped") is None
    assert meaning("packets_original") == ""
    assert meaning("dropped_no_listener") == MEANINGS[DropReason.NO_LISTENER]
