"""A probe tries one thing; a finding says how that went, what follows from it, and what would help.

Nothing is concluded from a version or a configuration file: a probe does what the product would do, in a
scratch namespace that ends with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from netns.iptables import RulesetError
from netns.namespace import NamespaceMissing


class Status(Enum):
    """How a probe went."""

    OK = "ok"
    MISSING = "missing"
    """Not here, and the product needs it."""
    OPTIONAL = "optional"
    """Not here, and only something that is named does without."""
    UNKNOWN = "unknown"
    """Could not be tried: that takes root."""


class Absent(Exception):
    """What a probe looked for is not here. The text says what was seen instead."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's answer."""

    name: str
    status: Status
    found: str
    follows: str = ""
    helps: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing to try. `look` returns what it found, or raises Absent, OSError, RulesetError, ImportError."""

    name: str
    look: Callable[[], str]
    follows: str
    """What follows when it is not here."""
    helps: str
    """What to do then."""
    required: bool = True
    as_root: bool = True

    def run(self, is_root: bool) -> Finding:
        """Try it."""
        if self.as_root and not is_root:
            return Finding(self.name, Status.UNKNOWN, "needs root to be tried")
        try:
            found = self.look()
        except (Absent, OSError, RulesetError, NamespaceMissing, ImportError) as error:
            status = Status.MISSING if self.required else Status.OPTIONAL
            return Finding(self.name, status, _one_line(error), self.follows, self.helps)
        return Finding(self.name, Status.OK, found)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
