"""What the kernel counts: CPU time, packets of a link, connections that the targets refused.

CPU time is taken from the idle column: on a kernel that stops its tick when idle that column is exact,
while the busy columns of /proc/stat are samples of the tick (Documentation/filesystems/proc.rst, 1.8).
"""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from benchmark.layout import SERVER
from benchmark.processes import in_namespace, run

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
CPU_COUNT = os.cpu_count() or 1

QUIET_BUSY_SHARE = 0.15
"""Our choice: below this share of all CPUs the machine counts as idle."""
QUIET_SAMPLE_S = 0.5
QUIET_WAIT_S = 30.0

REFUSALS = (
    "TcpExtPAWSActive",
    "TcpExtPAWSEstab",
    "TcpExtPAWSTimewait",
    "TcpExtTCPACKSkippedTimeWait",
    "TcpExtListenDrops",
    "TcpExtListenOverflows",
    "TcpExtTCPTimeWaitOverflow",
    "TcpExtTCPReqQFullDrop",
    "TcpExtTCPReqQFullDoCookies",
    "TcpExtTCPAbortOnMemory",
)
"""Server-side counters that rise when a target drops segments for reasons that are not the contender's speed."""


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Seconds since boot, over all CPUs."""

    at: float
    idle_s: float
    stolen_s: float

    def busy_since(self, earlier: "CpuTime") -> float:
        """CPU seconds used since `earlier`, without what the hypervisor gave to others."""
        elapsed_s = (self.at - earlier.at) * CPU_COUNT
        return max(0.0, elapsed_s - (self.idle_s - earlier.idle_s) - (self.stolen_s - earlier.stolen_s))


def cpu_time() -> CpuTime:
    # columns after "cpu": user nice system idle iowait irq softirq steal (proc.rst, 1.8)
    columns = [int(column) for column in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return CpuTime(time.monotonic(), (columns[3] + columns[4]) / TICKS_PER_S, columns[7] / TICKS_PER_S)


def wait_until_quiet(at_most_s: float = QUIET_WAIT_S) -> float:
    """Wait for an idle machine. Returns the last busy share seen, 0 to 1."""
    deadline = time.monotonic() + at_most_s
    while True:
        before = cpu_time()
        time.sleep(QUIET_SAMPLE_S)
        after = cpu_time()
        busy_share = after.busy_since(before) / ((after.at - before.at) * CPU_COUNT)
        if busy_share < QUIET_BUSY_SHARE or time.monotonic() > deadline:
            return busy_share


def packets_received(pid: int, link: str) -> int:
    """Packets that came in by `link`, as the namespace of `pid` counts them."""
    for line in Path(f"/proc/{pid}/net/dev").read_text().splitlines():
        name, _, columns = line.partition(":")
        if name.strip() == link:
            return int(columns.split()[1])
    raise KeyError(link)


def refusals() -> dict[str, int]:
    """The REFUSALS of the server namespace since it was made."""
    counters = json.loads(run(in_namespace(SERVER, "nstat", "-a", "-s", "-z", "-j")))["kernel"]
    return {name: int(counters[name]) for name in REFUSALS if name in counters}
