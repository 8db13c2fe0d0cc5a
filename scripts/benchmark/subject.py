"""This project as a contender: a fabric of one zone in its own namespace, as `hyperplane fabric` runs it."""

import shutil
import sys
import time
from pathlib import Path

from benchmark.configuration import ZONE, make_snapshot
from benchmark.failure import BenchmarkError
from benchmark.layout import MIDDLES, Service
from benchmark.memory import pss_bytes
from benchmark.processes import Process
from hyperplane.io.runtime import ZoneFiles, mount_memory, snapshot_file, unmount_memory, zone_files
from hyperplane.io.snapshot_file import write_snapshot
from hyperplane.io.status import StatusPage, Word

START_TIMEOUT_S = 60.0
TARGET_NETWORK = "10.79.0.0/24"


class Hyperplane:
    """One fabric: an endpoint's interface towards the client, a load balancer's towards the targets."""

    def __init__(self, directory: Path, node_count: int) -> None:
        self.name = "hyperplane"
        self.middle = MIDDLES[self.name]
        self.node_count = node_count
        self._runtime = directory / f"{self.name}-{node_count}"
        self._log = directory / "fabric.log"
        self._process: Process | None = None

    def start(self) -> None:
        """Write the snapshot, start the fabric, return once its rules lead to nodes that serve."""
        middle = self.middle
        mount_memory(self._runtime)
        snapshot = make_snapshot(
            (middle.front_address,), middle.source_address, middle.client_network, TARGET_NETWORK, self.node_count
        )
        write_snapshot(snapshot_file(self._runtime), snapshot)
        arguments = ["--zone", ZONE, "--netns", middle.namespace, "--runtime", str(self._runtime)]
        self._process = Process([sys.executable, "-m", "hyperplane", "fabric", *arguments], self._log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._files.generation():  # written when packets go to the nodes
            if not self._process.is_running() or time.monotonic() > deadline:
                raise BenchmarkError(f"the fabric did not start: {self._process.last_words()}")
            time.sleep(0.05)  # another process's file: there is no event for it

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None
        unmount_memory(self._runtime)
        shutil.rmtree(self._runtime, ignore_errors=True)

    def carries(self, service: Service) -> bool:
        return True

    def socket_address(self, service: Service) -> tuple[str, int]:
        return (self.middle.front_address, service.port)

    @property
    def _files(self) -> ZoneFiles:
        return zone_files(self._runtime, "use2-az1")

    def nodes_word(self, word: Word) -> list[int]:
        """One word of every node's status page."""
        generation = self._files.generation()
        found = []
        for node in range(self.node_count):
            page = StatusPage(self._files.status(generation, node))
            found.append(page.get(word))
            page.close()
        return found

    def node_memory_bytes(self) -> list[int]:
        """Proportional set size of each node; what nodes share is shared out among them."""
        return [pss_bytes(pid) for pid in self.nodes_word(Word.PID)]
