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

_PROC = Path("/proc")
_KILL_TIMEOUT_S = 30.0
"""A killed process may still have to give back much memory."""


class ProcessFailed(RuntimeError):
    """A process ended before it was ready. The message ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process for ever. The kernel gives a pid again, but not with the same start."""

    pid: int
    started: int
    """In clock ticks since the machine started."""

    def is_alive(self, proc: Path = _PROC) -> bool:
        """Whether this very process still lives. A zombie does not."""
        return identity_of(self.pid, proc) == self


def identity_of(pid: int, proc: Path = _PROC) -> ProcessIdentity | None:
    """Who has this pid now; None if nobody has, or a zombie."""
    try:
        fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else ProcessIdentity(pid, int(fields[_START_FIELD]))


def own_identity() -> ProcessIdentity:
    """The calling process."""
    found = identity_of(os.getpid())
    assert found is not None, "who asks lives"
    return found


def write_identity(path: Path, identity: ProcessIdentity) -> None:
    """Leave it in a file, for `read_identity`."""
    write_atomically(path, f"{identity.pid} {identity.started}\n".encode())


def read_identity(path: Path) -> ProcessIdentity | None:
    """What `write_identity` left; None if nothing was."""
    try:
        pid, started = path.read_text().split()
        return ProcessIdentity(int(pid), int(started))
    except (FileNotFoundError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class ProcessFiles:
    """Where the files about processes are."""

    runtime: Path

    @property
    def directory(self) -> Path:
        return self.runtime / "processes"

    def record(self, name: str) -> Path:
        return self.directory / name

    @property
    def logs(self) -> Path:
        return self.runtime / "log"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

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
    identity = identity_of(process.pid)
    if identity is not None:  # else it has ended already, and will not say that it is ready
        write_identity(files.record(name), identity)
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
    identity = read_identity(files.record(name))
    return identity.pid if identity is not None and identity.is_alive() else 0


def arguments(pid: int) -> tuple[str, ...]:
    """The command line of a process, program first; empty if there is none of that number."""
    try:
        data = (_PROC / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ()
    return tuple(os.fsdecode(part) for part in data.split(b"\0")[:-1])


def end(files: ProcessFiles, name: str, timeout_s: float = 10.0) -> bool:
    """End the process started under `name` and forget it. True if it was alive."""
    identity = read_identity(files.record(name))
    ended = identity is not None and end_process(identity, timeout_s)
    files.record(name).unlink(missing_ok=True)
    return ended


def end_process(identity: ProcessIdentity, timeout_s: float = 10.0) -> bool:
    """Ask a process to end, wait, and kill it if it does not. False, and nothing is done, if it is gone already."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return False
    try:
        # The descriptor is of one process, whoever has its number later: only now is there something to check.
        if not identity.is_alive():
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        wait_or_kill(descriptor, timeout_s)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(identity.pid, os.WNOHANG)  # it was ours, or somebody else's to bury
        return True
    finally:
        os.close(descriptor)


def wait_or_kill(descriptor: int, timeout_s: float) -> None:
    """Wait for the end of a process that was asked to end; kill it after `timeout_s`."""
    if not _ended(descriptor, timeout_s):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        _ended(descriptor, _KILL_TIMEOUT_S)


def _ended(descriptor: int, timeout_s: float) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))
