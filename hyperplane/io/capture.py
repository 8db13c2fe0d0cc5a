"""Record what passes at many places at once: one pcapng file for each hop, or one stream for all.

One thread reads all taps in turn. What the kernel had to drop because we were too slow is counted by the kernel
and written into the file, so a gap is never mistaken for silence. Within one round of reading packets are in the
order of their times; between two places, a packet may come a little late.
"""

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from hyperplane.io.hops import Hop, Place
from hyperplane.io.pcapng import INBOUND, OUTBOUND, PcapngWriter
from hyperplane.io.tap import Program, Tap, TappedPacket

APPLICATION = "hyperplane capture"
SUFFIX = ".pcapng"
_BEAT_S = 0.25
"""How often a capture without packets looks at its clock."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """When to stop by itself: after so many seconds, after so many packets in all; None is never."""

    seconds: float | None = None
    packets: int | None = None


@dataclass(slots=True)
class Recorded:
    """What one file (or the stream) holds."""

    name: str
    interfaces: int
    packets: int = 0
    bytes: int = 0
    lost: int = 0
    """Packets that the kernel had to drop before we could read them."""


@dataclass(slots=True)
class _Record:
    """One writer and the places that it writes of."""

    writer: PcapngWriter
    recorded: Recorded
    taps: list[Tap] = field(default_factory=list)


class Capture:
    """All taps of one capture, and where each one's packets go."""

    def __init__(self, bounds: Bounds, program: Program = ()) -> None:
        self._bounds = bounds
        self._program = program
        self._records: list[_Record] = []
        self._selector = selectors.DefaultSelector()
        self._packets = 0

    def add(self, name: str, stream: BinaryIO, places: Sequence[Place]) -> None:
        """Listen at `places`, write to `stream`. Raises NamespaceMissing, OSError."""
        record = _Record(
            PcapngWriter(stream, (_described(place) for place in places), APPLICATION), Recorded(name, len(places))
        )
        self._records.append(record)
        for number, place in enumerate(places):
            tap = Tap(place.namespace, place.interface, self._program)
            record.taps.append(tap)
            self._selector.register(tap, selectors.EVENT_READ, (record, number, tap))
        record.writer.flush()

    def run(self, stopped: Callable[[], bool], wake: int) -> None:
        """Record until a bound is reached, or `stopped` after `wake` became readable. Raises BrokenPipeError."""
        self._selector.register(wake, selectors.EVENT_READ, None)
        seconds = self._bounds.seconds
        until = None if seconds is None else time.monotonic() + seconds
        while not stopped() and self._room() != 0:
            left_s = _BEAT_S if until is None else until - time.monotonic()
            if left_s <= 0:
                break
            events = self._selector.select(min(left_s, _BEAT_S))
            self._write(key.data for key, _ in events if key.data is not None)
        self._selector.unregister(wake)
        self._write(key.data for key in list(self._selector.get_map().values()))

    def close(self) -> list[Recorded]:
        """Stop listening, write how much was lost, and say what was recorded. Raises BrokenPipeError."""
        now_ns = time.time_ns()
        for record in self._records:
            for number, tap in enumerate(record.taps):
                tap.count()
                record.recorded.lost += tap.dropped
                record.writer.write_statistics(number, now_ns, tap.received, tap.dropped)
                tap.close()
            record.writer.flush()
        self._selector.close()
        return [record.recorded for record in self._records]

    def _room(self) -> int | None:
        """How many packets may still be written; None is any number."""
        packets = self._bounds.packets
        return None if packets is None else packets - self._packets

    def _write(self, ready: Iterator[tuple[_Record, int, Tap]]) -> None:
        heard: list[tuple[TappedPacket, _Record, int]] = []
        for record, number, tap in ready:
            heard += ((packet, record, number) for packet in tap.read())
        for packet, record, number in sorted(heard, key=lambda item: item[0].time_ns)[: self._room()]:
            direction = OUTBOUND if packet.outgoing else INBOUND
            record.writer.write(number, packet.time_ns, packet.data, len(packet.data), direction)
            record.recorded.packets += 1
            record.recorded.bytes += len(packet.data)
            self._packets += 1
        for record in {id(record): record for _, record, _ in heard}.values():
            record.writer.flush()


def _described(place: Place) -> tuple[str, str, str]:
    """Name, description and comment of a place's interface."""
    order = list(Hop).index(place.hop) + 1
    return place.name, place.what, f"hop {order} of {len(Hop)} ({place.hop.value}), address {place.address}"


def by_hop(places: Sequence[Place]) -> dict[Hop, list[Place]]:
    """Places of each hop that has any, in the order of the hops."""
    groups = {hop: [place for place in places if place.hop is hop] for hop in Hop}
    return {hop: found for hop, found in groups.items() if found}


def file_of(directory: Path, hop: Hop) -> Path:
    """Where a hop's packets go: `2-endpoint.pcapng`."""
    return directory / f"{list(Hop).index(hop) + 1}-{hop.value}{SUFFIX}"


@contextlib.contextmanager
def stop_signals() -> Iterator[tuple[Callable[[], bool], int]]:
    """Ctrl-C and SIGTERM end a capture between two packets: (whether one came, a descriptor that becomes readable)."""
    came: list[int] = []
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    wanted = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in wanted}
    wakeup_before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield (lambda: bool(came)), reading
    finally:
        signal.set_wakeup_fd(wakeup_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)
