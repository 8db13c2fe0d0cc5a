"""What a dying node has in its hands arrives all the same; a packet that kills is dropped after its second victim."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hyperplane.io.status import Word
from netns.namespace import open_socket
from tests.faults.conftest import StandingLoad
from tests.faults.lab import FaultLab, until
from tests.faults.plan import CONSUMERS
from tests.faults.wire import NUMBER

pytestmark = [pytest.mark.netns, pytest.mark.fault]

_RCVBUFFORCE = 33  # asm-generic/socket.h
PORT = 9999
ROUNDS = 10
BURST = 300
HEADERS_BYTES = 28  # IPv4 and UDP
POISON = b"\xde\xad\xbe\xef\x13\x37"


class Datagrams:
    """Numbered UDP datagrams from flt-a to the one target that listens on PORT."""

    def __init__(self, sender: socket.socket, receiver: socket.socket) -> None:
        self._sender, self._receiver = sender, receiver
        self.sent = 0
        self.arrived: set[int] = set()

    def send(self, count: int) -> None:
        for number in range(self.sent, self.sent + count):
            self._sender.send(NUMBER.pack(number))
        self.sent += count

    def collect(self) -> int:
        """Take in what has come. Returns how many are missing."""
        while True:
            try:
                self.arrived.add(NUMBER.unpack(self._receiver.recv(64))[0])
            except BlockingIOError:
                return self.sent - len(self.arrived)


@contextmanager
def datagrams() -> Iterator[Datagrams]:
    with (
        open_socket("hp-flt-a", socket.AF_INET, socket.SOCK_DGRAM) as sender,
        open_socket("hp-flt-t1", socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, 32 << 20)
        receiver.bind(("10.9.3.20", PORT))
        receiver.setblocking(False)
        sender.connect((CONSUMERS["flt-a"], PORT))
        yield Datagrams(sender, receiver)


def kill_with_packets_in_hand(lab: FaultLab, traffic: Datagrams, index: int) -> None:
    """SIGKILL a node that has read packets and not answered them: under bursts it is stopped until it is caught so."""
    pid = lab.pids()[index]
    with contextlib.closing(lab.page(index)) as page:
        caught = False
        while not caught:
            burst = threading.Thread(target=traffic.send, args=(BURST,))
            burst.start()
            while burst.is_alive() and not caught:
                os.kill(pid, signal.SIGSTOP)
                until(lambda: lab.is_stopped(pid), "a stopped node")
                caught = page.get(Word.READ_ID) != page.get(Word.ANSWERED_ID)
                os.kill(pid, signal.SIGKILL if caught else signal.SIGCONT)
                traffic.collect()
            burst.join()
    lab.wait_for_another({index: pid})


def busy_node(lab: FaultLab, traffic: Datagrams) -> int:
    """The node of flt-a's shard that this flow's packets go to."""
    shard = lab.eni(CONSUMERS["flt-a"]).shard
    before = {index: lab.packets_of(index) for index in shard}
    traffic.send(50)
    until(lambda: traffic.collect() == 0, "the first datagrams")
    until(lambda: any(lab.packets_of(index) >= before[index] + 50 for index in shard), "a node's counters")
    return max(shard, key=lambda index: lab.packets_of(index) - before[index])


def test_what_was_in_hand_arrives(lab: FaultLab) -> None:
    """The kernel keeps what a node has read and not answered; its next life hands it out once more."""
    with datagrams() as traffic:
        index = busy_node(lab, traffic)
        before = lab.counters()["replayed"]
        for _ in range(ROUNDS):
            kill_with_packets_in_hand(lab, traffic, index)
            until(
                lambda: traffic.collect() == 0, f"{traffic.sent} datagrams, {traffic.sent - len(traffic.arrived)} more"
            )
        assert lab.counters()["replayed"] > before, "no kill met a packet in hand: this test has shown nothing"


def test_without_replay_packets_are_lost(lab: FaultLab) -> None:
    """The same must lose packets when the protection is off."""
    lab.new_generation(HYPERPLANE_MUTANT="no-replay")
    try:
        with datagrams() as traffic:
            index = busy_node(lab, traffic)
            for _ in range(ROUNDS):
                kill_with_packets_in_hand(lab, traffic, index)
            traffic.send(1)
            until(lambda: traffic.collect() >= 0 and traffic.sent - 1 in traffic.arrived, "the last datagram")
            assert traffic.collect() > 0
    finally:
        lab.new_generation()


def test_a_poison_packet_kills_two_nodes_and_no_third(lab: FaultLab, light_load: StandingLoad) -> None:
    """F-04. The other endpoints do not notice, and flt-a's own flows live on."""
    lab.new_generation(HYPERPLANE_POISON=POISON.hex())
    try:
        starts = lab.counters()["starts"]
        packet = b"before" + POISON + b"after"
        with open_socket("hp-flt-a", socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(packet, (CONSUMERS["flt-a"], PORT))
        until(lambda: lab.counters()["replayed_twice"] == 1, "the poison's end")
        lab.wait_until_well()
        assert lab.counters()["starts"] == starts + 2
        log = lab.log()
        assert "has killed two nodes and is dropped" in log
        digest = log.rpartition(" has killed two nodes")[0].rpartition(" ")[2]
        assert f"packet {digest} of {HEADERS_BYTES + len(packet)} bytes comes a second time" in log
    finally:
        lab.new_generation()
    light_load.assert_whole()
