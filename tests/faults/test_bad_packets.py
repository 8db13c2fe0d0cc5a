"""Damaged packets at an endpoint's door, in crowds: no node dies, nobody else notices, and each is counted."""

import random
import socket
import struct
import subprocess

import pytest

from netns.namespace import open_socket
from tests import cases
from tests.faults.conftest import StandingLoad
from tests.faults.lab import FABRIC_NAMESPACE, FaultLab, until
from tests.faults.plan import CONSUMERS
from tests.wire.test_mutations import EDGES, mutated, with_right_header_sum, with_right_lengths

pytestmark = [pytest.mark.netns, pytest.mark.fault]

SEED = 791
CLIENT = ("10.1.1.50", 700)
LINK = "hp-eth0"
ETH_P_IP = 0x0800
HEADER_BYTES = 20
OPEN_TO_CHANGE = (0, 1, 4, 5, 6, 7, 8)
"""Bytes of the IPv4 header: all but lengths, protocol and sum, which are set after, and addresses: a foreign one on
the consumer's own wire would look like a leak."""
SUM_AT = {cases.TCP: 16, cases.UDP: 6}
BATCH = 500


def right_packets() -> list[bytes]:
    """Of every kind that an endpoint speaks, to ports with a listener and without."""
    endpoint, stamps = CONSUMERS["flt-a"], cases.NOP * 2 + cases.timestamps(1, 2)
    packets = [cases.udp(CLIENT, (endpoint, port), b"hello") for port in (53, 54, 9999)]
    for port in (443, 25, 444):
        packets.append(cases.tcp(CLIENT, (endpoint, port), flags=cases.SYN, options=cases.linux_syn()))
        packets.append(cases.tcp(CLIENT, (endpoint, port), options=stamps, payload=b"x"))
        packets.append(cases.tcp(CLIENT, (endpoint, port), flags=cases.RST))
    return packets


def damaged(packet: bytes, dice: random.Random) -> bytes:
    """One to four changes of the transport, now and then one of the IP header, and half of the time right sums."""
    head, body = bytearray(packet[:HEADER_BYTES]), mutated(packet[HEADER_BYTES:], dice)
    if dice.random() < 0.2:
        head[dice.choice(OPEN_TO_CHANGE)] = dice.choice(EDGES)
    if dice.random() < 0.5:
        body = with_right_sum(bytes(head), body)
    return with_right_header_sum(with_right_lengths(bytes(head) + body))


def with_right_sum(head: bytes, body: bytes) -> bytes:
    """The bytes as a transport header whose checksum fits them."""
    at = SUM_AT[head[9]]
    if len(body) < at + 2:
        return body
    bare = body[:at] + bytes(2) + body[at + 2 :]
    summed = cases.pseudo_header(head[12:16], head[16:20], head[9], len(body)) + bare
    return bare[:at] + struct.pack("!H", cases.internet_sum(summed) ^ 0xFFFF) + bare[at + 2 :]


def mac_of(namespace: str, link: str) -> bytes:
    command = ["ip", "-n", namespace, "-br", "link", "show", link]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return bytes.fromhex(shown.split()[2].replace(":", ""))


@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_damaged_packets_kill_nobody(lab: FaultLab, light_load: StandingLoad, count: int) -> None:
    """F-33: sent as frames, so that the sender's own kernel repairs nothing."""
    dice, right = random.Random(SEED), right_packets()
    before, pids = lab.counters(), lab.pids()
    door = (LINK, ETH_P_IP, 0, 0, mac_of(FABRIC_NAMESPACE, lab.eni(CONSUMERS["flt-a"]).interface))
    with open_socket("hp-flt-a", socket.AF_PACKET, socket.SOCK_DGRAM, 0) as wire:
        for _ in range(0, count, BATCH):
            dropped = lab.counters()["packets_dropped"]
            for _ in range(BATCH):
                wire.sendto(damaged(dice.choice(right), dice), door)
            until(lambda dropped=dropped: lab.counters()["packets_dropped"] > dropped, "drops")  # type: ignore[misc]
    light_load.assert_whole()
    after = lab.counters()
    assert lab.pids() == pids and after["starts"] == before["starts"]
    reasons = {name for name in after - before if name.startswith("dropped_")}
    assert reasons >= {f"dropped_{name}" for name in ("bad_checksum", "bad_length", "bad_tcp_flags", "no_listener")}
