"""The invariants, watched from outside: what leaves the nodes, what their journals say. (`tables.py`: what they hold.)

INV-1   a source tuple has one user at a time, and rests a minute before the next (also NAT-07)
INV-3   a packet reaches a consumer only for a flow that it opened and that is live
INV-4   all nodes translate a conversation the same way
INV-5   a flow is in a journal when its SYN leaves
INV-8   tables stay within their bounds
INV-10  nothing leaves with a wrong checksum, nothing that came in damaged leaves at all
INV-12  after healing every call comes to its end (`World.run`)
INV-13  nothing leaves untranslated
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hyperplane.dataplane.verdict import Reply
from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.journal import JournalReader
from hyperplane.flow.key import SUFFIX_BYTES, parts_of
from hyperplane.wire.packet import ChecksumState
from tests.cases import SYN, TCP, UDP, SocketAddress
from tests.dissection import Seen, dissect
from tests.nodes import EXIT
from tests.sim.ends import NUMBERS, Call, Violation
from tests.sim.header_judge import HeaderJudge
from tests.sim.opened import AT_ONCE_S, Opened
from tests.sim.streams import Stream

if TYPE_CHECKING:
    from tests.sim.world import World

BALANCER = "10.9.0.7"
TARGETS = {("10.9.3.20", 8080), ("10.9.4.20", 8080), ("10.9.3.20", 9053), ("10.9.4.20", 9053)}
IDLE_S, HALF_OPEN_S, CLOSING_S, REST_S = 350.0, 60.0, 120.0, 60.0
ONE_CALL = 1 << 16
"""More bytes than any call sends."""
TICK_MAX_S = 4.0
SLACK_S = 12.0
"""Ticks are up to 4 s apart here, and ages travel with them. (How exact timers are is tested elsewhere.)"""


@dataclass(slots=True)
class Thread:
    """One conversation as it is seen from outside the nodes."""

    door: int
    client: SocketAddress
    source: SocketAddress | None = None
    target: SocketAddress | None = None
    rivals: frozenset[SocketAddress] = frozenset()
    former: frozenset[SocketAddress] = frozenset()
    """The sources that another stream's took the place of, at `made_at`: what was decided before may leave after."""
    made_at: float = -1000.0
    """When the first packet of this translation left."""
    began_at: float = 0.0
    touched_at: float = -1000.0
    asked_at: float = -1000.0
    """When the client's side last spoke."""
    confirmed_at: float = -1000.0
    """When anything of this call but its SYN last passed: before that the flow is half open."""
    void_at: float = -1000.0
    """Whatever it was before this moment may be forgotten."""


@dataclass(frozen=True, slots=True)
class Use:
    """Who used a source tuple last."""

    user: tuple[int, SocketAddress, int]
    """Door, client and, where its target gets a header, its first number: another stream has another source there."""
    at: float
    opens: bool
    """Whether his last packet was a SYN: it may have left the flow half open, also one that was open before."""


class Audit:
    """Watches one world."""

    FINISHED = ChecksumState.FINISHED

    def __init__(self, world: "World") -> None:
        self.world = world
        self.headers = HeaderJudge(world)
        self.damaged: set[bytes] = set()
        self.threads: dict[tuple[int, SocketAddress, int], Thread] = {}
        self.users: dict[tuple[SocketAddress, SocketAddress, int], Use] = {}
        self.void_before = self.restarted_at = -1.0
        """Before these moments flows may be forgotten; a node, and what it alone knew, was forgotten."""
        self._readers: list[JournalReader] = []
        self._told: set[tuple[int, bytes, bytes, bytes]] = set()
        self.new_generation()

    def new_generation(self) -> None:
        self.restarted_at = self.world.now
        self._readers = [JournalReader(memoryview(journal)) for journal in self.world.zone.journals]

    def began(self, call: Call) -> None:
        """A new call may have a new translation, unless its tuple is still remembered."""
        self.threads.setdefault((call.door, call.client, TCP), Thread(call.door, call.client)).began_at = self.world.now

    def void(self, now: float) -> None:
        """Flows made before now may be forgotten, by some nodes or all."""
        self.void_before = now
        for thread in self.threads.values():
            thread.source = thread.target = None
            thread.void_at = now

    # --- packets ---------------------------------------------------------------------------------

    def accepted(self, index: int, eni: int, came: bytes, out_eni: int, out: bytes, is_first: bool) -> None:
        """A packet went on; `is_first` if it made its flow."""
        if came in self.damaged:
            raise Violation(f"INV-10: node {index} let a damaged packet through")
        seen, before = dissect(out), dissect(came)
        if not seen.sums_are_right:
            raise Violation(f"INV-10: node {index} sent a packet with a wrong checksum")
        if self.world.plan.headers is None and seen.payload != before.payload:
            raise Violation(f"node {index} changed the payload")
        if eni == EXIT:
            self._to_client(index, seen, before, out_eni)
            if self.world.plan.headers is not None:
                self.headers.to_client(index, seen, before)
        else:
            self._to_target(index, eni, seen, before, out_eni, is_first)
            if self.world.plan.headers is not None:
                self.headers.to_target(index, seen, before)
        plane = self.world.zone.nodes[index].dataplane.plane
        if len(plane.table) > self.world.plan.flows_max or len(plane.table.translated) != len(plane.table):
            raise Violation(f"INV-8: node {index} holds {len(plane.table)} flows")

    def _to_target(self, index: int, eni: int, seen: Seen, before: Seen, out_eni: int, is_first: bool) -> None:
        if out_eni != EXIT or seen.source[0] != BALANCER or seen.destination not in TARGETS:
            raise Violation(f"INV-13: {before.source} leaves as {seen.source} to {seen.destination} by {out_eni}")
        now = self.world.now
        thread = self.threads.setdefault((eni, before.source, seen.protocol), Thread(eni, before.source))
        self._same_translation(index, thread, seen)
        thread.touched_at = thread.asked_at = now
        call = self.world.callers.current.get((eni, before.source))
        if call is not None and 0 < (before.sequence - call.isn) % NUMBERS < ONE_CALL:
            thread.confirmed_at = now
        self._one_user(seen, (eni, before.source))
        if is_first:
            self._is_told(index, eni, before)

    def _same_translation(self, index: int, thread: Thread, seen: Seen) -> None:
        """INV-4. Only a flow that has ended, or two nodes at the very same instant, may lead to another."""
        now = self.world.now
        if seen.source in thread.former and (now == thread.made_at or self._is_switched_on(index, thread, seen)):
            return
        if thread.source in (None, seen.source) and thread.target in (None, seen.destination):
            if thread.source is None:
                thread.made_at = now
            thread.source, thread.target = seen.source, seen.destination
            return
        timeout_s = 120.0 if seen.protocol == UDP else HALF_OPEN_S
        if now - thread.asked_at >= timeout_s - 1 or thread.void_at > thread.began_at:
            thread.rivals, thread.made_at = frozenset(), now
        elif now == thread.asked_at or seen.source in thread.rivals or self._made_at_once(index, thread, seen):
            assert thread.source is not None
            thread.rivals |= {thread.source, seen.source}
        else:
            raise Violation(
                f"INV-4: {thread.client} was {thread.source}, is {seen.source} {now - thread.asked_at:.3f} s later"
            )
        thread.source, thread.target = seen.source, seen.destination

    def _made_at_once(self, index: int, thread: Thread, seen: Seen) -> bool:
        """Whether the flow that this packet belongs to was made at the same moment as the one known so far."""
        entry = self._flow_of(index, seen)
        return entry is not None and abs(entry.born_ms / 1000 - thread.made_at) < 0.002

    def _is_switched_on(self, index: int, thread: Thread, seen: Seen) -> bool:
        """Whether a flow with a header has taken the place of one without, just now: for an established flow without
        nobody reads the news, so a node may know of that one only, until it reads them anyway."""
        entry = self._flow_of(index, seen)
        return entry is not None and entry.injection is None and self.world.now - thread.made_at <= TICK_MAX_S

    def _flow_of(self, index: int, seen: Seen) -> FlowEntry | None:
        """The flow of this node that a packet has left by."""
        for entry in self.world.zone.nodes[index].dataplane.plane.table:
            _, _, source_port, _ = parts_of(entry.translated_key[:-SUFFIX_BYTES])
            if source_port == seen.source[1] and entry.protocol == seen.protocol:
                return entry
        return None

    def keeps_alive(self, opened: Opened) -> None:
        """What is dropped before a stream's first byte is still its client's word."""
        thread = self.threads[(*opened.user, TCP)]
        thread.touched_at = thread.asked_at = self.world.now

    def succeeds(self, opened: Opened) -> None:
        """Another stream of a client's begins, by another source: so it must be where targets get headers."""
        now = self.world.now
        thread = self.threads.setdefault((*opened.user, TCP), Thread(*opened.user))
        source, target = opened.key
        if thread.source not in (None, source):
            assert thread.source is not None
            is_rival = abs(opened.made_at - thread.made_at) < AT_ONCE_S
            thread.rivals = thread.rivals | {thread.source, source} if is_rival else frozenset()
            thread.former = (thread.former if now - thread.made_at <= TICK_MAX_S else frozenset()) | {thread.source}
        thread.made_at, thread.source, thread.target = now, source, target

    def _is_forgotten(self, use: Use) -> bool:
        """Whether a stream may have made way for another whose port rests no longer than any: nobody is told of the
        longer rest, and one without a header needs none."""
        headers = self.world.plan.headers
        return use.at <= self.restarted_at if use.user[2] else headers is not None and None in headers.placements

    def _is_told_late(self, use: Use) -> bool:
        """Whether the node that gives a port back may know no more of a stream that made way than its SYN."""
        return bool(use.user[2] and self.world.plan.stale)

    def _one_user(self, seen: Seen, client: tuple[int, SocketAddress]) -> None:
        """INV-1, from the client's packets alone: they keep a flow alive longest.

        After the last of them a flow stays 60 s if that was a SYN, 120 s or more if not, and its port rests 60 s.
        A SYN that is repeated before it is answered does not keep a flow whose target gets a header.
        The loser of two rivals, and what was void, only rests.
        """
        now = self.world.now
        source, target = seen.source, seen.destination
        opened = self.headers.flows.current.get((source, target)) if seen.protocol == TCP else None
        has_header = opened is not None and opened.placement is not None
        user = (*client, opened.isn if opened is not None and has_header else 0)
        before = self.users.get((source, target, seen.protocol))
        if before is not None and before.user != user:
            needed_s = REST_S
            rests_longer = not self.world.plan.overtaking and self.void_before < 0
            if rests_longer and not self._is_forgotten(before):
                needed_s += HALF_OPEN_S if before.opens or self._is_told_late(before) else CLOSING_S
            if now - before.at < needed_s - SLACK_S:
                raise Violation(
                    f"INV-1: {source} to {target} of {before.user} is {user}'s {now - before.at:.1f} s later"
                )
        opens = seen.flags & SYN != 0
        is_known = before is not None and before.user == user
        if not (is_known and opened is not None and has_header and (opens or not opened.is_near(seen))):
            self.users[source, target, seen.protocol] = Use(user, now, opens)

    def _to_client(self, index: int, seen: Seen, before: Seen, out_eni: int) -> None:
        if seen.source[0] != "10.0.1.10" or out_eni == EXIT:
            raise Violation(f"INV-13: {before.source} leaves as {seen.source} by {out_eni}")
        now = self.world.now
        thread = self.threads.get((out_eni, seen.destination, seen.protocol))
        timeout_s = 120.0 if seen.protocol == UDP else IDLE_S
        if thread is None or now - thread.touched_at > timeout_s + SLACK_S:
            raise Violation(f"INV-3: node {index} lets a packet into {out_eni} to {seen.destination}, who did not ask")
        is_known = thread.source is not None and thread.void_at < thread.began_at
        is_former = before.destination in thread.former and now == thread.made_at
        if is_known and not is_former and before.destination not in (thread.source, *thread.rivals):
            raise Violation(f"INV-3: a packet for {before.destination} goes to {seen.destination}")
        if seen.protocol == TCP:
            thread.touched_at = now

    def _is_told(self, index: int, eni: int, before: Seen) -> None:
        """INV-5."""
        for reader in self._readers:
            while reader.behind:
                for delta in reader.read(64):
                    port = int.from_bytes(delta.client_port, "big")
                    self._told.add((delta.endpoint, delta.client, port.to_bytes(2, "big"), bytes([delta.protocol])))
        client = bytes(int(part) for part in before.source[0].split("."))
        if (eni, client, before.source[1].to_bytes(2, "big"), bytes([before.protocol])) not in self._told:
            raise Violation(f"INV-5: node {index} sends the first packet of {before.source} before it told of the flow")

    def replied(self, eni: int, verdict: Reply) -> None:
        """Answers go back to where the packet came from, and nowhere else."""
        seen = dissect(verdict.packet)
        if verdict.eni_number != eni or not seen.sums_are_right:
            raise Violation(f"an answer leaves by {verdict.eni_number} for a packet from {eni}")
        if eni == EXIT and seen.destination not in TARGETS:
            raise Violation(f"INV-3: an answer to the provider goes to {seen.destination}")

    def datagram_delivered(self, door: int, seen: Seen) -> None:
        if not seen.payload.startswith(b">%d:%d/" % (door, seen.destination[1])):
            raise Violation(f"a datagram of another arrives at {door} {seen.destination}: {seen.payload!r}")

    def cut_off(self, call: Call) -> None:
        """A reset that a client believes. Right only if its flow had ended."""
        thread = self.threads[call.door, call.client, TCP]
        # What a target says alone at the end keeps nothing alive.
        silent_s = self.world.now - (thread.asked_at if call.phase == "closing" else thread.touched_at)
        if thread.rivals or thread.void_at > thread.began_at or self.is_excused(call):
            return
        if thread.target is not None and self.world.restarted_at[thread.target] >= thread.began_at:
            return
        if self.headers.is_cookie_too_old(call) or self.headers.is_switched_on(call):
            return
        timeout_s = {"opening": HALF_OPEN_S, "closing": CLOSING_S}.get(call.phase, IDLE_S)
        if thread.confirmed_at < thread.began_at:
            timeout_s, silent_s = HALF_OPEN_S, self.world.now - thread.asked_at
        if self.world.plan.headers is None and self.world.plan.spray and self.world.plan.stale:
            # The ACK of a handshake at a node that has read nothing for seconds, and holds the tuple's last
            # conversation for alive, leaves the new one half open. No real node is that far behind and lives.
            timeout_s = HALF_OPEN_S
        if silent_s < timeout_s - SLACK_S:
            raise Violation(f"call {call.number} was reset while {call.phase}, {silent_s:.1f} s after its last segment")

    def greeted_late(self, call: Call) -> None:
        """A client that waited to be greeted had to speak first: nobody repeated what was lost."""
        if not self.is_excused(call):
            raise Violation(f"INV-12: call {call.number} was greeted only because it asked")

    def is_excused(self, call: Call) -> bool:
        """Whether a silent call may wait for ever."""
        return isinstance(call, Stream) and call.phase == "listening" and self.headers.nobody_repeats(call)
