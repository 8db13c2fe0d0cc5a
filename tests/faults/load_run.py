"""The standing load of one consumer: a process in its namespace, and what it reports when it has ended."""

import json
import os
import select
import subprocess
import sys
from dataclasses import dataclass

from tests.faults.lab import HANG_GUARD_S, ROOT, lab_environment
from tests.faults.plan import CONSUMERS


class LoadRun:
    """The load of one consumer, running in its namespace."""

    def __init__(self, consumer: str, seed: int, patience_s: float | None = None, **counts: int) -> None:
        command = ["ip", "netns", "exec", f"hp-{consumer}", sys.executable, "-m", "tests.faults.load"]
        command += [CONSUMERS[consumer], "--seed", str(seed)]
        command += [] if patience_s is None else ["--patience", str(patience_s)]
        for kind, count in counts.items():
            command += [f"--{kind}", str(count)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **lab_environment()},
        )
        self.consumer = consumer

    def wait_until_ready(self) -> None:
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], HANG_GUARD_S)[0], f"{self.consumer}: no connection"
        assert self._process.stdout.readline() == "ready\n"

    def begin_to_end(self) -> None:
        """Tell it to end in order."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def finish(self) -> "LoadReport":
        """Its report, when it has ended."""
        output, _ = self._process.communicate(timeout=2 * HANG_GUARD_S)
        assert self._process.returncode == 0
        return LoadReport(**json.loads(output))

    def abandon(self) -> None:
        self._process.kill()
        self._process.communicate()


@dataclass(frozen=True, slots=True)
class LoadReport:
    """See `load.py`."""

    connections: int
    lost: list[str]
    corrupt: list[str]
    stalls: list[tuple[str, float, float]]
    rounds: dict[str, int]
    missing: int
