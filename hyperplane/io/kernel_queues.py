"""The kernel's own account of its packet queues: what waits, what it had to throw away.

`/proc/net/netfilter/nfnetlink_queue`, one line per bound queue of a network namespace
(`net/netfilter/nfnetlink_queue.c`, seq_show):

    queue  port id of its socket  waiting  copy mode  copy range  dropped: full  dropped: not taken  packets so far  1

Read through a process that lives in the namespace, or by stepping inside.
"""

from dataclasses import dataclass
from pathlib import Path

from netns.errors import KernelError
from netns.namespace import NamespaceMissing, inside

_FIELDS = 8
_TABLE = "net/netfilter/nfnetlink_queue"


@dataclass(frozen=True, slots=True)
class KernelQueue:
    """One bound queue."""

    number: int
    waiting: int
    """Packets that nobody has answered yet."""
    dropped_full: int
    """Packets that came while the queue was full (QUEUE_PACKETS_MAX)."""
    dropped_untaken: int
    """Packets that did not fit into the reader's socket."""
    packets: int
    """Packets so far, modulo 2**32."""


def parse_queues(text: str) -> dict[int, KernelQueue]:
    """The table's text as queues by number. Lines that are not of this form raise ValueError."""
    queues = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < _FIELDS:
            raise ValueError(f"not a line of {_TABLE}: {line!r}")
        number, _, waiting, _, _, full, untaken, packets = map(int, words[:_FIELDS])
        queues[number] = KernelQueue(number, waiting, full, untaken, packets)
    return queues


def queues_of_process(pid: int, proc: Path = Path("/proc")) -> dict[int, KernelQueue] | None:
    """The queues of the namespace that a process lives in; None when it is gone or not ours to look into."""
    try:
        return parse_queues((proc / str(pid) / _TABLE).read_text())
    except OSError:
        return None


def queues_of_namespace(name: str) -> dict[int, KernelQueue] | None:
    """The queues of a named namespace; None when there is none, or we may not enter it."""
    try:
        with inside(name):
            return parse_queues((Path("/proc/thread-self") / _TABLE).read_text())
    except (NamespaceMissing, KernelError, OSError):
        return None
