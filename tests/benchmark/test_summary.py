"""A ratio is taken inside a round, a failed round is left out, and a goal is judged by the median."""

from benchmark.figures import BULK_1, P50, Sample
from benchmark.summary import Row, added_latency, rows
from benchmark.table import comparison_lines, noise_lines, warning_lines


def sample(contender: str, number: int, value: float | None, figure: str = BULK_1.name, failure: str = "") -> Sample:
    return Sample(figure, contender, number, value, failure)


def row_of(contender: str, samples: list[Sample]) -> Row:
    return next(row for row in rows(samples) if row.contender == contender)


def test_ratios_pair_figures_of_the_same_round() -> None:
    samples = [
        sample("hyperplane", 1, 5),
        sample("nftables", 1, 10),
        sample("hyperplane", 2, 8),
        sample("nftables", 2, 8),
    ]
    ratio = row_of("nftables", samples).ratio
    assert ratio is not None
    assert (ratio.minimum, ratio.median, ratio.maximum, ratio.count) == (0.5, 0.75, 1.0, 2)


def test_a_failed_round_is_reported_and_not_averaged() -> None:
    samples = [
        sample("hyperplane", 1, 5),
        sample("nftables", 1, None, failure="wrk: errors"),
        sample("nftables", 2, 10),
    ]
    row = row_of("nftables", samples)
    assert row.absolute is not None
    assert row.absolute.count == 1
    assert row.ratio is None
    assert row.failures == ("wrk: errors",)
    assert any("failed: wrk: errors" in line for line in comparison_lines(samples))


def test_a_goal_is_reached_by_the_median_ratio() -> None:
    good = [sample("hyperplane", number, value) for number, value in ((1, 3.0), (2, 5.0), (3, 5.0))]
    floor = [sample("nftables", number, 10.0) for number in (1, 2, 3)]
    assert row_of("nftables", good + floor).reached is True
    assert row_of("nftables", [sample("hyperplane", 1, 3.9), *floor]).reached is False
    assert row_of("nftables", floor).reached is None


def test_the_subject_has_no_ratio_to_itself() -> None:
    assert row_of("hyperplane", [sample("hyperplane", 1, 5)]).ratio is None


def test_added_latency_is_beyond_routing_in_the_same_round() -> None:
    samples = [
        sample("routing", 1, 80, P50.name),
        sample("haproxy", 1, 110, P50.name),
        sample("routing", 2, 90, P50.name),
        sample("haproxy", 2, 100, P50.name),
        sample("haproxy", 3, 500, P50.name),
    ]
    added = added_latency(samples)["haproxy"]["p50"]
    assert (added.minimum, added.median, added.maximum, added.count) == (10, 20, 30, 2)


def test_a_failed_latency_run_fails_each_percentile() -> None:
    found = rows([sample("haproxy", 1, None, "latency", "the echo closed the connection")])
    assert [row.figure.name for row in found] == ["latency_p50", "latency_p99", "latency_p99.9"]


def test_a_busy_machine_becomes_a_warning_row() -> None:
    quiet, busy = sample("routing", 1, 80), Sample(BULK_1.name, "routing", 2, 90, busy_before=0.5)
    assert noise_lines([quiet]) == []
    assert "before 1 of 2 figures (up to 50%)" in noise_lines([quiet, busy])[0]


def test_refusals_become_a_warning_row() -> None:
    lines = warning_lines({("connections", "haproxy"): {"TcpExtListenDrops": 7}})
    assert lines == ["warning: haproxy, connections: the targets refused segments: TcpExtListenDrops +7"]
