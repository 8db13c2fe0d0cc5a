"""Endpoint services and endpoints of a lab file."""

import pytest

from hyperplane import limits
from hyperplane.control.resources import EndpointService, EndpointState, LoadBalancer, SecurityGroup, VpcEndpoint
from tests.control.labs import LAB, changed, complaint, lab

SERVICE = "acceptance_required: true"
PRINCIPAL = '"arn:aws:iam::111111111111:root"'
DOOR = "{subnet: app-2, address: 10.0.2.10}"
STATE = "    state: available\n"


def test_service() -> None:
    store = lab()
    (service,) = store.all(EndpointService)
    assert service.account_id == "999999999999"
    assert service.load_balancer_ids == (store.all(LoadBalancer)[0].resource_id,)
    assert service.acceptance_required
    assert service.allowed_principals == ("arn:aws:iam::111111111111:root",)


def test_endpoint() -> None:
    store = lab()
    (endpoint,) = store.all(VpcEndpoint)
    assert endpoint.service_id == store.all(EndpointService)[0].resource_id
    assert [str(interface.address) for interface in endpoint.interfaces] == ["10.0.1.10", "10.0.2.10"]
    assert [store.get(SecurityGroup, group_id).name for group_id in endpoint.security_group_ids] == ["endpoint"]
    assert endpoint.state is EndpointState.AVAILABLE


@pytest.mark.parametrize(
    ("acceptance", "state"),
    [
        ("acceptance_required: true", EndpointState.PENDING_ACCEPTANCE),
        ("acceptance_required: false", EndpointState.AVAILABLE),
        ("", EndpointState.PENDING_ACCEPTANCE),
    ],
)
def test_the_state_follows_the_service(acceptance: str, state: EndpointState) -> None:
    (endpoint,) = lab(changed(STATE, "").replace(SERVICE, acceptance)).all(VpcEndpoint)
    assert endpoint.state is state


def test_no_group_means_the_default_group() -> None:
    store = lab(changed("    security_groups: [endpoint]\n", ""))
    (endpoint,) = store.all(VpcEndpoint)
    assert [store.get(SecurityGroup, group_id).name for group_id in endpoint.security_group_ids] == ["default"]


def test_who_may_not_see_a_service_reads_what_nobody_can_read() -> None:
    """The words for a service that is not for you and for one that never was are the same."""
    hidden = complaint("service: orders", "service: nothing")
    with pytest.raises(ValueError, match="does not exist") as caught:
        lab(changed(PRINCIPAL, '"arn:aws:iam::222222222222:root"'))
    invisible = str(caught.value).partition(": endpoints")[2]
    assert invisible == str(hidden).partition(": endpoints")[2].replace("nothing", "orders")


@pytest.mark.parametrize("principal", ['"*"', '"*", "arn:aws:iam::222222222222:root"', PRINCIPAL])
def test_who_is_allowed(principal: str) -> None:
    assert lab(changed(PRINCIPAL, principal)).all(VpcEndpoint)


@pytest.mark.parametrize(
    ("old", "new", "path", "part"),
    [
        ("load_balancers: [orders]", "load_balancers: [order]", "endpoint_services[0].load_balancers[0]", "'orders'?"),
        ("load_balancers: [orders]", "load_balancers: []", "endpoint_services[0].load_balancers", "at least one"),
        (
            "load_balancers: [orders]",
            "load_balancers: [orders, orders]",
            "endpoint_services[0].load_balancers",
            "twice",
        ),
        (SERVICE, "acceptance_required: yes", "endpoint_services[0].acceptance_required", "true or false"),
        (PRINCIPAL, '"111111111111"', "endpoint_services[0].allowed_principals[0]", "is no principal"),
        (PRINCIPAL, '"arn:aws:iam::1:root"', "endpoint_services[0].allowed_principals[0]", "is no principal"),
        ("vpc: consumer", "vpc: outsider", "endpoints[0].vpc", "VPC 'outsider' does not exist"),
        ("service: orders", "service: order", "endpoints[0].service", "did you mean 'orders'?"),
        (DOOR, DOOR.replace("app-2", "app-9"), "endpoints[0].subnets[1].subnet", "subnet 'app-9' does not exist"),
        (DOOR, DOOR.replace("app-2", "app-3"), "endpoints[0].subnets[1].subnet", "one subnet a zone"),
        (
            DOOR,
            DOOR.replace("app-2", "app-4").replace("0.2.10", "0.4.10"),
            "endpoints[0].subnets[1].subnet",
            "is offered in us-east-2a, us-east-2b",
        ),
        (DOOR, DOOR.replace("10.0.2.10", "10.0.1.11"), "endpoints[0].subnets[1].address", "is not in subnet 'app-2'"),
        (DOOR, DOOR.replace("10.0.2.10", "10.0.2.50"), "endpoints[0].subnets[1].address", "already taken"),
        (DOOR, DOOR.replace("10.0.2.10", "10.0.2.1"), "endpoints[0].subnets[1].address", "reserved"),
        ("security_groups: [endpoint]", "security_groups: [door]", "endpoints[0].security_groups[0]", "does not exist"),
        ("state: available", "state: Available", "endpoints[0].state", "is none of"),
        ("state: available", "state: available\n    color: red", "endpoints[0].color", "unknown key"),
    ],
)
def test_mistakes(old: str, new: str, path: str, part: str) -> None:
    error = complaint(old, new)
    assert error.path == path
    assert part in error.message


def test_waiting_for_nobody() -> None:
    text = changed(SERVICE, "acceptance_required: false").replace("state: available", "state: pendingAcceptance")
    with pytest.raises(ValueError, match="accepts everybody at once"):
        lab(text)


def test_a_load_balancer_serves_one_service() -> None:
    second = "  - {name: second, load_balancers: [orders]}\nendpoints:\n"
    with pytest.raises(ValueError, match="already belongs to service 'orders'"):
        lab(changed("endpoints:\n", second))


def test_endpoints_of_a_vpc_have_a_bound() -> None:
    def text(count: int) -> str:
        doors = [f"subnets: [{{subnet: app-3, address: 10.0.3.{n}}}]" for n in range(10, count + 9)]
        rest = "vpc: consumer, service: orders"
        return LAB + "".join(f"  - {{name: e{n}, {rest}, {door}}}\n" for n, door in enumerate(doors))

    assert len(lab(text(limits.ENDPOINTS_PER_VPC_MAX)).all(VpcEndpoint)) == limits.ENDPOINTS_PER_VPC_MAX
    with pytest.raises(ValueError, match="the most that a VPC may have"):
        lab(text(limits.ENDPOINTS_PER_VPC_MAX + 1))
