"""Streams with a header in every state that a node can believe one to be in, with another SYN to come.

A SYN that begins a flow is given a source port that only the node chooses, so it is no step of a story:

    road, node = HeaderRoad(*way), ...
    brought_to("CLOSED", road, node)          # the road knows by now from which port the target sees the client
    begins(node, new, flows_reopened=1)       # and so does this one: it is another port
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.injector import ANSWERED, Injection
from hyperplane.flow.key import SUFFIX_BYTES, parts_of
from hyperplane.flow.tcp_state import State
from tests import cases
from tests.cases import ACK, FIN, PSH, RST, SYN, linux_syn
from tests.dataplane.header_road import AT_ONCE, FIRST, NUMBERS, REPEATED, HeaderRoad
from tests.dataplane.story import Step, play
from tests.nodes import DOOR, Node

OTHERS = tuple(other % NUMBERS for other in (FIRST - 700, FIRST + 1_000_000, FIRST + (1 << 31) + 5, FIRST - (1 << 30)))
"""First bytes of another stream: near before, behind, far behind and far before the first stream's."""


def send(node: Node, road: HeaderRoad, steps: Sequence[Step] | Iterator[Step]) -> None:
    """Play these steps at this node."""
    play(lambda _: iter(list(steps)), road, node)


def the_flow(node: Node) -> FlowEntry:
    (entry,) = node.dataplane.plane.table
    return entry


def the_injection(node: Node) -> Injection:
    injection = the_flow(node).injection
    assert injection is not None
    return injection


def port_of(entry: FlowEntry) -> int:
    """The source port from which the target sees the client."""
    return parts_of(entry.translated_key[:-SUFFIX_BYTES])[2]


def follow(road: HeaderRoad, node: Node) -> None:
    """From now on the road is by the port of the flow that this node has."""
    road.balancer = (road.balancer[0], port_of(the_flow(node)))


def syn_of(road: HeaderRoad) -> bytes:
    return cases.tcp(
        road.client, road.endpoint, flags=SYN, sequence=road.first - 1, options=linux_syn(1400), checksum=road.sum
    )  # fmt: skip


def begins(node: Node, road: HeaderRoad, **more: int) -> None:
    """The SYN of this road begins a flow, the only one, and reaches the target with its own number."""
    came = syn_of(road)
    out = node.send(came, DOOR, road.now, road.state_of(came))
    assert out.accepted, out.verdict
    follow(road, node)
    passed = cases.tcp(road.balancer, road.target, flags=SYN, sequence=road.first - 1, options=linux_syn(1400))
    assert out.packet == passed and not out.leading
    assert out.moved == {"packets_original": 1, "bytes_original": len(came), "flows_new": 1} | more
    entry, injection = the_flow(node), the_injection(node)
    assert (entry.state, injection.first, injection.marks) == (State.SYN_SENT, road.first, 0)


def begins_again(node: Node, road: HeaderRoad, old: HeaderRoad) -> None:
    """The same, in the place of the flow of another road, from another port than that one's."""
    begins(node, road, flows_reopened=1)
    assert road.balancer[1] != old.balancer[1]


def with_header(road: HeaderRoad) -> Step:
    """The stream's first data, with the header of this stream."""
    return road.shared()


def goes_well(here: Node, there: Node, road: HeaderRoad) -> None:
    """From the SYN-ACK on: the header before the first data, both acknowledged, and the end behind them."""
    send(there, road, [road.syn_ack()])
    send(here, road, [with_header(road)])
    known = road.first + road.length + 8
    send(there, road, [road.mapped({"acknowledgment": known}, {"acknowledgment": road.first + 8})])
    send(here, road, [road.shifted(FIN | ACK, sequence=road.first + 8)])


# --- what the flow is believed to be, from behind the SYN on ------------------------------------


def _nothing(road: HeaderRoad) -> Iterator[Step]:
    return iter(())


def _reset_before_the_answer(road: HeaderRoad) -> Iterator[Step]:
    yield replace(road.shifted(RST), leading=(road.reset_before(),))


def _answered(road: HeaderRoad) -> Iterator[Step]:
    yield road.syn_ack()


def _reset_at_once(road: HeaderRoad) -> Iterator[Step]:
    """By its target, which refuses it: no SYN-ACK was ever seen."""
    yield road.mapped({}, {}, RST | ACK, sequence=0)


def _established(road: HeaderRoad) -> Iterator[Step]:
    yield from list(road.answered_once())[1:]


def _closed_by_client(road: HeaderRoad) -> Iterator[Step]:
    yield from list(road.opened())[1:]
    yield road.led(FIN | ACK, counted=REPEATED if road.placement is AT_ONCE else "headers_sent")


def _closed(road: HeaderRoad) -> Iterator[Step]:
    yield from _closed_by_client(road)
    known = road.first + road.length + 1
    yield road.mapped({"acknowledgment": known}, {"acknowledgment": road.first + 1}, FIN | ACK)
    yield road.shifted(ACK, sequence=road.first + 1, acknowledgment=2001)


def _closed_by_target(road: HeaderRoad) -> Iterator[Step]:
    yield from _established(road)
    known = road.first + road.length + 8
    yield road.mapped({"acknowledgment": known}, {"acknowledgment": road.first + 8}, FIN | ACK)


def _reset(road: HeaderRoad) -> Iterator[Step]:
    yield from _established(road)
    yield road.shifted(RST | ACK, sequence=road.first + 8)


def _handshake_reset(road: HeaderRoad) -> Iterator[Step]:
    """The target was seen to answer, and then to have forgotten it."""
    yield road.syn_ack()
    yield road.mapped({}, {}, RST | ACK, sequence=2000)


BEGINNINGS: dict[str, tuple[State, bool, Callable[[HeaderRoad], Iterator[Step]]]] = {
    "SYN_SENT": (State.SYN_SENT, False, _nothing),
    "SYN_RECEIVED": (State.SYN_RECEIVED, True, _answered),
    "ESTABLISHED": (State.ESTABLISHED, True, _established),
    "ORIGINAL_CLOSED": (State.ORIGINAL_CLOSED, True, _closed_by_client),
    "REPLY_CLOSED": (State.REPLY_CLOSED, True, _closed_by_target),
    "CLOSED": (State.CLOSED, True, _closed),
    "RESET": (State.RESET, True, _reset),
    "RESET in the handshake": (State.RESET, True, _handshake_reset),
    "RESET before the answer": (State.RESET, False, _reset_before_the_answer),
    "RESET, refused": (State.RESET, False, _reset_at_once),
}
"""By name: the state, whether the target has answered, and how it comes to that, behind the SYN."""
OVER = [name for name, (state, _, _) in BEGINNINGS.items() if state in (State.CLOSED, State.RESET)]
GOING_ON = [name for name, (_, answered, _) in BEGINNINGS.items() if answered and name not in OVER]


def brought_to(name: str, road: HeaderRoad, node: Node) -> None:
    """This node has met all of that stream, alone."""
    state, answered, steps = BEGINNINGS[name]
    begins(node, road)
    send(node, road, steps(road))
    assert the_flow(node).state == state
    assert bool(the_injection(node).marks & ANSWERED) == answered


def banner(road: HeaderRoad) -> Step:
    """Data of the target's that says nothing new of the header."""
    known = road.first + road.length + 8
    return road.mapped(
        {"acknowledgment": known}, {"acknowledgment": road.first + 8}, PSH | ACK, payload=b"220 ready"
    )  # fmt: skip
