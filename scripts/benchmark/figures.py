"""What is measured, in which unit, which way is better, and what this project promises itself."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    title: str
    unit: str
    higher_is_better: bool = True
    decimals: int = 0
    goals: tuple[tuple[str, float], ...] = ()
    """(contender, ratio): this project's figure shall be at least so many times the contender's."""


BULK_1 = Figure("bulk_1", "bulk TCP, 1 stream", "Gbit/s", decimals=2, goals=(("nftables", 0.4), ("haproxy", 0.9)))
BULK_8 = Figure("bulk_8", "bulk TCP, 8 streams", "Gbit/s", decimals=2)
KEEP_ALIVE = Figure("keep_alive", "requests, keep-alive", "1/s", goals=(("nftables", 0.25),))
CONNECTIONS = Figure("connections", "new connections", "1/s", goals=(("nftables", 0.4),))
UDP_RATE = Figure("udp_rate", "UDP, 60 B frames, 64 flows", "packets/s")
CPU = Figure("cpu", "CPU per million packets", "s", higher_is_better=False, decimals=2)
P50 = Figure("latency_p50", "round trip p50", "us", higher_is_better=False)
P99 = Figure("latency_p99", "round trip p99", "us", higher_is_better=False)
P999 = Figure("latency_p99.9", "round trip p99.9", "us", higher_is_better=False)
CONTENT = Figure("content", "digests equal, of 2", "count")

HEADER_ON, HEADER_OFF = "hyperplane+header", "hyperplane"
HEADER_FIRST_ACK = "hyperplane+header_on_first_ack"
HEADER_HAPROXY = "haproxy+header"
"""Ways through a contender: its name, and what its targets get."""
HEADER_BULK = Figure(
    "header_bulk", "bulk TCP, 1 stream, to the target", "Gbit/s", decimals=2, goals=((HEADER_OFF, 0.95),)
)
HEADER_BULK_BACK = Figure(
    "header_bulk_back", "bulk TCP, 1 stream, from the target", "Gbit/s", decimals=2, goals=((HEADER_OFF, 0.95),)
)
HEADER_KEEP_ALIVE = Figure("header_keep_alive", "requests, keep-alive", "1/s", goals=((HEADER_OFF, 0.95),))
HEADER_CONNECTIONS = Figure("header_connections", "new connections", "1/s", goals=((HEADER_OFF, 0.8),))
HEADER_CONTENT = Figure("header_content", "digests equal, client as told, of 3", "count")

LATENCIES = {"p50": P50, "p99": P99, "p99.9": P999}
FIGURES = (BULK_1, BULK_8, KEEP_ALIVE, CONNECTIONS, UDP_RATE, CPU, P50, P99, P999, CONTENT)
HEADER_FIGURES = (HEADER_BULK, HEADER_BULK_BACK, HEADER_KEEP_ALIVE, HEADER_CONNECTIONS, HEADER_CONTENT)
RATIO_FIGURES = tuple(figure for figure in (*FIGURES, *HEADER_FIGURES) if figure not in (CONTENT, HEADER_CONTENT))


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure of one contender in one round. A failed one has a reason and no value."""

    figure: str
    contender: str
    round: int
    value: float | None
    failure: str = ""
    cpu_s: float = 0.0
    """CPU seconds of the whole machine while it was measured."""
    busy_before: float = 0.0
    """Share of the machine that was busy just before, 0 to 1."""
    details: dict[str, float] = field(default_factory=dict)
