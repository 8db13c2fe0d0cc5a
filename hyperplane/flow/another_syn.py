"""A SYN for a flow that exists, where the target gets a header: the same stream again, another one, or a question.

A header has its place in one stream, and nobody but the target knows for certain which stream it takes part in. A
client may make us believe that one is over which the target keeps, or that it goes on while the target has forgotten
it: resets need not be believed, and a SYN may overtake what was sent before it. So two streams with different numbers
never share the target's four numbers, as long as the target can have anything of the first: another SYN begins a flow
of its own, from another source port.

    the flow               the SYN's number is its own       is another
    was reset              begins                            begins
    was closed             is asked                          begins
    not answered yet       goes on: it is repeated           begins: the client has given up
    answered               goes on: the answer was lost      is asked
    header acknowledged    is asked                          is asked

`begins`: the flow ends here, and its source port rests. What is late for it finds nothing to be mistaken for.
`is asked`: a challenge, as the target would send it (RFC 5961 section 4.2), so that a client which has forgotten the
stream resets it, and begins when its SYN is repeated; one that has not is undisturbed: its SYN was very late, or
forged. Were the SYN forwarded, a target that has lost the stream would begin another one in the middle of ours; with
the same number, too, and then nobody would bring the header again.

Closed is a flow once both ends have sent their FIN. What they said before that may still be on its way, and so may the
SYN: one with the flow's own number waited in the queue of a node that was killed, while another node did all the rest.

To the client all this is what it would see without a translator. Source: ours; what AWS does is not documented.
"""

from enum import Enum

from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.injector import ANSWERED, HEADER_ACKED
from hyperplane.flow.tcp_state import State
from hyperplane.nat.sequence import MASK


class Syn(Enum):
    """What becomes of a SYN on the tuple of a flow."""

    GOES_ON = "goes on"
    BEGINS = "begins"
    IS_ASKED = "is asked"


def becomes_of_syn(entry: FlowEntry, sequence: int, gets_header: bool) -> Syn:
    """`sequence`: the SYN's; `gets_header`: whether a flow that is made now gets one. A flow without, that would get
    none now either, opens again with the same translation (`flow/tcp_state.py`). One that would get one now knows no
    number of its own: it begins with the header as long as it is half open, and is asked from then on."""
    injection = entry.injection
    if injection is None:
        if not gets_header:
            return Syn.GOES_ON
        is_open = State.ESTABLISHED <= entry.state < State.CLOSED
        return Syn.IS_ASKED if is_open else Syn.BEGINS
    is_own = sequence + 1 & MASK == injection.first
    if entry.state == State.RESET or (entry.state == State.CLOSED and not is_own):
        return Syn.BEGINS
    if is_own:
        is_late = entry.state == State.CLOSED or injection.marks & HEADER_ACKED
        return Syn.IS_ASKED if is_late else Syn.GOES_ON
    return Syn.IS_ASKED if injection.marks & ANSWERED else Syn.BEGINS
