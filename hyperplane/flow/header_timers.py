"""When a header that took an ACK's place is sent again: nobody else would repeat it (`flow/injector.py`)."""

from collections.abc import Iterator
from heapq import heappop, heappush

from hyperplane.flow.entry import GONE, FlowEntry
from hyperplane.flow.opening import Opening
from hyperplane.limits import FLOWS_PER_NODE_MAX, HEADER_RESENDS_MAX, HEADER_RESENT_AFTER_S


class HeaderTimers:
    """Headers that took an ACK's place and are not acknowledged: when each is sent again.

    One whose header has been acknowledged, or whose stream is over, stays until its time has come. So there may be
    more than flows, but never more than FLOWS_PER_NODE_MAX: beyond that a header has no timer, only its client.
    """

    def __init__(self) -> None:
        self._due: list[tuple[float, int, FlowEntry, Opening]] = []
        self._count = 0

    def start(self, entry: FlowEntry, opening: Opening, now: float) -> None:
        """The header was sent now, the `opening.resends`-th time again."""
        if opening.resends < HEADER_RESENDS_MAX and len(self._due) < FLOWS_PER_NODE_MAX:
            self._count += 1  # entries cannot be compared, so no two may be equal before them
            at = now + HEADER_RESENT_AFTER_S * (1 << opening.resends)
            heappush(self._due, (at, self._count, entry, opening))

    def next_timeout(self) -> float | None:
        return self._due[0][0] if self._due else None

    def due(self, now: float, at_most: int) -> Iterator[FlowEntry]:
        """Flows whose header is to be sent again, each with its next time not set yet: `at_most` of them.

        What is over does not count, or one client's could keep those of others waiting.
        """
        left = at_most
        while left and self._due and self._due[0][0] <= now:
            _, _, entry, opening = heappop(self._due)
            injection = entry.injection
            if injection is not None and injection.opening is opening and entry.state != GONE:
                opening.resends += 1
                left -= 1
                yield entry
