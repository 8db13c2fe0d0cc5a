"""The lab of the fault tests (`plan.py`), up: looked at from outside, and broken."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from hyperplane.errors import ConfigurationError
from hyperplane.flow.ports import PoolKey
from hyperplane.io import processes
from hyperplane.io.claims import pool_file_name
from hyperplane.io.ground import fabric_namespace
from hyperplane.io.health import health
from hyperplane.io.processes import ProcessFiles
from hyperplane.io.reconcile import reconcile
from hyperplane.io.runtime import ZoneFiles, snapshot_file, zone_files
from hyperplane.io.snapshot_file import read_snapshot
from hyperplane.io.status import NodeState, StatusPage, Word
from hyperplane.snapshot import Eni, Snapshot
from tests.faults.plan import TARGETS, ZONE, ZONE_ID, Plan, lab_text

ROOT = Path(__file__).parents[2]
FABRIC_NAMESPACE = fabric_namespace(ZONE_ID)
FABRIC = f"fabric-{ZONE_ID}"

HANG_GUARD_S = 60.0
"""Ends a test that would wait for ever. No test's result depends on it."""


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what comes without a sign that one could wait on."""
    give_up_at = time.monotonic() + HANG_GUARD_S
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < give_up_at, f"in vain: {what}"
        pause.wait(0.01)


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as its status page shows it."""

    index: int
    pid: int
    state: NodeState
    flows: int
    snapshot_version: int


class FaultLab:
    """The lab, up. Everything is started and ended by pid."""

    def __init__(self, directory: Path, plan: Plan | None = None) -> None:
        self.file = directory / "lab.yml"
        self.runtime = directory / "run"
        self.plan = plan or Plan()
        self._api = f"127.0.0.1:{_free_port()}"

    # --- up and down -------------------------------------------------------------------------

    def up(self) -> None:
        """Build the ground, start our own servers under the targets' names, then let the product do the rest."""
        self.write(self.plan)
        self.runtime.mkdir(exist_ok=True)
        reconcile(self.file, self.runtime, time.monotonic())
        for name, address in TARGETS.items():
            command = [sys.executable, "-m", "tests.faults.servers", address]
            processes.start(self.process_files, f"target-{name}", command, f"hp-{name}", lab_environment())
        self.mend()
        self.wait_until_well()

    def mend(self) -> str:
        """`hyperplane lab up`, as a user does it. Returns what it said."""
        return self._hyperplane("lab", "up", "-t", str(self.file))

    def down(self) -> None:
        self._hyperplane("lab", "down")

    def write(self, plan: Plan) -> None:
        """Replace the lab file; the control process, if it runs, follows."""
        self.plan = plan
        scratch = self.file.with_suffix(".new")
        scratch.write_text(lab_text(plan))
        scratch.replace(self.file)

    def begin_up(self) -> "subprocess.Popen[str]":
        """The process that brings the lab up, with the product's own targets where ours do not run."""
        return self._begin("lab", "up", "-t", str(self.file))

    def _hyperplane(self, *arguments: str) -> str:
        process = self._begin(*arguments)
        _, said = process.communicate()
        assert process.returncode == 0, said
        return said

    def _begin(self, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "hyperplane", *arguments, "--runtime", str(self.runtime)]
        environment = {**os.environ, **lab_environment(), "HYPERPLANE_API": self._api}
        # The strictest umask: nodes run as another user and must be able to read all they need.
        return subprocess.Popen(
            command,
            env=environment,
            cwd=ROOT,
            umask=0o077,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    # --- looking -----------------------------------------------------------------------------

    @property
    def process_files(self) -> ProcessFiles:
        return ProcessFiles(self.runtime)

    @property
    def zone_files(self) -> ZoneFiles:
        return zone_files(self.runtime, ZONE_ID)

    @property
    def generation(self) -> int:
        return self.zone_files.generation()

    def snapshot(self) -> Snapshot:
        return read_snapshot(snapshot_file(self.runtime))

    def eni(self, address: str) -> Eni:
        """The ENI with this address; of flt-a's and flt-b's, which are equal, the first."""
        return next(eni for eni in self.snapshot().zones[0].enis if socket.inet_ntoa(eni.address) == address)

    def numbers(self) -> dict[str, int]:
        """The number of every interface, by id."""
        return {eni.eni_id: eni.number for eni in self.snapshot().zones[0].enis}

    def has_udp_timer(self, seconds: int) -> bool:
        """Whether the snapshot can be read and says so."""
        try:
            return self.snapshot().udp_idle_timeout_s == seconds
        except ConfigurationError:
            return False

    def ports_taken(self, load_balancer: str, target: str, port: int) -> int:
        """Source ports towards a UDP target that are in use or at rest."""
        eni = self.eni(load_balancer)
        key = PoolKey(eni.address, socket.inet_aton(target), port, socket.IPPROTO_UDP, eni.number)
        path = self.zone_files.ports / pool_file_name(key)
        return sum(tag > 0 for tag in path.read_bytes()) if path.exists() else 0

    def page(self, index: int) -> StatusPage:
        """The status page of node `index`, for the caller to close."""
        files = self.zone_files
        return StatusPage(files.status(files.generation(), index))

    def _pages(self) -> Iterator[StatusPage]:
        files = self.zone_files
        generation = files.generation()
        for path in sorted(files.generation_directory(generation).glob("status-*")):
            page = StatusPage(path)
            yield page
            page.close()

    def nodes(self) -> list[NodeView]:
        """The nodes that packets go to, by index."""
        views = [
            NodeView(
                page.get(Word.INDEX),
                page.get(Word.PID),
                NodeState(page.get(Word.STATE)),
                page.get(Word.FLOWS),
                page.get(Word.SNAPSHOT_VERSION),
            )
            for page in self._pages()
        ]
        return sorted(views, key=lambda view: view.index)

    def pids(self) -> dict[int, int]:
        """Pid of every node."""
        return {view.index: view.pid for view in self.nodes()}

    def counters(self) -> Counter[str]:
        """All nodes' counters together."""
        total: Counter[str] = Counter()
        for page in self._pages():
            total.update(page.counters())
        return total

    def queue_of(self, index: int) -> int:
        """Number of the queue of node `index`."""
        return next(page.get(Word.QUEUE) for page in self._pages() if page.get(Word.INDEX) == index)

    def packets_of(self, index: int) -> int:
        """Packets that node `index` has forwarded from consumers."""
        return next(
            page.counters().get("packets_original", 0) for page in self._pages() if page.get(Word.INDEX) == index
        )

    def log(self, name: str = FABRIC) -> str:
        return self.process_files.log(name).read_text(errors="replace")

    @staticmethod
    def rules() -> str:
        """The fabric's packet rules."""
        command = ["ip", "netns", "exec", FABRIC_NAMESPACE, "iptables-save"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    @staticmethod
    def is_running(pid: int) -> bool:
        """Whether a process lives and is no zombie."""
        return _state_of(pid) not in ("", "Z")

    @staticmethod
    def is_stopped(pid: int) -> bool:
        """Whether a process stands still because of SIGSTOP, or is gone."""
        return _state_of(pid) in ("", "T", "Z")

    def nodes_have_newer_than(self, version: int) -> bool:
        """Whether every node has taken a snapshot after this one."""
        return all(view.snapshot_version > version for view in self.nodes())

    def is_well(self) -> bool:
        return health(self.runtime).healthy

    def wait_until_well(self) -> None:
        until(self.is_well, f"a healthy lab; now {health(self.runtime)}")

    # --- breaking ----------------------------------------------------------------------------

    def fabric_pid(self) -> int:
        return processes.running(self.process_files, FABRIC)

    def kill_node(self, index: int, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to the process that is node `index` now. Returns its pid."""
        pid = self.pids()[index]
        os.kill(pid, number)
        return pid

    def wait_for_nodes(self, gone: Mapping[int, int]) -> None:
        """Wait until each node (index to old pid) has a new process, and all serve."""
        until(
            lambda: all(view.pid != gone.get(view.index) and view.state is NodeState.SERVING for view in self.nodes()),
            f"other processes in the places of {gone}; now {self.nodes()}",
        )

    def wait_for_another(self, gone: Mapping[int, int]) -> None:
        """The same, and the lab is well."""
        self.wait_for_nodes(gone)
        self.wait_until_well()

    @contextmanager
    def sprayed(self) -> Iterator[None]:
        """Each packet goes to any node of the shard, so every node forwards every flow."""
        plan = self.plan
        self.write(replace(plan, steering="spray"))
        until(lambda: "statistic" in self.rules(), "the other rules")
        try:
            yield
        finally:
            self.write(plan)
            until(lambda: "statistic" not in self.rules(), "the usual rules")

    def new_generation(self, **environment: str) -> int:
        """Start another fabric beside the one that runs. Returns its pid once it has taken over."""
        generation = self.generation
        command = [sys.executable, "-m", "hyperplane", "fabric", "--zone", ZONE, "--netns", FABRIC_NAMESPACE]
        command += ["--runtime", str(self.runtime)]
        pid = processes.start(self.process_files, FABRIC, command, None, {**lab_environment(), **environment})
        until(lambda: self.generation > generation, "the next generation")
        self.wait_until_well()
        return pid


def lab_environment() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def _state_of(pid: int) -> str:
    """proc(5), field 3; empty once the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
