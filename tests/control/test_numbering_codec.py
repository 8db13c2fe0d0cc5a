"""The numbering on disk: what is written is read, and nothing else is."""

import hashlib
import json
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperplane.control.numbering import NUMBER_REST_S, Numbering, ZoneNumbers
from hyperplane.control.numbering_codec import decode_numbering, encode_numbering
from hyperplane.errors import ConfigurationError
from tests.snapshots import small_snapshot

ZONE = "us-east-2a"
STEPS = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(["a", "b"]), st.lists(st.sampled_from("vwxyz"), unique=True)),
        st.floats(0, 2 * NUMBER_REST_S),
    ),
    max_size=6,
)


@given(STEPS)
def test_what_is_written_is_read(steps: list[tuple[dict[str, list[str]], float]]) -> None:
    numbering, now = Numbering(), 0.0
    for eni_ids, pause in steps:
        now += pause
        numbering = numbering.renewed(eni_ids, now)
        assert decode_numbering(encode_numbering(numbering)) == numbering


def some() -> Numbering:
    return Numbering().renewed({ZONE: ["x", "y", "z"]}, 0.0).renewed({ZONE: ["x", "z"]}, 7.5)


def test_no_damage_loads_as_another_numbering() -> None:
    """White space may change; no number, name or moment may."""
    data = encode_numbering(some())
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        try:
            assert decode_numbering(bytes(damaged)) == some()
        except ConfigurationError:
            continue
    for length in range(len(data) - 1):
        with pytest.raises(ConfigurationError):
            decode_numbering(data[:length])


def sealed(zones: Any) -> bytes:
    digest = hashlib.sha256(json.dumps(zones, sort_keys=True).encode()).hexdigest()
    return json.dumps({"sha256": digest, "zones": zones}).encode()


@pytest.mark.parametrize(
    "zone",
    [
        [],
        {"following": 1, "numbers": {}},
        {"following": 0, "numbers": {}, "resting": {}},
        {"following": True, "numbers": {}, "resting": {}},
        {"following": 1, "numbers": [], "resting": {}},
        {"following": 1, "numbers": {"x": 65_536}, "resting": {}},
        {"following": 1, "numbers": {"x": "1"}, "resting": {}},
        {"following": 1, "numbers": {"x": 1, "y": 1}, "resting": {}},
        {"following": 1, "numbers": {"x": 1}, "resting": {"1": 0.0}},
        {"following": 1, "numbers": {}, "resting": {"one": 0.0}},
        {"following": 1, "numbers": {}, "resting": {"1": "now"}},
    ],
)
def test_a_zone_that_makes_no_sense(zone: Any) -> None:
    with pytest.raises(ConfigurationError, match=ZONE):
        decode_numbering(sealed({ZONE: zone}))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"sha256": "", "zones": []}', b"[" * 100_000])
def test_what_is_no_numbering(data: bytes) -> None:
    with pytest.raises(ConfigurationError):
        decode_numbering(data)


def test_the_snapshot_is_right_about_who_has_a_number() -> None:
    """A crash left the file behind the snapshot: it still gives number 2 to another and lets 3 rest."""
    stale = Numbering(MappingProxyType({ZONE: ZoneNumbers({"old": 2, "other": 9}, {3: 1.0, 5: 2.0}, following=10)}))
    snapshot = small_snapshot(endpoints=2)
    agreed = stale.agreeing_with(snapshot).zones[ZONE]
    used = {eni.eni_id: eni.number for eni in snapshot.zones[0].enis}
    assert agreed.numbers == used | {"other": 9}
    assert agreed.resting == {5: 2.0}
    assert agreed.following == 10


def test_an_absent_file_is_an_empty_numbering() -> None:
    snapshot = small_snapshot(endpoints=2)
    assert Numbering().agreeing_with(snapshot) == Numbering.of_snapshot(snapshot)


def test_the_last_number_does_not_come_again_at_once() -> None:
    """What the snapshot alone cannot know: 3 was given out until a moment ago."""
    snapshot = small_snapshot(endpoints=2)
    full = Numbering.of_snapshot(snapshot)
    (zone,) = snapshot.zones
    smaller = replace(snapshot, zones=(replace(zone, enis=zone.enis[:2]),))
    ids = [eni.eni_id for eni in zone.enis[:2]]
    kept = decode_numbering(encode_numbering(full.renewed({ZONE: ids}, 0.0))).agreeing_with(smaller)
    assert kept.renewed({ZONE: [*ids, "new"]}, 1.0).number(ZONE, "new") == 4
    assert Numbering.of_snapshot(smaller).renewed({ZONE: [*ids, "new"]}, 1.0).number(ZONE, "new") == 3
