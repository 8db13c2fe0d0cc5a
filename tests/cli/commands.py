"""Run a command of `hyperplane` inside this process, as `main` runs it."""

import sys
from dataclasses import dataclass

import pytest

from hyperplane.cli.main import main


@dataclass(frozen=True, slots=True)
class Done:
    """How it ended, and what it said."""

    status: int
    out: str
    err: str

    def rows(self) -> list[list[str]]:
        """Words of each line of the table, heads included."""
        return [line.split() for line in self.out.splitlines()]


class Commands:
    """The command line, with what it prints."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *words: object) -> Done:
        self._monkeypatch.setattr(sys, "argv", ["hyperplane", *map(str, words)])
        self._capsys.readouterr()
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        heard = self._capsys.readouterr()
        return Done(status, heard.out, heard.err)
