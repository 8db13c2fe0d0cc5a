"""Commands and long-running processes, each in a namespace, each ended by its own process group.

A process that we start dies with us even if we are killed (setpriv(1), --pdeathsig); what a process
forks stays in its group and ends with it. Nothing is ever ended by name.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmark.failure import BenchmarkError

PACKAGES = {
    "ip": "iproute2",
    "setpriv": "util-linux",
    "nstat": "iproute2",
    "sysctl": "procps",
    "ethtool": "ethtool",
    "iperf3": "iperf3",
    "wrk": "wrk",
    "nginx": "nginx",
    "curl": "curl",
    "nft": "nftables",
    "haproxy": "haproxy",
}
"""Command -> Debian package."""

DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
STOP_TIMEOUT_S = 5.0
READY_TIMEOUT_S = 10.0
TCP_LISTEN = "0A"
"""State column of /proc/net/tcp (include/net/tcp_states.h)."""


def require_tools(commands: Sequence[str]) -> None:
    """Errors: BenchmarkError naming the Debian packages of all absent commands."""
    absent = [command for command in commands if shutil.which(command) is None]
    if absent:
        packages = " ".join(sorted({PACKAGES[command] for command in absent}))
        raise BenchmarkError(f"not installed: {', '.join(absent)}; try: apt-get install {packages}")


def in_namespace(namespace: str, *command: str) -> list[str]:
    return ["ip", "netns", "exec", namespace, *command]


def python_module(module: str, *arguments: object) -> list[str]:
    """The command line that runs one module of this package with the same interpreter."""
    return [sys.executable, "-m", f"benchmark.{module}", *(str(argument) for argument in arguments)]


def run(command: Sequence[str], timeout_s: float = 30.0, text_in: str | None = None) -> str:
    """Run to the end and return its output. Errors: BenchmarkError with the command and what it said."""
    try:
        done = subprocess.run(command, input=text_in, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"{' '.join(command)}: no end after {timeout_s:.0f} s") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-600:]
        raise BenchmarkError(f"{' '.join(command)}: exit {done.returncode}: {said}")
    return done.stdout


class Process:
    """One started process and all that it forks."""

    def __init__(self, command: Sequence[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self.command = list(command)
        self.log = log
        with log.open("ab") as sink:
            self._popen = subprocess.Popen(
                [*DIE_WITH_PARENT, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        self.pid = self._popen.pid

    def is_running(self) -> bool:
        return self._popen.poll() is None

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-600:].strip()

    def stop(self) -> None:
        """Ask, wait, then insist. Also ends what the process left in its group."""
        if self.is_running():
            self._signal_group(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(STOP_TIMEOUT_S)
        self._signal_group(signal.SIGKILL)
        self._popen.wait(STOP_TIMEOUT_S)

    def _signal_group(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return

    def wait_for_listeners(self, ports: Sequence[int]) -> None:
        """Return once all TCP ports listen in the process's namespace. Errors: BenchmarkError."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while missing := set(ports) - listening_ports(self.pid):
            if not self.is_running():
                raise BenchmarkError(f"{' '.join(self.command)} ended: {self.last_words()}")
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{' '.join(self.command)}: ports {sorted(missing)} do not listen")
            time.sleep(0.02)  # the kernel tells nobody that a port began to listen


def listening_ports(pid: int) -> set[int]:
    """TCP ports (IPv4) that listen in the network namespace of `pid`."""
    try:
        lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return set()
    rows = [line.split() for line in lines]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == TCP_LISTEN}
