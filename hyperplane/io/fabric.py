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
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from hyperplane.dataplane.engine import NodeIdentity
from hyperplane.errors import ConfigurationError
from hyperplane.io.emitter import Emitter
from hyperplane.io.generation import make_generation, make_zone, remove_generation, rules_lock, start_lock
from hyperplane.io.mutants import Mutants
from hyperplane.io.nfqueue import Queue
from hyperplane.io.node import SEED_BYTES, NodePlan, run_node
from hyperplane.io.privilege import check_reachable, node_user_ids
from hyperplane.io.processes import end_process, own_identity, read_identity, say_ready, write_identity
from hyperplane.io.runtime import snapshot_file, write_atomically, zone_files
from hyperplane.io.snapshot_file import SnapshotReader, read_snapshot
from hyperplane.io.status import StatusPage
from hyperplane.io.steering import queue_number, steering_of
from hyperplane.io.supervisor import Child, Supervisor
from hyperplane.limits import DRAIN_TIMEOUT_S, STEERING_CHECK_S, SUPERVISOR_BEAT_S
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
        self.generation = 0
        self._zone_key = os.urandom(SEED_BYTES)
        self._queues: list[Queue] = []
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._restart = False
        self._reader = SnapshotReader(self._snapshot_path)
        self._namespace_identity = identity_or_none(plan.namespace)
        self._steering: Steering
        self._fingerprint = ""
        self._trouble: str | None = None
        self._supervisor = Supervisor(self._run_node, [], contextlib.nullcontext)

    # --- a generation begins -----------------------------------------------------------------

    def start(self) -> None:
        """Steps 1 to 5. Raises OSError, ConfigurationError, RulesetError, saying what is missing.

        One fabric of a zone at a time: another one waits, and then takes over from this one.
        """
        owner = node_user_ids()
        make_zone(self._files, owner)
        check_reachable(self._files.directory.resolve())
        with start_lock(self._files):
            older = self._files.generations()
            self.generation = max([self._files.generation(), *older]) + 1
            rows = self._snapshot.flows_per_node_max
            make_generation(self._files, self.generation, self._zone.node_count, rows, owner)
            with contextlib.ExitStack() as failed:
                failed.callback(self._abandon)
                self._bind_and_fork()
                self._take_over()
                failed.pop_all()
            for generation in older:
                try:
                    self._end_generation(generation)
                except OSError as error:
                    # Packets go to us now; the next start tries again.
                    _log.error("generation %d could not be ended: %s", generation, error)

    def _abandon(self) -> None:
        """The start has failed: take back what was made of this generation. The older ones go on."""
        self._supervisor.stop_all(DRAIN_TIMEOUT_S)
        remove_generation(self._files, self.generation)

    def _bind_and_fork(self) -> None:
        """Steps 1 and 2."""
        count = self._zone.node_count
        with inside(self._plan.namespace):
            self._queues = [Queue(queue_number(self.generation, node)) for node in range(count)]
            self._emitter = Emitter()
        pages = [StatusPage(self._files.status(self.generation, node), writable=True) for node in range(count)]
        self._supervisor = Supervisor(self._run_node, pages, lambda: inside(self._plan.namespace))
        self._supervisor.on_start = self._watch
        self._supervisor.start_all()

    def _take_over(self) -> None:
        """Step 3. From here on older generations leave the rules alone."""
        steering = self._wanted_steering()
        self._fingerprint = expected_fingerprint(steering)
        self._steering = steering
        with rules_lock(self._files):
            apply(self._plan.namespace, steering)
            write_atomically(self._files.generation_file, b"%d\n" % self.generation)

    def _run_node(self, index: int, ready: int) -> None:
        """In the forked process: keep what belongs to this node, let go of the rest, serve."""
        write_identity(self._files.process(self.generation, index), own_identity())
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        self._selector.close()
        for node, queue in enumerate(self._queues):
            if node != index:
                queue.close()
        identity = NodeIdentity(self._plan.zone, index, self._zone.node_count)
        plan = NodePlan(
            identity, self.generation, self._files, self._zone_key, self._snapshot, self._plan.mutants, ready
        )
        run_node(plan, self._queues[index], self._emitter, SnapshotReader(self._snapshot_path))

    def _end_generation(self, generation: int) -> None:
        """Steps 4 and 5 for an older generation, however it was left."""
        own = own_identity()
        files = self._files
        # The supervisor first: it would put new nodes in the places of those that end.
        for path in (files.supervisor(generation), *files.processes(generation)):
            identity = read_identity(path)
            if identity is not None and identity != own:
                end_process(identity, DRAIN_TIMEOUT_S)
        remove_generation(files, generation)
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

    def stop(self) -> None:
        """End the nodes. The rules stay: without nodes they drop everything."""
        self._supervisor.stop_all(DRAIN_TIMEOUT_S)

    def _watch(self, child: Child) -> None:
        """Hear at once when this node ends."""
        self._selector.register(child.pidfd, selectors.EVENT_READ, lambda: self._on_death(child))

    def _on_death(self, child: Child) -> None:
        self._selector.unregister(child.pidfd)
        self._supervisor.died(child)

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
        self._check_rules()

    def _check_ground(self) -> None:
        """The namespace may have been deleted under us, and ENIs may have come."""
        if identity_or_none(self._plan.namespace) != self._namespace_identity:
            _log.error("the namespace %s is gone: this fabric ends", self._plan.namespace)
            self._stopping = True
            return
        self._check_rules()

    def _wanted_steering(self) -> Steering:
        with inside(self._plan.namespace):
            return steering_of(self._snapshot, self._zone, self.generation)

    def _on_rules(self) -> None:
        self._rules.heard()
        self._check_rules()

    def _check_rules(self) -> None:
        """Make the rules what they should be. What fails is logged and tried again at the next beat."""
        try:
            self._follow_steering()
            self._compare_rules()
        except (RulesetError, NamespaceMissing, OSError) as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                _log.error("the rules of %s cannot be kept, to be tried again: %s", self._plan.namespace, error)
            return
        if self._trouble is not None:
            self._trouble = None
            _log.info("the rules of %s are kept again", self._plan.namespace)

    def _follow_steering(self) -> None:
        """Write other rules where the snapshot or the links ask for them."""
        wanted = self._wanted_steering()
        if wanted == self._steering:
            return
        # The print first: without it nothing is changed, with it `_compare_rules` finishes what fails half way.
        self._fingerprint, self._steering = expected_fingerprint(wanted), wanted
        self._write_rules()

    def _compare_rules(self) -> None:
        """Write the rules again if they are not what they should be, unless a newer generation wrote them."""
        if fingerprint(self._plan.namespace) != self._fingerprint and self._write_rules():
            _log.error("the rules of %s were changed by somebody else: written again", self._plan.namespace)

    def _write_rules(self) -> bool:
        """Put our rules in force. False, and nothing is done, when packets go to a newer generation already."""
        with rules_lock(self._files):
            if self._files.generation() > self.generation:
                return False
            apply(self._plan.namespace, self._steering)
            return True


def _zone_of(snapshot: Snapshot, name: str, path: Path) -> Zone:
    zone = snapshot.zone(name)
    if zone is None:
        known = ", ".join(zone.name for zone in snapshot.zones)
        raise ConfigurationError(str(path), f"there is no zone {name}; there are {known}")
    return zone


def _tell(kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
    """Log what ends the fabric."""
    _log.critical("the fabric ends; its nodes go on", exc_info=error)
    logging.shutdown()


def run_fabric(plan: FabricPlan) -> int:
    """Serve one zone until told to stop. Returns the exit status; a new generation replaces this process image."""
    fabric = Fabric(plan)
    fabric.start()
    _log.info("zone %s: generation %d serves", plan.zone, fabric.generation)
    with contextlib.ExitStack() as failed:
        # Not by way of destructors: they would unbind the queues that living nodes still serve.
        failed.callback(os._exit, 1)
        failed.push(_tell)
        say_ready()
        restart = fabric.serve()
        failed.pop_all()
    if restart:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    fabric.stop()
    return 0
