"""Numbers of interfaces: small, stable, and not given again too soon.

An interface's number is the packets' routing mark and a part of every flow's key. A number that went
to another interface while old flows live would let one tenant's packets match another's flows. So:

- an interface keeps its number as long as it exists, whoever comes and goes beside it;
- a number that became free rests until no flow of its old interface can be alive any more;
- numbers are handed out in rising order and start again from 1 only at the end, per zone.

`now` is seconds on any clock that does not jump; what is stored are moments of it. When the clock starts
again from zero (the machine did, so no flow lives) a rest lasts its full time once more at most.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType

from hyperplane import limits
from hyperplane.errors import ConfigurationError
from hyperplane.snapshot import Snapshot

NUMBER_REST_S = limits.TCP_IDLE_TIMEOUT_S_MAX
"""The longest that any flow can be silent and alive."""


def _empty() -> Mapping[str, int]:
    return MappingProxyType({})


@dataclass(frozen=True)
class ZoneNumbers:
    """One zone's numbers: who has which, who rests since when, where to look next."""

    numbers: Mapping[str, int] = field(default_factory=_empty)
    """ENI id to number."""
    resting: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    """Number to the moment at which it became free."""
    following: int = 1

    def renewed(self, eni_ids: Sequence[str], now: float) -> "ZoneNumbers":
        """The numbers when exactly these interfaces exist."""
        wanted = set(eni_ids)
        numbers = {eni_id: number for eni_id, number in self.numbers.items() if eni_id in wanted}
        gone = {number: now for eni_id, number in self.numbers.items() if eni_id not in wanted}
        rested = {number: min(since, now) for number, since in self.resting.items() if now - since < NUMBER_REST_S}
        resting = rested | gone
        taken = set(numbers.values()) | set(resting)
        following = self.following
        for eni_id in eni_ids:
            if eni_id not in numbers:
                numbers[eni_id] = _next_free(taken, following)
                taken.add(numbers[eni_id])
                following = numbers[eni_id] % limits.ENI_NUMBER_MAX + 1
        return ZoneNumbers(MappingProxyType(numbers), MappingProxyType(resting), following)


def _next_free(taken: set[int], following: int) -> int:
    for number in chain(range(following, limits.ENI_NUMBER_MAX + 1), range(1, following)):
        if number not in taken:
            return number
    raise ConfigurationError("zones", f"all {limits.ENI_NUMBER_MAX} interface numbers of a zone are taken or resting")


def _agreed(own: ZoneNumbers, used: ZoneNumbers) -> ZoneNumbers:
    taken = set(used.numbers.values())
    others = {
        eni_id: number for eni_id, number in own.numbers.items() if number not in taken and eni_id not in used.numbers
    }
    resting = {number: since for number, since in own.resting.items() if number not in taken}
    return ZoneNumbers(MappingProxyType({**used.numbers, **others}), MappingProxyType(resting), own.following)


@dataclass(frozen=True)
class Numbering:
    """All zones' numbers, by zone name."""

    zones: Mapping[str, ZoneNumbers] = field(default_factory=lambda: MappingProxyType({}))

    def renewed(self, eni_ids: Mapping[str, Sequence[str]], now: float) -> "Numbering":
        """The numbering when exactly these interfaces exist, by zone name; new ones are numbered in this order."""
        names = (*eni_ids, *(name for name in self.zones if name not in eni_ids))
        return Numbering(
            MappingProxyType(
                {name: self.zones.get(name, ZoneNumbers()).renewed(eni_ids.get(name, ()), now) for name in names}
            )
        )

    def number(self, zone_name: str, eni_id: str) -> int:
        """The number of an interface that was among the last `renewed`."""
        return self.zones[zone_name].numbers[eni_id]

    def agreeing_with(self, snapshot: Snapshot) -> "Numbering":
        """This numbering, corrected by the snapshot that the nodes have: what they use is right."""
        used = Numbering.of_snapshot(snapshot).zones
        agreed = {name: _agreed(zone, used.get(name, ZoneNumbers())) for name, zone in self.zones.items()}
        return Numbering(MappingProxyType({**used, **agreed}))

    @staticmethod
    def of_snapshot(snapshot: Snapshot) -> "Numbering":
        """What a snapshot knows. Who rests it does not know: that is in the file of `numbering_codec.py`."""
        zones = {}
        for zone in snapshot.zones:
            numbers = {eni.eni_id: eni.number for eni in zone.enis}
            following = max(numbers.values(), default=0) % limits.ENI_NUMBER_MAX + 1
            zones[zone.name] = ZoneNumbers(MappingProxyType(numbers), following=following)
        return Numbering(MappingProxyType(zones))
