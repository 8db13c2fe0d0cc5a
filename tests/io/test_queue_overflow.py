"""A reader's socket that is too small (F-14): the kernel drops and counts, the reader lives and goes on."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from hyperplane.io.kernel_queues import KernelQueue, queues_of_process
from hyperplane.io.nfqueue import Queue
from netns.namespace import inside_scratch

pytestmark = [pytest.mark.netns, pytest.mark.fault]

NUMBER = 5
SENT = 500
PAYLOAD = bytes(1000)
SOL_NETLINK, NO_ENOBUFS = 270, 5
"""linux/netlink.h"""
SO_NO_CHECK = 11
"""asm-generic/socket.h"""


@contextlib.contextmanager
def small_queue(tells_overflow: bool) -> Iterator[tuple[Queue, socket.socket]]:
    """A queue that holds all datagrams to 127.0.0.1, read through a socket of a few KiB; and a sender."""
    with inside_scratch():
        for command in (
            "ip link set lo up",
            f"iptables -A OUTPUT -p udp -d 127.0.0.1 -j NFQUEUE --queue-num {NUMBER}",
        ):
            subprocess.run(command.split(), check=True)
        queue = Queue(NUMBER)
        with (
            contextlib.closing(queue),
            socket.socket(fileno=os.dup(queue.fileno())) as settings,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            settings.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            if tells_overflow:
                settings.setsockopt(SOL_NETLINK, NO_ENOBUFS, 0)
            sender.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)  # finishing checksums is the packet plane's work
            sender.bind(("127.0.0.1", 0))
            yield queue, sender


def kernel_counts() -> KernelQueue:
    queues = queues_of_process(os.getpid())
    assert queues is not None
    return queues[NUMBER]


def read_all(queue: Queue) -> int:
    """Read and accept whatever is there."""
    count = 0
    while packets := queue.read():
        for packet in packets:
            queue.accept(packet[0], packet[1], packet[2], 1)
        queue.flush()
        count += len(packets)
    return count


@pytest.mark.parametrize("tells_overflow", [False, True])
def test_a_reader_survives_its_small_socket(tells_overflow: bool) -> None:
    """With and without the kernel telling of it (ENOBUFS): what fits arrives, the rest is counted, then all is well."""
    with small_queue(tells_overflow) as (queue, sender):
        for _ in range(SENT):
            sender.sendto(PAYLOAD, sender.getsockname())
        read = read_all(queue)
        counts = kernel_counts()
        assert 0 < read < SENT
        assert counts.dropped_untaken == SENT - read
        assert counts.waiting == 0, "nothing that was dropped lies about unanswered"
        sender.sendto(PAYLOAD, sender.getsockname())
        assert read_all(queue) == 1
        sender.setblocking(False)
        arrived = sum(len(sender.recv(2000)) == len(PAYLOAD) for _ in range(read + 1))
        assert arrived == read + 1
