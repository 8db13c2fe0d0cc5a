"""A token bucket: at most so many per second, saved up for at most one second."""


class TokenBucket:
    """Holds a second's worth of tokens."""

    __slots__ = ("_per_s", "_tokens", "_updated_at")

    def __init__(self, per_s: float, now: float) -> None:
        self._per_s = per_s
        self._tokens = per_s
        self._updated_at = now

    def take(self, now: float) -> bool:
        """Whether one more is allowed at `now`; if so it is spent."""
        self._tokens = min(self._per_s, self._tokens + (now - self._updated_at) * self._per_s)
        self._updated_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
