"""The fabric of one zone: binds the queues, starts the nodes, sets the steering, stands guard.

Start, restart, upgrade and change of the number of nodes are one operation, a new generation:

    1  bind a new set of queue numbers (a queue cannot be taken over while any process holds it)
    2  start nodes that take in what the old generation's journals hold
    3  switch the steering rules to the new queues, in one atomic write
    4  let the old nodes answer what they still hold, then end them and their supervisor
    5  remove the old journals; the new nodes have adopted what was in them

If this process is killed the nodes go on: each holds its own queue. The next fabric starts a new
generation beside them and loses nothing.
"""

import contextlib
import logging
import os
import selectors
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from hyperplane.dataplane.engine import NodeIdentity
from hyperplane.errors import ConfigurationError
from hyperplane.flow.journal import format_journal, journal_bytes
from hyperplane.io.emitter import Emitter
from hyperplane.io.mutants import Mutants
from hyperplane.io.nfqueue import Queue
from hyperplane.io.node import SEED_BYTES, NodePlan, run_node
from hyperplane.io.privilege import check_reachable, node_user_ids
from hyperplane.io.processes import say_ready
from hyperplane.io.runtime import map_file, snapshot_file, write_atomically, zone_files
from hyperplane.io.snapshot_file import SnapshotReader, read_snapshot
from hyperplane.io.status import StatusPage, Word
from hyperplane.io.steering import queue_number, steering_of
from hyperplane.io.supervisor import Child, Supervisor, end_process
from hyperplane.limits import DRAIN_TIMEOUT_S, JOURNAL_RING_ENTRIES, STEERING_CHECK_S, SUPERVISOR_BEAT_S
from hyperplane.snapshot import Snapshot, Zone
from netns.iptables import RulesetError
from netns.namespace import NamespaceMissing, identity_or_none, inside
from netns.ruleset_watch import RulesetWatch
from netns.steer import Steering, apply, expected_fingerprint, fingerprint

_log = logging.getLogger("hyperplane.fabric")


@dataclass(frozen=True, slots=True)
class FabricPlan:
    """What `hyperplane fabric` was told."""

    zone: str
    namespace: str
    runtime: Path
    mutants: Mutants


class Fabric:
    """One generation of one zone."""

    def __init__(self, plan: FabricPlan) -> None:
        self._plan = plan
        self._snapshot_path = snapshot_file(plan.runtime)
        self._snapshot = read_snapshot(self._snapshot_path)
        self._zone = _zone_of(self._snapshot, plan.zone, self._snapshot_path)
        self._files = zone_files(plan.runtime, self._zone.zone_id)
        self._older = self._files.generations()
        self.generation = max([self._files.generation(), *self._older]) + 1
        self._zone_key = os.urandom(SEED_BYTES)
        self._queues: list[Queue] = []
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._restart = False
        self._reader = SnapshotReader(self._snapshot_path)
        self._namespace_identity = identity_or_none(plan.namespace)
        self._steering: Steering
        self._fingerprint = ""
        self._supervisor = Supervisor(self._run_node, [], contextlib.nullcontext)

    # --- a generation begins -----------------------------------------------------------------

    def start(self) -> None:
        """Steps 1 to 5. Raises OSError, ConfigurationError, RulesetError, saying what is missing."""
        count = self._zone.node_count
        self._make_files(count)
        with inside(self._plan.namespace):
            self._queues = [Queue(queue_number(self.generation, node)) for node in range(count)]
            self._emitter = Emitter()
        pages = [StatusPage(self._files.status(self.generation, node), writable=True) for node in range(count)]
        self._supervisor = Supervisor(self._run_node, pages, lambda: inside(self._plan.namespace))
        self._supervisor.on_start = self._watch
        self._supervisor.start_all()
        self._set_steering()
        write_atomically(self._files.generation_file, b"%d\n" % self.generation)
        for older in self._older:
            self._end_generation(older)

    def _make_files(self, count: int) -> None:
        """Journals and pages of this generation, owned by the user that nodes run as."""
        uid, gid = node_user_ids()
        directory = self._files.generation_directory(self.generation)
        for made in (self._files.ports, directory):
            made.mkdir(parents=True, exist_ok=True)
            os.chown(made, uid, gid)
        check_reachable(directory.resolve())
        rows = self._snapshot.flows_per_node_max
        for node in range(count):
            path = self._files.journal(self.generation, node)
            memory = map_file(path, journal_bytes(rows, JOURNAL_RING_ENTRIES), writable=True)
            view = memoryview(memory)
            format_journal(view, rows, JOURNAL_RING_ENTRIES)
            view.release()
            memory.close()
            StatusPage(self._files.status(self.generation, node), writable=True).close()
            for made in (path, self._files.status(self.generation, node)):
                os.chown(made, uid, gid)
        self._files.supervisor(self.generation).write_text(f"{os.getpid()}\n")

    def _run_node(self, index: int, ready: int) -> None:
        """In the forked process: keep what belongs to this node, let go of the rest, serve."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        self._selector.close()
        for node, queue in enumerate(self._queues):
            if node != index:
                queue.close()
        identity = NodeIdentity(self._plan.zone, index, self._zone.node_count)
        plan = NodePlan(identity, self.generation, self._files, self._zone_key, self._plan.mutants, ready)
        run_node(plan, self._queues[index], self._emitter, SnapshotReader(self._snapshot_path))

    def _end_generation(self, generation: int) -> None:
        """Steps 4 and 5 for an older generation, however it was left."""
        supervisor = _read_pid(self._files.supervisor(generation))
        if supervisor and supervisor != os.getpid() and _is_ours(supervisor):
            _end(supervisor)
        for path in sorted(self._files.generation_directory(generation).glob("status-*")):
            page = StatusPage(path)
            pid = page.get(Word.PID)
            page.close()
            if pid and _is_ours(pid):
                _end(pid)
        shutil.rmtree(self._files.generation_directory(generation))
        _log.info("generation %d has ended", generation)

    # --- standing guard ----------------------------------------------------------------------

    def serve(self) -> bool:
        """Watch nodes, rules and configuration until told to stop. True: start a new generation instead."""
        self._watch_signals()
        self._rules = RulesetWatch(self._plan.namespace)
        self._selector.register(self._rules.fileno(), selectors.EVENT_READ, self._on_rules)
        next_check_at = 0.0
        while not self._stopping:
            for key, _ in self._selector.select(SUPERVISOR_BEAT_S):
                key.data()
            now = time.monotonic()
            self._supervisor.check(now)
            self._poll_snapshot()
            if now >= next_check_at:
                next_check_at = now + STEERING_CHECK_S
                self._check_ground()
        self._rules.close()
        return self._restart

    def abandon(self) -> None:
        """The start has failed: take back what was made of this generation. The older ones go on."""
        self._supervisor.stop_all(DRAIN_TIMEOUT_S)
        shutil.rmtree(self._files.generation_directory(self.generation), ignore_errors=True)

    def stop(self) -> None:
        """End the nodes. The rules stay: without nodes they drop everything."""
        self._supervisor.stop_all(DRAIN_TIMEOUT_S)

    def _watch(self, child: Child) -> None:
        """Hear at once when this node ends."""
        self._selector.register(child.pidfd, selectors.EVENT_READ, lambda: self._on_death(child))

    def _on_death(self, child: Child) -> None:
        self._selector.unregister(child.pidfd)
        try:
            self._supervisor.died(child)
        except NamespaceMissing as error:
            _log.error("no new node: %s", error)
            self._stopping = True

    def _watch_signals(self) -> None:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)

        def told() -> None:
            os.read(reading, 64)
            self._stopping = True

        self._selector.register(reading, selectors.EVENT_READ, told)

    def _poll_snapshot(self) -> None:
        """Follow the snapshot: other ENIs or shards change the rules, another number of nodes the generation."""
        snapshot = self._reader.poll()
        if snapshot is None:
            return
        try:
            zone = _zone_of(snapshot, self._plan.zone, self._snapshot_path)
        except ConfigurationError as error:
            _log.error("snapshot %d is not for this fabric: %s", snapshot.version, error)
            return
        self._snapshot = snapshot
        if zone.node_count != self._zone.node_count:
            _log.info("%d nodes instead of %d: a new generation", zone.node_count, self._zone.node_count)
            self._stopping = self._restart = True
            return
        self._zone = zone
        self._check_steering()

    def _check_ground(self) -> None:
        """The namespace may have been deleted under us, and ENIs may have come."""
        if identity_or_none(self._plan.namespace) != self._namespace_identity:
            _log.error("the namespace %s is gone: this fabric ends", self._plan.namespace)
            self._stopping = True
            return
        self._check_steering()
        self._compare_rules()

    def _check_steering(self) -> None:
        with inside(self._plan.namespace):
            wanted = steering_of(self._snapshot, self._zone, self.generation)
        if wanted != self._steering:
            self._set_steering()

    def _set_steering(self) -> None:
        with inside(self._plan.namespace):
            self._steering = steering_of(self._snapshot, self._zone, self.generation)
        self._fingerprint = expected_fingerprint(self._steering)
        apply(self._plan.namespace, self._steering)

    def _on_rules(self) -> None:
        self._rules.heard()
        self._compare_rules()

    def _compare_rules(self) -> None:
        """Write the rules again if they are not what they should be, unless a newer generation wrote them."""
        try:
            if fingerprint(self._plan.namespace) == self._fingerprint or self._superseded():
                return
            _log.error("the rules of %s were changed by somebody else: written again", self._plan.namespace)
            apply(self._plan.namespace, self._steering)
        except (RulesetError, NamespaceMissing) as error:
            _log.error("the rules of %s cannot be checked: %s", self._plan.namespace, error)

    def _superseded(self) -> bool:
        return any(generation > self.generation for generation in self._files.generations())


def _zone_of(snapshot: Snapshot, name: str, path: Path) -> Zone:
    zone = snapshot.zone(name)
    if zone is None:
        known = ", ".join(zone.name for zone in snapshot.zones)
        raise ConfigurationError(str(path), f"there is no zone {name}; there are {known}")
    return zone


def _read_pid(path: Path) -> int:
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return 0


def _is_ours(pid: int) -> bool:
    """Whether the process is still one of ours: numbers are used again by the kernel."""
    try:
        return b"hyperplane" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _end(pid: int) -> None:
    """Ask a process that may not be our child to end, and see to it."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        end_process(pid, pidfd, DRAIN_TIMEOUT_S)
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        _log.debug("pid %d was started by another fabric", pid)
    finally:
        os.close(pidfd)


def run_fabric(plan: FabricPlan) -> int:
    """Serve one zone until told to stop. Returns the exit status; a new generation replaces this process image."""
    fabric = Fabric(plan)
    try:
        fabric.start()
    except BaseException:
        fabric.abandon()
        raise
    try:
        _log.info("zone %s: generation %d serves", plan.zone, fabric.generation)
        say_ready()
        restart = fabric.serve()
    except BaseException:
        # Not by way of destructors: they would unbind the queues that living nodes still serve.
        _log.exception("the fabric of zone %s ends; its nodes go on", plan.zone)
        logging.shutdown()
        os._exit(1)
    if restart:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    fabric.stop()
    return 0
