"""What the stages work on: the flow table and its replicas, the ENIs, the pools, the counters."""

from collections.abc import Callable

from hyperplane.balance.flow_hash import FlowHasher
from hyperplane.balance.steering_hash import ReplySteering
from hyperplane.dataplane.counters import Count, Counters
from hyperplane.dataplane.limiter import TokenBucket
from hyperplane.dataplane.verdict import DROPS, Accept, DropReason, Outgoing, Reply, Verdict
from hyperplane.flow.header_timers import HeaderTimers
from hyperplane.flow.injector import Protections
from hyperplane.flow.interface import Interface, Timers
from hyperplane.flow.ports import PortPools
from hyperplane.flow.replication import Replication
from hyperplane.flow.table import FlowTable
from hyperplane.limits import (
    CLOSING_TIMEOUT_S,
    FLOWS_PER_ENDPOINT_MAX,
    HALF_OPEN_PER_ENDPOINT_MAX,
    HALF_OPEN_TIMEOUT_S,
    ICMP_ERRORS_PER_S_MAX,
    UDP_IDLE_TIMEOUT_S,
)
from hyperplane.nat.port_pool import Draws
from hyperplane.snapshot import Target
from hyperplane.wire.reassembly import Reassembler

_IPV4_BYTES = 4


class Plane:
    """The state of one node's packet plane."""

    def __init__(self, node: int, node_count: int, pools: PortPools, hasher: FlowHasher, draws: Draws) -> None:
        self.node = node
        self.table = FlowTable()
        self.interfaces: dict[int, Interface] = {}
        self.timers = Timers(UDP_IDLE_TIMEOUT_S, HALF_OPEN_TIMEOUT_S, CLOSING_TIMEOUT_S)
        self.pools = pools
        self.counters = Counters()
        self.replication: Replication
        self.hasher = hasher
        self.fragments = Reassembler()
        self.headers = HeaderTimers()
        self.outgoing: list[Outgoing] = []
        self.protections = Protections()
        self._replies: dict[int, TokenBucket] = {}
        self.flows_per_endpoint_max = FLOWS_PER_ENDPOINT_MAX
        self.half_open_per_endpoint_max = HALF_OPEN_PER_ENDPOINT_MAX
        # Node n of N gives out n, n + N, n + 2N ...: no other node of the zone has these numbers.
        self._identifications = (1 << 16) - (1 << 16) % node_count
        self._identification = draws.draw(self._identifications // node_count) * node_count + node
        self._identification_step = node_count
        self._accepts: dict[int, Accept] = {}
        self.steering_seed: int | None = None
        self._steerings: dict[tuple[int, bytes, int], ReplySteering] = {}

    def count_loss(self, what: str) -> None:
        """Something could not be remembered; `what` names its counter."""
        self.counters.add(Count[what.upper()])

    def accept(self, eni_number: int) -> Accept:
        """The shared verdict "send on by this ENI"."""
        verdict = self._accepts.get(eni_number)
        if verdict is None:
            verdict = self._accepts[eni_number] = Accept(eni_number)
        return verdict

    def may_answer(self, interface: Interface, now: float) -> bool:
        """Whether one more ICMP error or reset may be caused by this ENI. Each has its own rate: no tenant uses
        up another's."""
        bucket = self._replies.get(interface.number)
        if bucket is None:
            bucket = self._replies[interface.number] = TokenBucket(ICMP_ERRORS_PER_S_MAX, now)
        return bucket.take(now)

    def reply(self, reason: DropReason, packet: bytes | None, interface: Interface, now: float) -> Verdict:
        """Send `packet` back by `interface`, if there is one and the rate allows it; drop otherwise."""
        if packet is None:
            return DROPS[reason]
        if not self.may_answer(interface, now):
            return DROPS[DropReason.RATE_LIMIT]
        return Reply(reason, packet, interface.number)

    def port_preference(self, balancer: Interface, target: Target) -> Callable[[int], bool] | None:
        """Which source ports make the target's replies come back to this node; None where nobody can know."""
        if self.steering_seed is None or self.node not in balancer.shard or len(balancer.address) != _IPV4_BYTES:
            return None
        if len(target.address) != _IPV4_BYTES or len(balancer.shard) == 1:
            return None
        key = (balancer.number, target.address, target.port)
        steering = self._steerings.get(key)
        if steering is None:
            place = balancer.shard.index(self.node)
            steering = self._steerings[key] = ReplySteering(
                balancer.address, target.address, target.port, self.steering_seed, place, len(balancer.shard)
            )
        return steering.comes_back

    def steer_by(self, seed: int | None) -> None:
        """How replies are steered from now on: by HMARK with this seed, or None: nobody can know."""
        self.steering_seed = seed
        self._steerings.clear()

    def next_identification(self) -> int:
        """An IPv4 identification that no other node of the zone gives out at the same time (RFC 6864)."""
        self._identification = (self._identification + self._identification_step) % self._identifications
        return self._identification
