"""How commands speak: numbers and spans in few letters, tables that survive a pipe, names that are nearly right."""

import json
import re
import sys
from dataclasses import dataclass
from enum import Enum

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from hyperplane.cli.output import console, need_root, note, number, print_json, seconds, show, table, unknown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (9999, "9999"),
        (10_000, "10.0k"),
        (12_345, "12.3k"),
        (99_949, "99.9k"),
        (99_951, "100k"),
        (999_499, "999k"),
        (999_600, "1.00M"),
        (1_234_567, "1.23M"),
        (5_000_000_000, "5.00G"),
        (7e12, "7.00T"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@given(st.integers(0, 999 * 10**12))
def test_a_number_has_five_characters_at_most_and_is_close(value: int) -> None:
    text = number(value)
    assert len(text) <= 5
    factor = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}.get(text[-1], 1)
    assert float(text.rstrip("kMGT")) * factor == pytest.approx(value, rel=0.006)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 ms"),
        (0.0254, "25 ms"),
        (0.9996, "1.0 s"),
        (4.21, "4.2 s"),
        (9.96, "10 s"),
        (95, "95 s"),
        (120, "2 min"),
        (7200, "2.0 h"),
        (172_800, "2.0 d"),
    ],
)
def test_spans(value: float, text: str) -> None:
    assert seconds(value) == text


def test_a_pipe_gets_a_row_in_one_line_and_no_colours(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    console().print(table(("A", "B"), [["[red]one[/]", long]], right=("A",)))
    assert capsys.readouterr().out.splitlines()[1].split() == ["one", long]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 20 columns, without colours."""
    for name, value in {
        "TTY_COMPATIBLE": "1",
        "FORCE_COLOR": "1",
        "NO_COLOR": "1",
        "TERM": "xterm",
        "COLUMNS": "20",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("narrow")
def test_a_narrow_terminal_breaks_no_address(capsys: pytest.CaptureFixture[str]) -> None:
    show(table(("A", "B"), [["10.0.1.50:51000", "10.0.1.10:443"]]))
    assert [line.split() for line in _plain_lines(capsys)][1] == ["10.0.1.50:51000", "10.0.1.10:443"]


@pytest.mark.usefixtures("narrow")
def test_a_narrow_terminal_folds_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    show(table(("A", "B"), [["10.0.1.50", "one two three"]], folds=("B",)))
    lines = _plain_lines(capsys)
    assert [line.split() for line in lines[1:]] == [["10.0.1.50", "one", "two"], ["three"]]
    assert all(len(line) <= 20 for line in lines)


def _plain_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()


def test_a_pipe_hears_no_notes(capsys: pytest.CaptureFixture[str]) -> None:
    note("for people")
    assert capsys.readouterr() == ("", "")


def test_a_person_hears_notes_beside_the_answer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    note("for people")
    assert capsys.readouterr() == ("", "for people\n")


class Colour(Enum):
    RED = "red"


@dataclass
class Inner:
    colour: Colour


@dataclass
class Outer:
    inner: Inner
    many: tuple[Inner, ...]


def test_values_become_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([Outer(Inner(Colour.RED), (Inner(Colour.RED),))])
    assert json.loads(capsys.readouterr().out) == [{"inner": {"colour": "red"}, "many": [{"colour": "red"}]}]


def test_a_name_that_is_nearly_right() -> None:
    error = unknown("instance", "consumer-x", ["consumer-a", "consumer-b", "outsider"], " here")
    assert isinstance(error, typer.BadParameter)
    assert error.message == "there is no instance 'consumer-x' here; did you mean consumer-b or consumer-a?"


def test_a_name_that_is_like_nothing_is_told_what_there_is() -> None:
    assert unknown("instance", "zzz", ["b", "a"]).message == "there is no instance 'zzz'; there are a, b."
    assert unknown("instance", "zzz", []).message == "there is no instance 'zzz'; there are none."
    assert unknown("instance", "zzz", [f"n{i:02}" for i in range(21)]).message.endswith("n19, ...")


def test_root_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    need_root("it")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(PermissionError, match="it"):
        need_root("it")
