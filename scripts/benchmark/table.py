"""The result for people: plain text, the subject first, ratios with their spread."""

from collections.abc import Mapping, Sequence

from benchmark.counters import QUIET_BUSY_SHARE
from benchmark.figures import Figure, Sample
from benchmark.summary import SUBJECT, Row, Spread, added_latency, rows

HEADER = (
    f"{'figure':<42} {'contender':<11} {'median':>11} {'min':>11} {'max':>11}"
    f"   {'ratio: min':>10} {'median':>7} {'max':>7}  goal"
)


def comparison_lines(samples: Sequence[Sample]) -> list[str]:
    lines = [HEADER, "-" * len(HEADER)]
    last: Figure | None = None
    for row in rows(samples):
        title = f"{row.figure.title} ({row.figure.unit})" if row.figure is not last else ""
        last = row.figure
        lines.append(f"{title:<42} {row.contender:<11} {_absolute(row)}   {_ratio(row.ratio)}  {_goal(row)}".rstrip())
        lines += [f"{'':<42} {'':<11} failed: {failure}" for failure in dict.fromkeys(row.failures)]
    lines.append(f"ratio = {SUBJECT} / contender in the same round; latencies and CPU: lower is better")
    return lines


def _absolute(row: Row) -> str:
    if row.absolute is None:
        return f"{'failed':>11} {'':>11} {'':>11}"
    numbers = (row.absolute.median, row.absolute.minimum, row.absolute.maximum)
    return " ".join(f"{number:>11,.{row.figure.decimals}f}" for number in numbers)


def _ratio(ratio: Spread | None) -> str:
    if ratio is None:
        return f"{'':>10} {'':>7} {'':>7}"
    return f"{ratio.minimum:>10.2f} {ratio.median:>7.2f} {ratio.maximum:>7.2f}"


def _goal(row: Row) -> str:
    if row.goal is None:
        return ""
    return goal_text(">=", row.goal, row.reached)


def goal_text(relation: str, goal: float, reached: bool | None) -> str:
    """A promise and what became of it."""
    return f"{relation} {goal:g} {'not measured' if reached is None else 'reached' if reached else 'NOT REACHED'}"


def latency_lines(samples: Sequence[Sample]) -> list[str]:
    added = added_latency(samples)
    if not added:
        return []
    lines = ["added to plain routing's round trip, us (median of rounds, min .. max):"]
    for contender, percentiles in added.items():
        cells = (
            f"{name} {one.median:,.0f} ({one.minimum:,.0f} .. {one.maximum:,.0f})" for name, one in percentiles.items()
        )
        lines.append(f"  {contender:<11} {'   '.join(cells)}")
    return lines


def noise_lines(samples: Sequence[Sample]) -> list[str]:
    """One row if the machine was doing something else before a figure: then it may have gone on during it."""
    noisy = [sample.busy_before for sample in samples if sample.busy_before >= QUIET_BUSY_SHARE]
    if not noisy:
        return []
    count = f"{len(noisy)} of {len(samples)} figures (up to {max(noisy):.0%})"
    return [f"warning: the machine was busy with something else before {count}; run it again when it is idle"]


def warning_lines(refused: Mapping[tuple[str, str], Mapping[str, int]]) -> list[str]:
    """One row for each case in which targets refused segments: that figure is not the contender's speed."""
    return [
        f"warning: {contender}, {measurement}: the targets refused segments: "
        + ", ".join(f"{name} +{count}" for name, count in counters.items())
        for (measurement, contender), counters in refused.items()
    ]
