"""One ENI of the fabric as a node uses it: who may come in, what is served, where it leaves.

An `Interface` lives as long as its ENI number; a new snapshot changes it in place, so the flows
that hold on to it see the change at once. An ENI that has left the snapshot stays here, closed,
until its flows are gone.
"""

from collections import OrderedDict
from dataclasses import dataclass

from hyperplane.balance.selection import TargetSet
from hyperplane.flow.key import suffix
from hyperplane.limits import TCP_IDLE_TIMEOUT_S
from hyperplane.snapshot import Eni, EniKind, HeaderPlacement, Network, SecurityRule
from hyperplane.wire.header_template import HeaderTemplate, header_bytes
from hyperplane.wire.packet import TCP, UDP


@dataclass(slots=True)
class Timers:
    """Timers of the snapshot that all flows share, in seconds."""

    udp_idle_s: float
    half_open_s: float
    closing_s: float


class Service:
    """One listener seen from an endpoint: the timer of its flows, and the targets behind it with their headers."""

    __slots__ = ("idle_timeout_s", "proxy_protocol_v2", "targets")

    def __init__(
        self, idle_timeout_s: float, targets: TargetSet | None, proxy_protocol_v2: HeaderPlacement | None = None
    ) -> None:
        self.idle_timeout_s = idle_timeout_s
        self.targets = targets
        self.proxy_protocol_v2 = proxy_protocol_v2


_NO_SERVICE = Service(float(TCP_IDLE_TIMEOUT_S), None)


class _Rule:
    """A security rule in numbers."""

    __slots__ = ("first", "last", "prefix", "protocol", "shift", "width")

    def __init__(self, rule: SecurityRule) -> None:
        self.protocol = rule.protocol.value if rule.protocol else 0
        self.first, self.last = rule.port_first, rule.port_last
        self.width, self.shift, self.prefix = _prefix(rule.source)

    def allows(self, protocol: int, port: int, source: bytes) -> bool:
        return (
            self.protocol in (0, protocol)
            and self.first <= port <= self.last
            and len(source) == self.width
            and int.from_bytes(source, "big") >> self.shift == self.prefix
        )


def _prefix(network: Network) -> tuple[int, int, int]:
    """(address bytes, bits to shift off, value of the prefix)."""
    address, length = network
    shift = len(address) * 8 - length
    return len(address), shift, int.from_bytes(address, "big") >> shift


class Interface:
    """One ENI: its place, its rules, its services and what its flows add up to on this node."""

    __slots__ = (
        "_networks",
        "_rules",
        "_templates",
        "address",
        "available",
        "eni_id",
        "flow_count",
        "half_open",
        "header_bytes",
        "is_endpoint",
        "load_balancer",
        "mtu",
        "number",
        "owner_id",
        "services",
        "shard",
        "suffixes",
        "target_addresses",
        "timers",
    )

    def __init__(self, number: int, timers: Timers) -> None:
        self.number = number
        self.timers = timers
        self.suffixes = {protocol: suffix(number, protocol) for protocol in (TCP, UDP)}
        self.flow_count = 0
        self.half_open: OrderedDict[bytes, None] = OrderedDict()
        """Original keys of flows whose target has not answered, oldest first."""
        self.close()

    def close(self) -> None:
        """The ENI is not in the snapshot: nothing passes any more."""
        self.available = False
        self.is_endpoint = True
        self.eni_id = self.owner_id = ""
        self.address = b""
        self.header_bytes = 0
        """Of every Proxy Protocol header that tells of clients of this endpoint."""
        self.mtu = 0
        self.shard: tuple[int, ...] = ()
        self.services: dict[tuple[int, int], Service] = {}
        self.load_balancer: Interface | None = None
        self.target_addresses: frozenset[tuple[int, bytes, int]] = frozenset()
        """Load balancers only: (protocol, address, port) of every registered target."""
        self._rules: list[_Rule] = []
        self._networks: list[tuple[int, int, int]] = []
        self._templates: dict[tuple[int, bytes], HeaderTemplate] = {}

    def load(self, eni: Eni) -> None:
        """Take over what the snapshot says of this ENI; services and the way out follow separately."""
        self.is_endpoint = eni.kind is EniKind.ENDPOINT
        if self.is_endpoint and (eni.address, eni.owner_id) != (self.address, self.owner_id):
            self.header_bytes = header_bytes(len(eni.address), eni.owner_id)
        self.eni_id, self.owner_id = eni.eni_id, eni.owner_id
        self.address = eni.address
        self.mtu = eni.mtu
        self.shard = eni.shard
        self.available = eni.available
        self._rules = [_Rule(rule) for rule in eni.security_rules]
        self._networks = [_prefix(network) for network in eni.vpc_networks]

    def service(self, protocol: int, port: int) -> Service:
        """The service on `port`, also for a flow whose listener has gone: it ends under AWS's default timer."""
        return self.services.get((protocol, port)) or _NO_SERVICE

    def header_template(self, protocol: int, port: bytes) -> HeaderTemplate:
        """What all Proxy Protocol headers have in common that tell of clients of this endpoint's `port`, 2 bytes.

        One for each port that has ever been a listener's: the ENI's address and endpoint never change.
        """
        template = self._templates.get((protocol, port))
        if template is None:
            template = HeaderTemplate(protocol, self.address, int.from_bytes(port, "big"), self.owner_id)
            self._templates[protocol, port] = template
        return template

    def permits(self, protocol: int, port: int, source: bytes) -> bool:
        """Whether the security groups let a first packet in. No rule, no entry (AWS: closed by default)."""
        for rule in self._rules:  # noqa: SIM110 - a generator is slower, and this is on every first packet's way
            if rule.allows(protocol, port, source):
                return True
        return False

    def in_vpc(self, source: bytes) -> bool:
        """Whether `source` is an address of the ENI's own VPC (strict reverse path)."""
        width = len(source)
        value = int.from_bytes(source, "big")
        for address_bytes, shift, prefix in self._networks:
            if width == address_bytes and value >> shift == prefix:
                return True
        return False
