"""One trace: make one real call and watch it at every hop.

The order: read the counters, start to listen, call, listen until it is quiet, wait until the nodes have
shown what they counted, read everything, explain.
"""

import secrets
import select
import threading
import time
from pathlib import Path

from hyperplane.cli.trace.evidence import find_claim, find_flow, handling_of, moved_between, packets_seen
from hyperplane.cli.trace.proxy_header import HeaderView, header_at_target
from hyperplane.cli.trace.question import Question, ask, places_on_the_way
from hyperplane.cli.trace.reasons import choice_for, listener_for, rule_for, timers_for
from hyperplane.cli.trace.report import Trace, last_seen
from hyperplane.cli.trace.sightings import HopView, hops_of, read_packet
from hyperplane.control.resources import LoadBalancer
from hyperplane.io.call import Call, call_tcp, call_udp
from hyperplane.io.flow_view import SocketAddress
from hyperplane.io.ground import instance_namespace
from hyperplane.io.hops import Hop, Place
from hyperplane.io.node_view import NodeView, view_nodes
from hyperplane.io.running_lab import Lab, running_lab
from hyperplane.io.status import NodeState
from hyperplane.io.tap import Tap, TappedPacket
from hyperplane.limits import NODE_BEAT_S
from hyperplane.snapshot import Protocol

QUIET_S = 0.15
"""No packet for this long: the call is over, its last acknowledgement included."""
LISTEN_MAX_S = 2.0
SHOWN_MAX_S = 1.0
"""How long the nodes may take to show what they have counted; they do so forty times a second."""
_TOKEN_BYTES = 16


def run_trace(runtime: Path, client: str, endpoint: str, protocol: Protocol, port: int, timeout_s: float) -> Trace:
    """Make the call and explain it. Raises BadParameter, FileNotFoundError, PermissionError, ConfigurationError."""
    lab = running_lab(runtime)
    question = ask(lab, client, endpoint, protocol, port)
    places = places_on_the_way(lab, question)
    before = view_nodes(runtime)
    taps = [Tap(place.namespace, place.interface) for place in places]
    try:
        call = _call(question, timeout_s)
        heard = _listen(places, taps)
    finally:
        for tap in taps:
            tap.close()
    sightings = [read for place, packet in heard if (read := read_packet(place, packet))]
    server = SocketAddress(call.server, call.server_port)
    hops = hops_of(places, sightings, SocketAddress(call.client, call.client_port), server)
    after = _shown(runtime, question.zone.zone_id, before, hops)
    return _explain(runtime, lab, question, call, hops, header_at_target(hops, sightings), before, after)


def _call(question: Question, timeout_s: float) -> Call:
    client = question.client
    namespace, source = instance_namespace(client), str(client.address)
    if question.protocol is Protocol.TCP:
        return call_tcp(namespace, source, question.address, question.port, timeout_s)
    # The data tells this datagram from all others: beyond the translation nothing else does.
    payload = f"hyperplane trace {secrets.token_hex(_TOKEN_BYTES)}\n".encode()
    return call_udp(namespace, source, question.address, question.port, payload, timeout_s)


def _listen(places: list[Place], taps: list[Tap]) -> list[tuple[Place, TappedPacket]]:
    """Everything that was heard, until it is quiet."""
    heard: list[tuple[Place, TappedPacket]] = []
    of_tap = dict(zip(taps, places, strict=True))
    until = time.monotonic() + LISTEN_MAX_S
    while time.monotonic() < until:
        ready, _, _ = select.select(taps, [], [], QUIET_S)
        if not ready:
            break
        heard += ((of_tap[tap], packet) for tap in ready for packet in tap.read())
    return heard


def _shown(runtime: Path, zone_id: str, before: list[NodeView], hops: list[HopView]) -> list[NodeView]:
    """The nodes once their pages show the packets that the call gave them, or do not within a while."""
    given = sum(_packets(hop) for hop in hops)
    enough = packets_seen(before, zone_id) + given
    until = time.monotonic() + SHOWN_MAX_S
    beat = threading.Event()
    while True:
        views = view_nodes(runtime)
        if packets_seen(views, zone_id) >= enough or time.monotonic() > until:
            return views
        beat.wait(NODE_BEAT_S)


def _packets(hop: HopView) -> int:
    """Packets of the call that came into the fabric here."""
    if hop.place.hop is Hop.ENDPOINT and hop.original:
        return hop.original.packets
    return hop.reply.packets if hop.place.hop is Hop.NLB and hop.reply else 0


def _explain(
    runtime: Path,
    lab: Lab,
    question: Question,
    call: Call,
    hops: list[HopView],
    header: HeaderView | None,
    before: list[NodeView],
    after: list[NodeView],
) -> Trace:
    zone_id = question.zone.zone_id
    flow = find_flow(runtime, question, SocketAddress(call.client, call.client_port))
    beyond = next((hop.original for hop in hops if hop.place.hop is Hop.NLB and hop.original), None)
    claim, target = None, None
    if beyond is not None and question.way_out is not None:
        port = beyond.source.port
        claim = find_claim(runtime, zone_id, question.way_out, question.protocol, port, beyond.destination)
        target = _target_name(lab, question, beyond.destination)
    return Trace(
        client=question.client.name,
        endpoint=question.endpoint.name,
        endpoint_id=question.endpoint.resource_id,
        zone=question.zone.name,
        call=call,
        hops=hops,
        proxy_header=header,
        last_seen=None if call.connected else last_seen(hops),
        security_rule=rule_for(lab, question),
        listener=listener_for(lab, question),
        target=target,
        choice=choice_for(lab, question),
        source_port=claim,
        handling=handling_of(flow, claim, after),
        flow=flow,
        timers=timers_for(lab, question),
        moved=moved_between(before, after, zone_id),
        unwell=_unwell(after, zone_id),
    )


def _target_name(lab: Lab, question: Question, address: SocketAddress) -> str:
    assert question.way_out is not None
    balancer = lab.store.get(LoadBalancer, question.way_out.owner_id)
    instance = lab.instance_at(balancer.vpc_id, address.address)
    return f"{instance.name} {address}" if instance else str(address)


def _unwell(views: list[NodeView], zone_id: str) -> list[str]:
    return [
        f"node {view.node} of {view.zone} is {view.state}"
        for view in views
        if view.zone_id == zone_id and view.in_force and view.state != NodeState.SERVING.name.lower()
    ]
