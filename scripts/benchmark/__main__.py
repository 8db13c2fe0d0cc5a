"""The entry: build the ground, run the comparison and the studies, print, clean up, whatever happens."""

import json
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from benchmark.contenders import Contender, Haproxy, Nftables, Routing
from benchmark.failure import BenchmarkError
from benchmark.ground import build_ground, remove_ground
from benchmark.header_block import HeaderBlock
from benchmark.lanes import CONTENDERS_WITH_LANES
from benchmark.layout import CONTENDER_NAMES
from benchmark.machine import describe_machine, machine_lines
from benchmark.measurements import Measurement, tcp_measurements
from benchmark.options import MEASUREMENT_NAMES, STUDY_NAMES, Options, parse_options
from benchmark.processes import PACKAGES, require_tools
from benchmark.rounds import Rounds, progress
from benchmark.scaling import Nodes
from benchmark.servers import Servers
from benchmark.studies import FlowTable, Study, study_lines
from benchmark.subject import Hyperplane
from benchmark.summary import added_latency, rows
from benchmark.table import comparison_lines, latency_lines, noise_lines, warning_lines
from benchmark.udp import UdpCost, UdpRate

RUNTIME = Path("/run/hp-bench")
"""Configuration, logs and files of the run; gone at its end."""
EXIT_DONE, EXIT_FAILED = 0, 1


class Run:
    """One whole benchmark: what is up, what was found."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.report: dict[str, object] = {"started_at": datetime.now(UTC).isoformat(timespec="seconds")}
        self.failed = False

    def execute(self) -> None:
        require_tools(list(PACKAGES))
        with ExitStack() as stack:
            stack.enter_context(_only_one())
            stack.callback(shutil.rmtree, RUNTIME, ignore_errors=True)
            stack.callback(remove_ground)
            try:
                self._measure(stack, RUNTIME)
            finally:
                _finish_cleaning()

    def _measure(self, stack: ExitStack, directory: Path) -> None:
        progress("building namespaces")
        build_ground()
        shutil.rmtree(directory, ignore_errors=True)  # of an earlier run that was killed
        directory.mkdir()
        servers = Servers(directory)
        stack.callback(servers.stop)
        servers.start()
        self._describe()
        if self._options.compares or self._options.measures_header:
            with ExitStack() as contenders:
                self._contend(contenders, servers, directory)
        if self._options.studies:
            self._study(servers, directory)

    def _describe(self) -> None:
        machine = describe_machine()
        self.report["machine"] = machine
        print("\n".join(machine_lines(machine)))

    def _contend(self, stack: ExitStack, servers: Servers, directory: Path) -> None:
        contenders = [one for one in _contenders(directory, self._options.nodes) if self._needs(one)]
        for contender in contenders:
            stack.callback(contender.stop)
            contender.start()
        if self._options.compares:
            self._compare(contenders, servers)
        if self._options.measures_header:
            self._measure_header(HeaderBlock(contenders, servers, self._options))

    def _needs(self, contender: Contender) -> bool:
        has_work = self._options.compares or contender.name in CONTENDERS_WITH_LANES
        return has_work and self._options.wants(contender.name, CONTENDER_NAMES)

    def _compare(self, contenders: Sequence[Contender], servers: Servers) -> None:
        measurements = [one for one in _measurements(servers) if self._options.wants(one.name, MEASUREMENT_NAMES)]
        rounds = Rounds(contenders, measurements, self._options)
        try:
            rounds.run()
        finally:  # what was found before an interruption is still worth reading
            self._print_comparison(rounds)

    def _measure_header(self, block: HeaderBlock) -> None:
        try:
            block.run()
        finally:
            print("\n".join(["", *block.lines()]), flush=True)
            self.failed |= block.failed
            self.report["header"] = block.report()

    def _study(self, servers: Servers, directory: Path) -> None:
        studies: tuple[Study, ...] = (FlowTable(self._options), Nodes(servers, directory, self._options))
        results = {}
        for study in studies:
            if self._options.wants(study.name, STUDY_NAMES):
                results[study.name] = study.run()
                print("\n".join(study_lines(results[study.name])), flush=True)
        self.report["studies"] = {name: asdict(result) for name, result in results.items()}

    def _print_comparison(self, rounds: Rounds) -> None:
        samples = rounds.samples
        lines = [*comparison_lines(samples), *latency_lines(samples)]
        lines += [*noise_lines(samples), *warning_lines(rounds.refused)]
        print("\n".join(["", *lines]))
        found = rows(rounds.samples)
        self.failed |= any(row.absolute is None for row in found)
        self.failed |= any(row.failures for row in found if row.figure.name == "content")
        self.report["samples"] = [asdict(sample) for sample in rounds.samples]
        self.report["summary"] = [{**asdict(row), "figure": row.figure.name, "reached": row.reached} for row in found]
        self.report["added_latency_us"] = {
            contender: {name: asdict(one) for name, one in percentiles.items()}
            for contender, percentiles in added_latency(rounds.samples).items()
        }
        self.report["refused_by_targets"] = [
            {"measurement": measurement, "contender": contender, **counters}
            for (measurement, contender), counters in rounds.refused.items()
        ]


def _contenders(directory: Path, nodes: int) -> Sequence[Contender]:
    return (Hyperplane(directory, nodes), Routing(), Nftables(), Haproxy(directory))


def _measurements(servers: Servers) -> Sequence[Measurement]:
    return (*tcp_measurements(servers), UdpRate(servers), UdpCost(servers))


def _only_one() -> socket.socket:
    """A name that only one process of the machine can hold, and that goes with it. Errors: BenchmarkError."""
    guard = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        guard.bind("\0hp-bench")
    except OSError as error:
        guard.close()
        raise BenchmarkError("another benchmark runs on this machine") from error
    return guard


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _finish_cleaning() -> None:
    """From here on an impatient second Ctrl-C must not leave half of the ground behind."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def main(arguments: list[str]) -> int:
    options = parse_options(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    run = Run(options)
    try:
        run.execute()
    except BenchmarkError as error:
        print(f"bench: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("bench: stopped; everything was cleaned up", file=sys.stderr)
        return 128 + signal.SIGINT
    finally:
        if options.json_path is not None:
            options.json_path.write_text(json.dumps(run.report, indent=2) + "\n")
    return EXIT_FAILED if run.failed else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
