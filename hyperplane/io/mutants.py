"""Protections that a test may switch off, to see that the test notices (a blind test proves nothing).

Read once, from the environment of `hyperplane fabric`:

    HYPERPLANE_MUTANT=no-replication    nodes neither tell nor read flows
    HYPERPLANE_MUTANT=no-replay         packets that a dead node had in hand are dropped
    HYPERPLANE_MUTANT=no-clamp          acknowledgments inside a Proxy Protocol header reach the client
    HYPERPLANE_MUTANT=insert-once       the header is sent once, and never again
    HYPERPLANE_MUTANT=no-header-timer   nobody repeats a header that took an ACK's place
    HYPERPLANE_MUTANT=no-sack-map       SACK blocks reach the client with the target's numbers
    HYPERPLANE_MUTANT=ack-forwarded     the ACK whose place the header takes is forwarded, too
    HYPERPLANE_MUTANT=no-narrowing      the client is offered the room that the header takes
    HYPERPLANE_MUTANT=no-waiting        a client's segments pass before its target has answered
    HYPERPLANE_MUTANT=early-data        data in front of a stream's first byte passes
    HYPERPLANE_MUTANT=cookies-pass      segments that are answers to SYN cookies pass as they are
    HYPERPLANE_POISON=<hex bytes>       a node that meets these bytes in a packet dies at once

Nothing else in the product reads them, and `hyperplane nodes` shows when one is set.
"""

import os
from dataclasses import dataclass, replace

from hyperplane.flow.injector import Protections

NO_REPLICATION = "no-replication"
NO_REPLAY = "no-replay"
_OF_HEADERS = {
    "no-clamp": "clamps",
    "insert-once": "repeats",
    "no-header-timer": "resends",
    "no-sack-map": "maps_sack",
    "ack-forwarded": "replaces",
    "no-narrowing": "narrows",
    "no-waiting": "waits",
    "early-data": "refuses",
    "cookies-pass": "spoils",
}
"""Name to the field of `Protections`."""
KNOWN = frozenset({NO_REPLICATION, NO_REPLAY, *_OF_HEADERS})


@dataclass(frozen=True, slots=True)
class Mutants:
    """Which protections are off."""

    off: frozenset[str]
    poison: bytes

    @property
    def replicates(self) -> bool:
        return NO_REPLICATION not in self.off

    @property
    def of_headers(self) -> Protections:
        """Those of injected headers that are left."""
        return replace(Protections(), **{field: False for name, field in _OF_HEADERS.items() if name in self.off})

    @property
    def replays(self) -> bool:
        return NO_REPLAY not in self.off


def from_environment() -> Mutants:
    """Read the environment. Raises ValueError for a name that is not known."""
    off = frozenset(filter(None, os.environ.get("HYPERPLANE_MUTANT", "").split(",")))
    if off - KNOWN:
        raise ValueError(
            f"HYPERPLANE_MUTANT: {', '.join(sorted(off - KNOWN))}: there is only {', '.join(sorted(KNOWN))}"
        )
    return Mutants(off, bytes.fromhex(os.environ.get("HYPERPLANE_POISON", "")))
