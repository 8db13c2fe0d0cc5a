"""The fabric keeps the rules whatever the tools, a failed start or another fabric do."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from hyperplane.io import processes
from hyperplane.io.processes import ProcessIdentity, write_identity
from netns.namespace import inside
from tests.io.living import FABRIC, FABRIC_NAMESPACE, ROOT, ZONE, LivingLab, lab_text

pytestmark = pytest.mark.netns


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what comes without a sign that one could wait on. The guard only ends what would last for ever."""
    give_up_at = time.monotonic() + 60
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < give_up_at, f"in vain: {what}"
        pause.wait(0.02)


def rules() -> str:
    with inside(FABRIC_NAMESPACE):
        return subprocess.run(["iptables-save", "-t", "mangle"], capture_output=True, text=True, check=True).stdout


def flush() -> None:
    with inside(FABRIC_NAMESPACE):
        subprocess.run(["iptables", "-w", "5", "-t", "mangle", "-F", "PREROUTING"], check=True)


def steers() -> bool:
    return "-A PREROUTING" in rules()


def start_fabric(living: LivingLab) -> subprocess.Popen[bytes]:
    """One more fabric. What it and its nodes say goes to `second.log`."""
    command = [sys.executable, "-m", "hyperplane", "fabric", "--zone", ZONE, "--netns", FABRIC_NAMESPACE]
    with (living.directory / "second.log").open("ab") as log:
        return subprocess.Popen(
            [*command, "--runtime", str(living.runtime)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=log,
        )


def test_rules_come_back_once_the_tools_work_again(living: LivingLab, monkeypatch: pytest.MonkeyPatch) -> None:
    tools, broken = living.directory / "tools", living.directory / "broken"
    tools.mkdir()
    real = subprocess.run(["which", "iptables-save"], capture_output=True, text=True, check=True).stdout.strip()
    wrapper = tools / "iptables-save"
    wrapper.write_text(f'#!/bin/sh\ntest -e {broken} && {{ echo "out of memory" >&2; exit 4; }}\nexec {real} "$@"\n')
    wrapper.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
        living.up(living.write("lab.yml", lab_text()))
    pid = processes.running(living.process_files, FABRIC)
    broken.touch()
    flush()
    until(lambda: "out of memory" in living.process_files.log(FABRIC).read_text(), "a failed look at the rules")
    assert processes.running(living.process_files, FABRIC) == pid
    broken.unlink()
    until(steers, "the rules again")
    assert processes.running(living.process_files, FABRIC) == pid


def test_an_orphaned_newer_start_does_not_stop_the_repair(living: LivingLab) -> None:
    living.up(living.write("lab.yml", lab_text()))
    living.zone_files.generation_directory(99).mkdir()
    flush()
    until(steers, "the rules again")


def test_two_fabrics_at_once_take_turns_and_one_serves(living: LivingLab) -> None:
    living.up(living.write("lab.yml", lab_text()))
    first = living.zone_files.generation()
    fabrics = [start_fabric(living) for _ in range(2)]
    until(lambda: living.zone_files.generations() == [first + 2], "both to start, and the older ones to end")
    until(lambda: sum(fabric.poll() is None for fabric in fabrics) == 1, "one to end the other")
    assert living.zone_files.generation() == first + 2
    assert steers()
    for fabric in fabrics:
        fabric.kill()
        fabric.wait()
    living.up(living.directory / "lab.yml")


def test_a_new_generation_spares_who_has_an_old_number_now(living: LivingLab) -> None:
    living.up(living.write("lab.yml", lab_text()))
    stranger = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()", "hyperplane"])
    found = processes.identity_of(stranger.pid)
    assert found is not None
    old = living.zone_files.generation_directory(living.zone_files.generation())
    write_identity(old / "process-7", ProcessIdentity(found.pid, found.started - 1))
    fabric = start_fabric(living)
    until(lambda: not old.exists(), "the end of the old generation")
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()
    fabric.kill()
    fabric.wait()
    living.up(living.directory / "lab.yml")


def test_journals_of_another_version_are_left_alone_and_told_of(living: LivingLab) -> None:
    """An upgrade may change their layout: what cannot be read is lost, but it stops nobody from serving."""
    living.up(living.write("lab.yml", lab_text()))
    old = living.zone_files.generation()
    journals = living.zone_files.journals(old)
    for journal in journals:
        with journal.open("r+b") as file:
            file.write(b"another!")
    fabric = start_fabric(living)
    until(lambda: living.zone_files.generations() == [old + 1], "a new generation, and the end of the old one")
    assert steers()
    assert fabric.poll() is None
    fabric.kill()
    fabric.wait()
    said = (living.directory / "second.log").read_text()
    assert all(str(journal) in said for journal in journals)
    assert said.count("is a journal of another version") <= len(journals) ** 2, "once by each node"
    living.up(living.directory / "lab.yml")
