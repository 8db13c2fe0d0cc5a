"""Small packets: how many get through at most, and what one costs at a rate that all can carry.

Counted at the sink's interface, never at the sender. The blast is an overload on purpose: what arrives
under it is what a flooded contender still delivers. The CPU figure is taken at a modest, fixed rate, at
which no packet may be missing, and includes sender and sink, which are the same for all.
"""

import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass

from benchmark.contenders import Contender, link_address
from benchmark.counters import cpu_time, packets_received
from benchmark.failure import MeasurementFailed
from benchmark.figures import CPU, UDP_RATE, Figure
from benchmark.layout import CLIENT, SINK, Service
from benchmark.processes import in_namespace, python_module
from benchmark.servers import Servers

FLOWS = 64
PACED_PACKETS_PER_S = 20_000
LOSS_SHARE_MAX = 0.001
"""Our choice: at the paced rate nothing should be lost; a stray packet of the neighbour protocol is forgiven."""
REST_S = 1.0
WARM_UP_SHARE = 0.2
DRAIN_POLL_S = 0.05
DRAIN_MAX_S = 3.0
START_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Blast:
    """One run of the sender, seen from both ends."""

    sent: int
    received: int
    """Until the last packet had come through."""
    rate: float
    """Packets/s at the sink while the sender was running, warm-up left out."""
    cpu_s: float
    """CPU seconds of the whole machine, from the first packet until the last had come through ..."""
    elapsed_s: float
    """... and how long that was."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What to send. The destination is the contender's sink service."""

    seconds: float
    packets_per_s: float = 0
    flow_count: int = FLOWS
    count: int = 0


def blast(servers: Servers, contender: Contender, wish: Wish) -> Blast:
    """Send and count. Errors: MeasurementFailed if the sender does not start or fails."""
    command = in_namespace(CLIENT, *python_module("sender", _order(contender, wish)))
    sender = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert sender.stdout is not None
        if sender.stdout.readline().strip() != "started":
            raise MeasurementFailed(f"sender: {sender.communicate(timeout=5)[1][-400:]}")
        return _watch(servers, contender, wish, sender)
    finally:
        sender.kill()
        sender.communicate()


def _watch(servers: Servers, contender: Contender, wish: Wish, sender: "subprocess.Popen[str]") -> Blast:
    link = contender.middle.server_link
    before, first, started = cpu_time(), packets_received(servers.pid, link), time.monotonic()
    time.sleep(wish.seconds * WARM_UP_SHARE)
    warm, warm_at = packets_received(servers.pid, link), time.monotonic()
    time.sleep(max(0.0, started + wish.seconds * 0.98 - time.monotonic()))
    late, late_at = packets_received(servers.pid, link), time.monotonic()
    output, said = sender.communicate(timeout=START_TIMEOUT_S)
    if sender.returncode != 0:
        raise MeasurementFailed(f"sender: {said[-400:]}")
    last = _drained(servers, link)
    report = json.loads(output)
    rate = (late - warm) / (late_at - warm_at)
    after = cpu_time()
    return Blast(int(report["sent"]), last - first, rate, after.busy_since(before), after.at - before.at)


def _drained(servers: Servers, link: str) -> int:
    """The count at the sink once it stands still."""
    deadline = time.monotonic() + DRAIN_MAX_S
    seen = -1
    while (now := packets_received(servers.pid, link)) != seen and time.monotonic() < deadline:
        seen = now
        time.sleep(DRAIN_POLL_S)
    return now


def _order(contender: Contender, wish: Wish) -> str:
    middle = contender.middle
    address, port = contender.socket_address(SINK)
    direct = port == SINK.target_port_first
    order = {
        "link": middle.client_link,
        "source_mac": link_address(CLIENT, middle.client_link).hex(),
        "destination_mac": link_address(middle.namespace, middle.front_link).hex(),
        "source": middle.client_address,
        "destination": address,
        "port_first": port,
        "port_count": SINK.target_count if direct else 1,
        "flow_count": wish.flow_count,
        "seconds": wish.seconds,
        "packets_per_s": wish.packets_per_s,
        "count": wish.count,
    }
    return json.dumps(order)


class UdpRate:
    """As many small packets as the sender can make."""

    service: Service = SINK
    name = UDP_RATE.name

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def measure(self, contender: Contender, seconds: float) -> Mapping[Figure, float]:
        found = blast(self._servers, contender, Wish(seconds))
        if found.rate <= 0:
            raise MeasurementFailed(f"no packet of {found.sent} came through")
        return {UDP_RATE: found.rate}


class UdpCost:
    """CPU seconds of the whole machine for a million packets that arrived, beyond what it uses at rest.

    Rest is measured just before: at 20,000 packets/s a machine that is 1 % busy by itself would add a second.
    """

    service: Service = SINK
    name = CPU.name

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def measure(self, contender: Contender, seconds: float) -> Mapping[Figure, float]:
        before = cpu_time()
        time.sleep(REST_S)
        after = cpu_time()
        rest_share = after.busy_since(before) / (after.at - before.at)
        found = blast(self._servers, contender, Wish(seconds, packets_per_s=PACED_PACKETS_PER_S))
        if found.received < found.sent * (1 - LOSS_SHARE_MAX):
            raise MeasurementFailed(f"{found.sent - found.received} of {found.sent} packets lost at a modest rate")
        cpu_s = found.cpu_s - rest_share * found.elapsed_s
        if cpu_s <= 0:
            raise MeasurementFailed("the machine was busier at rest than under load")
        return {CPU: cpu_s / (found.received / 1e6)}
