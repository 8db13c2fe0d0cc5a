"""A node's status page: what anybody may read about a node without asking it.

One 4 KiB file per node, one writer, whole words. The supervisor reads the heartbeat, the next life
of the node reads which packets were in hand, `hyperplane nodes` reads all of it.

    word  0 magic      4 heartbeat, ms     8 id of a replayed packet in hand, 0 none   12 its digest
          1 pid        5 id last read      9 snapshot version                          64 ... counters
          2 index      6 id last answered 10 flows held                                448 ... shell counters
          3 queue      7 state            11 started, ms
"""

import mmap
import os
from array import array
from enum import IntEnum
from pathlib import Path

from hyperplane.dataplane.counters import COUNTERS, named

PAGE_BYTES = 4096
_MAGIC = 0x31535454_41505948
_COUNTERS_AT = 64
_SHELL_AT = 448


class Word(IntEnum):
    """Places of single words on the page, in units of 8 bytes."""

    MAGIC = 0
    PID = 1
    INDEX = 2
    QUEUE = 3
    HEARTBEAT_MS = 4
    READ_ID = 5
    ANSWERED_ID = 6
    STATE = 7
    REPLAY_ID = 8
    SNAPSHOT_VERSION = 9
    FLOWS = 10
    STARTED_MS = 11
    REPLAY_DIGEST = 12


class NodeState(IntEnum):
    """What a node is doing."""

    NEW = 0
    STARTING = 1
    SERVING = 2
    DRAINING = 3


def state_name(value: int) -> str:
    """What a page's state is called; "unknown" for a number that no node of this program writes."""
    try:
        return NodeState(value).name.lower()
    except ValueError:
        return "unknown"


class ShellCount(IntEnum):
    """What the shell counts."""

    QUEUE_ERRORS = 0
    EMIT_FAILURES = 1
    REPLAYED = 2
    REPLAYED_TWICE = 3
    SNAPSHOTS_REFUSED = 4
    STARTS = 5


assert _COUNTERS_AT + COUNTERS <= _SHELL_AT


class StatusPage:
    """The page of one node, for its writer or a reader."""

    def __init__(self, path: Path, writable: bool = False) -> None:
        flags = os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY
        descriptor = os.open(path, flags, 0o664)
        try:
            if writable and os.fstat(descriptor).st_size < PAGE_BYTES:
                os.ftruncate(descriptor, PAGE_BYTES)
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            self._memory = mmap.mmap(descriptor, PAGE_BYTES, access=access)
        finally:
            os.close(descriptor)
        self._view = memoryview(self._memory)
        self.words = self._view.cast("Q")
        self._counters = self.words[_COUNTERS_AT : _COUNTERS_AT + COUNTERS]
        self._shell = self.words[_SHELL_AT : _SHELL_AT + len(ShellCount)]
        if writable:
            self.words[Word.MAGIC] = _MAGIC

    def get(self, word: Word) -> int:
        return self.words[word]

    def put(self, word: Word, value: int) -> None:
        self.words[word] = value

    def put_counters(self, values: "array[int]") -> None:
        """Show the packet plane's counters as they are now."""
        self._counters[:] = memoryview(values)

    def counter_values(self) -> "array[int]":
        """The packet plane's counters as they were shown last."""
        return array("Q", self._counters)

    def add_shell(self, count: ShellCount, by: int = 1) -> None:
        self._shell[count] += by

    def put_shell(self, count: ShellCount, value: int) -> None:
        self._shell[count] = value

    def counters(self) -> dict[str, int]:
        """All counters that are not zero, by name."""
        shell = {count.name.lower(): self._shell[count] for count in ShellCount if self._shell[count]}
        return named(self._counters) | shell

    def close(self) -> None:
        for view in (self._shell, self._counters, self.words, self._view):
            view.release()
        self._memory.close()
