"""From samples to ratios. A ratio is taken within a round; its spread over the rounds is what is reported."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmark.figures import FIGURES, LATENCIES, RATIO_FIGURES, Figure, Sample

SUBJECT = "hyperplane"
FLOOR = "routing"
"""Latency that is added is added to this one."""


@dataclass(frozen=True, slots=True)
class Spread:
    minimum: float
    median: float
    maximum: float
    count: int


def spread(values: Sequence[float]) -> Spread | None:
    return Spread(min(values), median(values), max(values), len(values)) if values else None


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one contender, beside the subject's."""

    figure: Figure
    contender: str
    absolute: Spread | None
    ratio: Spread | None
    """Subject / contender."""
    failures: tuple[str, ...]
    goal: float | None = None

    @property
    def reached(self) -> bool | None:
        if self.goal is None or self.ratio is None:
            return None
        return self.ratio.median >= self.goal


def rows(samples: Sequence[Sample], figures: Sequence[Figure] = FIGURES, subject_name: str = SUBJECT) -> list[Row]:
    """In the order of `figures`, then of appearance; figures nobody measured are left out."""
    contenders = list(dict.fromkeys(sample.contender for sample in samples))
    found = [_row(figure, contender, samples, subject_name) for figure in figures for contender in contenders]
    return [row for row in found if row.absolute or row.failures]


def _row(figure: Figure, contender: str, samples: Sequence[Sample], subject_name: str) -> Row:
    own = _by_round(figure.name, contender, samples)
    subject = _by_round(figure.name, subject_name, samples)
    compares = contender != subject_name and figure in RATIO_FIGURES
    ratios = [subject[number] / value for number, value in own.items() if compares and number in subject and value]
    names = (figure.name, "latency") if figure in LATENCIES.values() else (figure.name,)
    failures = tuple(
        sample.failure
        for sample in samples
        if sample.failure and sample.contender == contender and sample.figure in names
    )
    return Row(
        figure, contender, spread(list(own.values())), spread(ratios), failures, dict(figure.goals).get(contender)
    )


def _by_round(figure: str, contender: str, samples: Sequence[Sample]) -> dict[int, float]:
    return {
        sample.round: sample.value
        for sample in samples
        if sample.figure == figure and sample.contender == contender and sample.value is not None
    }


def added_latency(samples: Sequence[Sample]) -> dict[str, dict[str, Spread]]:
    """contender -> percentile -> microseconds beyond plain routing's in the same round."""
    found: dict[str, dict[str, Spread]] = {}
    for contender in dict.fromkeys(sample.contender for sample in samples if sample.contender != FLOOR):
        for name, figure in LATENCIES.items():
            floor = _by_round(figure.name, FLOOR, samples)
            own = _by_round(figure.name, contender, samples)
            added = spread([value - floor[number] for number, value in own.items() if number in floor])
            if added is not None:
                found.setdefault(contender, {})[name] = added
    return found
