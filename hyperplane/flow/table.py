"""All flows of one node: bounded, found from both directions, forgotten by deadline.

Expiry is lazy. An entry waits in one bucket, of which there is one per second; a packet only moves
the entry's `seen_at`. When a bucket comes due its entries are looked at: they end, or wait for their
deadline in another bucket, but never longer than a minute. So a packet costs nothing here, a flow
costs one look per minute, and what is over is not kept by a bucket that is hours away.
"""

from collections.abc import Iterator

from hyperplane.flow.entry import GONE, Bucket, FlowEntry
from hyperplane.flow.tcp_state import is_half_open

LOOK_AHEAD_S = 60
"""An entry is looked at this often. Our choice: not less than most timers, so a nearer deadline is rarely news."""


class FlowTable:
    """Entries by original and by translated key."""

    def __init__(self) -> None:
        self.original: dict[bytes, FlowEntry] = {}
        self.translated: dict[bytes, FlowEntry] = {}
        self._buckets: dict[int, Bucket] = {}
        self._next_bucket: Bucket | None = None

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
        self.schedule(entry, entry.seen_at)

    def remove(self, entry: FlowEntry) -> None:
        """Forget `entry`, which must be there."""
        del self.original[entry.original_key]
        del self.translated[entry.translated_key]
        endpoint = entry.endpoint
        endpoint.flow_count -= 1
        endpoint.half_open.pop(entry.original_key, None)
        entry.state = GONE
        entry.bucket = None

    def state_changed(self, entry: FlowEntry) -> None:
        """`entry` has entered another state: keep the half-open list and the deadline right."""
        half_open = entry.endpoint.half_open
        if is_half_open(entry.state):
            half_open[entry.original_key] = None
        elif half_open:
            half_open.pop(entry.original_key, None)
        self.schedule(entry, entry.seen_at)

    def schedule(self, entry: FlowEntry, now: float) -> None:
        """Look at `entry` again when its present deadline comes, or earlier."""
        until = entry.seen_at + entry.timeout_s
        second = int(until if until < now + LOOK_AHEAD_S else now + LOOK_AHEAD_S) + 1
        if entry.bucket is not None and entry.bucket.second <= second:
            return
        bucket = self._buckets.get(second)
        if bucket is None:
            bucket = self._buckets[second] = Bucket(second)
            if self._next_bucket is None or second < self._next_bucket.second:
                self._next_bucket = bucket
        bucket.waiting.append(entry)
        entry.bucket = bucket

    def next_timeout(self) -> float | None:
        """When the next bucket comes due, or None if nothing is remembered."""
        return None if self._next_bucket is None else float(self._next_bucket.second)

    def due(self, now: float, at_most: int) -> list[FlowEntry]:
        """Entries whose deadline has passed, each once, about `at_most` of them; they are still in the table.

        The caller decides (a peer may know better) and either removes or schedules each again.
        """
        ended: list[FlowEntry] = []
        looks = 0
        while (bucket := self._next_bucket) is not None and bucket.second <= now and looks < at_most:
            waiting = bucket.waiting
            while waiting and looks < at_most:
                entry = waiting.pop()
                looks += 1
                if entry.bucket is not bucket:
                    continue  # it is gone, or waits in an earlier bucket
                entry.bucket = None
                if entry.expires_at() <= now:
                    ended.append(entry)
                else:
                    self.schedule(entry, now)
            if not waiting:
                del self._buckets[bucket.second]
                first = min(self._buckets, default=None)
                self._next_bucket = None if first is None else self._buckets[first]
        return ended
