"""A runtime directory made by hand: what the commands read, without a single process.

    made = MadeRuntime(tmp_path)
    made.page(0, pid=11, state=NodeState.SERVING, beat_s=99.99)      # the clock stands at NOW = 100 s
    made.process(11, "python -m hyperplane fabric")
    made.journals(zone)                                               # of a MemoryZone, as its nodes wrote them

`made.proc` stands in for /proc.
"""

from dataclasses import replace
from pathlib import Path

from hyperplane.dataplane.counters import Count
from hyperplane.io.processes import ProcessIdentity, write_identity
from hyperplane.io.runtime import snapshot_file, zone_files
from hyperplane.io.snapshot_file import write_snapshot
from hyperplane.io.status import NodeState, ShellCount, StatusPage, Word
from hyperplane.snapshot import Snapshot
from tests.nodes import MemoryZone, snapshot_of

NOW = 100.0
ZONE_ID = "made-az1"
"""No lab has it, so nothing of this machine is taken for the made zone's."""


STARTED = 4711
"""When every process started, in ticks, unless something else is said."""


class MadeRuntime:
    """One zone's files below `root`/runtime, and a /proc of its own."""

    def __init__(self, root: Path, generation: int = 1) -> None:
        self.runtime = root / "runtime"
        self.proc = root / "proc"
        self.generation = generation
        self.files = zone_files(self.runtime, ZONE_ID)
        self.files.generation_directory(generation).mkdir(parents=True)
        self.files.generation_file.write_text(f"{generation}\n")

    def snapshot(self, snapshot: Snapshot | None = None) -> None:
        """Put a snapshot in force."""
        chosen = snapshot or snapshot_of()
        zones = tuple(replace(zone, zone_id=ZONE_ID) for zone in chosen.zones)
        write_snapshot(snapshot_file(self.runtime), replace(chosen, zones=zones))

    def page(
        self,
        node: int,
        pid: int = 0,
        state: NodeState = NodeState.SERVING,
        beat_s: float = NOW,
        generation: int | None = None,
        **counters: int,
    ) -> None:
        """A node's page. Counters by their names in lower case."""
        generation = generation or self.generation
        self.files.generation_directory(generation).mkdir(parents=True, exist_ok=True)
        page = StatusPage(self.files.status(generation, node), writable=True)
        page.put(Word.PID, pid)
        if pid:
            write_identity(self.files.process(generation, node), ProcessIdentity(pid, STARTED))
        page.put(Word.STATE, state)
        page.put(Word.HEARTBEAT_MS, int(beat_s * 1000))
        page.put(Word.STARTED_MS, 40_000)
        page.put(Word.QUEUE, 32 * generation + node)
        page.put_shell(ShellCount.STARTS, 1)
        for name, value in counters.items():
            page.words[64 + Count[name.upper()]] = value
        page.close()

    def process(self, pid: int, command: str, queues: str = "", environment: str = "", started: int = STARTED) -> None:
        """A living process, with the kernel's list of queues as it would see it."""
        directory = self.proc / str(pid)
        (directory / "net/netfilter").mkdir(parents=True)
        (directory / "stat").write_text(f"{pid} (a b) S {' '.join('0' * 18)} {started} 0\n")
        (directory / "cmdline").write_bytes(command.replace(" ", "\0").encode())
        (directory / "environ").write_bytes(environment.replace(" ", "\0").encode())
        (directory / "net/netfilter/nfnetlink_queue").write_text(queues)

    def journals(self, zone: MemoryZone, generation: int | None = None) -> None:
        """The journals of a zone's nodes, as files."""
        generation = generation or self.generation
        self.files.generation_directory(generation).mkdir(parents=True, exist_ok=True)
        for node, memory in enumerate(zone.journals):
            self.files.journal(generation, node).write_bytes(memory)
