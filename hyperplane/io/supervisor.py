"""Start nodes, watch them, kill before replacing.

A node ends in one of two ways. It dies: the kernel tells at once through its pidfd. Or it hangs:
its heart stands still by its own fault (`silence.py`), and then it is killed first (fencing), because
a hung node still holds its queue and could wake up at any moment. Only when it is certainly gone does another process
take its place, on the same queue and the same journal.
"""

import logging
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NoReturn

from hyperplane.io.processes import wait_or_kill
from hyperplane.io.silence import Silence
from hyperplane.io.status import NodeState, StatusPage, Word
from hyperplane.limits import RESTARTS_PER_MINUTE_MAX, SILENCE_MAX_S, STARTING_MAX_S

_log = logging.getLogger("hyperplane.supervisor")

_RESTART_PAUSE_S = 1.0


class Child:
    """One node's place: the process in it now, and the page that shows its heartbeat."""

    def __init__(self, index: int, page: StatusPage) -> None:
        self.index = index
        self.page = page
        self.pid = 0
        self.pidfd = -1
        self.started_at = 0.0
        self.silence = Silence()
        self.restarts: deque[float] = deque(maxlen=RESTARTS_PER_MINUTE_MAX)

    def patience_s(self) -> float:
        """How long it may be silent: a node that takes in a million flows has no time for its heart."""
        return STARTING_MAX_S if self.page.get(Word.STATE) == NodeState.STARTING else SILENCE_MAX_S


class Supervisor:
    """The nodes of one generation."""

    def __init__(
        self,
        spawn: Callable[[int, int], None],
        pages: list[StatusPage],
        ground: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """`spawn(index, ready)` is run in the forked process and never returns; `ready` gets a byte when it serves.

        Processes are forked inside `ground()`: the network namespace that nodes live in.
        """
        self._spawn = spawn
        self._ground = ground
        self.children = [Child(index, page) for index, page in enumerate(pages)]
        self.on_start: Callable[[Child], None] = lambda child: None

    def start_all(self) -> None:
        """Start every node and wait until all serve. Raises RuntimeError if one does not."""
        waiting = []
        for child in self.children:
            ready, ready_write = os.pipe()
            waiting.append(ready)
            self._start(child, ready_write)
        for child, ready in zip(self.children, waiting, strict=True):
            answer = os.read(ready, 1)
            os.close(ready)
            if not answer:
                raise RuntimeError(f"node {child.index} did not start; the log says why")

    def _start(self, child: Child, ready_write: int) -> None:
        """Fork a node. It writes one byte to `ready_write`, which is closed here, when it serves."""
        child.started_at = time.monotonic()
        child.page.put(Word.STATE, NodeState.STARTING)
        try:
            with self._ground():
                pid = os.fork()
                if pid == 0:
                    self._live(child.index, ready_write)
        finally:
            os.close(ready_write)
        child.silence.forgive(child.started_at)
        try:
            child.pid, child.pidfd = pid, os.pidfd_open(pid)
            self.on_start(child)
        except OSError:
            os.kill(pid, signal.SIGKILL)  # nobody would hear of its end
            self._bury(child, pid)
            raise

    def _live(self, index: int, ready_write: int) -> NoReturn:
        """In the forked process, which must never come back into its parent's code."""
        try:
            self._spawn(index, ready_write)
        except BaseException:
            _log.exception("node %d could not begin", index)
        finally:
            logging.shutdown()
            os._exit(1)

    def died(self, child: Child) -> None:
        """The kernel says that the process has ended: bury it and start the next."""
        pid = child.pid
        status = self._bury(child, pid)
        _log.warning("node %d (pid %d) ended: %s", child.index, pid, _describe(status))
        self.replace(child)

    def _bury(self, child: Child, pid: int) -> int:
        """Wait for the end of `pid` and leave the place empty. Returns its status."""
        _, status = os.waitpid(pid, 0)
        if child.pidfd >= 0:
            os.close(child.pidfd)
        child.pid, child.pidfd = 0, -1
        return status

    def replace(self, child: Child) -> None:
        """Start a node in an empty place, unless it has died too often just now. What fails is tried again."""
        now = time.monotonic()
        if len(child.restarts) == child.restarts.maxlen and now - child.restarts[0] < 60:
            child.started_at = now + _RESTART_PAUSE_S
            return
        child.restarts.append(now)
        try:
            self._start(child, os.open(os.devnull, os.O_WRONLY))  # nobody waits: its page says when it serves
        except (OSError, LookupError) as error:
            # No memory, no process numbers, no descriptors, no ground: that may pass, and the other nodes need us.
            _log.error("no new node %d, to be tried again: %s", child.index, error)
            child.started_at = now + _RESTART_PAUSE_S

    def check(self, now: float) -> None:
        """Fence the nodes that hang, and fill the places that had to wait."""
        for child in self.children:
            if not child.pid:
                if now >= child.started_at:
                    self.replace(child)
            elif child.silence.listen(child.pid, child.page.get(Word.HEARTBEAT_MS), now) > child.patience_s():
                _log.error("node %d (pid %d) is silent: killed", child.index, child.pid)
                os.kill(child.pid, signal.SIGKILL)
                child.silence.forgive(now)

    def stop_all(self, timeout_s: float) -> None:
        """Ask every node to answer what it holds and end; kill those that do not in time."""
        for child in self.children:
            if child.pid:
                os.kill(child.pid, signal.SIGTERM)
        for child in self.children:
            if child.pid:
                wait_or_kill(child.pidfd, timeout_s)
                self._bury(child, child.pid)


def _describe(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit status {os.waitstatus_to_exitcode(status)}"
