"""A gate on the way into or out of a namespace: it lets chosen packets pass in another order, later, or never.

An NFQUEUE of the tests' own, with the library alone: the kernel cuts super-packets before it hands them over.
"""

import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import netfilterqueue

from hyperplane.io.kernel_queues import queues_of_namespace
from netns.namespace import inside
from tests.faults.header_ground import rule

QUEUE = 7
ROOMY = 1024

Change = Callable[[bytes], bytes]


class Gate:
    """Holds the first packets until as many are there as `order` has places, then lets them go in that order.

    What comes later passes. `open` lets go of what is held so far, in the order in which it came. `change`: what
    becomes of the bytes of every packet.
    """

    def __init__(self, namespace: str, order: tuple[int, ...], room: int, change: Change | None) -> None:
        self._namespace = namespace
        self._order = order
        self._change = change
        self._held: list[netfilterqueue.Packet] = []
        self._lock = threading.Lock()
        self._is_open = not order
        self.passed = 0
        self._stop_reader, self._stop_writer = os.pipe()
        with inside(namespace):
            self._queue = netfilterqueue.NetfilterQueue()
            self._queue.bind(QUEUE, self._take, max_len=room)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    @property
    def held(self) -> int:
        return len(self._held)

    @property
    def dropped(self) -> int:
        """Packets for which there was no room."""
        queues = queues_of_namespace(self._namespace)
        assert queues is not None
        return queues[QUEUE].dropped_full

    def open(self) -> None:
        with self._lock:
            self._let_go(range(len(self._held)))

    def close(self) -> None:
        self.open()
        os.write(self._stop_writer, b"x")
        self._thread.join()
        self._queue.unbind()
        os.close(self._stop_reader)
        os.close(self._stop_writer)

    def _read(self) -> None:
        queue = self._queue.get_fd()
        while self._stop_reader not in select.select([queue, self._stop_reader], [], [])[0]:
            self._queue.run(block=False)

    def _take(self, packet: netfilterqueue.Packet) -> None:
        with self._lock:
            if self._change is not None:
                packet.set_payload(self._change(packet.get_payload()))
            if self._is_open:
                self.passed += 1
                packet.accept()
                return
            packet.retain()
            self._held.append(packet)
            if len(self._held) == len(self._order):
                self._let_go(self._order)

    def _let_go(self, order: range | tuple[int, ...]) -> None:
        for place in order:
            self._held[place].accept()
        self.passed += len(self._held)
        self._held.clear()
        self._is_open = True


@contextmanager
def gate(
    namespace: str,
    chain: str,
    *match: str,
    order: tuple[int, ...] = (),
    room: int = ROOMY,
    change: Change | None = None,
) -> Iterator[Gate]:
    """For the packets that match, in PREROUTING or OUTPUT of a namespace."""
    made = Gate(namespace, order, room, change)
    try:
        with rule(namespace, chain, *match, "-j", "NFQUEUE", "--queue-num", str(QUEUE), table="mangle"):
            yield made
            made.open()
    finally:
        made.close()
