"""Which stream a packet belongs to where targets get headers: by source and target of its translation.

INV-2   all nodes believe a stream to begin where its client does
INV-4   a translation has one stream for life, and the header that was the target group's when it was made; another
        SYN begins another stream, from another source port, and only in the place of one that is over, has run out, or
        was not answered (`flow/another_syn.py`)
INV-13  nothing of a client's but its SYN, or a reset, reaches a target that has not answered it
"""

from typing import TYPE_CHECKING

from hyperplane.dataplane.verdict import DropReason
from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.key import suffix
from tests.cases import RST, SYN, TCP, UDP, SocketAddress
from tests.dissection import Seen, dissect
from tests.nodes import EXIT
from tests.sim.ends import NUMBERS, Violation
from tests.sim.opened import AT_ONCE_S, Key, Opened, User, header_of, is_first

if TYPE_CHECKING:
    from tests.sim.world import World

HALF_OPEN_S, CLOSING_S = 60.0, 120.0
SLACK_S = 1.0


class HeaderFlows:
    """Of one world."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.current: dict[Key, Opened] = {}
        """The last stream of each translation."""
        self.standing: dict[User, Opened] = {}
        """The last stream of each client."""
        self.begun: dict[tuple[Key, int], Opened] = {}
        """By translation and the client's first number: a target may still have one of another client's."""
        self.of_datagrams: dict[Key, bytes] = {}
        self._died_at = -1000.0

    def of_connection(self, target: SocketAddress, source: SocketAddress, isn: int) -> Opened:
        """What a target takes part in. With another first number than its client's it is in the wrong place, but in
        this stream."""
        opened = self.begun.get(((source, target), isn)) or self.current.get((source, target))
        if opened is None:
            raise Violation(f"INV-13: {source} talks to {target} in a stream that no client has begun")
        return opened

    def died_with(self, eni: int, packet: bytes) -> None:
        """A node died with this in its hand, and may have told of it."""
        self._died_at = self.world.now
        seen = dissect(packet)
        opened = self.current.get((seen.destination, seen.source)) if eni == EXIT else None
        opened = opened or self.standing.get((eni, seen.source))
        if opened is not None:
            opened.in_doubt = True

    def dropped(self, eni: int, packet: bytes, reason: DropReason) -> None:
        """What is dropped for these reasons has moved its flow."""
        if reason is DropReason.STRAY_SYN_ACK:
            self._strayed(packet)
        elif reason is DropReason.BEFORE_FIRST_BYTE:
            seen, now = dissect(packet), self.world.now
            opened = self.standing.get((eni, seen.source))
            if opened is None:
                return  # a node has told of its SYN, and died or not sent it yet
            self._hear(opened, seen, True)
            opened.asked_at = now
            self.world.audit.keeps_alive(opened)

    def _strayed(self, packet: bytes) -> None:
        """A SYN-ACK was dropped. If it answers the same SYN in another way, the target has forgotten the stream."""
        seen = dissect(packet)
        opened = self.current[seen.destination, seen.source]
        if seen.acknowledgment == opened.first and seen.sequence == opened.answer:
            raise Violation(f"INV-12: the answer to the SYN of {opened.user} is taken for another's")
        opened.is_reset = opened.is_reset or seen.acknowledgment == opened.first

    # --- verdicts, in the order in which they are given ------------------------------------------------

    def decided(self, index: int, eni: int, came: bytes, out: bytes, is_new: bool) -> None:
        """A packet has its verdict; `is_new`: it began a flow, or a conversation."""
        seen, before = dissect(out), dissect(came)
        if eni == EXIT:
            if seen.protocol == TCP:
                self._answered(before)
            return
        entry = self.world.zone.nodes[index].dataplane.plane.table.original[came[12:24] + suffix(eni, came[9])]
        placement = entry.injection.placement if entry.injection else None
        if is_new:
            in_force = self.world.configuration.placements[self.world.zone.nodes[index].dataplane.snapshot_version]
            if placement is not in_force:
                raise Violation(f"INV-4: {before.source} gets {placement}, and {in_force} is in force")
        user = eni, before.source
        if seen.protocol == UDP:
            header = header_of(*user, UDP) if placement else b""
            self.of_datagrams[seen.source, seen.destination] = header
            return
        opened = self.current.get((seen.source, seen.destination))
        if is_first(before) or opened is None or opened.user != user:
            opened = self._opened_by(entry, user, seen, before)
        self.judge_beginning(index, entry, opened, before)
        self.standing[user] = opened
        self._hear(opened, before, True)

    def _hear(self, opened: Opened, seen: Seen, is_clients: bool) -> None:
        """Where nodes overtake each other: if a reset came at one moment with something else, which was the first?"""
        if self.world.plan.overtaking and opened.heard_at == self.world.now and (seen.flags & RST or opened.is_reset):
            opened.in_doubt = True
        opened.hear(seen, is_clients, self.world.now)

    def judge_beginning(self, index: int, entry: FlowEntry, opened: Opened, before: Seen) -> None:
        """A client's segment passes: its stream begins where its SYN said, and has begun."""
        if is_first(before) and entry.injection and entry.injection.first != opened.first:
            raise Violation(f"INV-2: node {index} believes the stream of {opened.user} to begin elsewhere")
        is_answered = opened.answer is not None or opened.in_doubt or self.world.depth > 0
        if opened.placement and not is_answered and not before.flags & (SYN | RST):
            raise Violation(f"INV-13: node {index} sends a segment of {opened.user} before its SYN is answered")

    def _answered(self, before: Seen) -> None:
        opened = self.current[before.destination, before.source]
        self.judge_answer(opened, before)
        self._hear(opened, before, False)

    def judge_answer(self, opened: Opened, before: Seen) -> None:
        """A client gets the answer to its SYN, and one."""
        if opened.placement and before.flags & SYN:
            if before.acknowledgment != opened.first:
                raise Violation(f"INV-13: {opened.user} gets the answer to another SYN")
            is_void = opened.made_at <= self.world.audit.void_before  # who knew of the first has forgotten it
            if opened.answer not in (None, before.sequence) and not is_void:
                raise Violation(f"INV-13: {opened.user} gets two answers to one SYN")

    def _opened_by(self, entry: FlowEntry, user: User, seen: Seen, before: Seen) -> Opened:
        """The stream of a SYN; or of what passes unanswered, if the node that told of its SYN died or has not sent it
        yet."""
        world, key = self.world, (seen.source, seen.destination)
        isn = before.sequence
        if entry.injection and not is_first(before):
            isn = (entry.injection.first - 1) % NUMBERS
        is_left_alone = world.depth or world.now - self._died_at <= HALF_OPEN_S
        passes = before.flags & RST or not entry.injection
        if not is_first(before) and not (passes and is_left_alone):
            raise Violation(f"INV-13: {user} leaves as {seen.source} in a stream that it has not begun")
        last = self.current.get(key)
        placement = entry.injection.placement if entry.injection else None
        made_at = entry.born_ms / 1000
        if last is not None and (last.user, last.isn) == (user, isn) and abs(last.made_at - made_at) < AT_ONCE_S:
            if last.placement and last.is_reset and not (last.in_doubt or world.depth or last.heard_at == world.now):
                raise Violation(f"INV-4: a SYN of {user} goes on in a stream that is over")
            return last
        call = world.callers.speaker(user, isn)
        opened = Opened(user, key, isn, placement, call, made_at, world.now)
        standing = self.standing.get(user)
        if standing is not None and (placement or standing.placement) and not self._may_follow(opened, standing):
            raise Violation(f"INV-4: a SYN of {user} begins another stream than {standing.isn}, which is alive")
        if standing is not None and opened.is_at_once_with(standing):
            opened.in_doubt = True  # which of two rivals stands their nodes say, and not the order in which they left
        if standing is not None and standing.isn == isn and standing.answer is not None:
            opened.is_switched_on = placement is not None and standing.placement is None
        self.current[key] = self.standing[user] = self.begun[key, isn] = opened
        if placement or (standing is not None and standing.placement):
            world.audit.succeeds(opened)
        return opened

    def _may_follow(self, opened: Opened, standing: Opened) -> bool:
        """Whether one stream of a client's may end, and another take its place."""
        now, world = self.world.now, self.world
        if opened.is_at_once_with(standing) or world.depth or standing.in_doubt or standing.heard_at == now:
            return True
        if standing.made_at <= world.audit.void_before or standing.is_over or not standing.placement:
            return True
        if standing.answer is None and opened.isn != standing.isn:
            return True
        half_open_since = max(standing.made_at, standing.answered_at)
        return now - max(half_open_since, standing.asked_at if standing.answer else -1.0) > HALF_OPEN_S - SLACK_S
