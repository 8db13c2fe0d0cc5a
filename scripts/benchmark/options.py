"""What the user may ask for, read from the command line."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from benchmark.layout import CONTENDER_NAMES

DESCRIPTION = (
    "Measure this project's dataplane beside plain kernel routing, nftables NAT and HAProxy in TCP mode: interleaved"
    " in one run, over the same namespaces, clients and targets. Then its flow table, and 1, 2 and 4 nodes."
)
QUICK_SECONDS = 2.0
QUICK_ROUNDS = 1


@dataclass(frozen=True, slots=True)
class Options:
    rounds: int
    seconds: float
    """Length of one figure."""
    quick: bool
    only: tuple[str, ...]
    """Names of contenders, measurements and studies to run; empty is all."""
    json_path: Path | None
    nodes: int
    """Nodes of this project's dataplane in the comparison."""

    def wants(self, name: str, family: tuple[str, ...]) -> bool:
        """Whether `name` is to run: a family of which nothing was named runs whole."""
        named = [item for item in self.only if item in family]
        return not named or name in named


def parse_options(arguments: list[str], measurements: tuple[str, ...], studies: tuple[str, ...]) -> Options:
    parser = argparse.ArgumentParser(prog="bench", description=DESCRIPTION)
    choices = (*CONTENDER_NAMES, *measurements, *studies)
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
    parsed = parser.parse_args(arguments)
    rounds = parsed.rounds if parsed.rounds is not None else (QUICK_ROUNDS if parsed.quick else 3)
    seconds = parsed.seconds if parsed.seconds is not None else (QUICK_SECONDS if parsed.quick else 10.0)
    if rounds < 1 or seconds < 1 or parsed.nodes < 1:
        parser.error("--rounds, --seconds and --nodes must be at least 1")
    return Options(rounds, seconds, parsed.quick, tuple(parsed.only), parsed.json, parsed.nodes)
