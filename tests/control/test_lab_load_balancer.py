"""Target groups and load balancers of a lab file."""

from ipaddress import ip_address

import pytest

from hyperplane import limits
from hyperplane.control.resources import Instance, Listener, LoadBalancer, TargetGroup, TargetRegistration
from hyperplane.snapshot import HeaderPlacement, Protocol
from tests.control.labs import changed, complaint, lab

GROUP = (
    "{name: orders, vpc: provider, protocol: TCP, port: 8080, targets: [{instance: target-1}, {instance: target-2}]}"
)
ECHO = "{name: echo, vpc: provider, protocol: UDP, port: 7, stickiness: source_ip, targets: [{address: 10.9.1.99}]}"
NODE = "{subnet: nlb-2, address: 10.9.1.7}"
LISTENER = "{protocol: UDP, port: 53, target_group: echo}"
FIRST = "{protocol: TCP, port: 443, target_group: orders, idle_timeout_s: 600}"
PLACEMENT = "proxy_protocol_v2.client_to_server.header_placement"


def with_attributes(group: str, attributes: str) -> str:
    """A target group of the small lab, with attributes."""
    return group.replace("targets:", f"attributes: {attributes}, targets:")


def test_target_groups() -> None:
    store = lab()
    orders, echo = store.all(TargetGroup)
    instances = {instance.name: instance for instance in store.all(Instance)}
    assert orders.targets == (
        TargetRegistration(instances["target-1"].resource_id, ip_address("10.9.0.20"), 8080, "us-east-2a"),
        TargetRegistration(instances["target-2"].resource_id, ip_address("10.9.1.20"), 8080, "us-east-2b"),
    )
    assert (orders.protocol, orders.cross_zone, orders.stickiness) == (Protocol.TCP, False, False)
    assert echo.targets == (TargetRegistration("10.9.1.99", ip_address("10.9.1.99"), 7, "us-east-2b"),)
    assert (echo.protocol, echo.stickiness) == (Protocol.UDP, True)


def test_a_target_may_have_its_own_port_and_several() -> None:
    two = GROUP.replace("{instance: target-2}", "{instance: target-1, port: 8081}").replace("port: 8080", "port: 8080")
    store = lab(changed(GROUP, two.replace("targets", "cross_zone: true, targets")))
    orders = store.all(TargetGroup)[0]
    assert [target.port for target in orders.targets] == [8080, 8081]
    assert orders.cross_zone


@pytest.mark.parametrize(
    ("attributes", "enabled", "placement"),
    [
        ("{}", False, HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD),
        ("{proxy_protocol_v2.enabled: false}", False, HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD),
        ("{proxy_protocol_v2.enabled: true}", True, HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD),
        (f"{{proxy_protocol_v2.enabled: true, {PLACEMENT}: on_first_ack}}", True, HeaderPlacement.ON_FIRST_ACK),
        (
            f"{{{PLACEMENT}: on_first_ack_with_payload, proxy_protocol_v2.enabled: true}}",
            True,
            HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD,
        ),
        (f"{{{PLACEMENT}: on_first_ack}}", False, HeaderPlacement.ON_FIRST_ACK),
        (f"{{proxy_protocol_v2.enabled: false, {PLACEMENT}: on_first_ack}}", False, HeaderPlacement.ON_FIRST_ACK),
    ],
)
@pytest.mark.parametrize("place", [0, 1], ids=["TCP", "UDP"])
def test_proxy_protocol(attributes: str, enabled: bool, placement: HeaderPlacement, place: int) -> None:
    """AWS's names and defaults (ELBv2 API, TargetGroupAttribute). A placement is kept, header or not."""
    old = (GROUP, ECHO)[place]
    group = lab(changed(old, with_attributes(old, attributes))).all(TargetGroup)[place]
    assert (group.proxy_protocol_v2, group.header_placement) == (enabled, placement)


def test_without_attributes_there_is_no_header() -> None:
    assert {group.proxy_protocol_v2 for group in lab().all(TargetGroup)} == {False}
    assert {group.header_placement for group in lab().all(TargetGroup)} == {HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD}


def test_load_balancer() -> None:
    store = lab()
    (balancer,) = store.all(LoadBalancer)
    orders, echo = store.all(TargetGroup)
    assert balancer.resource_id.startswith("net/orders/")
    assert [str(node.address) for node in balancer.nodes] == ["10.9.0.7", "10.9.1.7"]
    assert [store.zone_of(node) for node in balancer.nodes] == ["us-east-2a", "us-east-2b"]
    assert balancer.listeners == (
        Listener(Protocol.TCP, 443, orders.resource_id, 600),
        Listener(Protocol.UDP, 53, echo.resource_id, 350),
    )


GROUPS = "target_groups[0]"


@pytest.mark.parametrize(
    ("old", "new", "path", "part"),
    [
        (GROUP, GROUP.replace("vpc: provider", "vpc: provides"), f"{GROUPS}.vpc", "did you mean 'provider'?"),
        (GROUP, GROUP.replace("TCP", "TLS"), f"{GROUPS}.protocol", "TCP, UDP"),
        (GROUP, GROUP.replace("port: 8080", "port: 0"), f"{GROUPS}.port", "between 1 and 65535"),
        (GROUP, GROUP.replace("target-2", "target-1"), f"{GROUPS}.targets[1]", "already in this group"),
        (GROUP, GROUP.replace("target-2", "target-9"), f"{GROUPS}.targets[1].instance", "'target-9' does not exist"),
        (GROUP, GROUP.replace("target-2", "app"), f"{GROUPS}.targets[1].instance", "is not in VPC 'provider'"),
        (
            GROUP,
            GROUP.replace("{instance: target-2}", "{port: 1}"),
            f"{GROUPS}.targets[1]",
            "an instance or an address",
        ),
        (
            GROUP,
            GROUP.replace("{instance: target-2}", "{instance: target-2, address: 10.9.0.9}"),
            f"{GROUPS}.targets[1]",
            "either an instance or an address",
        ),
        (GROUP, GROUP.replace("{instance: target-2}", "{address: 10.9.0.9}"), f"{GROUPS}.targets[1]", "not both"),
        (ECHO, ECHO.replace("name: echo", "name: orders"), "target_groups[1].name", "'orders' already exists"),
        (ECHO, ECHO.replace("10.9.1.99", "10.8.1.99"), "target_groups[1].targets[0].address", "in no subnet"),
        (ECHO, ECHO.replace("source_ip", "cookie"), "target_groups[1].stickiness", "none, source_ip"),
        (NODE, NODE.replace("nlb-2", "app-1"), "load_balancers[0].subnets[1].subnet", "'app-1' does not exist"),
        (NODE, NODE.replace("nlb-2", "nlb-1"), "load_balancers[0].subnets[1].subnet", "one subnet a zone"),
        (NODE, NODE.replace("1.7", "1.2"), "load_balancers[0].subnets[1].address", "reserved"),
        (NODE, NODE.replace("1.7", "1.20"), "load_balancers[0].subnets[1].address", "already taken"),
        (NODE, "{subnet: nlb-2}", "load_balancers[0].subnets[1]", "'address' is missing"),
        (
            LISTENER,
            LISTENER.replace("UDP", "TCP"),
            "load_balancers[0].listeners[1].protocol",
            "cannot forward to 'echo'",
        ),
        (
            LISTENER,
            LISTENER.replace("echo", "nothing"),
            "load_balancers[0].listeners[1].target_group",
            "does not exist",
        ),
        (LISTENER, LISTENER.replace("53", "65536"), "load_balancers[0].listeners[1].port", "between 1 and 65535"),
        (
            LISTENER,
            LISTENER.replace("echo", "echo, idle_timeout_s: 120"),
            "load_balancers[0].listeners[1].idle_timeout_s",
            "udp_idle_s",
        ),
        (LISTENER, FIRST.replace("600", "601"), "load_balancers[0].listeners[1]", "already is a listener on TCP 443"),
        (FIRST, FIRST.replace("600", "59"), "load_balancers[0].listeners[0].idle_timeout_s", "between 60 and 6000"),
    ],
)
def test_mistakes(old: str, new: str, path: str, part: str) -> None:
    error = complaint(old, new)
    assert error.path == path
    assert part in error.message


@pytest.mark.parametrize(
    ("attributes", "key", "part"),
    [
        ("{proxy_protocol_v2.enabled: yes}", "proxy_protocol_v2.enabled", "expected true or false, found 'yes'"),
        ("{proxy_protocol_v2.enabled: 'true'}", "proxy_protocol_v2.enabled", "expected true or false, found 'true'"),
        ("{proxy_protocol_v2.enabled: }", "proxy_protocol_v2.enabled", "expected true or false, found nothing"),
        (f"{{{PLACEMENT}: on_syn}}", PLACEMENT, "'on_syn' is none of on_first_ack, on_first_ack_with_payload"),
        (f"{{{PLACEMENT}: On_First_Ack}}", PLACEMENT, "'On_First_Ack' is none of"),
        (f"{{{PLACEMENT}: [on_first_ack]}}", PLACEMENT, "expected text, found a list"),
        (f"{{{PLACEMENT}: }}", PLACEMENT, "expected text, found nothing"),
        (
            "{proxy_protocol_v1.enabled: true}",
            "proxy_protocol_v1.enabled",
            f"unknown key 'proxy_protocol_v1.enabled'; known here: {PLACEMENT}, proxy_protocol_v2.enabled",
        ),
        ("{stickiness.enabled: true}", "stickiness.enabled", "unknown key 'stickiness.enabled'"),
    ],
)
def test_mistakes_in_attributes(attributes: str, key: str, part: str) -> None:
    error = complaint(GROUP, with_attributes(GROUP, attributes))
    assert error.path == f'{GROUPS}.attributes["{key}"]'
    assert part in error.message


@pytest.mark.parametrize("attributes", ["", "[]", "proxy_protocol_v2.enabled", "[proxy_protocol_v2.enabled: true]"])
def test_attributes_are_a_mapping(attributes: str) -> None:
    error = complaint(GROUP, with_attributes(GROUP, attributes))
    assert error.path == f"{GROUPS}.attributes"
    assert "expected keys and values" in error.message


def test_an_attribute_is_given_once() -> None:
    error = complaint(GROUP, with_attributes(GROUP, f"{{{PLACEMENT}: on_first_ack, {PLACEMENT}: on_first_ack}}"))
    assert error.path == f"{GROUPS}.attributes"
    assert error.message == f"the key '{PLACEMENT}' is there twice"


def test_a_group_of_another_vpc() -> None:
    text = changed(
        "load_balancers:\n",
        "  - {name: foreign, vpc: consumer, protocol: TCP, port: 80, targets: []}\nload_balancers:\n",
    )
    with pytest.raises(ValueError, match=r"listeners\[0\]\.target_group: target group 'foreign' is not in VPC"):
        lab(text.replace("target_group: orders", "target_group: foreign"))


def test_targets_and_listeners_have_bounds() -> None:
    targets = ", ".join(f"{{address: 10.9.1.99, port: {port}}}" for port in range(1, limits.TARGETS_PER_GROUP_MAX + 2))
    with pytest.raises(ValueError, match="at most 1000 targets, not 1001"):
        lab(changed("{address: 10.9.1.99}", targets))
    listeners = "".join(
        f"\n      - {{protocol: UDP, port: {port}, target_group: echo}}"
        for port in range(54, 54 + limits.LISTENERS_PER_LOAD_BALANCER_MAX)
    )
    with pytest.raises(ValueError, match="at most 50, not 52"):
        lab(changed(LISTENER, LISTENER + listeners))
