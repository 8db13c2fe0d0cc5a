"""The track stage: a flow's state and age move, and the peers are told before the packet leaves.

A reset passes if it can be of this conversation, and puts the flow under the closing timer. Whether it was
believed nobody here can know: what is in the receiver's window but not exactly the next byte is answered
with a challenge ACK, and the conversation goes on (RFC 5961 section 3.2). What happens then is our choice:

- The client's next segment without FIN shows that the reset was none: the flow is established again, under its idle
  timer, on all nodes (RFC 6146 section 3.5.2.2 does so too). Segments that were behind a real reset on
  their way do the same; the target answers each of them with another reset, which is the last word.
- The target's segments pass and show nothing, also a challenge ACK: a target alone keeps no flow that is over.
- If the client says nothing within the closing timer, the flow ends. A quiet connection that met a reset
  which nobody believed is lost then, and told so at its next segment, as after the idle timer. Linux has
  that one live on: it shortens the timer only for a reset of exactly the next byte
  (`net/netfilter/nf_conntrack_proto_tcp.c`). We cannot tell: the next byte may have been seen by another
  node, and numbers are not told. What AWS does is not documented.
"""

from hyperplane.dataplane.counters import Count
from hyperplane.dataplane.passage import Passage
from hyperplane.dataplane.plane import Plane
from hyperplane.dataplane.verdict import DROPS, DropReason, Verdict
from hyperplane.flow.entry import NO_ROW, FlowEntry
from hyperplane.flow.injector import ANSWERED
from hyperplane.flow.key import Direction
from hyperplane.flow.tcp_state import INPUTS, NEXT_STATE, REFUSED, Input, State, plausible, window_max
from hyperplane.nat.sequence import MASK, distance
from hyperplane.wire.packet import ACK, RST, SYN, TCP, Packet

_ORIGINAL = Direction.ORIGINAL
_SCALE_UNKNOWN = 14
_UNSCALED_WINDOW_MAX = 0xFFFF
_ESTABLISHED, _CLOSED = int(State.ESTABLISHED), int(State.CLOSED)


def track(plane: Plane, passage: Passage) -> Verdict | None:
    """Move the flow's state and age; refuse what a flow may not do.

    Each segment tells where both directions are: its own by its sequence number, the other by what it acknowledges.
    The two may pass through different nodes, so a node that sees only one of them must not be blind for the other.
    What a target acknowledges counts its header, too: nothing, against the windows that these numbers are held to.
    """
    entry = passage.entry
    assert entry is not None
    packet = passage.packet
    if passage.error is not None:
        return _track_error(plane, passage, entry)
    if packet.protocol != TCP:
        _track_datagram(plane, passage, entry)
        return None
    original = passage.direction is _ORIGINAL
    event = INPUTS[not original][packet.flags & 0x3F]
    if event == REFUSED:
        return DROPS[DropReason.SYN_FROM_TARGET]
    if packet.flags & (RST | SYN):
        scales = entry.scales
        refused = _track_unusual(plane, passage, entry, event)
        if refused is not None:
            return refused
    elif entry.state != _ESTABLISHED and entry.injection is not None and not entry.injection.marks & ANSWERED:
        return _track_unanswered(plane, original)
    elif original:  # all these carry an ACK (RFC 9293 section 3.10.7.4), or they would have been refused
        entry.sequence_original = packet.sequence
        entry.sequence_reply = packet.acknowledgment
    else:
        entry.sequence_reply = packet.sequence
        entry.sequence_original = packet.acknowledgment
    state = entry.state
    after = NEXT_STATE[state << 3 | event]
    if after != state:
        if _is_of_an_older_stream(packet, entry, original):
            return None
        entry.seen_at = passage.now
        if after > state:
            entry.enter(after)
        else:
            entry.revive(after)
        plane.table.state_changed(entry)
        plane.replication.tell(entry)
    elif packet.flags & SYN:
        seen_at = entry.seen_at
        if _ESTABLISHED <= state < _CLOSED or (original and entry.injection is None):
            entry.seen_at = passage.now
        # It may say a window scale that nobody knew. The SYN that has just made the flow says nothing more.
        if not original or entry.scales != scales or entry.seen_at != seen_at or entry.row == NO_ROW:
            plane.replication.tell(entry)
    elif original or _ESTABLISHED <= state < _CLOSED:  # a target alone keeps no door open, before or after
        if entry.carries:
            entry.seen_at = passage.now
        else:
            plane.replication.refresh(entry, passage.now)
    return None


def _is_of_an_older_stream(packet: Packet, entry: FlowEntry, original: bool) -> bool:
    """Whether a segment is very late: during the handshake the client has sent no more than fits into the SYN-ACK's
    window, and nothing before it has answered the SYN-ACK. It opens nothing, and says nothing of the header either.

    A client's reset of that kind passes: the target may hold an older stream by this port, and have told the client of
    it. It ends nothing here, or the SYN, repeated, would begin a second flow.
    """
    injection = entry.injection
    if injection is None or entry.state >= _ESTABLISHED or packet.flags & SYN or (packet.flags & RST and not original):
        return False
    if original:
        return not -1 <= distance(packet.sequence, injection.first) <= _UNSCALED_WINDOW_MAX
    sent_max = injection.length + _UNSCALED_WINDOW_MAX if entry.state & State.ACKNOWLEDGED else 0
    return not 0 <= distance(packet.acknowledgment, injection.first) <= sent_max


def _track_unanswered(plane: Plane, original: bool) -> Verdict | None:
    """A segment without SYN or RST before the target has answered the SYN, where it gets a header. A client's could
    complete the handshake of another stream than the one whose first byte we know; a target's can only be a challenge,
    or very late, and says nothing of this stream."""
    return DROPS[DropReason.NOT_ANSWERED] if original and plane.protections.waits else None


def _track_unusual(plane: Plane, passage: Passage, entry: FlowEntry, event: int) -> Verdict | None:
    """Segments with SYN or RST."""
    packet = passage.packet
    original = passage.direction is _ORIGINAL
    if packet.flags & RST:
        return None if _may_reset(packet, entry, original) else DROPS[DropReason.RST_OUT_OF_WINDOW]
    if event == Input.ORIGINAL_SYN and entry.state in (State.CLOSED, State.RESET):
        entry.reopen()
        plane.counters.add(Count.FLOWS_REOPENED)
        plane.table.state_changed(entry)
    elif event == Input.REPLY_SYN_ACK and not _is_the_answer(plane, passage, entry):
        return DROPS[DropReason.STRAY_SYN_ACK]
    elif event == Input.ORIGINAL_ACK and entry.injection is not None and not entry.injection.marks & ANSWERED:
        refused = _track_unanswered(plane, original)  # a SYN-ACK of the client's, which no target has asked for
        if refused is not None:
            return refused
    # Until its sender goes on, nobody knows whether the SYN's number counts: what is alive may challenge it,
    # and the reset that answers a challenge has the old number (RFC 5961 section 4.2).
    if original:
        entry.sequence_original = -1
    else:
        entry.sequence_reply = -1
    shift = passage.options.window_scale()
    known = (shift or 0) + 1
    entry.scales |= known << 4 if original else known
    return None


def _is_the_answer(plane: Plane, passage: Passage, entry: FlowEntry) -> bool:
    """Where a header is injected: whether a SYN-ACK answers this flow's SYN, and as it did before. Learns it the first
    time.

    Another answer to the same SYN is of a target that has forgotten the first. The client has not: what it says counts
    from the first one's numbers. Unless it has not seen it and its SYN comes again: then a new flow begins.
    """
    packet, injection = passage.packet, entry.injection
    if injection is None:
        return True
    if packet.acknowledgment != injection.first:
        return False
    answer = packet.sequence + 1 & MASK
    if not injection.marks & ANSWERED:
        injection.note_answer(answer, passage.options.segment_size())  # told below, with the SYN-ACK
    elif answer != injection.answer:
        if entry.state != State.RESET:
            entry.enter(State.RESET)
            plane.table.state_changed(entry)
            plane.replication.tell(entry)
        return False
    return True


def _may_reset(packet: Packet, entry: FlowEntry, original: bool) -> bool:
    """Whether a reset can be of this conversation; the receiver looks more closely (RFC 5961 section 3.2)."""
    if not original and packet.sequence == 0 and packet.flags & ACK:
        return True  # the answer to a SYN, by a target that remembers nothing (RFC 9293 section 3.10.7.1)
    seen = entry.sequence_original if original else entry.sequence_reply
    return seen < 0 or plausible(packet.sequence, seen, _window_of_receiver(entry, original))


def _window_of_receiver(entry: FlowEntry, original: bool) -> int:
    """The largest window, in bytes, that whoever receives this direction's segments can have offered.

    Before both ends' scales are known (another node may have seen them) the largest of all is taken.
    """
    known = entry.scales & 0xF if original else entry.scales >> 4
    return window_max(known - 1 if known else _SCALE_UNKNOWN)


def _track_datagram(plane: Plane, passage: Passage, entry: FlowEntry) -> None:
    """UDP: only the client keeps a flow alive (RFC 4787 REQ-6), so a target cannot hold the door open."""
    if passage.direction is _ORIGINAL:
        if entry.carries:
            entry.seen_at = passage.now
        else:
            plane.replication.refresh(entry, passage.now)
    elif entry.state == State.SYN_SENT:
        entry.enter(State.SYN_RECEIVED)
        plane.table.state_changed(entry)
        plane.replication.tell(entry)


def _track_error(plane: Plane, passage: Passage, entry: FlowEntry) -> Verdict | None:
    """ICMP errors pass if they quote something that was really sent; they never move a flow (RFC 5508)."""
    quoted = passage.quoted
    assert quoted is not None
    if quoted.sequence is not None:
        about_original = passage.direction is not _ORIGINAL
        sequence = quoted.sequence
        if entry.injection is not None and about_original:
            sequence = entry.injection.to_client(sequence)
        seen = entry.sequence_original if about_original else entry.sequence_reply
        if seen >= 0 and not plausible(sequence, seen, _window_of_receiver(entry, about_original)):
            return DROPS[DropReason.ICMP_OUT_OF_WINDOW]
    if not plane.may_answer(passage.interface, passage.now):
        return DROPS[DropReason.RATE_LIMIT]
    return None
