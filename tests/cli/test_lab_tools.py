"""`lab exec` becomes `ip netns exec`; `lab graph` writes every format."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hyperplane.io.lab_file import DEFAULT_LAB
from tests.cli.commands import Commands


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What this process would have become."""
    words: list[list[str]] = []
    monkeypatch.setattr("hyperplane.cli.lab_tools.list_names", lambda: ("hp-consumer-a", "hp-vpc-provider"))
    monkeypatch.setattr("os.execvp", lambda file, arguments: words.append([file, *arguments]))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return words


@pytest.mark.parametrize("name", ["consumer-a", "hp-consumer-a"])
@pytest.mark.parametrize("dashes", [(), ("--",)])
def test_exec_becomes_ip_netns_exec(
    commands: Commands, replaced: list[list[str]], name: str, dashes: tuple[str, ...]
) -> None:
    done = commands("lab", "exec", name, *dashes, "curl", "-s", "--json", "a b")
    assert replaced == [["ip", "ip", "netns", "exec", "hp-consumer-a", "curl", "-s", "--json", "a b"]]
    assert (done.out, done.err) == ("", "+ ip netns exec hp-consumer-a curl -s --json 'a b'\n")


def test_exec_of_an_unknown_name_is_wrong_usage(commands: Commands, replaced: list[list[str]]) -> None:
    done = commands("lab", "exec", "consumer-x", "true")
    assert (done.status, replaced) == (2, [])
    assert "consumer-a" in done.err


@pytest.mark.parametrize("words", [(), ("--",)])
def test_exec_without_a_command_is_wrong_usage(
    commands: Commands, replaced: list[list[str]], words: tuple[str, ...]
) -> None:
    assert (commands("lab", "exec", "consumer-a", *words).status, replaced) == (2, [])


def test_exec_without_root_says_so(
    commands: Commands, replaced: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    done = commands("lab", "exec", "consumer-a", "true")
    assert (done.status, replaced) == (1, [])
    assert "needs root" in done.err


@pytest.mark.parametrize(
    ("form", "beginning"),
    [("text", "us-east-2 ("), ("mermaid", "---\ntitle:"), ("dot", "digraph lab {"), ("svg", "<svg ")],
)
def test_graph_writes_every_format(commands: Commands, tmp_path: Path, form: str, beginning: str) -> None:
    told = commands("lab", "graph", "--format", form, "--lab", DEFAULT_LAB, "--runtime", tmp_path)
    assert told.status == 0
    assert told.out.startswith(beginning)
    path = tmp_path / "lab"
    assert commands("lab", "graph", "-f", form, "-t", DEFAULT_LAB, "-o", path).out == ""
    assert path.read_text() == told.out


def test_graph_of_a_broken_file_names_the_place(commands: Commands, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text("region: us-east-2\nzones: 7\n")
    done = commands("lab", "graph", "--lab", broken)
    assert (done.status, done.out) == (1, "")
    assert f"{broken}:2" in done.err


def test_graph_of_the_lab_that_is_up(commands: Commands, tmp_path: Path) -> None:
    """Without --lab the lab's own record decides; without a lab it is the packaged one."""
    assert "consumer-a" in commands("lab", "graph", "--runtime", tmp_path).out
    (tmp_path / "lab").write_text(f"{tmp_path / 'gone.yml'}\n")
    done = commands("lab", "graph", "--runtime", tmp_path)
    assert (done.status, done.out) == (1, "")


@pytest.mark.netns
def test_exec_really_runs_there() -> None:
    """The exit status is the command's, and it ran in the namespace."""
    name = f"cli-exec-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", f"hp-{name}"], check=True)
    try:
        script = "readlink /proc/self/ns/net; exit 7"
        plain = subprocess.run(
            ["ip", "netns", "exec", f"hp-{name}", "sh", "-c", script], capture_output=True, check=False
        )
        ours = [sys.executable, "-m", "hyperplane", "lab", "exec", name, "--", "sh", "-c", script]
        done = subprocess.run(ours, capture_output=True, check=False)
    finally:
        subprocess.run(["ip", "netns", "del", f"hp-{name}"], check=True)
    assert (done.returncode, done.stdout) == (plain.returncode, plain.stdout) == (7, plain.stdout)
    assert done.stdout
