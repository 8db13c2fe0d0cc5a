"""This project's configuration for the benchmark: one load balancer, its endpoints, 32 targets."""

from ipaddress import IPv4Address, IPv4Network

from benchmark.layout import HEADER_SERVICES, MIDDLES, SERVICES, TARGET_ADDRESS, Service
from hyperplane.limits import (
    CLOSING_TIMEOUT_S,
    FLOWS_PER_ENDPOINT_MAX,
    FLOWS_PER_NODE_MAX,
    HALF_OPEN_PER_ENDPOINT_MAX,
    HALF_OPEN_TIMEOUT_S,
    TCP_IDLE_TIMEOUT_S,
    UDP_IDLE_TIMEOUT_S,
)
from hyperplane.snapshot import (
    Eni,
    EniKind,
    Listener,
    LoadBalancer,
    Network,
    Protocol,
    SecurityRule,
    Snapshot,
    Target,
    TargetGroup,
    Zone,
)
from netns.crossing import interface_name

ZONE = "us-east-2a"
LOAD_BALANCER = "net/bench/1"
LOAD_BALANCER_NUMBER = MIDDLES["hyperplane"].back_number
ENDPOINT_NUMBER_FIRST = MIDDLES["hyperplane"].front_number
CARRIED = (*SERVICES, *HEADER_SERVICES)


def make_snapshot(
    endpoints: tuple[str, ...], load_balancer: str, clients: str, targets: str, node_count: int
) -> Snapshot:
    """`endpoints`: an address each; `load_balancer`: its address; `clients`, `targets`: the networks behind them.

    Every node serves every interface, so that the number of nodes is the only thing that changes.
    """
    shard = tuple(range(node_count))
    exit_eni = _eni(LOAD_BALANCER_NUMBER, EniKind.LOAD_BALANCER, load_balancer, LOAD_BALANCER, targets, shard)
    doors = tuple(
        _eni(ENDPOINT_NUMBER_FIRST + index, EniKind.ENDPOINT, address, f"vpce-{index:017x}", clients, shard)
        for index, address in enumerate(endpoints)
    )
    return Snapshot(
        version=1,
        zones=(Zone(ZONE, "use2-az1", node_count, (exit_eni, *doors)),),
        load_balancers=(LoadBalancer(LOAD_BALANCER, tuple(_listener(service) for service in CARRIED)),),
        target_groups=tuple(_target_group(service) for service in CARRIED),
        udp_idle_timeout_s=UDP_IDLE_TIMEOUT_S,
        half_open_timeout_s=HALF_OPEN_TIMEOUT_S,
        closing_timeout_s=CLOSING_TIMEOUT_S,
        flows_per_node_max=FLOWS_PER_NODE_MAX,
        flows_per_endpoint_max=FLOWS_PER_ENDPOINT_MAX,
        half_open_per_endpoint_max=HALF_OPEN_PER_ENDPOINT_MAX,
    )


def _eni(number: int, kind: EniKind, address: str, owner_id: str, network: str, shard: tuple[int, ...]) -> Eni:
    endpoint = kind is EniKind.ENDPOINT
    networks = (_network(network),)
    return Eni(
        number=number,
        eni_id=f"eni-{number:017x}",
        kind=kind,
        zone=ZONE,
        address=IPv4Address(address).packed,
        mtu=1500,
        interface=interface_name(number),
        shard=shard,
        owner_id=owner_id,
        vpc_networks=networks,
        security_rules=(SecurityRule(None, 0, 65_535, networks[0]),) if endpoint else (),
        load_balancer_eni=LOAD_BALANCER_NUMBER if endpoint else 0,
    )


def _network(text: str) -> Network:
    network = IPv4Network(text)
    return Network(network.network_address.packed, network.prefixlen)


def _protocol(service: Service) -> Protocol:
    return Protocol.UDP if service.udp else Protocol.TCP


def _listener(service: Service) -> Listener:
    timeout_s = UDP_IDLE_TIMEOUT_S if service.udp else TCP_IDLE_TIMEOUT_S
    return Listener(_protocol(service), service.port, service.name, timeout_s)


def _target_group(service: Service) -> TargetGroup:
    address = IPv4Address(TARGET_ADDRESS).packed
    targets = tuple(Target(f"i-{port}", address, port, ZONE) for port in service.target_ports)
    return TargetGroup(service.name, _protocol(service), targets, proxy_protocol_v2=service.header)
