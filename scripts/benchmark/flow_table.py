"""The flow table without the network: `python -m benchmark.flow_table FLOWS`, one process, one JSON object.

A node's packet engine is fed with whole handshakes until it holds FLOWS established flows, then with one data
segment for each, then with data segments of flows drawn at random, both ways: that is the cost of a packet of a flow
in use. After a silence of a minute the peers are told with the first packet that a flow lives: measured apart.
Only the engine's own time is counted, its timers included, not the building of packets.
Memory is the growth of this process's proportional set size (PSS), journal included: what one node needs for
a flow that it has set up itself. A second engine then learns all of them from the first one's journal.

Not counted here: the queue, the system calls, the wake-ups. Those are in the live figures.
"""

import gc
import json
import mmap
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

from benchmark.configuration import ENDPOINT_NUMBER_FIRST, LOAD_BALANCER_NUMBER, ZONE, make_snapshot
from benchmark.failure import BenchmarkError
from benchmark.layout import HTTP
from benchmark.memory import pss_bytes
from benchmark.segments import ACK, DATA, HEADERS_BYTES, SYN, SYN_ACK, flipped, write_segment
from hyperplane.dataplane.engine import Dataplane, NodeIdentity
from hyperplane.dataplane.verdict import Accept
from hyperplane.flow.journal import JournalReader, JournalWriter, format_journal, journal_bytes
from hyperplane.flow.ports import PoolKey
from hyperplane.io.claims import SharedPortClaims, pool_file_name
from hyperplane.io.node import SEED_BYTES
from hyperplane.limits import FLOWS_PER_NODE_MAX, JOURNAL_RING_ENTRIES, NODE_BEAT_S
from hyperplane.wire.packet import ChecksumState

ENDPOINTS = ("10.80.0.1", "10.80.0.2", "10.80.0.3", "10.80.0.4")
"""Four, because one endpoint may hold no more than half a million flows."""
CLIENT_FIRST = IPv4Address("10.81.0.1")
NODES = 2
CLIENT_PORT_FIRST = 1024
CLIENT_PORTS = 60_000
BATCH = 500
TUPLE_BYTES = 12
PAYLOAD_BYTES = 64
PACKETS = 100_000
"""Data segments whose cost is measured."""
SILENCE_S = 60.0
"""Longer than the longest interval in which ages are told, shorter than any timer."""


class Node:
    """One engine, with its journal and its port claims in shared memory."""

    def __init__(self, index: int, ports: Path) -> None:
        self.memory = mmap.mmap(-1, journal_bytes(FLOWS_PER_NODE_MAX, JOURNAL_RING_ENTRIES))
        format_journal(memoryview(self.memory), FLOWS_PER_NODE_MAX, JOURNAL_RING_ENTRIES)
        writer = JournalWriter(memoryview(self.memory))

        def open_claims(key: PoolKey) -> SharedPortClaims:
            return SharedPortClaims(ports / pool_file_name(key), index, NODES)

        self.engine = Dataplane(
            NodeIdentity(ZONE, index, NODES), writer, open_claims, bytes(SEED_BYTES), bytes(SEED_BYTES)
        )
        snapshot = make_snapshot(ENDPOINTS, "10.82.0.1", "10.0.0.0/8", "10.0.0.0/8", NODES)
        self.engine.load_snapshot(snapshot, time.monotonic())


class Feed:
    """Feeds one engine and remembers how each flow looks to the target."""

    def __init__(self, engine: Dataplane, flow_count: int) -> None:
        self._engine = engine
        self._buffers = [bytearray(HEADERS_BYTES + PAYLOAD_BYTES) for _ in range(BATCH)]
        self._lengths = [0] * BATCH
        self._numbers = [0] * BATCH
        self._translated = bytearray(b"\xff" * (TUPLE_BYTES * flow_count))  # touched now, so not counted as growth
        self._flow_count = flow_count
        self._ahead_s = 0.0
        self._next_beat_at = 0.0
        self._draw = random.Random(1)
        self.engine_s = 0.0

    def set_up(self) -> None:
        """All flows, whole handshakes. Adds the engine's time to `engine_s`."""
        for first in range(0, self._flow_count, BATCH):
            flows = range(first, min(first + BATCH, self._flow_count))
            for place, flow in enumerate(flows):
                self._put(place, _original(flow), _number(flow), SYN, 0)
            self._run(len(flows))
            for place, flow in enumerate(flows):
                self._translated[flow * TUPLE_BYTES : (flow + 1) * TUPLE_BYTES] = self._buffers[place][12:24]
                self._put(place, flipped(self._tuple(flow)), LOAD_BALANCER_NUMBER, SYN_ACK, 0)
            self._run(len(flows))
            for place, flow in enumerate(flows):
                self._put(place, _original(flow), _number(flow), ACK, 0)
            self._run(len(flows))

    def pass_time(self, seconds: float) -> None:
        """The engine's clock goes on at once."""
        self._ahead_s += seconds

    def any_flow(self) -> int:
        return self._draw.randrange(self._flow_count)

    def forward(self, flows: Sequence[int]) -> None:
        """One data segment of each of these flows, either way. Adds the engine's time to `engine_s`."""
        for first in range(0, len(flows), BATCH):
            batch = flows[first : first + BATCH]
            for place, flow in enumerate(batch):
                if self._draw.random() < 0.5:
                    self._put(place, _original(flow), _number(flow), DATA, PAYLOAD_BYTES)
                else:
                    self._put(place, flipped(self._tuple(flow)), LOAD_BALANCER_NUMBER, DATA, PAYLOAD_BYTES)
            self._run(len(batch))

    def _tuple(self, flow: int) -> bytes:
        return bytes(self._translated[flow * TUPLE_BYTES : (flow + 1) * TUPLE_BYTES])

    def _put(self, place: int, tuple_bytes: bytes, number: int, flags: int, payload_bytes: int) -> None:
        self._lengths[place] = write_segment(self._buffers[place], tuple_bytes, flags, payload_bytes)
        self._numbers[place] = number

    def _run(self, count: int) -> None:
        receive, finished = self._engine.receive_packet, ChecksumState.FINISHED
        verdicts = []
        now = time.monotonic() + self._ahead_s
        began = time.perf_counter()
        if now >= self._next_beat_at:
            self._next_beat_at = now + NODE_BEAT_S
            self._engine.handle_timeout(now)
        for buffer, length, number in zip(self._buffers[:count], self._lengths, self._numbers, strict=False):
            verdicts.append(receive(buffer, 0, length, finished, number, now))
        self.engine_s += time.perf_counter() - began
        refused = [verdict for verdict in verdicts if not isinstance(verdict, Accept)]
        if refused:
            raise BenchmarkError(f"the engine refused {len(refused)} of {count} packets: {refused[0]}")


def _original(flow: int) -> bytes:
    """Client to endpoint. Flows take the endpoints in turn, then ports, then client addresses."""
    endpoint, rest = flow % len(ENDPOINTS), flow // len(ENDPOINTS)
    client = CLIENT_FIRST + rest // CLIENT_PORTS
    port = CLIENT_PORT_FIRST + rest % CLIENT_PORTS
    return (
        client.packed + IPv4Address(ENDPOINTS[endpoint]).packed + port.to_bytes(2, "big") + HTTP.port.to_bytes(2, "big")
    )


def _number(flow: int) -> int:
    return ENDPOINT_NUMBER_FIRST + flow % len(ENDPOINTS)


def measure(flow_count: int, ports: Path) -> dict[str, float]:
    """The figures of one case. `ports`: a directory in memory for the port claims."""
    node = Node(0, ports)
    feed = Feed(node.engine, flow_count)
    gc.freeze()
    gc.disable()  # as a node does
    empty = pss_bytes()
    feed.set_up()
    set_up_s, feed.engine_s = feed.engine_s, 0.0
    full = pss_bytes()
    feed.forward(range(flow_count))
    feed.engine_s = 0.0
    feed.forward([feed.any_flow() for _ in range(PACKETS)])
    packet_s, feed.engine_s = feed.engine_s / PACKETS, 0.0
    feed.pass_time(SILENCE_S)
    woken = range(min(flow_count, PACKETS))
    feed.forward(woken)
    found = {
        "flows": float(flow_count),
        "set_up_per_s": flow_count / set_up_s,
        "packet_us": packet_s * 1e6,
        "first_packet_us": feed.engine_s / len(woken) * 1e6,
        "bytes_per_flow": (full - empty) / flow_count,
    }
    return found | _measure_replica(node, flow_count, ports)


def _measure_replica(node: Node, flow_count: int, ports: Path) -> dict[str, float]:
    """What a peer needs to learn all flows from the journal, and to hold them."""
    peer = Node(1, ports)
    empty = pss_bytes()
    peer.engine.set_peers({"node-0": JournalReader(memoryview(node.memory))})
    began = time.perf_counter()
    while peer.engine.receive_deltas(time.monotonic()):
        pass
    taken_s = time.perf_counter() - began
    held = peer.engine.flow_count
    if held != flow_count:
        raise BenchmarkError(f"the peer learned {held} of {flow_count} flows")
    return {"replica_per_s": flow_count / taken_s, "replica_bytes_per_flow": (pss_bytes() - empty) / flow_count}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="hp-bench-", dir="/dev/shm") as directory:
        print(json.dumps(measure(int(sys.argv[1]), Path(directory))))
