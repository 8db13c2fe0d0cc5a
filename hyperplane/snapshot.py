"""The contract between the two planes: the whole compiled configuration, as one frozen value.

The control plane compiles all resources into one `Snapshot`; the packet plane knows nothing
else. There is no partial update: a node loads a whole snapshot or keeps the one it has.

Addresses are `bytes` of length 4 or 16, as on the wire. ENIs are numbered per zone from 1;
the number is the routing mark, the routing table and the ENI's part of a flow key, and it is
never given to another ENI while the old one may still have flows.

The encoded form (`snapshot_codec.py`) is JSON with a SHA-256 over the body, so that a person
can read it and a damaged file is never loaded. Errors: `ConfigurationError` naming the place.
"""

from dataclasses import dataclass
from enum import Enum

FORMAT = 2
MAGIC = "hyperplane-snapshot"


class Protocol(Enum):
    """A listener's protocol. The value is the IP protocol number (IANA)."""

    TCP = 6
    UDP = 17


class HeaderPlacement(Enum):
    """When a target gets its Proxy Protocol v2 header: AWS's words for the target group's attribute
    `proxy_protocol_v2.client_to_server.header_placement`."""

    ON_FIRST_ACK_WITH_PAYLOAD = "on_first_ack_with_payload"
    """Right before the client's first data. AWS's default: a target that speaks first, but only after the header, waits
    as long as the client does."""
    ON_FIRST_ACK = "on_first_ack"
    """In the place of the ACK that ends the handshake."""


class Network(tuple[bytes, int]):
    """(network address, prefix length)."""

    __slots__ = ()

    def __new__(cls, address: bytes, prefix_length: int) -> "Network":
        return super().__new__(cls, (address, prefix_length))


@dataclass(frozen=True, slots=True)
class SecurityRule:
    """One inbound allowance: protocol (None is any), ports, source network."""

    protocol: Protocol | None
    port_first: int
    port_last: int
    source: Network


@dataclass(frozen=True, slots=True)
class Target:
    """One target of a group: where packets go, and whether they may."""

    target_id: str
    address: bytes
    port: int
    zone: str
    healthy: bool = True


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """The targets behind listeners, and how one of them is chosen."""

    target_group_id: str
    protocol: Protocol
    targets: tuple[Target, ...]
    cross_zone: bool = False
    stickiness: bool = False
    """source_ip stickiness: the same client address goes to the same target."""
    proxy_protocol_v2: HeaderPlacement | None = None
    """Targets get a Proxy Protocol v2 header, placed like this; None: they get none. In UDP it is in every datagram,
    whatever the placement."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One port of a load balancer and the group behind it."""

    protocol: Protocol
    port: int
    target_group_id: str
    idle_timeout_s: int


@dataclass(frozen=True, slots=True)
class LoadBalancer:
    """A load balancer's listeners; its addresses are ENIs of their own."""

    load_balancer_id: str
    listeners: tuple[Listener, ...]


class EniKind(Enum):
    """Whose interface: packets enter by an endpoint's, and leave for the targets by a load balancer's."""

    ENDPOINT = "endpoint"
    LOAD_BALANCER = "load_balancer"


@dataclass(frozen=True, slots=True)
class Eni:
    """One interface of the fabric in one zone."""

    number: int
    eni_id: str
    kind: EniKind
    zone: str
    address: bytes
    mtu: int
    interface: str
    """Name of the link in the zone's fabric namespace."""
    shard: tuple[int, ...]
    """Nodes that serve this interface, ascending."""
    owner_id: str
    """Endpoint id or load balancer id."""
    vpc_networks: tuple[Network, ...]
    """CIDRs of the VPC; an endpoint accepts packets from these sources only."""
    available: bool = True
    """False before the connection is accepted and after it was rejected: packets go nowhere."""
    security_rules: tuple[SecurityRule, ...] = ()
    """Inbound rules of all security groups of the interface. Empty means closed."""
    load_balancer_eni: int = 0
    """Endpoints only: number of the load balancer's ENI that flows leave by. 0 is none in this zone."""


@dataclass(frozen=True, slots=True)
class Zone:
    """One Availability Zone: its nodes are numbered from 0, its interfaces from 1."""

    name: str
    zone_id: str
    node_count: int
    enis: tuple[Eni, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole configuration. Timers and limits hold for every zone."""

    version: int
    """Rises with every compilation."""
    zones: tuple[Zone, ...]
    load_balancers: tuple[LoadBalancer, ...]
    target_groups: tuple[TargetGroup, ...]
    udp_idle_timeout_s: int
    half_open_timeout_s: int
    closing_timeout_s: int
    flows_per_node_max: int
    flows_per_endpoint_max: int
    half_open_per_endpoint_max: int
    steering: str = "hash"
    """"hash": by 5-tuple. "spray": every packet to any node of the shard (a test of replication)."""

    def zone(self, name: str) -> Zone | None:
        return next((zone for zone in self.zones if zone.name == name), None)


STEERED_BY_HASH = "hash"
STEERINGS = (STEERED_BY_HASH, "spray")
