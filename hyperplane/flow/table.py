"""All flows of one node: bounded, found from both directions, forgotten by deadline.

Expiry is lazy. An entry sits in a bucket, one per second; a packet only moves the entry's
`seen_at`. When a bucket comes due its entries are looked at again and go to the bucket of their
real deadline, or end. So a packet costs nothing here, and an idle flow is touched once per
timeout. A state change that brings the deadline nearer schedules the entry a second time; an
entry met twice is harmless.
"""

from collections.abc import Iterator

from hyperplane.flow.entry import GONE, FlowEntry
from hyperplane.flow.tcp_state import is_half_open


class FlowTable:
    """Entries by original and by translated key."""

    def __init__(self) -> None:
        self.original: dict[bytes, FlowEntry] = {}
        self.translated: dict[bytes, FlowEntry] = {}
        self._buckets: dict[int, list[FlowEntry]] = {}
        self._next_bucket: int | None = None

    def __len__(self) -> int:
        return len(self.original)

    def __iter__(self) -> Iterator[FlowEntry]:
        return iter(self.original.values())

    def insert(self, entry: FlowEntry) -> None:
        """Add `entry`. Neither key may be there."""
        assert entry.original_key not in self.original and entry.translated_key not in self.translated
        self.original[entry.original_key] = entry
        self.translated[entry.translated_key] = entry
        endpoint = entry.endpoint
        endpoint.flow_count += 1
        if is_half_open(entry.state):
            endpoint.half_open[entry.original_key] = None
        self.schedule(entry)

    def remove(self, entry: FlowEntry) -> None:
        """Forget `entry`, which must be there."""
        del self.original[entry.original_key]
        del self.translated[entry.translated_key]
        endpoint = entry.endpoint
        endpoint.flow_count -= 1
        endpoint.half_open.pop(entry.original_key, None)
        entry.state = GONE

    def state_changed(self, entry: FlowEntry) -> None:
        """`entry` has entered another state: keep the half-open list and the deadline right."""
        if is_half_open(entry.state):
            entry.endpoint.half_open[entry.original_key] = None
        else:
            entry.endpoint.half_open.pop(entry.original_key, None)
        self.schedule(entry)

    def schedule(self, entry: FlowEntry) -> None:
        """Look at `entry` again when its present deadline comes."""
        bucket = int(entry.expires_at()) + 1
        waiting = self._buckets.get(bucket)
        if waiting is None:
            self._buckets[bucket] = [entry]
            if self._next_bucket is None or bucket < self._next_bucket:
                self._next_bucket = bucket
        else:
            waiting.append(entry)

    def next_timeout(self) -> float | None:
        """When the next bucket comes due, or None if nothing is remembered."""
        return None if self._next_bucket is None else float(self._next_bucket)

    def due(self, now: float, at_most: int) -> list[FlowEntry]:
        """Entries whose deadline has passed, about `at_most` of them; they are still in the table.

        The caller decides (a peer may know better) and either removes or schedules each again.
        """
        ended: list[FlowEntry] = []
        looked_at = 0
        while self._next_bucket is not None and self._next_bucket <= now and looked_at < at_most:
            waiting = self._buckets[self._next_bucket]
            while waiting and looked_at < at_most:
                entry = waiting.pop()
                looked_at += 1
                if entry.state == GONE:
                    continue
                if entry.expires_at() <= now:
                    ended.append(entry)
                else:
                    self.schedule(entry)
            if not waiting:
                del self._buckets[self._next_bucket]
                self._next_bucket = min(self._buckets, default=None)
        return ended
