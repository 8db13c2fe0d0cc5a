"""The kernel's list of queues, as text and as it really is."""

import pytest

from hyperplane.io.kernel_queues import KernelQueue, parse_queues, queues_of_namespace, queues_of_process
from hyperplane.io.nfqueue import Queue
from netns.namespace import inside_scratch

LISTED = """\
   64  14887     0 2 65531     0     0   671505  1
   65 2976749716     3 2 65531 178849    2   805725  1
"""


def test_each_line_is_a_queue() -> None:
    assert parse_queues(LISTED) == {
        64: KernelQueue(64, waiting=0, dropped_full=0, dropped_untaken=0, packets=671_505),
        65: KernelQueue(65, waiting=3, dropped_full=178_849, dropped_untaken=2, packets=805_725),
    }


def test_no_queue_is_no_line() -> None:
    assert parse_queues("") == {}


@pytest.mark.parametrize("line", ["64 14887 0 2", "a b c d e f g h i"])
def test_another_form_is_an_error(line: str) -> None:
    with pytest.raises(ValueError):
        parse_queues(line)


def test_a_process_that_is_gone_shows_nothing() -> None:
    assert queues_of_process(1 << 30) is None


@pytest.mark.netns
def test_a_namespace_that_is_not_there_shows_nothing() -> None:
    assert queues_of_namespace("hp-nowhere-at-all") is None


@pytest.mark.netns
def test_the_kernel_lists_a_queue_that_is_bound() -> None:
    with inside_scratch():
        queue = Queue(77)
        with open("/proc/thread-self/net/netfilter/nfnetlink_queue") as listed:
            found = parse_queues(listed.read())
        queue.close()
    assert found == {77: KernelQueue(77, 0, 0, 0, 0)}
