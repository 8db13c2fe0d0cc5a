"""A flow is known to more than its maker before its first packet leaves (INV-5, F-12)."""

import os
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from netns.namespace import open_socket
from tests.faults.lab import HANG_GUARD_S, FaultLab
from tests.faults.plan import CONSUMERS, TARGETS
from tests.faults.wire import STREAM_PORT

pytestmark = [pytest.mark.netns, pytest.mark.fault]

ROUNDS = 5
TCP_SOURCE_PORT_AT, TCP_FLAGS_AT, SYN = 20, 33, 0x02
ETH_P_IP = 0x0800


@contextmanager
def silent_targets() -> Iterator[None]:
    """The targets hear SYNs and their answers get lost."""
    rule = ["OUTPUT", "-p", "tcp", "--tcp-flags", "SYN,ACK", "SYN,ACK", "-j", "DROP"]
    for name in TARGETS:
        subprocess.run(["ip", "netns", "exec", f"hp-{name}", "iptables", "-A", *rule], check=True)
    try:
        yield
    finally:
        for name in TARGETS:
            subprocess.run(["ip", "netns", "exec", f"hp-{name}", "iptables", "-D", *rule], check=True)


def next_syn(tap: socket.socket) -> int:
    """Source port of the next SYN for the load's servers that arrives at the provider's network."""
    while True:
        packet = tap.recv(65_536)
        ports = packet[TCP_SOURCE_PORT_AT : TCP_SOURCE_PORT_AT + 4]
        if (
            packet[9] == socket.IPPROTO_TCP
            and packet[TCP_FLAGS_AT] == SYN
            and ports[2:] == STREAM_PORT.to_bytes(2, "big")
        ):
            return int.from_bytes(ports[:2], "big")


def ports_at_targets() -> set[int]:
    """Source ports of the connections that the targets hold."""
    found = set()
    for name in TARGETS:
        command = ["ip", "netns", "exec", f"hp-{name}", "ss", "-Htn", "state", "established"]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        found |= {int(line.split()[3].rpartition(":")[2]) for line in lines}
    return found


def test_a_flow_outlives_its_maker_from_the_first_syn_on(lab: FaultLab) -> None:
    """All nodes are killed when the SYN is seen behind them. The connection that comes about is the one it began."""
    for _ in range(ROUNDS):
        with (
            open_socket("hp-vpc-flt-p", socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP)) as tap,
            open_socket("hp-flt-a", socket.AF_INET, socket.SOCK_STREAM) as client,
        ):
            tap.settimeout(HANG_GUARD_S)
            client.setblocking(False)
            with silent_targets():
                client.connect_ex((CONSUMERS["flt-a"], 443))
                port = next_syn(tap)
                gone = lab.pids()
                for pid in gone.values():
                    os.kill(pid, signal.SIGKILL)
            assert select.select([], [client], [], HANG_GUARD_S)[1], "never connected"
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            assert port in ports_at_targets()
            lab.wait_for_another(gone)
