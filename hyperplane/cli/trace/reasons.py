"""Why a call was let in and where it had to go: rule, listener, target, timers, from the snapshot alone.

The packet plane's own code is asked (`Interface.permits`, `TargetSet`), so the answer is what a node
would have decided, and the lab's names are put to it.
"""

from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from hyperplane import snapshot
from hyperplane.balance.selection import TargetSet
from hyperplane.cli.trace.question import Question
from hyperplane.control.resources import SecurityGroup, TargetGroup
from hyperplane.control.security import FlatRules
from hyperplane.flow.interface import Interface, Timers
from hyperplane.io.running_lab import Lab
from hyperplane.limits import PORT_REST_S
from hyperplane.snapshot import Listener, SecurityRule, Target


@dataclass(frozen=True, slots=True)
class RuleView:
    """The first rule that lets the call in."""

    groups: tuple[str, ...]
    protocol: str
    ports: str
    source: str

    def __str__(self) -> str:
        return f"{', '.join(self.groups) or 'unnamed'}: {self.protocol} {self.ports} from {self.source}"


@dataclass(frozen=True, slots=True)
class ListenerView:
    """The listener of the call, its target group and its timer."""

    load_balancer: str
    protocol: str
    port: int
    target_group: str
    idle_timeout_s: int
    proxy_protocol_v2: str | None = None
    """The placement of the header that its targets get; None: they get none."""

    def __str__(self) -> str:
        placed = "in every datagram" if self.protocol == "udp" else self.proxy_protocol_v2
        header = f", Proxy Protocol v2 {placed}" if self.proxy_protocol_v2 else ""
        return f"{self.protocol} {self.port} of {self.load_balancer}, target group {self.target_group}{header}"


@dataclass(frozen=True, slots=True)
class Choice:
    """Who could be chosen as the target, and why they."""

    candidates: tuple[str, ...]
    because: str


@dataclass(frozen=True, slots=True)
class TimersView:
    """What ends a flow, in seconds. `idle_s` is the listener's own."""

    half_open_s: int
    idle_s: int
    closing_s: int
    port_rest_s: int


def rule_for(lab: Lab, question: Question) -> RuleView | None:
    """The rule that lets the call's first packet in; None when none does."""
    eni, source = question.eni, question.client.address.packed
    for rule in eni.security_rules:
        door = Interface(eni.number, Timers(0, 0, 0))
        door.load(replace(eni, security_rules=(rule,)))
        if door.permits(question.protocol.value, question.port, source):
            return _rule_view(lab, question, rule)
    return None


def _rule_view(lab: Lab, question: Question, rule: SecurityRule) -> RuleView:
    flat = FlatRules(lab.store)
    groups = tuple(
        lab.store.get(SecurityGroup, group_id).name
        for group_id in question.endpoint.security_group_ids
        if rule in flat.of(question.endpoint.name, [group_id])
    )
    address, length = rule.source
    ports = str(rule.port_first) if rule.port_first == rule.port_last else f"{rule.port_first}-{rule.port_last}"
    return RuleView(
        groups,
        rule.protocol.name.lower() if rule.protocol else "all protocols",
        "all ports" if (rule.port_first, rule.port_last) == (0, 65_535) else ports,
        str(ip_network((address, length))),
    )


def _listener(lab: Lab, question: Question) -> Listener | None:
    balancers = {item.load_balancer_id: item for item in lab.snapshot.load_balancers}
    if question.way_out is None or question.way_out.owner_id not in balancers:
        return None
    for listener in balancers[question.way_out.owner_id].listeners:
        if (listener.protocol, listener.port) == (question.protocol, question.port):
            return listener
    return None


def listener_for(lab: Lab, question: Question) -> ListenerView | None:
    """Who listens for the call; None when nobody does."""
    listener = _listener(lab, question)
    if listener is None or question.way_out is None:
        return None
    group = lab.store.find(TargetGroup, listener.target_group_id)
    header = _group(lab, listener).proxy_protocol_v2
    return ListenerView(
        question.way_out.owner_id,
        listener.protocol.name.lower(),
        listener.port,
        group.name if group else listener.target_group_id,
        listener.idle_timeout_s,
        header.value if header else None,
    )


def _group(lab: Lab, listener: Listener) -> snapshot.TargetGroup:
    return next(group for group in lab.snapshot.target_groups if group.target_group_id == listener.target_group_id)


def choice_for(lab: Lab, question: Question) -> Choice | None:
    """Among which targets the call's flow had to choose; None without a listener."""
    listener = _listener(lab, question)
    if listener is None:
        return None
    group = _group(lab, listener)
    chosen = TargetSet(group, question.zone.name)
    near = [target for target in group.targets if group.cross_zone or target.zone == question.zone.name]
    where = "any zone (cross-zone balancing is on)" if group.cross_zone else f"{question.zone.name} (cross-zone is off)"
    because = f"{len(near)} of {len(group.targets)} targets in {where}, {len(_healthy(near))} healthy"
    if chosen.fails_open:
        because += "; none is healthy, so all are tried (fail open)"
    if len(chosen.targets) > 1:
        because += (
            "; chosen by the client's address (stickiness)" if group.stickiness else "; chosen by the flow's hash"
        )
    return Choice(tuple(f"{ip_address(target.address)}:{target.port}" for target in chosen.targets), because)


def _healthy(targets: list[Target]) -> list[Target]:
    return [target for target in targets if target.healthy]


def timers_for(lab: Lab, question: Question) -> TimersView | None:
    """The timers of the call's flow; None without a listener."""
    listener = _listener(lab, question)
    if listener is None:
        return None
    whole = lab.snapshot
    return TimersView(whole.half_open_timeout_s, listener.idle_timeout_s, whole.closing_timeout_s, PORT_REST_S)
