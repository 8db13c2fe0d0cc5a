"""The resources, as frozen values in AWS's words. What points at another resource holds its id.

Nothing here decides. Which resources fit together is checked where they come in (`topology.py` for
a lab file), what they mean for packets is `compiler.py`.

Addresses are `ipaddress` objects here and nowhere else: bytes in the snapshot, text in files.
"""

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from hyperplane import limits
from hyperplane.snapshot import HeaderPlacement, Protocol

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network

RESERVED_FIRST = 4
"""AWS, "Subnet CIDR blocks": network, router, resolver and future use; the last address is reserved too."""


@dataclass(frozen=True, slots=True)
class AvailabilityZone:
    """`name` is the account's word (us-east-2a), `zone_id` the place itself (use2-az1)."""

    name: str
    zone_id: str


@dataclass(frozen=True, slots=True)
class Fabric:
    """How the packet plane is laid out. AWS shows none of this; the names are ours."""

    nodes_per_zone: int = 4
    shard_size: int = 2
    seed: int = 0
    """Deals all shards anew. 64 bits."""
    steering: str = "hash"
    mtu: int = 1500
    tcp_idle_timeout_s: int = limits.TCP_IDLE_TIMEOUT_S
    """For listeners that name none."""
    udp_idle_timeout_s: int = limits.UDP_IDLE_TIMEOUT_S
    half_open_timeout_s: int = limits.HALF_OPEN_TIMEOUT_S
    closing_timeout_s: int = limits.CLOSING_TIMEOUT_S
    flows_per_node_max: int = limits.FLOWS_PER_NODE_MAX
    flows_per_endpoint_max: int = limits.FLOWS_PER_ENDPOINT_MAX
    half_open_per_endpoint_max: int = limits.HALF_OPEN_PER_ENDPOINT_MAX


@dataclass(frozen=True, slots=True)
class Resource:
    """Anything with an id of its own."""

    resource_id: str


@dataclass(frozen=True, slots=True)
class Account(Resource):
    """`resource_id` is the account number, 12 digits."""


@dataclass(frozen=True, slots=True)
class Vpc(Resource):
    """A network of one account. Other VPCs may have the same CIDRs."""

    name: str
    account_id: str
    networks: tuple[IpNetwork, ...]


@dataclass(frozen=True, slots=True)
class Subnet(Resource):
    """A part of a VPC's network in one zone."""

    name: str
    vpc_id: str
    zone_name: str
    network: IpNetwork

    @property
    def router_address(self) -> IpAddress:
        """The VPC's router in this subnet (AWS: network address + 1)."""
        return self.network[1]

    def is_reserved(self, address: IpAddress) -> bool:
        """Whether AWS never hands this address of the subnet out."""
        place = int(address) - int(self.network.network_address)
        return place < RESERVED_FIRST or place == self.network.num_addresses - 1


class RuleProtocol(Enum):
    """IpProtocol of a security group rule, as EC2 spells it."""

    ALL = "-1"
    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"


@dataclass(frozen=True, slots=True)
class SecurityGroupRule:
    """Inbound permission. `source` is a network, or the id of a group whose members are meant."""

    protocol: RuleProtocol
    port_first: int
    port_last: int
    source: IpNetwork | str


@dataclass(frozen=True, slots=True)
class SecurityGroup(Resource):
    """Stateful and silent: what no rule allows gets no answer."""

    name: str
    vpc_id: str
    inbound: tuple[SecurityGroupRule, ...]


@dataclass(frozen=True, slots=True)
class Instance(Resource):
    """A machine with one address. Its groups count as a source in rules; they do not guard it."""

    name: str
    subnet_id: str
    address: IpAddress
    security_group_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TargetRegistration:
    """One target in a group. `target_id` is an instance id, or the address itself for targets of type ip."""

    target_id: str
    address: IpAddress
    port: int
    zone_name: str
    healthy: bool = True


@dataclass(frozen=True, slots=True)
class TargetGroup(Resource):
    """`resource_id` is the ARN's tail, see `ids.py`."""

    name: str
    account_id: str
    vpc_id: str
    protocol: Protocol
    port: int
    targets: tuple[TargetRegistration, ...]
    cross_zone: bool = False
    stickiness: bool = False
    """source_ip, the one kind that a Network Load Balancer has."""
    proxy_protocol_v2: bool = False
    header_placement: HeaderPlacement = HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD
    """Kept also while `proxy_protocol_v2` is off, as AWS keeps it."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One port of a load balancer. AWS forwards a TCP listener to a TCP group, UDP to UDP."""

    protocol: Protocol
    port: int
    target_group_id: str
    idle_timeout_s: int = limits.TCP_IDLE_TIMEOUT_S
    """TCP only; UDP has the fabric's timer."""


@dataclass(frozen=True, slots=True)
class NetworkInterface:
    """An interface that AWS makes and manages: a load balancer's node or an endpoint's door in one subnet."""

    eni_id: str
    subnet_id: str
    address: IpAddress


@dataclass(frozen=True, slots=True)
class LoadBalancer(Resource):
    """A Network Load Balancer: one node, so one address, in each of its zones. `resource_id`: the ARN's tail."""

    name: str
    account_id: str
    vpc_id: str
    nodes: tuple[NetworkInterface, ...]
    listeners: tuple[Listener, ...]


@dataclass(frozen=True, slots=True)
class EndpointService(Resource):
    """What a provider publishes. Allowed principals see it; each connection may have to be accepted, too."""

    name: str
    account_id: str
    load_balancer_ids: tuple[str, ...]
    acceptance_required: bool
    allowed_principals: tuple[str, ...]


class EndpointState(Enum):
    """State of an interface endpoint, as the wire spells it (AWS PrivateLink guide)."""

    PENDING_ACCEPTANCE = "pendingAcceptance"
    PENDING = "pending"
    AVAILABLE = "available"
    REJECTED = "rejected"
    EXPIRED = "expired"
    FAILED = "failed"
    DELETING = "deleting"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class VpcEndpoint(Resource):
    """A consumer's private door to one service: an interface with a fixed address in each of its subnets."""

    name: str
    account_id: str
    vpc_id: str
    service_id: str
    interfaces: tuple[NetworkInterface, ...]
    security_group_ids: tuple[str, ...]
    state: EndpointState
