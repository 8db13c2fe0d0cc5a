"""Nodes hold CAP_NET_ADMIN and nothing else: the kernel's own account of them."""

import pwd
from pathlib import Path

import pytest

from tests.faults.lab import FaultLab

pytestmark = pytest.mark.netns

NET_ADMIN = 1 << 12
"""linux/capability.h"""


def status(pid: int) -> dict[str, str]:
    """/proc/PID/status"""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_nodes_have_one_capability(lab: FaultLab) -> None:
    """S-14, also for a node that took another's place."""
    gone = {0: lab.kill_node(0)}
    lab.wait_for_another(gone)
    nobody = pwd.getpwnam("nobody")
    for pid in lab.pids().values():
        shown = status(pid)
        assert shown["Uid"].split() == [str(nobody.pw_uid)] * 4
        assert shown["Gid"].split() == [str(nobody.pw_gid)] * 4
        assert shown["Groups"] == ""
        assert int(shown["CapEff"], 16) == int(shown["CapPrm"], 16) == NET_ADMIN
        assert int(shown["CapBnd"], 16) & ~NET_ADMIN == 0
        assert int(shown["CapInh"], 16) == int(shown["CapAmb"], 16) == 0
        assert shown["NoNewPrivs"] == "1"
