"""What the nodes left behind of a call: its rows in the journals, its claim on a port, the counters that moved.

Read from shared files before and after the call. Which node a packet went to is the kernel's hash and
nobody asks the kernel: the node that took the first packet has claimed the flow's source port, and the node that
took the first reply has written the flow's next state into its own journal.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from hyperplane.cli.drop_reasons import dropped_for, meaning
from hyperplane.cli.trace.question import Question
from hyperplane.flow.ports import PoolKey
from hyperplane.io.claims import pool_file_name
from hyperplane.io.flow_view import FlowView, SocketAddress, view_flows
from hyperplane.io.node_view import NodeView
from hyperplane.io.runtime import zone_files
from hyperplane.limits import SNAT_PORT_MIN, SNAT_PORTS_PER_TARGET
from hyperplane.snapshot import Eni, Protocol

KERNEL_LOST = "kernel_queue_lost"


@dataclass(frozen=True, slots=True)
class Moved:
    """A counter that is not what it was before the call."""

    node: int
    counter: str
    by: int
    means: str


@dataclass(frozen=True, slots=True)
class PortClaim:
    """The flow's source port, and how full the pool is that it comes from."""

    port: int
    pool: str
    """Name of the pool's file below `ports/`."""
    claimed_by: int | None
    """The node that made the flow; None if the port is free again."""
    taken: int
    size: int


@dataclass(frozen=True, slots=True)
class Handling:
    """Which node took which direction, and by which queue; None where nothing tells."""

    original_node: int | None
    original_queue: int | None
    reply_node: int | None
    reply_queue: int | None
    held_by: tuple[int, ...]
    told_by: tuple[str, ...]


def moved_between(before: list[NodeView], after: list[NodeView], zone_id: str) -> list[Moved]:
    """Counters of one zone's nodes that moved, drops first."""
    old = {(view.generation, view.node): view for view in before if view.zone_id == zone_id}
    found = []
    for view in after:
        earlier = old.get((view.generation, view.node))
        if view.zone_id != zone_id or earlier is None:
            continue
        for name in sorted(view.counters.keys() | earlier.counters.keys()):
            by = view.count(name) - earlier.count(name)
            if by > 0:
                found.append(Moved(view.node, name, by, meaning(name)))
        lost = _lost(view) - _lost(earlier)
        if lost > 0:
            found.append(Moved(view.node, KERNEL_LOST, lost, "the node's queue was full: it hangs, or is too slow"))
    return sorted(
        found, key=lambda item: (dropped_for(item.counter) is None and item.counter != KERNEL_LOST, item.node)
    )


def _lost(view: NodeView) -> int:
    queue = view.kernel_queue
    return queue.dropped_full + queue.dropped_untaken if queue else 0


def packets_seen(views: list[NodeView], zone_id: str) -> int:
    """All packets that the nodes of a zone have decided about so far."""
    names = ("packets_original", "packets_reply", "packets_dropped")
    return sum(view.count(name) for view in views if view.zone_id == zone_id for name in names)


def find_flow(runtime: Path, question: Question, client: SocketAddress) -> FlowView | None:
    """The call's flow as the journals tell of it."""
    protocol = question.protocol.name.lower()
    for flow in view_flows(runtime, endpoint=question.eni.eni_id).views:
        if (flow.zone_id, flow.protocol, flow.client, flow.endpoint.port) == (
            question.zone.zone_id,
            protocol,
            client,
            question.port,
        ):
            return flow
    return None


def find_claim(
    runtime: Path, zone_id: str, way_out: Eni, protocol: Protocol, port: int, target: SocketAddress
) -> PortClaim | None:
    """Who has claimed a source port of a load balancer towards a target; None if there is no such pool."""
    pool = PoolKey(way_out.address, ip_address(target.address).packed, target.port, protocol.value, way_out.number)
    name = pool_file_name(pool)
    try:
        claims = (zone_files(runtime, zone_id).ports / name).read_bytes()
    except FileNotFoundError:
        return None
    index = port - SNAT_PORT_MIN
    tag = claims[index] if 0 <= index < len(claims) else 0
    return PortClaim(port, name, tag - 1 if tag else None, len(claims) - claims.count(0), SNAT_PORTS_PER_TARGET)


def handling_of(flow: FlowView | None, claim: PortClaim | None, views: list[NodeView]) -> Handling | None:
    """Who took the call; None without a flow."""
    if flow is None:
        return None
    queues = {view.node: view.queue for view in views if view.zone_id == flow.zone_id and view.in_force}
    original = claim.claimed_by if claim else None
    tellers = [int(name) for name in flow.told_by if name.isdecimal()]
    others = [node for node in tellers if node != original]
    reply: int | None = None
    if original is not None and flow.state not in ("SYN_SENT", "UNANSWERED"):
        reply = others[0] if others else original
    return Handling(
        original_node=original,
        original_queue=queues.get(original) if original is not None else None,
        reply_node=reply,
        reply_queue=queues.get(reply) if reply is not None else None,
        held_by=flow.held_by,
        told_by=flow.told_by,
    )
