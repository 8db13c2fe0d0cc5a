"""Readers of NFQUEUE in a namespace, by the library that the product uses."""

import select
from collections.abc import Callable
from types import TracebackType
from typing import Any

import pytest
from netfilterqueue import NetfilterQueue

from netns.iptables import RulesetError
from netns.namespace import inside
from netns.steer import Steering, expected_fingerprint
from tests.netns.taps import HANG_GUARD_S

Verdict = Callable[[int, Any], None]
"""Called with the queue's number and the library's packet, which it has to answer."""


class Queues:
    """Reads some queues of a namespace in the calling thread. A context manager."""

    def __init__(self, namespace: str, numbers: tuple[int, ...], verdict: Verdict) -> None:
        self._queues: dict[int, Any] = {}
        self.count = 0
        for number in numbers:
            # Not by `sockfd=`: with a socket of ours the library takes the process's one netlink address each time.
            with inside(namespace):
                queue = NetfilterQueue()
                queue.bind(number, self._callback(number, verdict), 8192)
            self._queues[queue.get_fd()] = queue

    def __enter__(self) -> "Queues":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for queue in self._queues.values():
            queue.unbind()

    def read(self, count: int) -> None:
        """Answer packets until `count` more have been seen."""
        wanted = self.count + count
        while self.count < wanted:
            readable, _, _ = select.select(list(self._queues), [], [], HANG_GUARD_S)
            assert readable, f"no packet came; {self.count - wanted + count} of {count} were seen"
            for descriptor in readable:
                self._queues[descriptor].run(block=False)

    def _callback(self, number: int, verdict: Verdict) -> Callable[[Any], None]:
        def callback(packet: Any) -> None:
            self.count += 1
            verdict(number, packet)

        return callback


def skip_unless_steering_works(steering: Steering) -> None:
    """This kernel may lack a target (HMARK, NFQUEUE); the tools say which."""
    try:
        expected_fingerprint(steering)
    except RulesetError as error:
        pytest.skip(f"this kernel cannot steer: {error}")
