"""What a client is told of its own bytes, watched on its own wire while nodes die."""

import random
import socket
import struct

import pytest

from netns.namespace import open_socket
from tests.faults.conftest import LIGHT_LOAD, standing_load
from tests.faults.lab import FaultLab
from tests.faults.plan import CONSUMERS
from tests.faults.test_kills import RANDOM_SEED, kill_at_random

pytestmark = [pytest.mark.netns, pytest.mark.fault]

ETH_P_ALL = 0x0003
_RCVBUFFORCE = 33  # asm-generic/socket.h
HEADERS_BYTES = 128
FIN, SYN, RST, ACK = 1, 2, 4, 16
NUMBERS = 1 << 32


class Wire:
    """Sequence numbers of every connection of a client, by its port: what it has sent, what was acknowledged."""

    def __init__(self, tap: socket.socket, endpoint: str) -> None:
        self._tap, self._endpoint = tap, socket.inet_aton(endpoint)
        self._sent: dict[int, int] = {}
        self.acks = 0
        self.ahead: list[str] = []

    def watch(self) -> None:
        """Take in what has passed."""
        while True:
            try:
                packet = self._tap.recv(HEADERS_BYTES)
            except BlockingIOError:
                return
            if packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP:
                continue
            sport, dport, sequence, ack, offset, flags = struct.unpack_from("!HHIIBB", packet, 20)
            if packet[16:20] == self._endpoint:
                (total,) = struct.unpack_from("!H", packet, 2)
                length = total - 20 - (offset >> 4) * 4 + bool(flags & SYN) + bool(flags & FIN)
                self._was_sent(sport, (sequence + length) % NUMBERS, bool(flags & SYN))
            elif packet[12:16] == self._endpoint and flags & ACK and not flags & RST and dport in self._sent:
                self.acks += 1
                if 0 < (ack - self._sent[dport]) % NUMBERS < NUMBERS // 2:
                    self.ahead.append(f"port {dport}: {ack} acknowledged, {self._sent[dport]} sent")

    def _was_sent(self, port: int, end: int, opens: bool) -> None:
        """A connection whose SYN was not seen is an older one, and none of ours."""
        if opens or (port in self._sent and (end - self._sent[port]) % NUMBERS < NUMBERS // 2):
            self._sent[port] = end


def test_no_ack_is_ahead_of_what_was_sent(lab: FaultLab) -> None:
    """INV-6, from the first SYN to the last FIN."""
    with open_socket("hp-flt-a", socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as tap:
        tap.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, 256 << 20)
        tap.setblocking(False)
        wire = Wire(tap, CONSUMERS["flt-a"])
        with standing_load(LIGHT_LOAD) as load:
            chance = random.Random(RANDOM_SEED)
            for _ in range(8):
                kill_at_random(lab, 1, chance)
                wire.watch()
            load.assert_whole()
        wire.watch()
    assert wire.ahead == []
    assert wire.acks > 500
