"""The default lab, read whole: every figure that the documentation gives."""

import pytest

from hyperplane.control.compiler import compile_snapshot
from hyperplane.control.resources import (
    EndpointService,
    EndpointState,
    Instance,
    LoadBalancer,
    Subnet,
    TargetGroup,
    Vpc,
    VpcEndpoint,
)
from hyperplane.control.store import Store
from hyperplane.io.lab_file import DEFAULT_LAB, load_lab
from hyperplane.snapshot import EniKind, HeaderPlacement, Protocol
from hyperplane.snapshot_codec import decode_snapshot, encode_snapshot
from tests.control.labs import LAB, changed, complaint, lab

INSTANCES = [
    ("consumer-a", "111111111111", "10.0.0.0/16", "10.0.1.50", "use2-az1"),
    ("consumer-a2", "111111111111", "10.0.0.0/16", "10.0.2.50", "use2-az2"),
    ("consumer-b", "222222222222", "10.0.0.0/16", "10.0.1.50", "use2-az1"),
    ("consumer-c", "333333333333", "10.9.0.0/16", "10.9.3.20", "use2-az1"),
    ("outsider", "444444444444", "10.0.0.0/16", "10.0.1.50", "use2-az1"),
    ("target-1", "999999999999", "10.9.0.0/16", "10.9.3.20", "use2-az1"),
    ("target-2", "999999999999", "10.9.0.0/16", "10.9.4.20", "use2-az2"),
]


@pytest.fixture(scope="module")
def default() -> Store:
    return load_lab(DEFAULT_LAB)


def test_instances(default: Store) -> None:
    zone_ids = {zone.name: zone.zone_id for zone in default.zones}
    found = []
    for instance in default.all(Instance):
        subnet = default.get(Subnet, instance.subnet_id)
        vpc = default.get(Vpc, subnet.vpc_id)
        network = str(vpc.networks[0])
        found.append((instance.name, vpc.account_id, network, str(instance.address), zone_ids[subnet.zone_name]))
    assert found == INSTANCES


def test_the_first_two_share_a_vpc(default: Store) -> None:
    vpcs = [default.get(Subnet, instance.subnet_id).vpc_id for instance in default.all(Instance)]
    assert vpcs[0] == vpcs[1]
    assert vpcs[5] == vpcs[6]
    assert len(set(vpcs)) == 5


def test_endpoints(default: Store) -> None:
    doors = {
        endpoint.name: [(str(door.address), default.zone_of(door)) for door in endpoint.interfaces]
        for endpoint in default.all(VpcEndpoint)
    }
    assert doors == {
        "orders-a": [("10.0.1.10", "us-east-2a"), ("10.0.2.10", "us-east-2b")],
        "orders-b": [("10.0.1.10", "us-east-2a")],
        "orders-c": [("10.9.3.10", "us-east-2a")],
    }
    assert {endpoint.state for endpoint in default.all(VpcEndpoint)} == {EndpointState.AVAILABLE}


def test_the_service(default: Store) -> None:
    (service,) = default.all(EndpointService)
    (balancer,) = default.all(LoadBalancer)
    assert service.load_balancer_ids == (balancer.resource_id,)
    assert sorted(service.allowed_principals) == [f"arn:aws:iam::{digit * 12}:root" for digit in "123"]
    assert [(str(node.address), default.zone_of(node)) for node in balancer.nodes] == [
        ("10.9.0.7", "us-east-2a"),
        ("10.9.1.7", "us-east-2b"),
    ]
    ports = {group.resource_id: [target.port for target in group.targets] for group in default.all(TargetGroup)}
    assert [(item.protocol, item.port, ports[item.target_group_id]) for item in balancer.listeners] == [
        (Protocol.TCP, 443, [8080, 8080]),
        (Protocol.TCP, 80, [8080, 8080]),
        (Protocol.TCP, 8081, [8081, 8081]),
        (Protocol.UDP, 53, [8053, 8053]),
    ]


def test_the_service_has_the_header_and_its_plain_twin_and_its_echo_have_none(default: Store) -> None:
    snapshot = compile_snapshot(default)
    names = {group.resource_id: group.name for group in default.all(TargetGroup)}
    assert {names[group.target_group_id]: group.proxy_protocol_v2 for group in snapshot.target_groups} == {
        "orders": HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD,
        "orders-plain": None,
        "orders-echo": None,
    }


def test_compiles_into_a_snapshot_that_reads_back(default: Store) -> None:
    snapshot = compile_snapshot(default)
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot
    assert [[eni.number for eni in zone.enis] for zone in snapshot.zones] == [[1, 2, 3, 4], [1, 2]]
    for zone in snapshot.zones:
        for eni in zone.enis:
            assert eni.available
            assert len(eni.shard) == 2
            assert eni.load_balancer_eni == (1 if eni.kind is EniKind.ENDPOINT else 0)
            assert len(eni.security_rules) == (4 if eni.kind is EniKind.ENDPOINT else 0)


@pytest.mark.parametrize(
    ("old", "new", "path", "part"),
    [
        ("region: us-east-2\n", "region: Ohio\n", "region", "is no region"),
        ("region: us-east-2\n", "region: us-east-2\nhosts: []\n", "hosts", "unknown key 'hosts'"),
        ("region: us-east-2\n", "region: us-east-2\nregion: us-east-2\n", "", "twice"),
        ("vpcs:\n", "vpc:\n", "vpc", "unknown key 'vpc'"),
    ],
)
def test_mistakes_at_the_top(old: str, new: str, path: str, part: str) -> None:
    error = complaint(old, new)
    assert error.path == path
    assert part in error.message


@pytest.mark.parametrize(("key", "following"), [("region", "zones"), ("zones", "fabric"), ("vpcs", "target_groups")])
def test_what_must_be_there(key: str, following: str) -> None:
    text = LAB[: LAB.index(f"{key}:\n" if key != "region" else "region:")] + LAB[LAB.index(f"{following}:") :]
    with pytest.raises(ValueError, match=f"the key '{key}' is missing"):
        lab(text)


def test_a_lab_of_networks_alone() -> None:
    text = LAB[: LAB.index("target_groups:")]
    store = lab(text)
    assert store.version == 1
    assert list(store.interfaces()) == []
    snapshot = compile_snapshot(store)
    assert [zone.enis for zone in snapshot.zones] == [(), (), ()]


def test_what_is_named_must_exist() -> None:
    with pytest.raises(ValueError, match="'echo' does not exist"):
        lab(changed("  - {name: echo,", "  - {name: ecco,"))
