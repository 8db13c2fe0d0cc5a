"""From the lanes' samples to one row a figure: header on, against off and against HAProxy, within each round."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.figures import (
    HEADER_CONNECTIONS,
    HEADER_FIGURES,
    HEADER_FIRST_ACK,
    HEADER_HAPROXY,
    HEADER_OFF,
    HEADER_ON,
    Figure,
    Sample,
)
from benchmark.summary import Spread, rows

PLACEMENTS = tuple((figure, HEADER_ON) for figure in HEADER_FIGURES)
FIRST_ACK_AT = HEADER_FIGURES.index(HEADER_CONNECTIONS) + 1
LINES = (*PLACEMENTS[:FIRST_ACK_AT], (HEADER_CONNECTIONS, HEADER_FIRST_ACK), *PLACEMENTS[FIRST_ACK_AT:])
"""(figure, the lane that stands for header on). What is promised is promised for AWS's default placement."""


@dataclass(frozen=True, slots=True)
class HeaderRow:
    """One figure with the header. What was not measured is None."""

    figure: Figure
    lane: str
    on: Spread | None
    off: Spread | None
    haproxy: Spread | None
    to_off: Spread | None
    to_haproxy: Spread | None
    goal: float | None
    """Lower bound for the median of `to_off`."""
    failures: tuple[str, ...]

    @property
    def reached(self) -> bool | None:
        return None if self.goal is None or self.to_off is None else self.to_off.median >= self.goal


def header_rows(samples: Sequence[Sample]) -> list[HeaderRow]:
    """In the order of LINES; figures nobody measured are left out."""
    return [row for figure, lane in LINES if (row := _row(figure, lane, samples)) is not None]


def _row(figure: Figure, lane: str, samples: Sequence[Sample]) -> HeaderRow | None:
    found = {row.contender: row for row in rows(samples, (figure,), lane)}
    shown = [found[name] for name in (lane, HEADER_OFF, HEADER_HAPROXY) if name in found]
    if not shown or (lane == HEADER_FIRST_ACK and lane not in found):
        return None
    absolutes = {name: row.absolute for name, row in found.items()}
    ratios = {name: row.ratio for name, row in found.items()}
    return HeaderRow(
        figure,
        lane,
        on=absolutes.get(lane),
        off=absolutes.get(HEADER_OFF),
        haproxy=absolutes.get(HEADER_HAPROXY),
        to_off=ratios.get(HEADER_OFF),
        to_haproxy=ratios.get(HEADER_HAPROXY),
        goal=dict(figure.goals).get(HEADER_OFF) if lane == HEADER_ON else None,
        failures=tuple(
            f"{row.contender}, {len(row.failures)} times, first: {row.failures[0]}" for row in shown if row.failures
        ),
    )
