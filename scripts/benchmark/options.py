"""What the user may ask for, read from the command line."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from benchmark.figures import HEADER_FIGURES
from benchmark.lanes import CONTENDERS_WITH_LANES
from benchmark.layout import CONTENDER_NAMES

DESCRIPTION = (
    "Measure this project's dataplane beside plain kernel routing, nftables NAT and HAProxy in TCP mode: interleaved"
    " in one run, over the same namespaces, clients and targets. Then the same dataplane with the Proxy Protocol"
    " header and without, its flow table, and 1, 2 and 4 nodes."
)
MEASUREMENT_NAMES = ("content", "bulk_1", "bulk_8", "keep_alive", "connections", "udp_rate", "cpu", "latency")
HEADER = "header"
"""Stands for all of HEADER_NAMES."""
HEADER_NAMES = tuple(figure.name for figure in HEADER_FIGURES)
STUDY_NAMES = ("flow_table", "nodes")
QUICK_SECONDS = 2.0
QUICK_ROUNDS = 1


@dataclass(frozen=True, slots=True)
class Options:
    rounds: int
    seconds: float
    """Length of one figure."""
    quick: bool
    only: tuple[str, ...]
    """Names of contenders, measurements and studies to run; empty is all. Contenders alone are the comparison."""
    json_path: Path | None
    nodes: int
    """Nodes of this project's dataplane in the comparison."""

    def wants(self, name: str, family: tuple[str, ...]) -> bool:
        """Whether `name` is to run: a family of which nothing was named runs whole."""
        named = [item for item in self.only if item in family]
        return not named or name in named

    @property
    def compares(self) -> bool:
        """Naming nothing but studies, or parts of the header's block, leaves the comparison out."""
        contenders_named = self._names_any(CONTENDER_NAMES) and not self.measures_header
        return not self.only or self._names_any(MEASUREMENT_NAMES) or contenders_named

    @property
    def measures_header(self) -> bool:
        return not self.only or self._names_any(HEADER_NAMES)

    @property
    def studies(self) -> bool:
        """Naming nothing but contenders and measurements leaves the studies out."""
        return not self.only or self._names_any(STUDY_NAMES)

    def _names_any(self, family: tuple[str, ...]) -> bool:
        return any(name in family for name in self.only)


def parse_options(arguments: list[str]) -> Options:
    """Errors: ends the process with what is wrong, as argparse does."""
    parsed, error = _parse(arguments)
    rounds = parsed.rounds if parsed.rounds is not None else (QUICK_ROUNDS if parsed.quick else 3)
    seconds = parsed.seconds if parsed.seconds is not None else (QUICK_SECONDS if parsed.quick else 10.0)
    if rounds < 1 or seconds < 1 or parsed.nodes < 1:
        error("--rounds, --seconds and --nodes must be at least 1")
    only = [name for item in parsed.only for name in (HEADER_NAMES if item == HEADER else (item,))]
    options = Options(rounds, seconds, parsed.quick, tuple(only), parsed.json, parsed.nodes)
    if options.measures_header and not any(options.wants(name, CONTENDER_NAMES) for name in CONTENDERS_WITH_LANES):
        error(f"the header is measured with these only: {', '.join(sorted(CONTENDERS_WITH_LANES))}")
    return options


def _parse(arguments: list[str]) -> tuple[argparse.Namespace, Callable[[str], NoReturn]]:
    parser = argparse.ArgumentParser(prog="bench", description=DESCRIPTION)
    choices = (*CONTENDER_NAMES, *MEASUREMENT_NAMES, HEADER, *HEADER_NAMES, *STUDY_NAMES)
    parser.add_argument("--rounds", type=int, help="rounds of the comparison (default 3)")
    parser.add_argument("--seconds", type=float, help="seconds a figure (default 10)")
    parser.add_argument("--quick", action="store_true", help="a first look: 1 round, 2 seconds a figure, small tables")
    parser.add_argument("--nodes", type=int, default=2, help="nodes of this project's dataplane (default 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every sample and the summary to FILE")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=choices,
        metavar="NAME",
        help=f"run this only; may be repeated. NAME is one of: {', '.join(choices)}",
    )
    return parser.parse_args(arguments), parser.error
