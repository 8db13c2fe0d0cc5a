"""More than fits: full queues, floods and exhausted ports. What is new is refused and counted, nothing else happens.

The floods are bounded in number and speed.
"""

import os
import signal
import socket
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hyperplane.io.kernel_queues import KernelQueue, queues_of_namespace
from hyperplane.limits import QUEUE_PACKETS_MAX, SNAT_PORT_MIN, SNAT_PORTS_PER_TARGET
from netns.namespace import open_socket
from tests.faults.conftest import StandingLoad, standing_load
from tests.faults.lab import FABRIC_NAMESPACE, FaultLab, until
from tests.faults.plan import CONSUMERS
from tests.faults.test_replay import Datagrams, busy_node, datagrams

pytestmark = [pytest.mark.netns, pytest.mark.fault]

FLOOD_PACKETS = 20_000
FLOOD_PAUSE_US = 100
PORT, WINDOW = 9998, 250
"""No other test sends there: a flow of another one could end meanwhile and give its port back."""
OWN_ADDRESS = "10.1.1.50"


def kernel_queue(lab: FaultLab, index: int) -> KernelQueue:
    queues = queues_of_namespace(FABRIC_NAMESPACE)
    assert queues is not None
    return queues[lab.queue_of(index)]


def test_an_overflowing_queue_drops_and_counts(lab: FaultLab, light_load: StandingLoad) -> None:
    """F-13: what does not fit is dropped by the kernel and counted; nothing goes round the node."""
    with datagrams() as traffic:
        index = busy_node(lab, traffic)
        lost_before = kernel_queue(lab, index).dropped_full
        # The supervisor would replace the node before the queue is full.
        node, fabric = lab.pids()[index], lab.fabric_pid()
        for pid in (fabric, node):
            os.kill(pid, signal.SIGSTOP)
        traffic.send(QUEUE_PACKETS_MAX + 2000)
        waiting = kernel_queue(lab, index)
        for pid in (node, fabric):
            os.kill(pid, signal.SIGCONT)
        lost = kernel_queue(lab, index).dropped_full - lost_before
        assert waiting.waiting == QUEUE_PACKETS_MAX
        assert lost >= 2000
        flood = traffic.sent
        until(lambda: another_arrives(traffic, flood), "a datagram after the flood")
        until(lambda: traffic.collect() <= kernel_queue(lab, index).dropped_full - lost_before, "all but those dropped")
    light_load.assert_whole()


def another_arrives(traffic: Datagrams, first: int) -> bool:
    """Send one more; whether any from `first` on has come. The queue takes a while to become empty."""
    traffic.send(1)
    traffic.collect()
    return max(traffic.arrived) >= first


@pytest.mark.parametrize("sources", ["foreign", "own"])
def test_a_flood_of_syns_hurts_nobody_else(lab: FaultLab, light_load: StandingLoad, sources: str) -> None:
    """F-16: the light load has flows of flt-a, too, and opens new ones on all endpoints meanwhile."""
    before = lab.counters()
    command = ["ip", "netns", "exec", "hp-flt-a", "hping3", "-q", "-S", "-p", "443", "-i", f"u{FLOOD_PAUSE_US}"]
    command += ["-c", str(FLOOD_PACKETS), *(["--rand-source"] if sources == "foreign" else []), CONSUMERS["flt-a"]]
    subprocess.run(command, capture_output=True, check=False)  # it exits 1, because nobody answers all
    light_load.assert_whole()
    after = lab.counters()
    if sources == "foreign":
        assert after["dropped_foreign_source"] > before["dropped_foreign_source"]
    else:
        assert after["flows_new"] + after["flows_reopened"] > before["flows_new"] + before["flows_reopened"]


class Strangers:
    """Datagrams with any source port from flt-a's own address, and the socket of the one target behind them."""

    def __init__(self, sending: socket.socket, receiving: socket.socket) -> None:
        self._sending, self._receiving = sending, receiving
        self.ports: dict[int, int] = {}
        """Source port at flt-a -> source port that the target saw."""

    def send(self, port: int) -> None:
        data = struct.pack("!H", port)
        datagram = struct.pack("!HHHH", port, PORT, 8 + len(data), 0) + data
        self._sending.sendto(datagram, (CONSUMERS["flt-a"], 0))

    def collect(self) -> int:
        """Take in what has come; how many different flows have arrived so far."""
        while True:
            try:
                data, (_, port) = self._receiving.recvfrom(64)
            except BlockingIOError:
                return len(self.ports)
            own = struct.unpack("!H", data)[0]
            assert self.ports.setdefault(own, port) == port, "a flow changed its port"


@contextmanager
def strangers() -> Iterator[Strangers]:
    with (
        open_socket("hp-flt-a", socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as sending,
        open_socket("hp-flt-t1", socket.AF_INET, socket.SOCK_DGRAM) as receiving,
    ):
        sending.bind((OWN_ADDRESS, 0))
        receiving.bind(("10.9.3.20", PORT))
        receiving.setblocking(False)
        yield Strangers(sending, receiving)


@pytest.mark.slow
def test_the_ports_of_a_target_end_exactly(lab: FaultLab) -> None:
    """F-17: 55,000 flows to one target, all with ports of their own; the next are refused and counted. Others live.

    Then every node is killed: the new ones still know all 55,000, and still have no port for more.
    """
    refused = 500
    with strangers() as crowd, standing_load(({"bulk": 2, "idle": 2, "loops": 2, "banners": 1},) * 3) as load:
        before = lab.counters()
        room = SNAT_PORTS_PER_TARGET
        assert lab.ports_taken("10.9.0.7", "10.9.3.20", PORT) == 0
        for first in range(1, room + 1, WINDOW):
            last = min(first + WINDOW - 1, room)
            for port in range(first, last + 1):
                crowd.send(port)
            until(lambda last=last: crowd.collect() == last, f"{last} flows")  # type: ignore[misc]
        for port in range(room + 1, room + 1 + refused):
            crowd.send(port)
        until(lambda: errors(lab, before) == refused, f"{refused} refusals")
        assert crowd.collect() == room
        ports = set(crowd.ports.values())
        assert len(ports) == room
        assert min(ports) >= SNAT_PORT_MIN and max(ports) < SNAT_PORT_MIN + SNAT_PORTS_PER_TARGET
        gone = lab.pids()
        for pid in gone.values():
            os.kill(pid, signal.SIGKILL)
        lab.wait_for_another(gone)
        for port in (1, room // 2, room):
            seen = crowd.ports.pop(port)
            crowd.send(port)
            until(lambda: crowd.collect() == room, "an old flow after the kill")
            assert crowd.ports[port] == seen
        crowd.send(room + 1)
        until(lambda: errors(lab, before) == refused + 1, "one more refusal")
        load.assert_whole()


def errors(lab: FaultLab, before: Counter[str]) -> int:
    return lab.counters()["port_allocation_errors"] - before["port_allocation_errors"]
