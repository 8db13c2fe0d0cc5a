"""One node: a process that reads its queue, asks the packet plane, and answers.

Four moves, aioquic's: packets in, verdicts out, timers, configuration. Nothing is decided here.

A node may be killed at any instant. What it knew is in its journal before any packet left; what it
had in hand is still in the kernel's queue, and its next life hands that out once more (`replay.py`).
"""

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import sys
import time
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, NoReturn

import uvloop

from hyperplane.dataplane.engine import Dataplane, NodeIdentity
from hyperplane.dataplane.verdict import Accept, Lead, Reply
from hyperplane.flow.journal import JournalReader, JournalWriter, is_journal
from hyperplane.flow.ports import PoolKey
from hyperplane.io.claims import SharedPortClaims, pool_file_name
from hyperplane.io.emitter import Emitter
from hyperplane.io.mutants import Mutants
from hyperplane.io.nfqueue import Queue, QueuedPacket
from hyperplane.io.privilege import drop_to_net_admin
from hyperplane.io.replay import hand_out, note_read
from hyperplane.io.runtime import ZoneFiles, map_file
from hyperplane.io.snapshot_file import SnapshotReader
from hyperplane.io.status import NodeState, ShellCount, StatusPage, Word
from hyperplane.limits import (
    DRAIN_TIMEOUT_S,
    NODE_BEAT_S,
    PACKETS_PER_WAKE_MAX,
    PORT_POOLS_MAX,
    ROUNDS_PER_WAKE_MAX,
    SNAPSHOT_BEAT_S,
)
from hyperplane.snapshot import Snapshot
from netns.steer import HASH_SEED

_log = logging.getLogger("hyperplane.node")

SEED_BYTES = 32

_ANSWERED_ID, _HEARTBEAT_MS = int(Word.ANSWERED_ID), int(Word.HEARTBEAT_MS)
_POISONED = 70
"""Exit status of a node that met the bytes it was told to die of."""


@dataclass(frozen=True, slots=True)
class NodePlan:
    """What a node is told when it is born."""

    identity: NodeIdentity
    generation: int
    files: ZoneFiles
    zone_key: bytes
    snapshot: Snapshot
    """The last good one, as the supervisor knows it."""
    mutants: Mutants
    ready: int
    """Descriptor to write one byte to once the node serves."""


class Node:
    """The shell around one `Dataplane`."""

    def __init__(self, plan: NodePlan, queue: Queue, emitter: Emitter, reader: SnapshotReader) -> None:
        self._plan = plan
        self._queue = queue
        self._emitter = emitter
        self._snapshots = reader
        self._refusal_told: str | None = None
        index = plan.identity.index
        self._page = StatusPage(plan.files.status(plan.generation, index), writable=True)
        journal = memoryview(map_file(plan.files.journal(plan.generation, index), writable=True))
        self._dataplane = Dataplane(
            plan.identity,
            JournalWriter(journal),
            self._open_claims,
            os.urandom(SEED_BYTES),
            plan.zone_key,
            steering_seed=HASH_SEED,
        )
        self._dataplane.weaken(plan.mutants.of_headers)
        self._interfaces: dict[bytes, int] = {}
        self._eni_of_name: dict[str, int] = {}
        self._loop: asyncio.AbstractEventLoop
        self._next_snapshot_at = 0.0
        self._busy = False
        self._stop_at: float | None = None
        self._lived_before = False
        self._unreadable: set[str] = set()
        self._poison = plan.mutants.poison

    def _open_claims(self, key: PoolKey) -> SharedPortClaims:
        identity = self._plan.identity
        return SharedPortClaims(self._plan.files.ports / pool_file_name(key), identity.index, identity.node_count)

    # --- life --------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until told to stop. To be called in a process of its own."""
        plan, page, now = self._plan, self._page, time.monotonic()
        self._lived_before = page.get(Word.STARTED_MS) != 0
        page.put(Word.PID, os.getpid())
        page.put(Word.INDEX, plan.identity.index)
        page.put(Word.QUEUE, self._queue.number)
        page.put(Word.STATE, NodeState.STARTING)
        page.put(Word.STARTED_MS, int(now * 1000))
        page.add_shell(ShellCount.STARTS)
        if self._lived_before:
            self._dataplane.counters.values[:] = page.counter_values()
        self._beat_heart(now)
        _raise_file_limit()
        self._load(plan.snapshot, now)  # the file may be damaged by now; this one was good
        self._poll_snapshot(now)
        self._connect_peers()
        drop_to_net_admin()
        own = 0
        for own in self._dataplane.resume(now):  # noqa: B007 - the last step's sum is logged
            self._beat_heart(time.monotonic())
        self._catch_up()
        _log.info("node %d: %d flows, %d of its own", plan.identity.index, self._dataplane.flow_count, own)
        if self._lived_before and (waiting := hand_out(self._queue, page, plan.mutants.replays)):
            self._answer(waiting)
        # Flows hold no cycles; a collector that walks a million of them would stop packets for a second.
        gc.freeze()
        gc.disable()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_die)
        stopped = asyncio.Event()
        self._loop.add_signal_handler(signal.SIGTERM, self._begin_drain)
        self._loop.add_reader(self._queue.fileno(), self._on_readable)
        self._page.put(Word.STATE, NodeState.SERVING)
        os.write(self._plan.ready, b"1")
        os.close(self._plan.ready)
        self._beat(stopped)
        await stopped.wait()
        self._loop.remove_reader(self._queue.fileno())
        self._on_readable()

    def _begin_drain(self) -> None:
        """Packets go elsewhere from now on; answer what is still here, then end."""
        self._page.put(Word.STATE, NodeState.DRAINING)
        self._stop_at = time.monotonic() + DRAIN_TIMEOUT_S
        self._busy = True

    def _beat(self, stopped: asyncio.Event) -> None:
        """Heart, peers, timers, configuration: a fixed rhythm, whatever happens."""
        now = time.monotonic()
        self._beat_heart(now)
        dataplane = self._dataplane
        dataplane.receive_deltas(now)
        dataplane.handle_timeout(now)
        for outgoing in dataplane.packets_to_send():
            self._emitter.send(*outgoing)
        if now >= self._next_snapshot_at:
            self._poll_snapshot(now)
            self._connect_peers()
        page = self._page
        page.put(Word.FLOWS, dataplane.flow_count)
        page.put_counters(dataplane.counters.values)
        page.put_shell(ShellCount.QUEUE_ERRORS, self._queue.errors)
        page.put_shell(ShellCount.EMIT_FAILURES, self._emitter.failures)
        if self._stop_at is not None and (now >= self._stop_at or not self._busy):
            stopped.set()
            return
        self._busy = False
        self._loop.call_later(NODE_BEAT_S, self._beat, stopped)

    def _beat_heart(self, now: float) -> None:
        self._page.put(Word.HEARTBEAT_MS, int(now * 1000))

    # --- packets -----------------------------------------------------------------------------

    def _on_readable(self) -> None:
        """Packets are waiting. A bounded number of rounds, then the timers get their turn."""
        for _ in range(ROUNDS_PER_WAKE_MAX):
            packets = self._queue.read()
            if not packets:
                return
            self._busy = True
            note_read(self._page, packets)
            self._answer(packets)
            if len(packets) < PACKETS_PER_WAKE_MAX:
                return

    def _answer(self, packets: list[QueuedPacket]) -> None:
        """One verdict for each packet, in order, sent together; the page says how far we got."""
        queue = self._queue
        now = time.monotonic()
        self._dataplane.begin_batch(now)
        for packet in packets:
            if packet[5]:
                queue.flush()
                self._answer_alone(packet, now)
            else:
                self._decide(packet, now)
        queue.flush()
        words = self._page.words
        words[_ANSWERED_ID] = int.from_bytes(packets[-1][0], "big")
        words[_HEARTBEAT_MS] = int(now * 1000)

    def _decide(self, packet: QueuedPacket, now: float) -> None:
        queue = self._queue
        packet_id, start, length, interface_index, state, _ = packet
        if self._poison and self._poison in queue.buffer[start : start + length]:
            os._exit(_POISONED)
        number = self._interfaces.get(interface_index)
        if number is None:
            number = self._look_up_interface(interface_index)
        verdict = self._dataplane.receive_packet(queue.buffer, start, length, state, number, now)
        if type(verdict) is Accept:
            queue.accept(packet_id, start, self._dataplane.packet_length, verdict.eni_number)
            return
        if isinstance(verdict, Lead):
            if verdict.packets:
                queue.flush()  # what came earlier leaves earlier: its time stamp is older (RFC 7323 section 5)
            for outgoing in verdict.packets:
                self._emitter.send(*outgoing)
            queue.accept(packet_id, start, self._dataplane.packet_length, verdict.eni_number)
            return
        queue.drop(packet_id)
        if isinstance(verdict, Reply):
            self._emitter.send(verdict.packet, verdict.eni_number)

    def _answer_alone(self, packet: QueuedPacket, now: float) -> None:
        """A packet that was in a node's hands when it died: its id is on the page while we hold it."""
        packet_id, start, length, *_ = packet
        page = self._page
        digest = int.from_bytes(blake2b(self._queue.buffer[start : start + length], digest_size=8).digest(), "big")
        _log.warning("packet %016x of %d bytes comes a second time: a node died holding it", digest, length)
        page.add_shell(ShellCount.REPLAYED)
        page.put(Word.REPLAY_DIGEST, digest)
        page.put(Word.REPLAY_ID, int.from_bytes(packet_id, "big"))
        self._decide(packet, now)
        self._queue.flush()
        page.put(Word.REPLAY_ID, 0)

    # --- configuration -----------------------------------------------------------------------

    def _poll_snapshot(self, now: float) -> None:
        self._next_snapshot_at = now + SNAPSHOT_BEAT_S
        snapshot = self._snapshots.poll()
        if snapshot is not None:
            self._load(snapshot, now)
        refusal = self._snapshots.refusal
        if refusal != self._refusal_told:
            self._refusal_told = refusal
            if refusal is not None:
                self._page.add_shell(ShellCount.SNAPSHOTS_REFUSED)
                _log.error("snapshot refused, the last good one stays in force: %s", refusal)

    def _catch_up(self) -> None:
        """Take in all that the peers have told, with a beating heart."""
        self._dataplane.settle(time.monotonic(), lambda: self._beat_heart(time.monotonic()))

    def _load(self, snapshot: Snapshot, now: float) -> None:
        self._beat_heart(time.monotonic())
        self._dataplane.load_snapshot(snapshot, now)
        zone = snapshot.zone(self._plan.identity.zone)
        self._eni_of_name = {eni.interface: eni.number for eni in zone.enis} if zone else {}
        self._interfaces = {}
        self._page.put(Word.SNAPSHOT_VERSION, snapshot.version)

    def _look_up_interface(self, interface_index: bytes) -> int:
        """The ENI behind a kernel interface index; 0, which no ENI has, for others."""
        try:
            name = socket.if_indextoname(int.from_bytes(interface_index, "big"))
        except OSError:
            return 0  # gone since the packet was queued
        number = self._eni_of_name.get(name, 0)
        if number:
            self._interfaces[interface_index] = number
        return number

    def _connect_peers(self) -> None:
        """Read the journals of the other nodes, and adopt those of an older generation."""
        plan = self._plan
        if not plan.mutants.replicates:
            self._dataplane.mute()
            return
        index, count = plan.identity.index, plan.identity.node_count
        wanted: dict[str, Path] = {}
        adopted: set[str] = set()
        for generation in plan.files.generations():
            for path in plan.files.journals(generation):
                node = int(path.name.removeprefix("journal-"))
                name = f"{generation}/{node}"
                if generation < plan.generation and node % count == index:
                    adopted.add(name)
                peer = generation < plan.generation or (generation == plan.generation and node != index)
                if peer and name not in self._unreadable:
                    wanted[name] = path
        known = self._dataplane.peers
        if wanted.keys() == known.keys():
            return
        self._catch_up()
        readers = {name: known.get(name) or self._open_journal(name, path) for name, path in wanted.items()}
        found = {name: reader for name, reader in readers.items() if reader is not None}
        self._dataplane.set_peers(found, frozenset(adopted))

    def _open_journal(self, name: str, path: Path) -> JournalReader | None:
        """None when the generation that the journal belongs to has just ended, or was another version's."""
        try:
            memory = memoryview(map_file(path))
        except FileNotFoundError:
            return None
        if is_journal(memory):
            return JournalReader(memory)
        self._unreadable.add(name)
        _log.error("%s is a journal of another version: its flows are not taken over", path)
        return None


def _raise_file_limit() -> None:
    """Every port pool takes two descriptors; the usual soft limit is far below what pools may be."""
    wanted = 4 * PORT_POOLS_MAX
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))


def _die(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A callback has failed. The loop would go on, without a heart or with packets that nobody answers."""
    _log.error("a node dies: %s", context["message"], exc_info=context.get("exception"))
    sys.stderr.flush()
    os._exit(1)


def run_node(plan: NodePlan, queue: Queue, emitter: Emitter, reader: SnapshotReader) -> NoReturn:
    """The whole life of a forked node process. What goes wrong is the supervisor's to say."""
    Node(plan, queue, emitter, reader).run()
    logging.shutdown()
    os._exit(0)
