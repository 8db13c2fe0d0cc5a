"""The interleaving: round after round, figure after figure, contender after contender.

Within a figure the contenders follow one another directly, so that a slow minute of the machine hits
all of them alike. Their order changes from round to round, see `in_turn`.
"""

import sys
import time
from collections.abc import Container, Sequence
from typing import TypeVar

from benchmark.contenders import Contender
from benchmark.counters import QUIET_BUSY_SHARE, QUIET_WAIT_S, cpu_time, refusals, wait_until_quiet
from benchmark.failure import MeasurementFailed
from benchmark.figures import Sample
from benchmark.measurements import Measurement
from benchmark.options import Options

T = TypeVar("T")

_began = time.monotonic()


def progress(text: str) -> None:
    """One line for the waiting user, on stderr."""
    print(f"[{time.monotonic() - _began:6.0f} s] {text}", file=sys.stderr, flush=True)


def in_turn(those: Sequence[T], number: int) -> list[T]:
    """The order of round `number`, 1 and up: each begins in turn, then each in turn with the others the other way
    round. So everyone is as often before as behind any other: who comes first has been seen to be slower."""
    if not those:
        return []
    turn, shift = divmod(number - 1, len(those))
    turned = [*those[shift:], *those[:shift]]
    return turned if turn % 2 == 0 else turned[::-1]


class Rounds:
    """Runs the comparison and keeps what was seen."""

    def __init__(
        self,
        contenders: Sequence[Contender],
        measurements: Sequence[Measurement],
        options: Options,
        left_out: Container[tuple[str, str]] = (),
        quiet_wait_s: float = QUIET_WAIT_S,
        close_together: bool = False,
    ) -> None:
        """`left_out`: (measurement, contender) that could be run and are not asked for.

        `quiet_wait_s`: how long a figure may wait for a machine that is busy with something else;
        `close_together`: only the first contender of a figure waits, the others follow at once.
        """
        self._contenders = contenders
        self._measurements = measurements
        self._options = options
        self._left_out = left_out
        self._quiet_wait_s = quiet_wait_s
        self._close_together = close_together
        self.samples: list[Sample] = []
        self.refused: dict[tuple[str, str], dict[str, int]] = {}
        """(measurement, contender) -> server counters that rose while it ran."""

    def run(self) -> None:
        for number in range(1, self._options.rounds + 1):
            for measurement in self._measurements:
                self._take_all(measurement, number)

    def _take_all(self, measurement: Measurement, number: int) -> None:
        taken = in_turn([it for it in self._contenders if self._takes(measurement, it)], number)
        busy_before = 0.0
        for place, contender in enumerate(taken):
            if not place or not self._close_together:
                busy_before = wait_until_quiet(self._quiet_wait_s)
            self._take(measurement, contender, number, busy_before)

    def _takes(self, measurement: Measurement, contender: Contender) -> bool:
        return contender.carries(measurement.service) and (measurement.name, contender.name) not in self._left_out

    def _take(self, measurement: Measurement, contender: Contender, number: int, busy_before: float) -> None:
        refused_before, before = refusals(), cpu_time()
        try:
            found = measurement.measure(contender, self._options.seconds)
            failure = ""
        except MeasurementFailed as error:
            found, failure = {}, str(error)
        cpu_s = cpu_time().busy_since(before)
        self._note_refusals(measurement, contender, refused_before)
        taken = [
            Sample(figure.name, contender.name, number, value, cpu_s=cpu_s, busy_before=busy_before)
            for figure, value in found.items()
        ]
        if failure:
            taken = [Sample(measurement.name, contender.name, number, None, failure, cpu_s, busy_before)]
        self.samples += taken
        self._tell(measurement, contender, number, taken, failure)

    def _note_refusals(self, measurement: Measurement, contender: Contender, before: dict[str, int]) -> None:
        after = refusals()
        risen = {name: after[name] - before.get(name, 0) for name in after if after[name] > before.get(name, 0)}
        if risen:
            sums = self.refused.setdefault((measurement.name, contender.name), {})
            for name, count in risen.items():
                sums[name] = sums.get(name, 0) + count

    def _tell(
        self, measurement: Measurement, contender: Contender, number: int, taken: list[Sample], failure: str
    ) -> None:
        values = ", ".join(f"{sample.value:,.2f}" for sample in taken if sample.value is not None)
        busy = taken[0].busy_before
        noise = f" (machine {busy:.0%} busy before)" if busy >= QUIET_BUSY_SHARE else ""
        said = f"FAILED: {failure}" if failure else values
        progress(f"round {number}/{self._options.rounds} {measurement.name} {contender.name}: {said}{noise}")
