"""Which calls a lab offers."""

from dataclasses import replace

import pytest

from hyperplane.control.compiler import compile_snapshot
from hyperplane.control.resources import EndpointState, LoadBalancer, TargetGroup, VpcEndpoint
from hyperplane.control.store import Store
from hyperplane.io.doors import Door, doors
from hyperplane.io.lab_file import DEFAULT_LAB, load_lab
from hyperplane.snapshot import Protocol


@pytest.fixture
def store() -> Store:
    return load_lab(DEFAULT_LAB)


def ways(store: Store) -> list[Door]:
    return doors(store, compile_snapshot(store))


def test_every_listener_is_a_door_of_each_neighbour(store: Store) -> None:
    found = ways(store)
    assert list(dict.fromkeys((door.client, door.endpoint, door.address) for door in found)) == [
        ("consumer-a", "orders-a", "10.0.1.10"),
        ("consumer-a2", "orders-a", "10.0.2.10"),
        ("consumer-b", "orders-b", "10.0.1.10"),
        ("consumer-c", "orders-c", "10.9.3.10"),
    ]
    for client in ("consumer-a", "consumer-a2", "consumer-b", "consumer-c"):
        assert [(door.protocol, door.port, door.has_header) for door in found if door.client == client] == [
            (Protocol.TCP, 80, True),
            (Protocol.TCP, 443, True),
            (Protocol.TCP, 8081, False),
            (Protocol.UDP, 53, False),
        ]


def test_the_header_is_as_the_target_group_says(store: Store) -> None:
    turned = [replace(group, proxy_protocol_v2=not group.proxy_protocol_v2) for group in store.all(TargetGroup)]
    before, after = ways(store), ways(store.put(turned, now=0.0))
    assert [door.has_header for door in after] == [not door.has_header for door in before]


@pytest.mark.parametrize("state", [state for state in EndpointState if state is not EndpointState.AVAILABLE])
def test_a_closed_endpoint_has_no_door(store: Store, state: EndpointState) -> None:
    closed = next(endpoint for endpoint in store.all(VpcEndpoint) if endpoint.name == "orders-a")
    clients = {door.client for door in ways(store.put([replace(closed, state=state)], now=0.0))}
    assert clients == {"consumer-b", "consumer-c"}


def test_a_zone_without_the_load_balancer_has_no_door(store: Store) -> None:
    (balancer,) = store.all(LoadBalancer)
    first_only = replace(balancer, nodes=balancer.nodes[:1])
    assert "consumer-a2" not in {door.client for door in ways(store.put([first_only], now=0.0))}
