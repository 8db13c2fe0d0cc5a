"""Where a node can be killed or overtaken: before and after every step that others can see.

A node's journal, its claims and its table are wrapped. At each point the world is asked: it may kill the node
(`Killed` goes through the packet plane like a SIGKILL through a process: nothing more is done), or let another node
handle a packet just now, which is how two processors meet.
"""

from collections.abc import Callable

from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.journal import JournalWriter
from hyperplane.flow.table import FlowTable
from tests.nodes import MemoryClaims

AtPoint = Callable[[], None]


class Killed(BaseException):
    """The node is no more. Not an `Exception`: nothing that it runs may stop it."""


class FaultyWriter(JournalWriter):
    """A writer that can be killed before and after it tells of something."""

    def __init__(self, memory: memoryview, at_point: AtPoint) -> None:
        self._at_point = at_point
        super().__init__(memory)

    def write(self, entry: FlowEntry) -> None:
        self._at_point()
        super().write(entry)
        self._at_point()

    def forget_row(self, row: int) -> None:
        self._at_point()
        super().forget_row(row)


class FaultyClaims(MemoryClaims):
    """Claims whose owner can be killed before and after it takes or frees a port."""

    def __init__(self, taken: bytearray, node: int, node_count: int, at_point: AtPoint) -> None:
        super().__init__(taken, node, node_count)
        self._at_point = at_point

    def claim(self, index: int) -> bool:
        self._at_point()
        claimed = super().claim(index)
        self._at_point()
        return claimed

    def release(self, index: int) -> None:
        self._at_point()
        super().release(index)


def make_faulty(table: FlowTable, at_point: AtPoint) -> None:
    """Let the node be killed before it puts a flow into its table, and after."""
    insert = table.insert

    def faulty_insert(entry: FlowEntry) -> None:
        at_point()
        insert(entry)
        at_point()

    table.insert = faulty_insert  # type: ignore[method-assign]
