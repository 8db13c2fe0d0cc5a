"""How long connections stood still: from the load's reports and the moments of the faults to figures."""

from collections import defaultdict
from collections.abc import Sequence

from tests.faults.load_run import LoadReport

Figures = dict[str, float]


def stalls_by_fault(faults: Sequence[float], reports: Sequence[LoadReport]) -> list[float]:
    """For each fault and each connection the longest wait, in ms, of which the fault was a part; 0 for none."""
    longest = _longest(faults, reports)
    pairs = sum(report.connections for report in reports) * len(faults)
    return sorted([0.0] * (pairs - len(longest)) + list(longest.values()))


def longest_by_fault(faults: Sequence[float], reports: Sequence[LoadReport]) -> list[float]:
    """For each fault the longest wait of all connections, in ms: whom it hurt most."""
    worst = [0.0] * len(faults)
    for (_, place), wait_ms in _longest(faults, reports).items():
        worst[place] = max(worst[place], wait_ms)
    return sorted(worst)


def _longest(faults: Sequence[float], reports: Sequence[LoadReport]) -> dict[tuple[str, int], float]:
    """By connection and place of the fault, where there was a wait at all.

    A fault at a moment belongs to a wait that began before the next fault and was not over before this one.
    """
    longest: dict[tuple[str, int], float] = defaultdict(float)
    for report in reports:
        for name, begin, end in report.stalls:
            for place, moment in enumerate(faults):
                following = faults[place + 1] if place + 1 < len(faults) else float("inf")
                if begin < following and end > moment:
                    longest[name, place] = max(longest[name, place], (end - begin) * 1000)
    return longest


def stalls_by_connection(reports: Sequence[LoadReport]) -> list[float]:
    """The longest wait of each connection in its whole life, in ms."""
    longest: dict[str, float] = defaultdict(float)
    for report in reports:
        for name, begin, end in report.stalls:
            longest[name] = max(longest[name], (end - begin) * 1000)
    count = sum(report.connections for report in reports)
    return sorted([0.0] * (count - len(longest)) + list(longest.values()))


def figures(values: Sequence[float]) -> Figures:
    """Median, p90, p99 and maximum of ascending values."""

    def at(share: float) -> float:
        return round(values[min(len(values) - 1, int(len(values) * share))], 1)

    return {"p50_ms": at(0.5), "p90_ms": at(0.9), "p99_ms": at(0.99), "max_ms": at(1.0)}
