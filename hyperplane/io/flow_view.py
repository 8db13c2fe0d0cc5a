"""Every flow of every zone, from the nodes' journals (`joined_journals.py`) and the snapshot.

A row whose time has run out is no flow any more, though its node may be dead and has never removed it.

Ages are as fresh as the nodes tell them: a flow that carries packets tells its age about once a second.
Nothing is asked of any process.
"""

import contextlib
import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import nlargest
from ipaddress import ip_address
from pathlib import Path

from hyperplane.flow.entry import BORN_MODULUS
from hyperplane.flow.injector import PLACEMENTS
from hyperplane.flow.journal import Delta
from hyperplane.flow.tcp_state import TIMERS, State, Timer
from hyperplane.io.joined_journals import JoinedFlow, join_journals, open_journals
from hyperplane.io.node_view import find_snapshot, find_zones
from hyperplane.limits import CLOSING_TIMEOUT_S, HALF_OPEN_TIMEOUT_S, TCP_IDLE_TIMEOUT_S, UDP_IDLE_TIMEOUT_S
from hyperplane.snapshot import Eni, EniKind, Protocol, Snapshot, Zone

UNKNOWN_ADDRESS = "?"
"""Of an ENI that the snapshot does not hold any more."""

_TIMER_OF = {state.value: timer for state, timer in TIMERS.items()}
_DATAGRAM_STATES = {State.SYN_SENT: "UNANSWERED"}
"""UDP knows two states only; the second and all that follow mean that the target has answered."""
_ANSWERED = "ANSWERED"


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """An address and a port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class FlowView:
    """One flow: client -> endpoint is what the client sees, load_balancer -> target what the target sees."""

    zone: str
    zone_id: str
    endpoint_id: str
    endpoint_eni: int
    load_balancer_eni: int
    protocol: str
    client: SocketAddress
    endpoint: SocketAddress
    load_balancer: SocketAddress
    target: SocketAddress
    state: str
    age_s: float
    """Since the flow was made."""
    idle_s: float
    """Since the last packet that counts."""
    expires_in_s: float
    told_by: tuple[str, ...]
    """Nodes in whose journals the flow stands: a number, with its generation in front if that is an old one."""
    held_by: tuple[int, ...]
    """Nodes of both shards: each of them can forward the flow."""
    proxy_protocol_v2: str | None = None
    """Where the target gets a header, in AWS's word for the placement; None: it gets none."""


@dataclass(frozen=True, slots=True)
class Flows:
    """The flows with the latest packets, and how many there are in all."""

    views: list[FlowView]
    total: int


def view_flows(runtime: Path, now: float | None = None, endpoint: str | None = None, limit: int | None = None) -> Flows:
    """All flows that have not run out, those with the latest packets first. `now`: monotonic seconds.

    `endpoint`: only flows of this endpoint: its id, its ENI's id or its ENI's address. `limit`: so many views at
    most, None for all. Reading a million flows takes seconds, making a view of each takes half a minute.
    Raises PermissionError: journals are for root.
    """
    now = time.monotonic() if now is None else now
    snapshot, _ = find_snapshot(runtime)
    found: list[tuple[_Ground, JoinedFlow]] = []
    with _no_collector():
        for files in find_zones(runtime):
            ground = _Ground(snapshot, files.directory.name)
            joined = join_journals(open_journals(files), ground.numbers_of(endpoint))
            found += ((ground, flow) for flow in joined if ground.expires_at(flow) > now)
    latest = nlargest(len(found) if limit is None else limit, found, key=lambda pair: pair[1].seen_at)
    return Flows([ground.view(flow, now) for ground, flow in latest], len(found))


@contextlib.contextmanager
def _no_collector() -> Iterator[None]:
    """None of what is read goes round in circles: the collector would only walk it, again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def endpoints_of(runtime: Path) -> list[str]:
    """Ids of all endpoints in the snapshot in force, sorted."""
    snapshot, _ = find_snapshot(runtime)
    return sorted({eni.owner_id for eni in endpoint_enis(snapshot)}) if snapshot else []


def endpoint_enis(snapshot: Snapshot) -> list[Eni]:
    """The ENIs of all endpoints, zone after zone."""
    return [eni for zone in snapshot.zones for eni in zone.enis if eni.kind is EniKind.ENDPOINT]


def known_as(eni: Eni) -> tuple[str, ...]:
    """What an endpoint may be called by."""
    return eni.owner_id, eni.eni_id, str(ip_address(eni.address))


class _Ground:
    """One zone's ENIs and timers, as far as a snapshot tells."""

    def __init__(self, snapshot: Snapshot | None, zone_id: str) -> None:
        zones = snapshot.zones if snapshot else ()
        self._zone_id = zone_id
        self._zone: Zone | None = next((zone for zone in zones if zone.zone_id == zone_id), None)
        self._enis = {eni.number: eni for eni in self._zone.enis} if self._zone else {}
        balancers = {balancer.load_balancer_id: balancer for balancer in snapshot.load_balancers} if snapshot else {}
        self._idle_s = {
            (eni.number, listener.protocol.value, listener.port.to_bytes(2, "big")): listener.idle_timeout_s
            for eni in self._enis.values()
            if eni.owner_id in balancers
            for listener in balancers[eni.owner_id].listeners
        }
        self._timers_s: dict[Timer | None, float] = {
            Timer.IDLE: snapshot.udp_idle_timeout_s if snapshot else UDP_IDLE_TIMEOUT_S,
            Timer.HALF_OPEN: snapshot.half_open_timeout_s if snapshot else HALF_OPEN_TIMEOUT_S,
            Timer.CLOSING: snapshot.closing_timeout_s if snapshot else CLOSING_TIMEOUT_S,
        }
        """TCP's idle timer is each listener's own; the one here is UDP's."""

    def numbers_of(self, endpoint: str | None) -> frozenset[int] | None:
        """Numbers of the ENIs that `endpoint` names; None for no restriction."""
        if endpoint is None:
            return None
        doors = (eni for eni in self._enis.values() if eni.kind is EniKind.ENDPOINT)
        return frozenset(eni.number for eni in doors if endpoint in known_as(eni))

    def view(self, flow: JoinedFlow, now: float) -> FlowView:
        first = flow.first
        door, balancer = self._enis.get(first.endpoint), self._enis.get(first.load_balancer)
        idle_s = max(0.0, now - flow.seen_at)
        placement = PLACEMENTS[first.placement]
        age_ms = (int(now * 1000) - first.born_ms) % BORN_MODULUS
        return FlowView(
            zone=self._zone.name if self._zone else self._zone_id,
            zone_id=self._zone_id,
            endpoint_id=door.owner_id if door else f"ENI {first.endpoint}",
            endpoint_eni=first.endpoint,
            load_balancer_eni=first.load_balancer,
            protocol=Protocol(first.protocol).name.lower(),
            client=_socket_address(first.client, first.client_port),
            endpoint=_socket_address(door.address if door else None, first.service_port),
            load_balancer=_socket_address(balancer.address if balancer else None, first.snat_port),
            target=_socket_address(first.target, first.target_port),
            state=state_name(first.protocol, flow.state),
            age_s=round(age_ms / 1000, 3),
            idle_s=round(idle_s, 3),
            expires_in_s=round(self.expires_at(flow) - now, 3),
            told_by=tuple(flow.told_by),
            held_by=tuple(sorted({*(door.shard if door else ()), *(balancer.shard if balancer else ())})),
            proxy_protocol_v2=placement.value if placement else None,
        )

    def expires_at(self, flow: JoinedFlow) -> float:
        """When the flow ends if nothing more is seen, monotonic seconds."""
        return flow.seen_at + self._timeout_s(flow.first, flow.state)

    def _timeout_s(self, delta: Delta, state: int) -> float:
        """The timer that a flow runs under, as `FlowEntry.enter` chooses it."""
        if delta.protocol == Protocol.UDP.value:
            return self._timers_s[Timer.IDLE]
        timer = _TIMER_OF[state]
        if timer is not Timer.IDLE:
            return self._timers_s[timer]
        return self._idle_s.get((delta.load_balancer, delta.protocol, delta.service_port), TCP_IDLE_TIMEOUT_S)


def state_name(protocol: int, state: int) -> str:
    """A flow's state in a word."""
    if protocol == Protocol.UDP.value:
        return _DATAGRAM_STATES.get(State(state), _ANSWERED)
    return State(state).name


def _socket_address(address: bytes | None, port: bytes) -> SocketAddress:
    text = str(ip_address(address)) if address else UNKNOWN_ADDRESS
    return SocketAddress(text, int.from_bytes(port, "big"))
