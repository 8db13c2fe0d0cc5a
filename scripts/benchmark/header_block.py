"""What the Proxy Protocol header costs: this dataplane with it against itself without, and beside HAProxy's.

The promises are close to 1, so the ratios must be finer than a machine with neighbours is steady. A round of the
comparison is cut into slices of about a second, lane after lane without a pause, and every slice is a round of its
own: ratios are taken between neighbours in time, and their median is over many.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace

from benchmark.contenders import Contender
from benchmark.figures import HEADER_CONTENT, HEADER_FIGURES
from benchmark.header_measurements import header_measurements
from benchmark.header_summary import header_rows
from benchmark.header_table import header_lines
from benchmark.lanes import LEFT_OUT, lanes_of
from benchmark.options import HEADER_NAMES, Options
from benchmark.rounds import Rounds
from benchmark.servers import Servers
from benchmark.summary import rows
from benchmark.table import noise_lines, warning_lines

SLICE_S = 1.0
QUIET_WAIT_S = 3.0
"""So many slices cannot wait half a minute each; a disturbance longer than a slice hits neighbours alike."""


def sliced(options: Options) -> Options:
    """The same time in shorter and more rounds."""
    count = max(1, round(options.seconds / SLICE_S))
    return replace(options, rounds=options.rounds * count, seconds=options.seconds / count)


class HeaderBlock:
    """One block of the result: run, then read."""

    def __init__(self, contenders: Sequence[Contender], servers: Servers, options: Options) -> None:
        wanted = [one for one in header_measurements(servers) if options.wants(one.name, HEADER_NAMES)]
        self._options = sliced(options)
        self._rounds = Rounds(lanes_of(contenders), wanted, self._options, LEFT_OUT, QUIET_WAIT_S, True)

    def run(self) -> None:
        self._rounds.run()

    @property
    def failed(self) -> bool:
        """A lane of which a figure has no value at all, or one that did not carry what it was given."""
        found = rows(self._rounds.samples, HEADER_FIGURES)
        return any(row.absolute is None or (row.failures and row.figure is HEADER_CONTENT) for row in found)

    def lines(self) -> list[str]:
        samples = self._rounds.samples
        title = (
            f"with the Proxy Protocol header: {self._options.rounds} rounds of {self._options.seconds:.1f} s a figure"
        )
        return [title, *header_lines(samples), *noise_lines(samples), *warning_lines(self._rounds.refused)]

    def report(self) -> dict[str, object]:
        return {
            "rounds": self._options.rounds,
            "seconds": self._options.seconds,
            "samples": [asdict(sample) for sample in self._rounds.samples],
            "refused_by_targets": [
                {"measurement": measurement, "lane": lane, **counters}
                for (measurement, lane), counters in self._rounds.refused.items()
            ],
            "summary": [
                {**asdict(row), "figure": row.figure.name, "reached": row.reached}
                for row in header_rows(self._rounds.samples)
            ],
        }
