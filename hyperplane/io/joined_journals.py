"""A zone's journals, read and joined: each flow once, as all who saw it know it together.

A node's journal holds one row for each flow that it has touched. Rows of one flow are joined as the
nodes themselves join them (`FlowEntry.join`): states are OR-ed, the newest moment wins, a higher epoch
wins whole. Journals are mapped for reading only.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hyperplane.flow.entry import BORN_MODULUS, EPOCHS
from hyperplane.flow.journal import HEADER_BYTES, Delta, JournalReader, is_journal
from hyperplane.io.runtime import ZoneFiles, map_file

_WHICH_FLOW = Delta._fields.index("born_ms") + 1
"""So many fields of a delta say which flow it is: both keys, and when it was made."""


@dataclass(slots=True)
class JoinedFlow:
    """What all journals together know of one flow."""

    first: Delta
    epoch: int
    state: int
    seen_at: float
    told_by: list[str] = field(default_factory=list)

    def join(self, name: str, delta: Delta) -> None:
        """`name`: of the journal that tells this."""
        if delta[:_WHICH_FLOW] != self.first[:_WHICH_FLOW]:
            if not _is_younger(delta, self.first):
                return  # it made way, from another source port or from the same
            self.first, self.epoch, self.state, self.seen_at = delta, delta.epoch, delta.state, delta.seen_at
            self.told_by.clear()
        self.told_by.append(name)
        self.seen_at = max(self.seen_at, delta.seen_at)
        ahead = (delta.epoch - self.epoch) % EPOCHS
        if ahead == 0:
            self.state |= delta.state
        elif ahead < EPOCHS // 2:
            self.epoch, self.state = delta.epoch, delta.state


def _is_younger(comer: Delta, standing: Delta) -> bool:
    """Whether of two flows on one tuple of a client's `comer` is the one that is left (`flow/replication.py`)."""
    age_ms = (comer.born_ms - standing.born_ms) % BORN_MODULUS
    if age_ms == 0:
        return (comer.target, comer.snat_port) > (standing.target, standing.snat_port)
    return age_ms < BORN_MODULUS // 2


def open_journals(files: ZoneFiles) -> Iterator[tuple[str, JournalReader]]:
    """A zone's journals with what their writers are called, oldest generation first.

    A journal that is just being made or removed is left out: it tells of nothing.
    """
    in_force = files.generation()
    for generation in files.generations():
        for path in files.journals(generation):
            node = path.name.removeprefix("journal-")
            reader = open_journal(path)
            if reader is not None:
                yield node if generation == in_force else f"{generation}/{node}", reader


def open_journal(path: Path) -> JournalReader | None:
    """A reader of one journal; None if the file is gone, not formatted yet, or of another version."""
    try:
        if path.stat().st_size <= HEADER_BYTES:
            return None
        memory = memoryview(map_file(path))
    except FileNotFoundError:
        return None
    return JournalReader(memory) if is_journal(memory) else None


def join_journals(
    journals: Iterable[tuple[str, JournalReader]], endpoints: frozenset[int] | None = None
) -> Collection[JoinedFlow]:
    """All flows of these journals, each once. `endpoints`: only those of these ENI numbers."""
    flows: dict[tuple[object, ...], JoinedFlow] = {}
    for name, reader in journals:
        for delta in reader.deltas():
            if endpoints is not None and delta.endpoint not in endpoints:
                continue
            original = delta.endpoint, delta.protocol, delta.client, delta.client_port, delta.service_port
            flow = flows.get(original)
            if flow is None:
                flow = flows[original] = JoinedFlow(delta, delta.epoch, delta.state, delta.seen_at)
            flow.join(name, delta)
        reader.release()
    return flows.values()
