"""Flows that peers tell of and a node passes over: their ENI is not known here, or not served by this node.

Snapshots come to every node in its own time, so a flow of a new endpoint can be there before the endpoint is. Its
target may answer by a node that cannot know the flow yet; that answer must wait, and not be reset.
"""

from hyperplane.limits import FLOWS_PASSED_OVER_MAX


class PassedOver:
    """What was passed over since the last snapshot that could change it."""

    __slots__ = ("_keys", "foreign", "unknown")

    unknown: bool
    """Whether a flow's ENI was not known ..."""
    foreign: bool
    """... or served by other nodes alone."""

    def __init__(self) -> None:
        self.unknown = self.foreign = False
        self._keys: dict[bytes, None] = {}
        """Translated keys of those whose endpoint was not known, or has gone, the oldest first."""

    def __contains__(self, translated_key: bytes) -> bool:
        return translated_key in self._keys

    def add(self, translated_key: bytes) -> None:
        """A flow by an endpoint that this node has not heard of, or that has gone."""
        self.unknown = True
        keys = self._keys
        if translated_key not in keys and len(keys) >= FLOWS_PASSED_OVER_MAX:
            del keys[next(iter(keys))]
        keys[translated_key] = None

    def clear(self) -> None:
        """All of them will be read again."""
        self.unknown = self.foreign = False
        self._keys.clear()
