"""The store: whole, frozen, versioned."""

from dataclasses import replace

import pytest

from hyperplane.control.numbering import Numbering
from hyperplane.control.resources import EndpointState, Instance, LoadBalancer, Vpc, VpcEndpoint
from tests.control.labs import lab


def test_kinds_and_ids() -> None:
    store = lab()
    (endpoint,) = store.all(VpcEndpoint)
    assert store.find(VpcEndpoint, endpoint.resource_id) == endpoint
    assert store.find(Vpc, endpoint.resource_id) is None
    assert store.find(Vpc, "vpc-00000000000000000") is None
    assert store.get(Vpc, endpoint.vpc_id).name == "consumer"
    with pytest.raises(AssertionError):
        store.get(Vpc, endpoint.resource_id)


def test_a_change_is_a_new_version_and_the_old_one_stays() -> None:
    store = lab()
    vpc = store.all(Vpc)[0]
    changed = store.put([replace(vpc, name="renamed")], now=1.0)
    assert (store.version, changed.version) == (1, 2)
    assert store.get(Vpc, vpc.resource_id).name == "consumer"
    assert changed.get(Vpc, vpc.resource_id).name == "renamed"
    assert [one.resource_id for one in changed.all(Vpc)] == [one.resource_id for one in store.all(Vpc)]


def test_remove() -> None:
    store = lab()
    instance = store.all(Instance)[0]
    assert store.remove([instance.resource_id], now=1.0).find(Instance, instance.resource_id) is None
    with pytest.raises(AssertionError):
        store.remove(["i-00000000000000000"], now=1.0)


def test_nobody_can_change_it_in_place() -> None:
    with pytest.raises(TypeError):
        lab().resources["x"] = lab().all(Vpc)[0]  # type: ignore[index]


def test_interfaces_are_numbered_with_the_change_that_makes_them() -> None:
    store = lab()
    (balancer,) = store.all(LoadBalancer)
    (endpoint,) = store.all(VpcEndpoint)
    number = store.numbering.number
    assert [number(store.zone_of(node), node.eni_id) for node in balancer.nodes] == [1, 1]
    assert [number(store.zone_of(door), door.eni_id) for door in endpoint.interfaces] == [2, 2]
    assert [owner.resource_id for owner, _ in store.interfaces()] == [balancer.resource_id] * 2 + [
        endpoint.resource_id
    ] * 2


@pytest.mark.parametrize("state", EndpointState)
def test_only_what_is_deleted_has_no_interfaces(state: EndpointState) -> None:
    store = lab()
    (endpoint,) = store.all(VpcEndpoint)
    changed = store.put([replace(endpoint, state=state)], now=1.0)
    count = sum(isinstance(owner, VpcEndpoint) for owner, _ in changed.interfaces())
    assert count == (0 if state is EndpointState.DELETED else 2)
    assert len(changed.numbering.zones["us-east-2a"].numbers) == (1 if state is EndpointState.DELETED else 2)


def test_a_lab_read_again_goes_on_from_what_runs() -> None:
    """The lab file was changed and read anew: who stayed keeps the number, the version rises."""
    running = lab()
    (endpoint,) = running.all(VpcEndpoint)
    running = running.remove([running.all(LoadBalancer)[0].resource_id], now=1.0)
    reread = lab().continued_from(running.numbering, running.version, now=2.0)
    assert reread.version == running.version + 1
    door, other = endpoint.interfaces
    assert reread.numbering.number(reread.zone_of(door), door.eni_id) == 2
    assert reread.numbering.number(reread.zone_of(other), other.eni_id) == 2
    assert set(reread.numbering.zones["us-east-2a"].numbers.values()) == {2, 3}


def test_continuing_from_nothing_is_a_fresh_start() -> None:
    store = lab()
    assert store.continued_from(Numbering(), 0, now=0.0) == store
