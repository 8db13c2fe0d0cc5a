"""What all tests share: hypothesis without a stop-watch, the reason for each skip, and notes after the run."""

import os
import subprocess
from functools import cache

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is not a bug: no test of ours fails because it was slow.
settings.register_profile("house", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

NOTES = pytest.StashKey[list[str]]()


@cache
def why_no_namespaces() -> str | None:
    """None when this process can make network namespaces, else the reason why it cannot."""
    if os.geteuid() != 0:
        return "needs root: run sudo make test"
    probe = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        return f"this machine makes no network namespaces: {probe.stderr.strip()}"
    return None


def pytest_configure(config: pytest.Config) -> None:
    config.stash[NOTES] = []


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("netns") and (reason := why_no_namespaces()):
        pytest.skip(reason)


@pytest.fixture
def house_notes(request: pytest.FixtureRequest) -> list[str]:
    """Lines added here are printed after the run; they fail nothing."""
    return request.config.stash[NOTES]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash[NOTES]:
        terminalreporter.section("over the soft limits (allowed, worth a look)")
        for note in config.stash[NOTES]:
            terminalreporter.write_line(note)
