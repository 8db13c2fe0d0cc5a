"""What concerns this project alone: its flow table and its number of nodes.

A study is run in rounds like the comparison, its cases in turn within each round, and every ratio is
taken inside a round.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from benchmark.options import Options
from benchmark.processes import python_module, run
from benchmark.rounds import progress
from benchmark.summary import Spread, spread
from benchmark.table import goal_text

FLOW_COUNTS = (1_000, 100_000, 1_000_000)
QUICK_FLOW_COUNTS = (1_000, 100_000)
FLOW_TABLE_TIMEOUT_S = 900.0
BYTES_PER_FLOW_MAX = 600
COST_RATIO_MAX = 1.3


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a study: a title, and a spread for each case."""

    title: str
    cells: tuple[Spread | None, ...]
    decimals: int = 0
    goal_max: float | None = None
    """Bound for the median of the last cell."""

    @property
    def reached(self) -> bool | None:
        last = self.cells[-1]
        return None if self.goal_max is None or last is None else last.median <= self.goal_max


@dataclass(slots=True)
class Result:
    """A study's table and every sample behind it."""

    title: str
    cases: tuple[str, ...]
    lines: list[Line] = field(default_factory=list)
    samples: list[dict[str, float]] = field(default_factory=list)


class Study(Protocol):
    @property
    def name(self) -> str: ...

    def run(self) -> Result: ...


class FlowTable:
    """The packet engine with few and with many flows, in a process of its own per case. See `flow_table`."""

    name = "flow_table"

    def __init__(self, options: Options) -> None:
        self._rounds = options.rounds
        self._counts = QUICK_FLOW_COUNTS if options.quick else FLOW_COUNTS

    def run(self) -> Result:
        samples: list[dict[str, float]] = []
        for number in range(1, self._rounds + 1):
            for count in self._counts:
                output = run(python_module("flow_table", count), FLOW_TABLE_TIMEOUT_S)
                found = json.loads(output) | {"round": number}
                samples.append(found)
                progress(
                    f"round {number}/{self._rounds} flow_table {count:,} flows: {found['set_up_per_s']:,.0f} set-ups/s,"
                    f" {found['packet_us']:.2f} us a packet, {found['bytes_per_flow']:.0f} B a flow"
                )
        cases = tuple(f"{count:,} flows" for count in self._counts)
        title = "flow table, in process: one engine fed with packets, no queue and no system call"
        return Result(title, cases, self._lines(samples), samples)

    def _lines(self, samples: Sequence[Mapping[str, float]]) -> list[Line]:
        by_count = {count: [one for one in samples if one["flows"] == count] for count in self._counts}
        first = {one["round"]: one["packet_us"] for one in by_count[self._counts[0]]}

        def cells(name: str) -> tuple[Spread | None, ...]:
            return tuple(spread([one[name] for one in found]) for found in by_count.values())

        ratios = tuple(spread([one["packet_us"] / first[one["round"]] for one in found]) for found in by_count.values())
        whole = self._counts == FLOW_COUNTS  # what is promised is promised for a million flows
        cost_max, bytes_max = (COST_RATIO_MAX, BYTES_PER_FLOW_MAX) if whole else (None, None)
        return [
            Line("set-up rate, handshakes/s", cells("set_up_per_s")),
            Line("cost of a packet, us", cells("packet_us"), decimals=2),
            Line("the same against the fewest flows", ratios, decimals=2, goal_max=cost_max),
            Line("the first after a minute, us", cells("first_packet_us"), decimals=2),
            Line("memory of a flow set up here, B", cells("bytes_per_flow"), goal_max=bytes_max),
            Line("memory of a flow told by a peer, B", cells("replica_bytes_per_flow"), goal_max=bytes_max),
            Line("learning from a peer, flows/s", cells("replica_per_s")),
        ]


def study_lines(result: Result) -> list[str]:
    """The study's table for people."""
    header = f"{'':<36}" + "".join(f"{case:>28}" for case in result.cases)
    lines = ["", result.title, header, "-" * len(header)]
    for line in result.lines:
        cells = "".join(f"{_cell(cell, line.decimals):>28}" for cell in line.cells)
        lines.append(f"{line.title:<36}{cells}{_goal(line)}")
    lines.append("median (min .. max)")
    return lines


def _cell(cell: Spread | None, decimals: int) -> str:
    if cell is None:
        return "failed"
    return f"{cell.median:,.{decimals}f} ({cell.minimum:,.{decimals}f} .. {cell.maximum:,.{decimals}f})"


def _goal(line: Line) -> str:
    if line.goal_max is None:
        return ""
    return f"  {goal_text('<=', line.goal_max, line.reached)}"
