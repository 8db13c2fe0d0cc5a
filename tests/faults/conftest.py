"""A lab of their own for the tests of a file, a standing load, a sniffer in every test, and what was measured."""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import why_no_namespaces
from tests.faults.lab import FaultLab
from tests.faults.load_run import LoadReport, LoadRun
from tests.faults.plan import CONSUMERS
from tests.faults.sniffer import Sniffer

MEASURED: dict[str, object] = {}
"""Figures of this run by the name of what was measured."""

LOCK = Path("/dev/shm/hp-flt.lock")

REPORT = "HYPERPLANE_FAULTS_REPORT"
"""Environment variable: a file to write the figures to, as JSON."""


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[FaultLab]:
    """The lab, up. A module may say `PLAN`."""
    if reason := why_no_namespaces():
        pytest.skip(reason)
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the names are taken while another run has its lab up
        directory = Path(tempfile.mkdtemp(prefix="hp-flt-", dir="/dev/shm"))
        directory.chmod(0o755)
        made = FaultLab(directory, getattr(request.module, "PLAN", None))
        try:
            made.up()
            yield made
        finally:
            made.down()
            shutil.rmtree(directory)


@pytest.fixture(autouse=True)
def sniffer(lab: FaultLab) -> Iterator[Sniffer]:
    """In every test: no packet may come anywhere untranslated."""
    lab.wait_until_well()
    with Sniffer() as sniffer:
        yield sniffer
        assert sniffer.leaks() == []


class StandingLoad:
    """Fifty bulk transfers, fifty idle connections, twenty request loops, five servers that speak first, five UDP."""

    def __init__(self, runs: list[LoadRun]) -> None:
        self._runs = runs
        self.reports: list[LoadReport] = []

    def finish(self) -> list[LoadReport]:
        """End it in order."""
        for run in self._runs:
            run.begin_to_end()
        self.reports = [run.finish() for run in self._runs]
        return self.reports

    def assert_whole(self) -> None:
        """End it, and nothing was lost and nothing was changed on the way."""
        reports = self.finish()
        assert [line for report in reports for line in report.lost] == []
        assert [line for report in reports for line in report.corrupt] == []
        assert all(count > 0 for report in reports for count in report.rounds.values())

    def abandon(self) -> None:
        for run in self._runs:
            run.abandon()


WHOLE_LOAD = (
    {"bulk": 17, "idle": 17, "loops": 7, "banners": 2, "datagrams": 2},
    {"bulk": 17, "idle": 17, "loops": 7, "banners": 2, "datagrams": 2},
    {"bulk": 16, "idle": 16, "loops": 6, "banners": 1, "datagrams": 1},
)
LIGHT_LOAD = ({"bulk": 4, "idle": 4, "loops": 3, "banners": 1, "datagrams": 1},) * 3


@contextmanager
def standing_load(shape: tuple[dict[str, int], ...], patience_s: float | None = None) -> Iterator[StandingLoad]:
    """A load on every consumer's endpoint."""
    runs = [
        LoadRun(consumer, 1000 * number, patience_s, **counts)
        for number, (consumer, counts) in enumerate(zip(CONSUMERS, shape, strict=True))
        if counts
    ]
    load = StandingLoad(runs)
    try:
        for run in runs:
            run.wait_until_ready()
        yield load
    finally:
        load.abandon()


@pytest.fixture
def whole_load(lab: FaultLab) -> Iterator[StandingLoad]:
    with standing_load(WHOLE_LOAD) as load:
        yield load


@pytest.fixture
def light_load(lab: FaultLab) -> Iterator[StandingLoad]:
    """A tenth of it, for faults that need a witness rather than a crowd."""
    with standing_load(LIGHT_LOAD) as load:
        yield load


@pytest.fixture
def measured() -> dict[str, object]:
    return MEASURED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MEASURED:
        terminalreporter.section("faults: what was measured (no test depends on it)")
        for name, figure in MEASURED.items():
            terminalreporter.write_line(f"{name}: {json.dumps(figure)}")
        if path := os.environ.get(REPORT):
            Path(path).write_text(json.dumps(MEASURED, indent=2) + "\n")
