"""Snapshots for tests: one small and readable, and a hypothesis strategy for all that hold together."""

from hypothesis import strategies as st

from hyperplane import limits
from hyperplane.snapshot import (
    STEERINGS,
    Eni,
    EniKind,
    HeaderPlacement,
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

ENDPOINT_IDS = st.from_regex(r"vpce-[0-9a-f]{1,17}", fullmatch=True)
IDENTIFIERS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,20}", fullmatch=True)
ADDRESSES = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)
PORTS = st.integers(1, 65_535)


def small_snapshot(endpoints: int = 1) -> Snapshot:
    """One zone, one load balancer with one target, and that many endpoints."""
    vpc = Network(bytes([10, 0, 0, 0]), 16)
    exit_eni = Eni(
        number=1,
        eni_id="eni-00000000000000001",
        kind=EniKind.LOAD_BALANCER,
        zone="us-east-2a",
        address=bytes([10, 9, 0, 7]),
        mtu=1500,
        interface="hp-e1",
        shard=(0, 1),
        owner_id="net/orders/1",
        vpc_networks=(Network(bytes([10, 9, 0, 0]), 16),),
    )
    doors = tuple(
        Eni(
            number=number,
            eni_id=f"eni-{number:017x}",
            kind=EniKind.ENDPOINT,
            zone="us-east-2a",
            address=bytes([10, 0, number >> 8, number & 0xFF]),
            mtu=1500,
            interface=f"hp-e{number}",
            shard=(1, 3),
            owner_id=f"vpce-{number:017x}",
            vpc_networks=(vpc,),
            security_rules=(SecurityRule(Protocol.TCP, 443, 443, vpc), SecurityRule(None, 0, 65_535, vpc)),
            load_balancer_eni=1,
        )
        for number in range(2, endpoints + 2)
    )
    return Snapshot(
        version=1,
        zones=(Zone("us-east-2a", "use2-az1", 4, (exit_eni, *doors)),),
        load_balancers=(LoadBalancer("net/orders/1", (Listener(Protocol.TCP, 443, "orders", 350),)),),
        target_groups=(
            TargetGroup("orders", Protocol.TCP, (Target("i-1", bytes([10, 9, 3, 20]), 8080, "us-east-2a"),)),
        ),
        udp_idle_timeout_s=120,
        half_open_timeout_s=60,
        closing_timeout_s=120,
        flows_per_node_max=1000,
        flows_per_endpoint_max=500,
        half_open_per_endpoint_max=100,
    )


@st.composite
def networks(draw: st.DrawFn) -> Network:
    address = draw(ADDRESSES)
    bits = len(address) * 8
    prefix_length = draw(st.integers(0, bits))
    kept = int.from_bytes(address) >> (bits - prefix_length) << (bits - prefix_length)
    return Network(kept.to_bytes(len(address)), prefix_length)


@st.composite
def security_rules(draw: st.DrawFn) -> SecurityRule:
    first, last = sorted(draw(st.tuples(st.integers(0, 65_535), st.integers(0, 65_535))))
    return SecurityRule(draw(st.sampled_from([None, *Protocol])), first, last, draw(networks()))


@st.composite
def enis(draw: st.DrawFn, number: int, zone: str, node_count: int, owner_id: str | None, exits: list[int]) -> Eni:
    """An interface of a load balancer when `owner_id` is given, else of an endpoint."""
    return Eni(
        number=number,
        eni_id=f"eni-{zone}-{number}",
        kind=EniKind.ENDPOINT if owner_id is None else EniKind.LOAD_BALANCER,
        zone=zone,
        address=draw(ADDRESSES),
        mtu=draw(st.integers(limits.MTU_MIN, limits.MTU_MAX)),
        interface=f"hp-e{number}",
        shard=tuple(sorted(draw(st.sets(st.integers(0, node_count - 1), min_size=1)))),
        owner_id=draw(ENDPOINT_IDS) if owner_id is None else owner_id,
        vpc_networks=tuple(draw(st.lists(networks(), min_size=1, max_size=3))),
        available=draw(st.booleans()),
        security_rules=tuple(draw(st.lists(security_rules(), max_size=3))),
        load_balancer_eni=draw(st.sampled_from([0, *exits])) if owner_id is None else 0,
    )


@st.composite
def zones(draw: st.DrawFn, name: str, load_balancer_ids: list[str]) -> Zone:
    node_count = draw(st.integers(1, limits.NODES_PER_ZONE_MAX))
    numbers = draw(st.lists(st.integers(1, limits.ENI_NUMBER_MAX), unique=True, max_size=5))
    exits = numbers[:2] if load_balancer_ids else []
    owners = {number: draw(st.sampled_from(load_balancer_ids)) for number in exits}
    interfaces = [draw(enis(number, name, node_count, owners.get(number), exits)) for number in numbers]
    return Zone(name, f"{name}-id", node_count, tuple(interfaces))


@st.composite
def target_groups(draw: st.DrawFn, group_id: str, zone_names: list[str]) -> TargetGroup:
    places = draw(st.lists(st.tuples(ADDRESSES, PORTS), unique=True, max_size=3)) if zone_names else []
    targets = [
        Target(draw(IDENTIFIERS), address, port, draw(st.sampled_from(zone_names)), draw(st.booleans()))
        for address, port in places
    ]
    protocol = draw(st.sampled_from(Protocol))
    placement = draw(st.sampled_from([None, *HeaderPlacement]))
    return TargetGroup(group_id, protocol, tuple(targets), draw(st.booleans()), draw(st.booleans()), placement)


@st.composite
def load_balancers(draw: st.DrawFn, load_balancer_id: str, groups: list[TargetGroup]) -> LoadBalancer:
    chosen = draw(st.lists(st.sampled_from(groups), max_size=3)) if groups else []
    ports = draw(st.lists(PORTS, unique=True, min_size=len(chosen), max_size=len(chosen)))
    idle_timeouts_s = st.integers(limits.TCP_IDLE_TIMEOUT_S_MIN, limits.TCP_IDLE_TIMEOUT_S_MAX)
    return LoadBalancer(
        load_balancer_id,
        tuple(
            Listener(group.protocol, port, group.target_group_id, draw(idle_timeouts_s))
            for group, port in zip(chosen, ports, strict=True)
        ),
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    zone_names = draw(st.lists(IDENTIFIERS, unique=True, max_size=3))
    load_balancer_ids = draw(st.lists(IDENTIFIERS, unique=True, max_size=2))
    groups = [draw(target_groups(name, zone_names)) for name in draw(st.lists(IDENTIFIERS, unique=True, max_size=3))]
    timers_s = st.integers(1, limits.TCP_IDLE_TIMEOUT_S_MAX)
    half_open_max = draw(st.integers(1, limits.HALF_OPEN_PER_ENDPOINT_MAX))
    per_endpoint_max = draw(st.integers(half_open_max, limits.FLOWS_PER_ENDPOINT_MAX))
    return Snapshot(
        version=draw(st.integers(1, (1 << 63) - 1)),
        zones=tuple(draw(zones(name, load_balancer_ids)) for name in zone_names),
        load_balancers=tuple(draw(load_balancers(name, groups)) for name in load_balancer_ids),
        target_groups=tuple(groups),
        udp_idle_timeout_s=draw(timers_s),
        half_open_timeout_s=draw(timers_s),
        closing_timeout_s=draw(timers_s),
        flows_per_node_max=draw(st.integers(per_endpoint_max, limits.FLOWS_PER_NODE_MAX)),
        flows_per_endpoint_max=per_endpoint_max,
        half_open_per_endpoint_max=half_open_max,
        steering=draw(st.sampled_from(STEERINGS)),
    )
