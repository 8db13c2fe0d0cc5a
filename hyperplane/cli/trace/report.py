"""A trace as one value, and as text for people.

The table of hops is the article's walk: the same packet at five places, first from client to target, then
the answer on its way back. Where the call failed, the last place that saw it is named, and every
counter that moved meanwhile.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table

from hyperplane.cli.output import seconds, table
from hyperplane.cli.trace.evidence import KERNEL_LOST, Handling, Moved, PortClaim
from hyperplane.cli.trace.proxy_header import HeaderView, header_rows
from hyperplane.cli.trace.reasons import Choice, ListenerView, RuleView, TimersView
from hyperplane.cli.trace.sightings import Direction, HopView
from hyperplane.io.call import Call
from hyperplane.io.flow_view import FlowView
from hyperplane.io.hops import Hop

_SEEN_AS = {
    Hop.CLIENT: "as it was sent",
    Hop.ENDPOINT: "at the endpoint ENI",
    Hop.NLB: "after DNAT and SNAT",
    Hop.ROUTER: "routed to the target",
    Hop.TARGET: "what the target sees",
}
_COLUMNS = ("", "HOP", "WHERE", "FROM", "TO", "TTL", "PACKETS", "FIRST AT")
_SEEN = "SEEN AS"
_FACT, _SAYS = "FACT", "SAYS"
_RIGHT = ("TTL", "PACKETS", "FIRST AT")
_SHOWN_OF_ANSWER = 200


@dataclass(frozen=True, slots=True)
class LastSeen:
    """Where a call was seen for the last time. `missing` is the hop that should have seen it next, if there is one."""

    direction: str
    hop: str
    where: str
    missing: str | None
    says: str


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything about one call."""

    client: str
    endpoint: str
    endpoint_id: str
    zone: str
    call: Call
    hops: list[HopView]
    proxy_header: HeaderView | None
    """As the target got it; None if it got none."""
    last_seen: LastSeen | None
    """None if the call went through."""
    security_rule: RuleView | None
    listener: ListenerView | None
    target: str | None
    """Name of the chosen one."""
    choice: Choice | None
    source_port: PortClaim | None
    handling: Handling | None
    flow: FlowView | None
    timers: TimersView | None
    moved: list[Moved]
    unwell: list[str]
    """Nodes of the zone that do not serve."""


def last_seen(hops: list[HopView]) -> LastSeen:
    """How far the packets of a call that failed have come."""
    seen = [hop for hop in hops if hop.original]
    if not seen:
        says = "nothing left the client: no route to the endpoint's address, or nobody answered ARP for it"
        return LastSeen("client to target", "none", "", Hop.CLIENT.value, says)
    there = seen[-1]
    answered = [hop for hop in hops if hop.reply]
    if there.place.hop is not Hop.TARGET:
        missing = _after(there.place.hop)
        says = _LOST_AFTER[there.place.hop]
        if answered:
            says = "answered by the fabric itself, not by a target: " + _flags(answered[0].reply)
        return LastSeen("client to target", there.place.hop.value, there.place.name, missing.value, says)
    if not answered:
        says = "the packets reached the target, which did not answer"
        return LastSeen("client to target", there.place.hop.value, there.place.name, None, says)
    back = answered[0]
    if back.place.hop is Hop.CLIENT:
        says = "packets went all the way in both directions: the target itself ended it (" + _flags(back.reply) + ")"
        return LastSeen("back to the client", back.place.hop.value, back.place.name, None, says)
    missing = _before(back.place.hop)
    says = "the answer was lost on its way back"
    return LastSeen("back to the client", back.place.hop.value, back.place.name, missing.value, says)


_LOST_AFTER = {
    Hop.CLIENT: "sent, but never reached the endpoint's ENI: is the VPC's router up, is the fabric's link there?",
    Hop.ENDPOINT: "reached the endpoint's ENI and was not sent on; the counters say why, or no node answered",
    Hop.NLB: "rewritten and sent, but the provider's router did not carry it on",
    Hop.ROUTER: "the router carried it on, but the target's link did not bring it",
}


def _after(hop: Hop) -> Hop:
    order = list(Hop)
    return order[order.index(hop) + 1]


def _before(hop: Hop) -> Hop:
    order = list(Hop)
    return order[order.index(hop) - 1]


def _flags(direction: Direction | None) -> str:
    assert direction is not None
    return "a reset" if any("R" in flags for flags in direction.flags) else "no reset"


def draw_trace(trace: Trace) -> RenderableType:
    """The whole report."""
    call = trace.call
    where = f"{call.server}:{call.server_port}/{call.protocol}, zone {trace.zone}"
    parts: list[RenderableType] = [
        f"[bold]{trace.client} to {trace.endpoint}[/] ({trace.endpoint_id}) at {where}",
        *_outcome(trace),
        "",
        "[bold]CLIENT TO TARGET[/]",
        _hops(trace.hops, original=True),
        "",
    ]
    if any(hop.reply for hop in trace.hops):
        parts += ["[bold]AND BACK[/]", _hops(trace.hops[::-1], original=False), ""]
    if trace.proxy_header is not None:
        parts += [*_proxy_header(trace.proxy_header), ""]
    parts += ["[bold]WHO AND WHY[/]", _indented(table((_FACT, _SAYS), list(_facts(trace)), folds=(_SAYS,)))]
    notable = [item for item in trace.moved if trace.last_seen or item.means]
    if notable:
        parts += ["", "[bold]COUNTERS THAT MOVED[/]", _indented(_counters(notable))]
    return Group(*parts)


def _proxy_header(header: HeaderView) -> Iterator[RenderableType]:
    """The header's bytes and what they say, as the target got them."""
    many = f"in {header.segments} packets" if header.segments > 1 else "in one packet"
    yield f"[bold]PROXY PROTOCOL V2 HEADER[/], {header.length} bytes, as the target got it {many}"
    if header.problem is not None:
        yield f"[red]cannot be read[/]: {_plain(header.problem)}: {header.bytes_hex}"
    else:
        yield _indented(
            table(("OFFSET", "BYTES", "MEANING"), header_rows(header), right=("OFFSET",), folds=("MEANING",))
        )


def _indented(inner: Table) -> RenderableType:
    inner.show_header = inner.columns[0].header != _FACT
    return Padding(inner, (0, 0, 0, 2), expand=False)


def _outcome(trace: Trace) -> Iterator[str]:
    call = trace.call
    if trace.last_seen is None:
        assert call.connect_s is not None
        verb = "connected" if call.protocol == "tcp" else "answered"
        yield f"[green]{verb}[/] in {call.connect_s * 1000:.1f} ms; {_plain(call.problem or call.status_line)}"
        if call.body:
            yield _plain(call.body[:_SHOWN_OF_ANSWER])
        return
    lost = trace.last_seen
    yield f"[red]FAILED[/]: {_plain(call.problem or 'no answer')}"
    where = f"last seen at hop {lost.hop} ({lost.where}), {lost.direction}"
    yield (where if lost.where else "never seen") + (f"; not seen at hop {lost.missing}" if lost.missing else "")
    yield lost.says
    for line in trace.unwell:
        yield f"[red]{line}[/]"


def _plain(text: str) -> str:
    """Brackets of an answer are no style of ours."""
    return text.replace("[", "\\[")


def _hops(hops: list[HopView], original: bool) -> RenderableType:
    rows = []
    for hop in hops:
        seen = hop.original if original else hop.reply
        number = str(list(Hop).index(hop.place.hop) + 1)
        head = [number, hop.place.hop.value, hop.place.name]
        rows.append([*head, *_cells(seen), *([_SEEN_AS[hop.place.hop]] if original else [])])
    return _indented(table((*_COLUMNS, _SEEN) if original else _COLUMNS, rows, right=_RIGHT))


def _cells(seen: Direction | None) -> list[str]:
    if seen is None:
        return ["-", "-", "-", "0", "-"]
    at = f"{seen.first_at_s * 1000:.2f} ms"
    return [str(seen.source), str(seen.destination), str(seen.ttl), str(seen.packets), at]


def _facts(trace: Trace) -> Iterator[tuple[str, str]]:
    yield "security group", str(trace.security_rule) if trace.security_rule else "no rule lets this in"
    yield "listener", str(trace.listener) if trace.listener else "none on this protocol and port"
    if trace.choice is not None:
        chosen = f"{trace.target}; " if trace.target else ""
        yield "target", f"{chosen}{trace.choice.because}"
    if trace.source_port is not None:
        claim = trace.source_port
        yield "source port", f"{claim.port}, one of {claim.taken} in use of {claim.size} towards this target"
    yield from _handling_facts(trace.handling)
    if trace.flow is not None:
        flow = trace.flow
        yield "flow", f"{flow.state}, idle {seconds(flow.idle_s)}, ends in {seconds(flow.expires_in_s)} unless used"
    if trace.timers is not None:
        timers = trace.timers
        yield (
            "timers",
            (
                f"half-open {timers.half_open_s} s, idle {timers.idle_s} s, closing {timers.closing_s} s, "
                f"then the port rests {timers.port_rest_s} s"
            ),
        )


def _handling_facts(handling: Handling | None) -> Iterator[tuple[str, str]]:
    if handling is None:
        yield "nodes", "no journal tells of this flow"
        return
    if handling.original_node is not None:
        yield "node, to target", f"node {handling.original_node}, queue {handling.original_queue}"
    if handling.reply_node is not None:
        yield "node, back", f"node {handling.reply_node}, queue {handling.reply_queue}"
    holders, tellers = " ".join(map(str, handling.held_by)), " ".join(handling.told_by)
    yield "replicas", f"held by nodes {holders}; told by {tellers}"


def _counters(moved: list[Moved]) -> Table:
    rows = [
        [f"node {item.node}", f"[red]{item.counter}[/]" if _is_loss(item) else item.counter, f"+{item.by}", item.means]
        for item in moved
    ]
    return table(("NODE", "COUNTER", "BY", "MEANS"), rows, right=("BY",), folds=("MEANS",))


def _is_loss(item: Moved) -> bool:
    return item.counter.startswith("dropped_") or item.counter == KERNEL_LOST
