"""One counter for everything that can happen to a packet, in an array that a shell can share.

The order of names is the layout of the node's shared page, so another process can read a node's
counters without asking it.
"""

from array import array
from enum import IntEnum

from hyperplane.dataplane.verdict import DropReason


class Count(IntEnum):
    """Counters that are not drop reasons."""

    PACKETS_ORIGINAL = 0
    PACKETS_REPLY = 1
    BYTES_ORIGINAL = 2
    BYTES_REPLY = 3
    PACKETS_DROPPED = 4
    REPLIES = 5
    FLOWS_NEW = 6
    FLOWS_REOPENED = 7
    FLOWS_EXPIRED = 8
    HALF_OPEN_EVICTED = 9
    PORTS_SWEPT = 10
    ICMP_TRANSLATED = 11
    FAST_OPEN_STRIPPED = 12
    MULTIPATH_STRIPPED = 13
    REPLICA_FULL = 14
    PORT_ALLOCATION_ERRORS = 15
    """AWS metric PortAllocationErrorCount."""
    REJECTED_FLOWS = 16
    """AWS metric RejectedFlowCount: new flows refused for want of room."""
    FRAGMENTS_HELD = 17
    """Pieces of datagrams that waited here for the others."""
    DATAGRAMS_INCOMPLETE = 18
    """Datagrams of which pieces were missing for too long, or which made room for newer ones."""

    HEADERS_SENT = 19
    """Proxy Protocol headers sent for the first time by this node: one for each stream, one for each datagram."""
    HEADERS_REPEATED = 20
    """Headers sent again before a client's segment, because the target had not acknowledged them."""
    HEADERS_RESENT = 21
    """Headers sent again by the timer."""


FIRST_DROP = 32
"""Index of the first drop reason; the room before it is for more `Count`s."""

DROP_INDEX: dict[DropReason, int] = {reason: FIRST_DROP + place for place, reason in enumerate(DropReason)}
COUNTERS = FIRST_DROP + len(DROP_INDEX)

NAMES: dict[int, str] = {count.value: count.name.lower() for count in Count}
NAMES |= {index: f"dropped_{reason.value}" for reason, index in DROP_INDEX.items()}


class Counters:
    """The counters of one node."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values = array("Q", bytes(8 * COUNTERS))

    def add(self, count: int, by: int = 1) -> None:
        self.values[count] += by

    def as_dict(self) -> dict[str, int]:
        """Those that are not zero, by name."""
        return named(self.values)


def named(values: "array[int] | memoryview") -> dict[str, int]:
    """Counter values, by name, those that are not zero. `values` has one unsigned number per counter."""
    return {name: values[index] for index, name in NAMES.items() if values[index]}
