"""TCP tracking as a table.

The states are chosen so that two nodes that saw different packets of one flow can join what
they know: a state's value is the set of things that have happened, joining is bitwise OR, and
every transition only adds. So the order in which replicas learn does not matter.

        SYN_SENT 0 --+-- SYN_RECEIVED 1 --+-- ESTABLISHED 3 --+-- ORIGINAL_CLOSED  7 --+-- CLOSED 15 --- RESET 31
                     +-- ACKNOWLEDGED 2 --+                   +-- REPLY_CLOSED    11 --+

The tracker is deliberately loose about data (RFC 5382 REQ-2: every valid packet sequence
passes): it never judges sequence numbers of data, never ends a flow by itself, and forgets only
by time. A RST does not remove anything (RFC 5961): if the receiver answers it with a challenge
ACK the flow goes on. Only resets far outside anything the receiver could accept are refused,
see `plausible`.

A SYN in CLOSED or RESET opens the conversation again on the same translation: to both ends that
is what would have happened without a translator between them (RFC 9293 section 3.6.1). And a
client that goes on after a reset shows that the receiver did not believe it. These are the only
steps that are not additions, so they start a new epoch, see `flow/entry.py`.

UDP uses the first two states only.
"""

from enum import Enum, IntEnum

from hyperplane.wire.packet import ACK, FIN, RST, SYN


class State(IntEnum):
    """What has happened, as a set of bits. Joining two views is OR."""

    SYN_SENT = 0
    """The client's SYN (or first datagram) was forwarded."""
    SYN_RECEIVED = 1
    """The target's SYN-ACK (or first datagram) was forwarded."""
    ACKNOWLEDGED = 2
    """The client's ACK was forwarded, by a node that does not know yet of the SYN-ACK that another forwarded."""
    ESTABLISHED = 3
    ORIGINAL_CLOSED = 7
    """The client's FIN was forwarded. The target may go on sending (RFC 9293 section 3.6, half-close)."""
    REPLY_CLOSED = 11
    CLOSED = 15
    RESET = 31


class Input(IntEnum):
    """What one segment means for the tracker."""

    ORIGINAL_SYN = 0
    ORIGINAL_ACK = 1
    ORIGINAL_FIN = 2
    ORIGINAL_RST = 3
    REPLY_SYN_ACK = 4
    REPLY_ACK = 5
    REPLY_FIN = 6
    REPLY_RST = 7


class Timer(Enum):
    """Which of the snapshot's timers a state runs under."""

    HALF_OPEN = "half_open"
    IDLE = "idle"
    CLOSING = "closing"


_S, _I = State, Input

TRANSITIONS: dict[tuple[State, Input], State] = {
    # RFC 9293 section 3.5, figure 6: the handshake. Its two halves may be seen by two nodes.
    (_S.SYN_SENT, _I.ORIGINAL_SYN): _S.SYN_SENT,
    (_S.SYN_SENT, _I.ORIGINAL_ACK): _S.ACKNOWLEDGED,
    (_S.SYN_SENT, _I.ORIGINAL_FIN): _S.ORIGINAL_CLOSED,
    (_S.SYN_SENT, _I.REPLY_SYN_ACK): _S.SYN_RECEIVED,
    (_S.SYN_SENT, _I.REPLY_ACK): _S.SYN_SENT,  # a challenge ACK from an older connection
    (_S.SYN_SENT, _I.REPLY_FIN): _S.REPLY_CLOSED,
    (_S.SYN_RECEIVED, _I.ORIGINAL_SYN): _S.SYN_RECEIVED,
    (_S.SYN_RECEIVED, _I.ORIGINAL_ACK): _S.ESTABLISHED,
    (_S.SYN_RECEIVED, _I.ORIGINAL_FIN): _S.ORIGINAL_CLOSED,
    (_S.SYN_RECEIVED, _I.REPLY_SYN_ACK): _S.SYN_RECEIVED,
    (_S.SYN_RECEIVED, _I.REPLY_ACK): _S.ESTABLISHED,
    (_S.SYN_RECEIVED, _I.REPLY_FIN): _S.REPLY_CLOSED,
    (_S.ACKNOWLEDGED, _I.ORIGINAL_SYN): _S.ACKNOWLEDGED,
    (_S.ACKNOWLEDGED, _I.ORIGINAL_ACK): _S.ACKNOWLEDGED,
    (_S.ACKNOWLEDGED, _I.ORIGINAL_FIN): _S.ORIGINAL_CLOSED,
    (_S.ACKNOWLEDGED, _I.REPLY_SYN_ACK): _S.ESTABLISHED,
    (_S.ACKNOWLEDGED, _I.REPLY_ACK): _S.ESTABLISHED,
    (_S.ACKNOWLEDGED, _I.REPLY_FIN): _S.REPLY_CLOSED,
    # RFC 5961 section 4: a SYN in a synchronized state is the end system's to answer.
    (_S.ESTABLISHED, _I.ORIGINAL_SYN): _S.ESTABLISHED,
    (_S.ESTABLISHED, _I.ORIGINAL_ACK): _S.ESTABLISHED,
    (_S.ESTABLISHED, _I.ORIGINAL_FIN): _S.ORIGINAL_CLOSED,
    (_S.ESTABLISHED, _I.REPLY_SYN_ACK): _S.ESTABLISHED,
    (_S.ESTABLISHED, _I.REPLY_ACK): _S.ESTABLISHED,
    (_S.ESTABLISHED, _I.REPLY_FIN): _S.REPLY_CLOSED,
    # RFC 9293 section 3.6: each half closes by itself.
    (_S.ORIGINAL_CLOSED, _I.ORIGINAL_SYN): _S.ORIGINAL_CLOSED,
    (_S.ORIGINAL_CLOSED, _I.ORIGINAL_ACK): _S.ORIGINAL_CLOSED,
    (_S.ORIGINAL_CLOSED, _I.ORIGINAL_FIN): _S.ORIGINAL_CLOSED,
    (_S.ORIGINAL_CLOSED, _I.REPLY_SYN_ACK): _S.ORIGINAL_CLOSED,
    (_S.ORIGINAL_CLOSED, _I.REPLY_ACK): _S.ORIGINAL_CLOSED,
    (_S.ORIGINAL_CLOSED, _I.REPLY_FIN): _S.CLOSED,
    (_S.REPLY_CLOSED, _I.ORIGINAL_SYN): _S.REPLY_CLOSED,
    (_S.REPLY_CLOSED, _I.ORIGINAL_ACK): _S.REPLY_CLOSED,
    (_S.REPLY_CLOSED, _I.ORIGINAL_FIN): _S.CLOSED,
    (_S.REPLY_CLOSED, _I.REPLY_SYN_ACK): _S.REPLY_CLOSED,
    (_S.REPLY_CLOSED, _I.REPLY_ACK): _S.REPLY_CLOSED,
    (_S.REPLY_CLOSED, _I.REPLY_FIN): _S.REPLY_CLOSED,
    # RFC 9293 section 3.6.1: a SYN after the end opens anew. All else is a repeated last segment.
    (_S.CLOSED, _I.ORIGINAL_SYN): _S.SYN_SENT,
    (_S.CLOSED, _I.ORIGINAL_ACK): _S.CLOSED,
    (_S.CLOSED, _I.ORIGINAL_FIN): _S.CLOSED,
    (_S.CLOSED, _I.REPLY_SYN_ACK): _S.CLOSED,
    (_S.CLOSED, _I.REPLY_ACK): _S.CLOSED,
    (_S.CLOSED, _I.REPLY_FIN): _S.CLOSED,
    (_S.RESET, _I.ORIGINAL_SYN): _S.SYN_SENT,
    # RFC 6146 section 3.5.2.2: what goes on after a reset shows that it was none. Only the client can show it.
    (_S.RESET, _I.ORIGINAL_ACK): _S.ESTABLISHED,
    (_S.RESET, _I.ORIGINAL_FIN): _S.RESET,
    (_S.RESET, _I.REPLY_SYN_ACK): _S.RESET,
    (_S.RESET, _I.REPLY_ACK): _S.RESET,
    (_S.RESET, _I.REPLY_FIN): _S.RESET,
    # RFC 7857 section 2.2: a RST is forwarded and shortens the flow's memory, no more.
    **{(state, reset): _S.RESET for state in State for reset in (_I.ORIGINAL_RST, _I.REPLY_RST)},
}
"""(State, Input) -> State, complete: a test walks every pair."""

TIMERS: dict[State, Timer] = {
    _S.SYN_SENT: Timer.HALF_OPEN,
    _S.SYN_RECEIVED: Timer.HALF_OPEN,
    _S.ACKNOWLEDGED: Timer.HALF_OPEN,
    _S.ESTABLISHED: Timer.IDLE,
    _S.ORIGINAL_CLOSED: Timer.IDLE,
    _S.REPLY_CLOSED: Timer.IDLE,
    _S.CLOSED: Timer.CLOSING,
    _S.RESET: Timer.CLOSING,
}


_ANSWERED = int(State.SYN_RECEIVED)


def is_half_open(state: int) -> bool:
    """Whether the target has not answered yet."""
    return not state & _ANSWERED


def _input_of(flags: int, reply: bool) -> int:
    """The input a segment's flags amount to; 255 for a SYN without ACK from the target (never forwarded)."""
    if flags & RST:
        return Input.REPLY_RST if reply else Input.ORIGINAL_RST
    if flags & SYN:
        if reply:
            return Input.REPLY_SYN_ACK if flags & ACK else REFUSED
        return Input.ORIGINAL_ACK if flags & ACK else Input.ORIGINAL_SYN
    if flags & FIN:
        return Input.REPLY_FIN if reply else Input.ORIGINAL_FIN
    return Input.REPLY_ACK if reply else Input.ORIGINAL_ACK


REFUSED = 255

INPUTS: tuple[bytes, bytes] = (
    bytes(_input_of(flags, False) for flags in range(64)),
    bytes(_input_of(flags, True) for flags in range(64)),
)
"""By direction, then by the low six flag bits: the input, or REFUSED (RFC 5382 REQ-2a, deviation:
the provider never opens a connection, so simultaneous open is refused)."""


def _table() -> bytes:
    table = bytearray([REFUSED]) * (32 * 8)
    for (state, event), after in TRANSITIONS.items():
        table[state * 8 + event] = after
    return bytes(table)


NEXT_STATE: bytes = _table()
"""`TRANSITIONS` as one table of bytes, at state * 8 + input: what the packet path reads."""

_HALF = 1 << 31
_MOD = 1 << 32


def plausible(sequence: int, seen: int, window: int) -> bool:
    """Whether `sequence` lies within `window` bytes of a sequence number that was seen, either way (mod 2**32)."""
    return (sequence - seen + window) % _MOD <= 2 * window


def window_max(scale: int) -> int:
    """The largest window a receiver with this window scale can offer, in bytes (RFC 7323 section 2.2)."""
    return 0xFFFF << min(scale, 14)
