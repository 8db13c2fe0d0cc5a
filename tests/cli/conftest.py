"""The command line, made runtimes, and a clock that stands."""

from pathlib import Path

import pytest

from tests.cli.commands import Commands
from tests.cli.made import NOW, MadeRuntime


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(monkeypatch, capsys)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeRuntime:
    """A made runtime, and the moment at which it was made."""
    for module in ("node_view", "flow_view"):
        monkeypatch.setattr(f"hyperplane.io.{module}.time.monotonic", lambda: NOW)
    return MadeRuntime(tmp_path)
