"""How long a node has been silent through its own fault.

A heart that stands still has three causes, and only one of them is cured by killing:

- the node hangs: stopped, blocked, or in a loop that never ends;
- the node wants to run but gets no processor, because the machine has too much to do;
- nobody ran for a while, not even who listens: a virtual machine that was paused.

A kill in the second case costs the machine more work and every neighbour its turn; done to all nodes
at once it feeds itself. So silence counts only while it can be held against the node: not what
passed while the listener itself was late, and of the time in which the process was runnable
(state R, proc(5)) only what it was given of the processor.
"""

import os
from pathlib import Path

from hyperplane.limits import SUPERVISOR_BEAT_S

_LISTENER_LATE_S = 2 * SUPERVISOR_BEAT_S
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_STATE, _USER_TICKS, _SYSTEM_TICKS = 0, 11, 12
"""Of /proc/PID/stat behind the command's closing bracket: fields 3, 14 and 15."""


class Silence:
    """What is held against one process. Call `listen` again and again, at the supervisor's beat."""

    def __init__(self) -> None:
        self.silent_s = 0.0
        self._heartbeat = -1
        self._listened_at = 0.0
        self._processor_s = 0.0

    def forgive(self, now: float) -> None:
        """Begin anew: another process, or one that has been dealt with."""
        self.silent_s = 0.0
        self._listened_at = now

    def listen(self, pid: int, heartbeat: int, now: float) -> float:
        """Seconds of silence since `heartbeat` last changed that are the process's own."""
        elapsed = min(now - self._listened_at, _LISTENER_LATE_S)
        self._listened_at = now
        if heartbeat != self._heartbeat:
            self._heartbeat = heartbeat
            self.silent_s = 0.0
            self._processor_s = _activity(pid)[1]
            return 0.0
        runnable, processor_s = _activity(pid)
        self.silent_s += min(elapsed, processor_s - self._processor_s) if runnable else elapsed
        self._processor_s = processor_s
        return self.silent_s


def _activity(pid: int) -> tuple[bool, float]:
    """Whether the process runs or wants to, and the processor time it has had. (False, 0) once it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False, 0.0
    return fields[_STATE] == "R", (int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])) / _TICKS_PER_S
