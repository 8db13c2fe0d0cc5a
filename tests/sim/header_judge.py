"""What headers do to a stream, watched at the nodes: what each packet must have become, and which target gets what.

Built from the outside: the header by `tests/header_oracle.py`, and from a call's first number alone where everything
belongs in the longer stream.

INV-2   nothing but the header goes before the client's bytes, and these stay as they are
INV-4   whoever forwards a flow agrees on its header, which was the target group's when the flow was made
INV-6   what the target acknowledges inside the header the client does not see, and all else as its own number
INV-13  nothing is forwarded with the other side's numbers
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from hyperplane.dataplane.verdict import Outgoing
from hyperplane.flow.key import suffix
from tests.cases import ACK, FIN, PSH, RST, SYN, TCP, UDP, SocketAddress
from tests.dissection import Seen, dissect
from tests.header_oracle import proxy_header
from tests.nodes import DATAGRAM_PORT, EXIT, SERVICE_PORT, Node
from tests.sim.ends import NUMBERS, Violation
from tests.sim.halves import blocks_of, distance, option_of
from tests.sim.header_plan import HEADER_BYTES, Placement
from tests.sim.streams import ONE_CALL, Stream

if TYPE_CHECKING:
    from tests.sim.world import World

ENDPOINT_ADDRESS = "10.0.1.10"
_RST_ACK = RST | ACK


def endpoint_id(door: int) -> str:
    """Of the endpoint behind this door: as long as AWS's."""
    return f"vpce-{door:017x}"


@cache
def header_of(door: int, client: SocketAddress, protocol: int) -> bytes:
    """What a target must be told of this client."""
    port = SERVICE_PORT if protocol == TCP else DATAGRAM_PORT
    return proxy_header(client, (ENDPOINT_ADDRESS, port), endpoint_id(door), protocol)


@dataclass(frozen=True, slots=True)
class Told:
    """What a target must read in one connection: this header (or none), then the call's own bytes."""

    header: bytes
    call: Stream


@dataclass(slots=True)
class Opened:
    """A stream that a SYN opened towards a target."""

    door: int
    client: SocketAddress
    isn: int
    placement: Placement
    shift: int = 0
    """Of the target's window."""
    changed_at: float = -1.0
    """When the same SYN last began it anew with another header: what was decided before may leave after."""

    @property
    def header(self) -> bytes:
        return header_of(self.door, self.client, TCP) if self.placement else b""


class HeaderJudge:
    """Watches one world."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.opened: dict[tuple[SocketAddress, SocketAddress, int], Opened] = {}
        """By source and target of the translation, and the client's first number."""
        self.latest: dict[tuple[SocketAddress, SocketAddress], Opened] = {}
        """What the last SYN opened, by source and target of the translation."""
        self.doubted_at: dict[tuple[int, SocketAddress], float] = {}
        """When a door's client last had two SYNs under way, one of them very late: a challenge is told in the numbers
        of the other stream then, and what the client answers may end the new one."""
        self.of_datagrams: dict[tuple[SocketAddress, SocketAddress], bytes] = {}
        self.repeaters: dict[int, list[tuple[float, Node]]] = {}
        """When which node put a header in an ACK's place, by the client's first number: these have a timer for it."""

    def told(self, target: SocketAddress, source: SocketAddress, isn: int, taken: bytes | bytearray = b"") -> Told:
        """What this connection of a target's must bring it. `taken`: its first bytes, if there are any."""
        opened = self.opened.get((source, target, isn))
        if opened is None:
            raise Violation(f"INV-13: {source} talks to {target} in a stream that no client has begun")
        call = self.world.callers.streams[opened.door, opened.client, isn]
        header = opened.header
        if opened.changed_at >= 0 and taken:  # begun twice, with a header and without: whole or not at all
            header = header_of(opened.door, opened.client, TCP) if taken.startswith(b"\r") else b""
        return Told(header, call)

    # --- towards the target ----------------------------------------------------------------------

    def decided(self, index: int, eni: int, came: bytes, out: bytes, is_new: bool) -> None:
        """A client's packet has its verdict; `is_new`: it began a flow. Which header that gets is settled now."""
        if eni == EXIT or (came[9] == TCP and not came[33] & SYN):
            return
        seen, before = dissect(out), dissect(came)
        dataplane = self.world.zone.nodes[index].dataplane
        entry = dataplane.plane.table.original[came[12:24] + suffix(eni, came[9])]
        placement = entry.injection.placement if entry.injection else None
        configuration, version = self.world.configuration, dataplane.snapshot_version
        in_force = configuration.placements[version]
        key = seen.source, seen.destination
        keeps = key in self.latest and seen.destination[0] not in configuration.targets[version]
        if is_new and placement is not in_force and not keeps:
            raise Violation(f"INV-4: {before.source} gets {placement}, and {in_force} is in force")
        if seen.protocol == UDP:
            header = header_of(eni, before.source, UDP) if placement else b""
            self.of_datagrams[seen.source, seen.destination] = header
            return
        if entry.injection and entry.injection.first != (before.sequence + 1) % NUMBERS:
            self.doubted_at[eni, before.source] = self.world.now
        if entry.injection and is_new and entry.injection.first != (before.sequence + 1) % NUMBERS:
            raise Violation(f"INV-2: node {index} believes the stream of {before.source} to begin elsewhere")
        opened = self.opened.setdefault((*key, before.sequence), Opened(eni, before.source, before.sequence, placement))
        is_its_own = entry.injection is None or entry.injection.first == (before.sequence + 1) % NUMBERS
        is_changed = placement is not opened.placement
        if is_changed and (is_new or (is_its_own and placement is in_force)):  # by a node that died before its SYN left
            opened.placement, opened.changed_at = placement, self.world.now
        self.latest[key] = opened

    def to_target(self, index: int, eni: int, seen: Seen, before: Seen) -> None:
        """A client's packet goes on, as `seen`."""
        if seen.protocol == UDP:
            if seen.payload != self.of_datagrams[seen.source, seen.destination] + before.payload:
                raise Violation(f"INV-2: node {index} sends {seen.payload!r} for {before.payload!r}")
            return
        opened = self._stream_of(seen, before)
        if opened is None or before.flags & SYN:
            if seen.payload != before.payload:
                raise Violation(f"INV-2: node {index} puts {seen.payload!r} into another stream")
            return
        header = opened.header
        place = distance(before.sequence, opened.isn + 1)
        became = distance(seen.sequence, opened.isn + 1)
        if seen.payload == before.payload:
            is_current = opened.isn == self.world.callers.current[eni, before.source].isn
            is_judged = is_current and opened.changed_at < self.world.now
            if opened is not self.latest[seen.source, seen.destination] or not is_judged:
                return  # very late, and perhaps with the numbers of the next stream: its target has forgotten it
            must_lead = place > 0 or before.payload or before.flags & FIN
            least = place + len(header) if must_lead and place >= 0 else place
            if not least <= became <= place + len(header):
                raise Violation(f"INV-13: node {index} sends byte {place} of {before.source} as byte {became}")
        elif place == became == 0 and before.payload and seen.payload == header + before.payload:
            return
        elif before.flags & FIN or len(before.payload) > (place < 0) or not _is_part(seen, became, header):
            raise Violation(f"INV-2: node {index} sends {seen.payload!r} at {became} for {before.payload!r}")
        else:
            self.repeaters.setdefault(opened.isn, []).append((self.world.now, self.world.zone.nodes[index]))

    def _stream_of(self, seen: Seen, before: Seen) -> Opened | None:
        """The stream that a client's segment belongs to, by its number."""
        for (source, target, isn), opened in self.opened.items():
            is_near = -1 <= distance(before.sequence, isn + 1) < ONE_CALL
            if is_near and (source, target) == (seen.source, seen.destination):
                return opened
        return None

    def sent(self, index: int, outgoing: Outgoing) -> None:
        """A node sends a packet of its own making: before another, or because a timer says so."""
        seen = dissect(outgoing.packet)
        for (source, target, isn), opened in self.opened.items():
            place = distance(seen.sequence, isn + 1)
            is_reset = seen.flags == RST and not seen.payload and 0 <= place < len(opened.header)
            is_known = is_reset or (seen.flags == PSH | ACK and _is_part(seen, place, opened.header))
            if is_known and (source, target) == (seen.source, seen.destination):
                break
        else:
            raise Violation(f"INV-2: node {index} sends {seen.payload!r} of its own to {seen.destination}")
        if outgoing.eni_number != EXIT or not seen.sums_are_right:
            raise Violation(f"INV-10: node {index} sends a segment of its own that is not a good one")

    # --- towards the client ----------------------------------------------------------------------

    def to_client(self, index: int, door: int, seen: Seen, before: Seen) -> None:
        """A target's packet goes on, as `seen`."""
        if seen.payload != before.payload or seen.sequence != before.sequence:
            raise Violation(f"node {index} changes what the target says")
        if seen.protocol == UDP or not before.flags & ACK:
            return
        call = self.world.callers.current[door, seen.destination]
        opened = self.opened.get((before.destination, before.source, call.isn))
        place = distance(before.acknowledgment, call.isn + 1)
        if opened is not None and before.flags & SYN and place == 0:
            opened.shift = (option_of(before, 3) or b"\0")[0]
        is_challenged = call.phase == "opening" and not before.flags & SYN  # nothing it could believe
        if opened is None or is_challenged or not 0 <= place < ONE_CALL:
            return
        if opened is not self.latest[before.destination, before.source]:
            return  # a very late SYN may just have begun another stream on the tuple
        header = opened.header
        shown = distance(seen.acknowledgment, call.isn + 1)
        if shown != max(place - len(header), 0):
            raise Violation(f"INV-6: node {index} shows {shown} to call {call.number} for {place}")
        first = (call.isn + 1 + len(header)) % NUMBERS
        blocks = [tuple(max(distance(edge, first), 0) for edge in block) for block in blocks_of(before)]
        mapped = [tuple(distance(edge, call.isn + 1) for edge in block) for block in blocks_of(seen)]
        if mapped != [block for block in blocks if block[0] < block[1]]:
            raise Violation(f"INV-6: node {index} shows SACK blocks {mapped} for {blocks}")
        if not call.is_over:
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
