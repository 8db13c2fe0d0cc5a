"""The tools as programs: what happens when one does not answer, or cannot even be started."""

from pathlib import Path

import pytest

from netns import iptables
from netns.iptables import RulesetError, fingerprint_here, restore


def put_tool(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_a_tool_that_never_answers_is_given_up(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iptables, "TOOL_TIMEOUT_S", 0.1)
    put_tool(tools, "iptables-restore", "exec sleep 60")
    with pytest.raises(RulesetError, match=r"no answer in 0\.1 s"):
        restore("", "")


def test_a_tool_that_the_machine_cannot_start_is_a_ruleset_error(tools: Path) -> None:
    (tools / "iptables-save").write_text("no program")
    (tools / "iptables-save").chmod(0o755)
    with pytest.raises(RulesetError, match="cannot be started"):
        fingerprint_here()


def test_a_tool_that_fails_is_quoted(tools: Path) -> None:
    put_tool(tools, "iptables-save", "echo 'the kernel is busy' >&2; exit 4")
    with pytest.raises(RulesetError, match="the kernel is busy"):
        fingerprint_here()
