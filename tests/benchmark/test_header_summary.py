"""The header's rows: on against off and against HAProxy within a round, the promise for the default placement only."""

from benchmark.figures import (
    HEADER_BULK,
    HEADER_CONNECTIONS,
    HEADER_FIRST_ACK,
    HEADER_HAPROXY,
    HEADER_OFF,
    HEADER_ON,
    Figure,
    Sample,
)
from benchmark.header_summary import header_rows
from benchmark.header_table import header_lines


def samples_of(figure: Figure, lanes: dict[str, list[float]]) -> list[Sample]:
    """A value for each lane and round."""
    return [
        Sample(figure.name, lane, number, value)
        for lane, values in lanes.items()
        for number, value in enumerate(values, 1)
    ]


def test_on_is_divided_by_off_of_the_same_round() -> None:
    samples = samples_of(HEADER_BULK, {HEADER_ON: [9, 4, 8], HEADER_OFF: [10, 5, 8], HEADER_HAPROXY: [6, 2, 8]})
    (row,) = header_rows(samples)
    assert row.to_off is not None
    assert row.to_haproxy is not None
    assert (row.to_off.minimum, row.to_off.median, row.to_off.maximum) == (0.8, 0.9, 1.0)
    assert (row.to_haproxy.minimum, row.to_haproxy.median, row.to_haproxy.maximum) == (1.0, 1.5, 2.0)
    assert (row.goal, row.reached) == (0.95, False)


def test_the_other_placement_is_a_row_without_a_promise() -> None:
    lanes: dict[str, list[float]] = {HEADER_ON: [85], HEADER_OFF: [100], HEADER_HAPROXY: [50], HEADER_FIRST_ACK: [70]}
    default, first_ack = header_rows(samples_of(HEADER_CONNECTIONS, lanes))
    assert (default.lane, default.reached) == (HEADER_ON, True)
    assert (first_ack.lane, first_ack.goal, first_ack.reached) == (HEADER_FIRST_ACK, None, None)
    assert first_ack.to_off is not None
    assert first_ack.to_off.median == 0.7


def test_a_lane_that_failed_promises_nothing_and_says_why() -> None:
    samples = samples_of(HEADER_BULK, {HEADER_OFF: [10], HEADER_HAPROXY: [6]})
    samples += [Sample(HEADER_BULK.name, HEADER_ON, number, None, f"no header {number}") for number in (1, 2)]
    (row,) = header_rows(samples)
    assert (row.on, row.to_off, row.reached) == (None, None, None)
    lines = header_lines(samples)
    assert any("failed: hyperplane+header, 2 times, first: no header 1" in line for line in lines)
    assert any(">= 0.95 not measured" in line for line in lines)


def test_the_table_shows_medians_ratios_and_the_goal() -> None:
    lanes: dict[str, list[float]] = {HEADER_ON: [95, 97], HEADER_OFF: [100, 100], HEADER_HAPROXY: [50, 50]}
    line = next(line for line in header_lines(samples_of(HEADER_CONNECTIONS, lanes)) if "new connections" in line)
    assert line.split("  ")[-1] == ">= 0.8 reached"
    assert "0.960 (0.950 .. 0.970)" in line
    assert "1.92 (1.90 .. 1.94)" in line


def test_figures_nobody_measured_are_left_out() -> None:
    assert header_rows([]) == []
