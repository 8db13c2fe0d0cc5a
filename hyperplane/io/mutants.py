"""Protections that a test may switch off, to see that the test notices (a blind test proves nothing).

Read once, from the environment of `hyperplane fabric`:

    HYPERPLANE_MUTANT=no-replication    nodes neither tell nor read flows
    HYPERPLANE_MUTANT=no-replay         packets that a dead node had in hand are dropped
    HYPERPLANE_POISON=<hex bytes>       a node that meets these bytes in a packet dies at once

Nothing else in the product reads them, and `hyperplane nodes` shows when one is set.
"""

import os
from dataclasses import dataclass

NO_REPLICATION = "no-replication"
NO_REPLAY = "no-replay"
KNOWN = frozenset({NO_REPLICATION, NO_REPLAY})


@dataclass(frozen=True, slots=True)
class Mutants:
    """Which protections are off."""

    off: frozenset[str]
    poison: bytes

    @property
    def replicates(self) -> bool:
        return NO_REPLICATION not in self.off

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
