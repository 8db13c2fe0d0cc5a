"""Processes that outlive the command that started them: found again, ended for certain, never by name.

Each has a file with its pid and the moment the kernel started it; both together name one process for
ever, a pid alone does not. A started process says "ready" by writing one byte to a descriptor
that it is given, so nobody waits longer than needed and nobody guesses.
"""

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hyperplane.io.runtime import write_atomically
from netns.namespace import inside

READY_VARIABLE = "HYPERPLANE_READY_FD"
_START_FIELD = 19
"""Of /proc/PID/stat behind the command's closing bracket: start time in clock ticks (proc(5), field 22)."""


class ProcessFailed(RuntimeError):
    """A process ended before it was ready. The message ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class ProcessFiles:
    """Where the files about processes are."""

    runtime: Path

    @property
    def directory(self) -> Path:
        return self.runtime / "processes"

    def record(self, name: str) -> Path:
        return self.directory / name

    def log(self, name: str) -> Path:
        return self.runtime / "log" / f"{name}.log"

    def names(self) -> list[str]:
        """All that have been started and not ended by us."""
        return sorted(path.name for path in self.directory.glob("*")) if self.directory.is_dir() else []


def say_ready() -> None:
    """To be called by a started process once it serves."""
    descriptor = os.environ.pop(READY_VARIABLE, "")
    if descriptor:
        os.write(int(descriptor), b"1")
        os.close(int(descriptor))


def start(
    files: ProcessFiles,
    name: str,
    command: Sequence[str],
    namespace: str | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 30.0,
) -> int:
    """Start `command` in the background, in a namespace, and wait until it is ready. Returns its pid.

    Its output goes to `log/<name>.log`. Raises ProcessFailed.
    """
    for directory in (files.directory, files.log(name).parent):
        directory.mkdir(parents=True, exist_ok=True)
    ready, ready_write = os.pipe()
    try:
        with files.log(name).open("ab") as log, inside(namespace) if namespace else contextlib.nullcontext():
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(ready_write,),
                env={**os.environ, **(environment or {}), READY_VARIABLE: str(ready_write)},
            )
    finally:
        os.close(ready_write)
    write_atomically(files.record(name), f"{process.pid} {_start_time(process.pid)}\n".encode())
    answer = b""
    if select.select([ready], [], [], timeout_s)[0]:
        answer = os.read(ready, 1)
    os.close(ready)
    if not answer:
        end(files, name)
        lines = files.log(name).read_text(errors="replace").splitlines()[-5:]
        raise ProcessFailed(f"{name} did not start; {files.log(name)} ends with:\n" + "\n".join(lines))
    process.returncode = 0  # it outlives us: `end` reaps it by its pid, and Popen shall not complain
    return process.pid


def running(files: ProcessFiles, name: str) -> int:
    """Pid of the process that was started under `name`, if it still lives; otherwise 0."""
    try:
        pid_text, started = files.record(name).read_text().split()
    except (FileNotFoundError, ValueError):
        return 0
    return int(pid_text) if _start_time(int(pid_text)) == started else 0


def end(files: ProcessFiles, name: str, timeout_s: float = 10.0) -> bool:
    """End the process started under `name` and forget it. True if it was alive."""
    pid = running(files, name)
    if pid:
        end_pid(pid, timeout_s)
    files.record(name).unlink(missing_ok=True)
    return bool(pid)


def end_pid(pid: int, timeout_s: float = 10.0) -> None:
    """Ask a process to end, wait, and kill it if it does not."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            if not _ended(descriptor, timeout_s):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                _ended(descriptor, timeout_s)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    finally:
        os.close(descriptor)


def _ended(descriptor: int, timeout_s: float) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))


def _start_time(pid: int) -> str:
    """The kernel's start time of a process as text; empty if there is none, or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] == "Z" else fields[_START_FIELD]
