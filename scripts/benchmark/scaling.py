"""The number of nodes: what each more of them brings, and what a flow costs in every node's memory, live.

Every node serves every interface, so each holds each flow. With more nodes than CPUs nothing can get
faster; what more nodes cost then is worth knowing too.
"""

from pathlib import Path

from benchmark.counters import wait_until_quiet
from benchmark.failure import MeasurementFailed
from benchmark.figures import KEEP_ALIVE, UDP_RATE
from benchmark.measurements import Requests
from benchmark.options import Options
from benchmark.rounds import progress
from benchmark.servers import Servers
from benchmark.studies import Line, Result
from benchmark.subject import Hyperplane
from benchmark.summary import spread
from benchmark.udp import UdpRate, Wish, blast
from hyperplane.io.status import Word

NODE_COUNTS = (1, 2, 4)
FLOWS = 50_000
"""Below the bound of flows whose target has not answered (65,536): the sink never answers."""
QUICK_FLOWS = 10_000
NEW_FLOWS_PER_S = 2_500
"""Our choice: slow enough that no first packet is lost to a full queue."""
TITLES = {
    UDP_RATE.name: "UDP, 60 B frames, packets/s",
    KEEP_ALIVE.name: "requests, keep-alive, 1/s",
    "bytes_per_flow": "memory per flow and node, B",
}


class Nodes:
    """The live fabric with 1, 2 and 4 nodes."""

    name = "nodes"

    def __init__(self, servers: Servers, directory: Path, options: Options) -> None:
        self._servers = servers
        self._directory = directory
        self._options = options
        self._flows = QUICK_FLOWS if options.quick else FLOWS
        self._samples: list[dict[str, float]] = []

    def run(self) -> Result:
        for number in range(1, self._options.rounds + 1):
            for count in NODE_COUNTS:
                self._case(number, count)
        cases = tuple(f"{count} node{'s' if count > 1 else ''}" for count in NODE_COUNTS)
        title = f"number of nodes, live; memory after {self._flows:,} flows"
        return Result(title, cases, [self._line(name) for name in TITLES], self._samples)

    def _case(self, number: int, count: int) -> None:
        subject = Hyperplane(self._directory, count)
        found: dict[str, float] = {"round": number, "nodes": count}
        try:
            subject.start()
            wait_until_quiet()
            found["bytes_per_flow"] = self._bytes_per_flow(subject)
            for measurement in (UdpRate(self._servers), Requests(self._directory, KEEP_ALIVE)):
                wait_until_quiet()
                values = measurement.measure(subject, self._options.seconds)
                found |= {figure.name: value for figure, value in values.items()}
        except MeasurementFailed as error:
            progress(f"round {number}/{self._options.rounds} nodes {count}: FAILED: {error}")
        finally:
            subject.stop()
        self._samples.append(found)
        told = ", ".join(f"{TITLES[name]} {found[name]:,.0f}" for name in TITLES if name in found)
        progress(f"round {number}/{self._options.rounds} nodes {count}: {told}")

    def _bytes_per_flow(self, subject: Hyperplane) -> float:
        """Growth of the nodes' memory for each flow that each of them holds. The mean of the nodes."""
        before = subject.node_memory_bytes()
        flows_before = subject.nodes_word(Word.FLOWS)
        wish = Wish(self._flows / NEW_FLOWS_PER_S + 1, NEW_FLOWS_PER_S, self._flows, self._flows)
        found = blast(self._servers, subject, wish)
        if found.received < self._flows:
            raise MeasurementFailed(f"{self._flows - found.received} of {self._flows} new flows did not get through")
        after = subject.node_memory_bytes()
        flows = [now - then for now, then in zip(subject.nodes_word(Word.FLOWS), flows_before, strict=True)]
        grown = [(now - then) / held for now, then, held in zip(after, before, flows, strict=True) if held]
        if len(grown) != subject.node_count:
            raise MeasurementFailed(f"the nodes hold {flows} flows of {self._flows}")
        return sum(grown) / len(grown)

    def _line(self, name: str) -> Line:
        cells = tuple(
            spread([one[name] for one in self._samples if one["nodes"] == count and name in one])
            for count in NODE_COUNTS
        )
        return Line(TITLES[name], cells)
