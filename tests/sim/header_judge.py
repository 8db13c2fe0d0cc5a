"""What headers do to a stream, watched at the nodes: what each packet must have become, and which target gets what.

Built from the outside: the header by `tests/header_oracle.py`, and from a call's first number alone where everything
belongs in the longer stream. Which stream that is, `header_flows.py` says.

INV-2   nothing but the header goes before the client's bytes, and these stay as they are
INV-6   what the target acknowledges inside the header the client does not see, and all else as its own number
INV-13  nothing is forwarded with the other side's numbers
"""

from typing import TYPE_CHECKING

from hyperplane.dataplane.verdict import Outgoing
from tests.cases import ACK, FIN, PSH, RST, SYN, UDP
from tests.dissection import Seen, dissect
from tests.nodes import EXIT, Node
from tests.sim.ends import NUMBERS, Call, Violation
from tests.sim.halves import blocks_of, distance, option_of
from tests.sim.header_flows import HeaderFlows
from tests.sim.header_plan import COOKIE_LIFE_S, HEADER_BYTES
from tests.sim.liars import Liar
from tests.sim.opened import COOKIE_SPREAD, Opened
from tests.sim.streams import ONE_CALL, Stream

if TYPE_CHECKING:
    from tests.sim.world import World

_LONG = 1 << 29
"""So far from its beginning a stream is known to be long: numbers before it are taken for numbers behind it."""


APART = 2 * COOKIE_SPREAD + 1
"""So much less is acknowledged by a segment that could be the answer to a cookie."""


class HeaderJudge:
    """Watches one world."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.flows = HeaderFlows(world)
        self.repeaters: dict[int, list[tuple[float, Node]]] = {}
        """When which node put a header in an ACK's place, by the client's first number: these have a timer for it."""

    # --- towards the target ----------------------------------------------------------------------

    def to_target(self, index: int, seen: Seen, before: Seen) -> None:
        """A client's packet goes on, as `seen`."""
        if seen.protocol == UDP:
            if seen.payload != self.flows.of_datagrams[seen.source, seen.destination] + before.payload:
                raise Violation(f"INV-2: node {index} sends {seen.payload!r} for {before.payload!r}")
            return
        opened = self.flows.current[seen.source, seen.destination]
        if not opened.placement:
            payload = b"" if before.flags & SYN else before.payload
            if (seen.payload, seen.sequence) != (payload, before.sequence):
                raise Violation(f"INV-2: node {index} changes a stream without a header")
        elif before.flags & SYN:
            if seen.payload or seen.sequence != before.sequence:
                raise Violation(f"INV-2: node {index} sends a SYN with {seen.payload!r}")
        else:
            self._judge_segment(index, opened, seen, before)

    def _judge_segment(self, index: int, opened: Opened, seen: Seen, before: Seen) -> None:
        """What every segment of a stream with a header must be, also a liar's."""
        header = opened.header
        place = distance(before.sequence, opened.first)
        became = distance(seen.sequence, opened.first)
        if place == became == 0 and before.payload and seen.payload == header + before.payload:
            return
        is_part = _is_part(seen, became, header)
        if is_part and not before.flags & FIN and -1 <= place <= 0 and not before.payload[-place:]:
            self.repeaters.setdefault(opened.isn, []).append((self.world.now, self.world.zone.nodes[index]))
            return
        is_old_byte = place == -1 and len(seen.payload) == 1 and 0 <= became < len(header)  # of a keep-alive
        is_read = (seen.payload or seen.flags & FIN) and not seen.flags & RST
        if place < 0 and is_read and not is_old_byte:
            raise Violation(f"INV-2: node {index} sends {seen.payload!r} at {place}, from before the first byte")
        if place >= 0 and seen.payload != before.payload:
            raise Violation(f"INV-2: node {index} sends {seen.payload!r} at {became} for {before.payload!r}")
        must_lead = place > 0 or (place == 0 and (before.payload or before.flags & FIN) and not before.flags & RST)
        may_lead = place >= -1
        least = place + len(header) if must_lead else place
        most = place + len(header) if may_lead else place
        less = (before.acknowledgment - seen.acknowledgment) % NUMBERS
        if less and (less != APART or not opened.is_on_line(became, before.acknowledgment)):
            raise Violation(f"INV-13: node {index} says that {before.source} has heard {seen.acknowledgment}")
        if not least <= became <= most:
            raise Violation(f"INV-13: node {index} sends byte {place} of {before.source} as byte {became}")

    def sent(self, index: int, outgoing: Outgoing) -> None:
        """A node sends a packet of its own making: before another, or because a timer says so."""
        seen = dissect(outgoing.packet)
        opened = self.flows.current.get((seen.source, seen.destination))
        place = 0 if opened is None else distance(seen.sequence, opened.first)
        header = b"" if opened is None else opened.header
        is_reset = seen.flags == RST and not seen.payload and 0 <= place < len(header)
        if seen.flags == ACK and not seen.payload and opened is not None and opened.is_beside(place, seen):
            return  # what is acknowledged by a segment that could be the answer to a cookie
        if not is_reset and not (seen.flags == PSH | ACK and _is_part(seen, place, header)):
            raise Violation(f"INV-2: node {index} sends {seen.payload!r} of its own to {seen.destination}")
        if outgoing.eni_number != EXIT or not seen.sums_are_right:
            raise Violation(f"INV-10: node {index} sends a segment of its own that is not a good one")

    # --- towards the client ----------------------------------------------------------------------

    def to_client(self, index: int, seen: Seen, before: Seen) -> None:
        """A target's packet goes on, as `seen`."""
        if seen.payload != before.payload or seen.sequence != before.sequence:
            raise Violation(f"node {index} changes what the target says")
        if seen.protocol == UDP or not before.flags & ACK:
            return
        opened = self.flows.current[before.destination, before.source]
        place = distance(before.acknowledgment, opened.first)
        if before.flags & SYN and place == 0:
            opened.shift = (option_of(before, 3) or b"\0")[0]
        if isinstance(opened.call, Liar) or not 0 <= place < ONE_CALL:
            return
        header = opened.header
        shown = distance(seen.acknowledgment, opened.first)
        if shown != max(place - len(header), 0):
            raise Violation(f"INV-6: node {index} shows {shown} to call {opened.call.number} for {place}")
        first = (opened.first + len(header)) % NUMBERS
        blocks = [tuple(max(distance(edge, first), 0) for edge in block) for block in blocks_of(before)]
        mapped = [tuple(distance(edge, opened.first) for edge in block) for block in blocks_of(seen)]
        if mapped != [block for block in blocks if block[0] < block[1]]:
            raise Violation(f"INV-6: node {index} shows SACK blocks {mapped} for {blocks}")
        self._judge_window(index, opened, seen, before, place)

    def _judge_window(self, index: int, opened: Opened, seen: Seen, before: Seen, place: int) -> None:
        """The client never sends past the target's right edge, and may send up to it."""
        if before.flags & RST:
            return
        shift = 0 if before.flags & SYN else opened.shift
        missing = max(len(opened.header) - place, 0)
        if seen.window << shift > max((before.window << shift) - missing, 0):
            raise Violation(
                f"node {index} offers {seen.window} of {before.window} << {shift}, {missing} header bytes are out"
            )
        if (seen.window + 1 << shift) + missing <= before.window << shift:
            raise Violation(f"node {index} offers no more than {seen.window} of {before.window}, {missing} are out")

    def is_cookie_too_old(self, call: Call) -> bool:
        """Whether a client said its first word, as far as its target heard it, when that had forgotten its cookie."""
        opened = self.flows.standing.get((call.door, call.client))
        if opened is None or call.phase == "listening":
            return False
        return not opened.is_met and self.world.now - opened.answered_at > COOKIE_LIFE_S

    def is_switched_on(self, call: Call) -> bool:
        """Whether the attribute was switched on while its SYN was on its way again and the first SYN-ACK came back: it
        has begun a stream with a header, and the client knows the other one's numbers."""
        opened = self.flows.standing.get((call.door, call.client))
        return opened is not None and opened.is_switched_on

    # --- who repeats a header ----------------------------------------------------------------------

    def nobody_repeats(self, call: Stream) -> bool:
        """Whether nobody in the world can know that this silent call's header must go again.

        The one known gap: the target repeats no SYN-ACK, because it has SYN cookies or because it has a part of the
        header already; a client that waits to be greeted says nothing; and the nodes that put the header in its ACK's
        place, each with a timer, are all dead (or never were: the ACK itself was lost, which without any header ends
        just so). The timer is nobody else's to know: it would cost a word in the journal for every connection, for a
        case that needs all four.
        """
        plan = self.world.plan.headers
        if plan is None or not (plan.cookies or plan.room < HEADER_BYTES or plan.segment_bytes < HEADER_BYTES):
            return False
        living = [node for index, node in self.world.zone.nodes.items() if self.world.lives[index].up]
        return not any(node in living for at, node in self.repeaters.get(call.isn, ()) if at < call.asked_at)


def _is_part(seen: Seen, place: int, header: bytes) -> bool:
    """Whether the segment's data is what the header has at `place`."""
    return 0 <= place < len(header) and header[place : place + len(seen.payload)] == seen.payload != b""
