"""How commands speak: tables for people, JSON for programs, notes on standard error.

Standard output carries the answer and nothing else. Notes go to standard error, and only when a
person looks on, so a pipe stays quiet. Colours follow the terminal and NO_COLOR (no-color.org). A pipe
gets the same table without colours and without line breaks inside a row, so that grep and awk work.
"""

import json
import os
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, is_dataclass
from difflib import get_close_matches
from enum import Enum

import typer
from rich.console import Console, RenderableType
from rich.live import Live
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

WATCH_INTERVAL_S = 1.0
_PIPE_WIDTH = 10_000
"""Wide enough for every row; rich would break lines at 80 columns where there is no terminal."""

_NAMES_TOLD_MAX = 20


def console() -> Console:
    """Standard output. Made anew for each command, so that it is the one that is in force now."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


def note(text: str) -> None:
    """One line for a person who looks on; nobody else is told."""
    if sys.stdout.isatty():
        print(text, file=sys.stderr)


def warn(text: str) -> None:
    """One line that matters to everybody, on standard error."""
    print(f"hyperplane: {text}", file=sys.stderr)


def show(drawn: RenderableType) -> None:
    """Print to standard output. What may not be broken is left to the terminal, if it is too narrow."""
    out = console()
    needed = Measurement.get(out, out.options.update(width=_PIPE_WIDTH), drawn).minimum
    (Console(highlight=False, width=needed) if out.is_terminal and needed > out.width else out).print(drawn)


def table(
    columns: Sequence[str],
    rows: Collection[Sequence[str]],
    right: Collection[str] = (),
    folds: Collection[str] = (),
) -> Table:
    """A plain table. `right` names the columns of numbers, `folds` those of sentences: no other is ever broken."""
    drawn = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for place, column in enumerate(columns):
        may_fold = column in folds
        drawn.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=not may_fold,
            min_width=None if may_fold else _width([column, *(row[place] for row in rows)]),
            overflow="fold",
        )
    for row in rows:
        drawn.add_row(*row)
    return drawn


def _width(cells: Sequence[str]) -> int:
    """Room that the longest cell needs, without what is only style."""
    return max(Text.from_markup(cell).cell_len for cell in cells)


def plain(value: object) -> object:
    """A value as JSON has it: dataclasses become objects."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _name(value: object) -> object:
    """Names stay names."""
    assert isinstance(value, Enum), f"{value!r} has no place in JSON"
    return value.value


def print_json(value: object) -> None:
    """One document, readable."""
    print(json.dumps(plain(value), indent=2, default=_name))


def print_json_line(value: object) -> None:
    """One document in one line, out at once: a stream of them can be read line by line."""
    print(json.dumps(plain(value), default=_name), flush=True)


def ticks(interval_s: float = WATCH_INTERVAL_S) -> Iterator[None]:
    """Now, and again at every interval, until Ctrl-C."""
    never = threading.Event()
    try:
        yield
        while not never.wait(interval_s):
            yield
    except KeyboardInterrupt:
        return


def watch(draw: Callable[[], RenderableType]) -> None:
    """Show what `draw` returns, again at every interval, until Ctrl-C. On a terminal it stays in one place."""
    out = console()
    if not out.is_terminal:
        for _ in ticks():
            out.print(draw(), "")
        return
    with Live(console=out, screen=True, auto_refresh=False) as live:
        for _ in ticks():
            live.update(draw(), refresh=True)


def need_root(deed: str) -> None:
    """Raise PermissionError, saying what root is needed for, before anything is begun."""
    if os.geteuid() != 0:
        raise PermissionError(deed)


def unknown(what: str, name: str, known: Collection[str], where: str = "") -> typer.BadParameter:
    """The usage error for a name that nothing has, with the nearest ones, or all if they are few."""
    near = get_close_matches(name, known, n=3)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    elif not known:
        hint = "there are none."
    else:
        told = sorted(known)[:_NAMES_TOLD_MAX]
        hint = f"there are {', '.join(told)}" + (", ..." if len(known) > len(told) else ".")
    return typer.BadParameter(f"there is no {what} {name!r}{where}; {hint}")


_STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def number(value: float) -> str:
    """A count in at most five characters: exact up to 9999, then three digits and k, M, G, T."""
    if value < 10_000:
        return f"{value:.0f}"
    for step, letter in _STEPS:
        if value >= step * 0.9995:
            scaled = value / step
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f}{letter}"
    raise AssertionError("every number above 9999 has a step")


def seconds(value: float) -> str:
    """A time span as a person says it: 25 ms, 4.2 s, 95 s, 12 min, 3.1 h, 2.0 d."""
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 9.95:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    if value < 7200:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.1f} h" if value < 172_800 else f"{value / 86_400:.1f} d"
