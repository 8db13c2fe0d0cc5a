"""What holds for every command: help with examples, exit statuses, clear errors, completion."""

import builtins
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main

from hyperplane.cli.main import app
from tests.cli.commands import Commands

OURS = (
    ("nodes",),
    ("flows",),
    ("trace",),
    ("capture",),
    ("doctor",),
    ("lab", "exec"),
    ("lab", "graph"),
)


@pytest.mark.parametrize("words", OURS, ids=" ".join)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_has_examples(commands: Commands, words: tuple[str, ...], flag: str) -> None:
    done = commands(*words, flag)
    assert done.status == 0
    assert f"hyperplane {' '.join(words)}" in done.out.partition("Examples")[2]


@pytest.mark.parametrize("words", OURS, ids=" ".join)
def test_an_unknown_option_is_wrong_usage(commands: Commands, words: tuple[str, ...]) -> None:
    done = commands(*words, "--no-such-option")
    assert (done.status, done.out) == (2, "")


def test_every_command_that_prints_a_table_speaks_json() -> None:
    group = typer.main.get_command(app)
    for name in ("nodes", "flows", "trace", "capture", "doctor"):
        options = {option for parameter in group.commands[name].params for option in parameter.opts}  # type: ignore[attr-defined]
        assert "--json" in options, name


@pytest.mark.parametrize(
    "words",
    [
        ("trace", "consumer-a", "10.0.1.10"),
        ("capture",),
        ("nodes",),
        ("flows",),
    ],
    ids=lambda words: words[0],
)
def test_without_a_lab_a_command_says_what_to_type(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    done = commands(*words, "--runtime", tmp_path)
    assert (done.status, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1
    assert "hyperplane lab up" in done.err


@pytest.mark.parametrize("words", [("trace", "a", "b"), ("capture",)], ids=lambda words: words[0])
def test_without_root_a_command_says_so_first(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    done = commands(*words)
    assert (done.status, done.out) == (1, "")
    assert "needs root" in done.err


def test_trace_without_scapy_says_how_to_get_it(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without_scapy(name: str, *rest: Any, **more: Any) -> ModuleType:
        if name.partition(".")[0] == "scapy":
            raise ModuleNotFoundError("No module named 'scapy'", name="scapy")
        return imported(name, *rest, **more)

    for module in [name for name in sys.modules if name.startswith("hyperplane.cli.trace.")]:
        if module.rpartition(".")[2] in ("run", "sightings", "report"):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", without_scapy)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    done = commands("trace", "consumer-a", "10.0.1.10")
    assert (done.status, done.out) == (1, "")
    assert "pip install 'hyperplane[trace]'" in done.err


def test_live_and_files_are_one_or_the_other(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert commands("capture", "--live", "-w", "/tmp/x").status == 2


def test_live_does_not_write_to_a_terminal(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    done = commands("capture", "--live")
    assert done.status == 2
    assert "wireshark" in done.err


def run(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "hyperplane", *words]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def test_only_what_is_asked_for_is_imported() -> None:
    """scapy is slow and under another licence; the packet libraries may be what the doctor finds missing."""
    wanted = "{'scapy', 'netfilterqueue', 'uvloop'}"
    code = f"import sys, hyperplane.cli.main; print(sorted({wanted} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_no_color_is_heard() -> None:
    """FORCE_COLOR makes rich believe in a terminal; NO_COLOR is stronger."""
    painted = run("doctor", FORCE_COLOR="1", PATH="/nowhere")
    plain = run("doctor", FORCE_COLOR="1", NO_COLOR="1", PATH="/nowhere")
    assert "\x1b[3" in painted.stdout
    assert "\x1b[3" not in plain.stdout


def completed(*words: str) -> list[str]:
    """What a shell would offer for the last of these words."""
    code = "import sys; sys.argv = ['hyperplane']; from hyperplane.cli.main import main; main()"
    asked = {
        "_HYPERPLANE_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["hyperplane", *words]),
        "COMP_CWORD": str(len(words)),
    }
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_commands_and_formats_are_completed() -> None:
    assert completed("tr") == ["trace"]
    assert completed("lab", "g") == ["graph"]
    assert completed("lab", "graph", "--format", "m") == ["mermaid"]
    assert completed("capture", "--hop", "en") == ["endpoint"]


@pytest.mark.netns
def test_names_of_namespaces_are_completed() -> None:
    name = f"cli-complete-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", f"hp-{name}"], check=True)
    try:
        assert completed("lab", "exec", "cli-compl") == [name]
        assert completed("trace", "cli-compl") == [name]
        assert completed("capture", "--client", "cli-compl") == [name]
    finally:
        subprocess.run(["ip", "netns", "del", f"hp-{name}"], check=True)


def test_completion_can_be_installed() -> None:
    assert "--install-completion" in run("--help").stdout
