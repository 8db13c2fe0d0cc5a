"""What a seed means for Proxy Protocol: whether targets get headers, and what else both ends do then.

Drawn apart from the rest of the plan, so a seed without headers means what it has always meant.
"""

from dataclasses import dataclass
from random import Random

from hyperplane.snapshot import HeaderPlacement

WITH_PAYLOAD, AT_ONCE = HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD, HeaderPlacement.ON_FIRST_ACK
Placement = HeaderPlacement | None

_SHARE = 0.4
HEADER_BYTES = 100
COOKIE_LIFE_S = 60.0
"""For so long at least a target believes a cookie, and not for twice as long: Linux counts minutes, too."""
_TINY = (20, 60, 99, 100, 101, 130, 230)
"""Windows with no room for the header, or hardly more."""
_TOGGLED = (None, AT_ONCE, WITH_PAYLOAD)


@dataclass(frozen=True, slots=True)
class HeaderPlan:
    """A world in which targets get headers, and both ends are whole (`streams.py`, `targets.py`)."""

    placement: Placement = AT_ONCE
    toggles: tuple[tuple[float, Placement], ...] = ()
    """(when, what the target group's attribute is from then on)."""
    greets: bool = False
    """The target speaks first, once it has the header."""
    waits: float = 0.0
    """Part of the clients that say nothing before they are greeted."""
    cookies: bool = False
    """The target remembers nothing before the handshake is over, so it repeats no SYN-ACK."""
    holds: bool = True
    """The target keeps what is behind a hole."""
    tells_doubles: bool = False
    """The target tells of what came twice (D-SACK, RFC 2883)."""
    room: int = 65_535
    """What a target takes before its application has read it, bytes."""
    shift: int = 7
    """Of the target's window."""
    read_s: float = 0.0
    """So long after it came an application reads what it got; 0: at once."""
    segment_bytes: int = 1400
    """The largest segment that the target takes."""
    stamps: bool = False
    """Segments carry timestamps, and targets drop old ones (RFC 7323 section 5)."""
    restarts: tuple[float, ...] = ()
    """When a target forgets all its connections."""
    abandons: float = 0.0
    """Part of the clients that die without a word; another uses their port."""
    question_bytes: int = 0
    """By how much questions are longer than they need to be, at most."""
    liars: int = 0
    """Clients that lie, each on a tuple of its own."""

    @property
    def is_narrow(self) -> bool:
        """Whether windows have no more room than the header takes."""
        return self.room <= HEADER_BYTES

    @property
    def placements(self) -> frozenset[Placement]:
        """All that there ever is."""
        return frozenset([self.placement, *(placement for _, placement in self.toggles)])


def header_plan_of(seed: int, chaos_s: float) -> HeaderPlan | None:
    """The same for ever; None: no header in this world."""
    chance = Random(f"headers {seed}")
    if chance.random() >= _SHARE:
        return None
    is_toggled = chance.random() < 0.3
    toggles = [(chance.uniform(0, chaos_s), chance.choice(_TOGGLED)) for _ in range(is_toggled * chance.randint(1, 4))]
    room = chance.choice(_TINY) if chance.random() < 0.25 else chance.choice((2000, 65_535, 65_535))
    return HeaderPlan(
        placement=chance.choice((AT_ONCE, WITH_PAYLOAD)),
        toggles=tuple(sorted(toggles, key=lambda toggle: toggle[0])),
        greets=chance.random() < 0.5,
        cookies=chance.random() < 0.3,
        holds=chance.random() < 0.7,
        tells_doubles=chance.random() < 0.6,
        room=room,
        shift=0 if room < 1000 else chance.choice((0, 2, 7)),
        read_s=chance.choice((0.0, 0.0, 0.05, 2.0)),
        segment_bytes=chance.choice((1400, 1400, 536, 88)),
        stamps=chance.random() < 0.5,
        restarts=tuple(chance.uniform(0, chaos_s) for _ in range(chance.choice((0, 0, 0, 1)))),
        abandons=chance.choice((0.0, 0.0, 0.5)),
        question_bytes=chance.choice((0, 40, 300 if room < 1000 else 4000)),
        waits=chance.choice((0.0, 0.5, 1.0)),
        liars=chance.choice((0, 0, 1, 2)),
    )
