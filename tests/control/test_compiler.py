"""The compiler: whole, deterministic, and true to every resource."""

from dataclasses import replace
from types import MappingProxyType

import pytest

from hyperplane.balance.shuffle_shard import shuffle_shard
from hyperplane.control.compiler import compile_snapshot
from hyperplane.control.resources import EndpointService, EndpointState, LoadBalancer, TargetGroup, VpcEndpoint
from hyperplane.snapshot import Eni, EniKind, HeaderPlacement, Listener, Network, Protocol, Snapshot, Target
from hyperplane.snapshot_codec import decode_snapshot, encode_snapshot
from tests.control.labs import LAB, changed, lab

SECOND = """\
  - name: second
    vpc: provider
    subnets: [{subnet: nlb-1, address: 10.9.0.8}]
    listeners: [{protocol: TCP, port: 443, target_group: orders}]
endpoint_services:
"""


def doors(snapshot: Snapshot) -> list[Eni]:
    return [eni for zone in snapshot.zones for eni in zone.enis if eni.kind is EniKind.ENDPOINT]


def test_an_endpoints_interface() -> None:
    store = lab()
    (endpoint,) = store.all(VpcEndpoint)
    snapshot = compile_snapshot(store)
    door, other = doors(snapshot)
    assert door.number == 2
    assert door.interface == "hp-e2"
    assert door.eni_id == endpoint.interfaces[0].eni_id
    assert door.owner_id == other.owner_id == endpoint.resource_id
    assert (door.zone, other.zone) == ("us-east-2a", "us-east-2b")
    assert (door.address, other.address) == (bytes([10, 0, 1, 10]), bytes([10, 0, 2, 10]))
    assert door.vpc_networks == (Network(bytes([10, 0, 0, 0]), 16),)
    assert door.mtu == 1500
    assert door.available
    assert len(door.security_rules) == 2
    assert door.load_balancer_eni == other.load_balancer_eni == 1


def test_a_load_balancers_interface() -> None:
    (balancer,) = lab().all(LoadBalancer)
    eni = compile_snapshot(lab()).zones[0].enis[0]
    assert (eni.kind, eni.owner_id) == (EniKind.LOAD_BALANCER, balancer.resource_id)
    assert eni.address == bytes([10, 9, 0, 7])
    assert eni.vpc_networks == (Network(bytes([10, 9, 0, 0]), 16),)
    assert (eni.security_rules, eni.load_balancer_eni, eni.available) == ((), 0, True)


def test_shards_are_dealt_by_zone_and_owner() -> None:
    snapshot = compile_snapshot(lab())
    enis = [(zone, eni) for zone in snapshot.zones for eni in zone.enis]
    assert len(enis) == 4
    for zone, eni in enis:
        assert eni.shard == shuffle_shard(1, zone.zone_id, eni.owner_id, 4, 2)


def test_what_stands_behind() -> None:
    store = lab()
    orders, echo = store.all(TargetGroup)
    snapshot = compile_snapshot(store)
    (balancer,) = snapshot.load_balancers
    assert set(balancer.listeners) == {
        Listener(Protocol.TCP, 443, orders.resource_id, 600),
        Listener(Protocol.UDP, 53, echo.resource_id, 120),
    }
    groups = {group.target_group_id: group for group in snapshot.target_groups}
    assert groups[orders.resource_id].targets == (
        Target(orders.targets[0].target_id, bytes([10, 9, 0, 20]), 8080, "us-east-2a"),
        Target(orders.targets[1].target_id, bytes([10, 9, 1, 20]), 8080, "us-east-2b"),
    )
    assert groups[echo.resource_id].stickiness
    assert not groups[orders.resource_id].stickiness


def test_health_is_compiled() -> None:
    store = lab()
    orders = store.all(TargetGroup)[0]
    ill = replace(orders, targets=(replace(orders.targets[0], healthy=False), orders.targets[1]), cross_zone=True)
    groups = compile_snapshot(store.put([ill], now=1.0)).target_groups
    (group,) = [group for group in groups if group.target_group_id == orders.resource_id]
    assert [target.healthy for target in group.targets] == [False, True]
    assert group.cross_zone


@pytest.mark.parametrize("placement", HeaderPlacement)
@pytest.mark.parametrize("enabled", [False, True])
def test_a_header_is_compiled_with_its_placement(placement: HeaderPlacement, enabled: bool) -> None:
    """A placement without a header is no header."""
    store = lab()
    orders, echo = store.all(TargetGroup)
    changed_orders = replace(orders, proxy_protocol_v2=enabled, header_placement=placement)
    snapshot = compile_snapshot(store.put([changed_orders], now=1.0))
    headers = {group.target_group_id: group.proxy_protocol_v2 for group in snapshot.target_groups}
    assert headers == {orders.resource_id: placement if enabled else None, echo.resource_id: None}
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot


def test_timers_and_limits() -> None:
    text = changed("mtu: 1500}", "mtu: 1500, timers: {udp_idle_s: 30, half_open_s: 31, closing_s: 32}}")
    snapshot = compile_snapshot(lab(text))
    timers = (snapshot.udp_idle_timeout_s, snapshot.half_open_timeout_s, snapshot.closing_timeout_s)
    assert timers == (30, 31, 32)
    (balancer,) = snapshot.load_balancers
    assert {listener.idle_timeout_s for listener in balancer.listeners} == {600, 30}


@pytest.mark.parametrize("state", EndpointState)
def test_only_what_is_available_is_open(state: EndpointState) -> None:
    """Before the yes and after the no the interface is there and closed; deleted, it is gone."""
    store = lab()
    (endpoint,) = store.all(VpcEndpoint)
    snapshot = compile_snapshot(store.put([replace(endpoint, state=state)], now=1.0))
    open_or_closed = [door.available for door in doors(snapshot)]
    expected = [] if state is EndpointState.DELETED else [state is EndpointState.AVAILABLE] * 2
    assert open_or_closed == expected


def test_a_zone_where_the_service_has_no_node() -> None:
    """The load balancer lost a zone after the endpoint was made."""
    store = lab()
    (balancer,) = store.all(LoadBalancer)
    snapshot = compile_snapshot(store.put([replace(balancer, nodes=balancer.nodes[:1])], now=1.0))
    assert [door.load_balancer_eni for door in doors(snapshot)] == [1, 0]


def test_of_several_load_balancers_an_interface_keeps_one() -> None:
    text = changed("endpoint_services:\n", SECOND).replace(
        "load_balancers: [orders]", "load_balancers: [orders, second]"
    )
    store = lab(text)
    snapshot = compile_snapshot(store)
    exits = {eni.number for eni in snapshot.zones[0].enis if eni.kind is EniKind.LOAD_BALANCER}
    assert len(exits) == 2
    door, other = doors(snapshot)
    assert door.load_balancer_eni in exits
    assert other.load_balancer_eni == 1, "the second load balancer has no node in zone b"
    (service,) = store.all(EndpointService)
    turned = replace(service, load_balancer_ids=service.load_balancer_ids[::-1])
    assert doors(compile_snapshot(store.put([turned], now=1.0)))[0].load_balancer_eni == door.load_balancer_eni


def test_interfaces_spread_over_several_load_balancers() -> None:
    text = changed("endpoint_services:\n", SECOND).replace(
        "load_balancers: [orders]", "load_balancers: [orders, second]"
    )
    more = "".join(
        f"  - {{name: e{n}, vpc: consumer, service: orders, subnets: [{{subnet: app-3, address: 10.0.3.{n}}}]}}\n"
        for n in range(10, 50)
    )
    chosen = [door.load_balancer_eni for door in doors(compile_snapshot(lab(text + more))) if door.zone == "us-east-2a"]
    assert 10 < sum(number == min(chosen) for number in chosen) < 31


def test_same_store_same_bytes() -> None:
    assert encode_snapshot(compile_snapshot(lab())) == encode_snapshot(compile_snapshot(lab()))


def test_order_of_arrival_does_not_show() -> None:
    store = lab()
    turned = replace(store, resources=MappingProxyType(dict(reversed(list(store.resources.items())))))
    assert encode_snapshot(compile_snapshot(turned)) == encode_snapshot(compile_snapshot(store))


def test_what_is_compiled_can_be_read() -> None:
    snapshot = compile_snapshot(lab())
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot


def test_numbers_stay_when_neighbours_come_and_go() -> None:
    more = "  - {name: more, vpc: consumer, service: orders, subnets: [{subnet: app-1, address: 10.0.1.11}]}\n"
    before = lab(LAB + more)
    first, second = before.all(VpcEndpoint)
    numbers = {eni.eni_id: eni.number for eni in doors(compile_snapshot(before))}
    after = before.remove([first.resource_id], now=1.0)
    assert after.version == before.version + 1
    left = {eni.eni_id: eni.number for eni in doors(compile_snapshot(after))}
    assert left == {second.interfaces[0].eni_id: numbers[second.interfaces[0].eni_id]}
    again = compile_snapshot(after.put([first], now=2.0))
    assert {eni.number for eni in doors(again)}.isdisjoint({numbers[door.eni_id] for door in first.interfaces})
    assert (compile_snapshot(before).version, compile_snapshot(after).version, again.version) == (1, 2, 3)
