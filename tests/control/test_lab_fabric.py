"""Zones and fabric of a lab file."""

import pytest

from hyperplane import limits
from hyperplane.control.resources import AvailabilityZone, Fabric, LoadBalancer
from tests.control.labs import changed, complaint, lab

FABRIC = "fabric: {nodes_per_zone: 4, shard_size: 2, seed: 1, steering: hash, mtu: 1500}"


def fabric(text: str) -> Fabric:
    return lab(changed(FABRIC, f"fabric: {text}")).fabric


def test_everything_said() -> None:
    read = fabric(
        "{nodes_per_zone: 8, shard_size: 3, seed: 18446744073709551615, steering: spray, mtu: 8500,"
        " timers: {tcp_idle_s: 60, udp_idle_s: 5, half_open_s: 6, closing_s: 7},"
        " limits: {flows_per_node: 1000, flows_per_endpoint: 100, half_open_per_endpoint: 10}}"
    )
    assert read == Fabric(8, 3, (1 << 64) - 1, "spray", 8500, 60, 5, 6, 7, 1000, 100, 10)


def test_nothing_said() -> None:
    assert lab(changed(FABRIC + "\n", "")).fabric == Fabric()
    assert Fabric().tcp_idle_timeout_s == 350
    assert Fabric().udp_idle_timeout_s == 120


def test_a_small_zone_has_small_shards() -> None:
    assert fabric("{nodes_per_zone: 1}").shard_size == 1


def test_a_lower_limit_lowers_its_parts() -> None:
    read = fabric("{limits: {flows_per_node: 1000}}")
    assert (read.flows_per_endpoint_max, read.half_open_per_endpoint_max) == (1000, 1000)


def test_listeners_get_the_fabrics_timer() -> None:
    text = changed(", idle_timeout_s: 600", "").replace(FABRIC, "fabric: {timers: {tcp_idle_s: 77}}")
    (load_balancer,) = lab(text).all(LoadBalancer)
    assert [listener.idle_timeout_s for listener in load_balancer.listeners] == [77, 77]


@pytest.mark.parametrize(
    ("text", "path", "part"),
    [
        ("{shard_size: 5}", "fabric.shard_size", "a zone has only 4"),
        ("{nodes_per_zone: 33}", "fabric.nodes_per_zone", "between 1 and 32"),
        ("{nodes_per_zone: 0}", "fabric.nodes_per_zone", "between 1 and 32"),
        ("{seed: -1}", "fabric.seed", "between"),
        ("{steering: random}", "fabric.steering", "hash, spray"),
        ("{mtu: 576}", "fabric.mtu", "between 1280 and 9216"),
        ("{timers: {tcp_idle_s: 59}}", "fabric.timers.tcp_idle_s", "between 60 and 6000"),
        ("{timers: {udp_idle_s: 0}}", "fabric.timers.udp_idle_s", "between 1"),
        ("{timers: {udp: 120}}", "fabric.timers.udp", "unknown key"),
        ("{limits: {flows_per_node: 9, flows_per_endpoint: 10}}", "fabric.limits.flows_per_endpoint", "more than"),
        (
            "{limits: {flows_per_endpoint: 9, half_open_per_endpoint: 10}}",
            "fabric.limits.half_open_per_endpoint",
            "more than",
        ),
        ("{limits: {flows_per_node: 9999999}}", "fabric.limits.flows_per_node", "between"),
        ("[]", "fabric", "expected keys and values"),
    ],
)
def test_fabric_mistakes(text: str, path: str, part: str) -> None:
    error = complaint(FABRIC, f"fabric: {text}")
    assert error.path == path
    assert part in error.message


def test_zones() -> None:
    assert lab().zones[0] == AvailabilityZone("us-east-2a", "use2-az1")
    assert [zone.name for zone in lab().zones] == ["us-east-2a", "us-east-2b", "us-east-2c"]


@pytest.mark.parametrize(
    ("new", "path", "part"),
    [
        ("{name: us-east-2a, id: use2-az3}", "zones[2].name", "twice"),
        ("{name: us-east-2c, id: use2-az1}", "zones[2].id", "already the id of us-east-2a"),
        ("{name: us-west-1a, id: use2-az3}", "zones[2].name", "no zone of us-east-2"),
        ("{name: us-east-2c, id: az3}", "zones[2].id", "no zone id"),
        ("{name: us-east-2c}", "zones[2]", "'id' is missing"),
        ("us-east-2c", "zones[2]", "expected keys and values"),
    ],
)
def test_zone_mistakes(new: str, path: str, part: str) -> None:
    error = complaint("{name: us-east-2c, id: use2-az3}", new)
    assert error.path == path
    assert part in error.message


def test_zones_have_a_bound() -> None:
    many = "".join(f"\n  - {{name: us-east-2{letter}, id: use2-az{n}}}" for n, letter in enumerate("defghijklmnopq", 4))
    assert len("defghijklmnopq") + 3 > limits.ZONES_MAX
    with pytest.raises(ValueError, match="1 to 16 zones, not 17"):
        lab(changed("{name: us-east-2c, id: use2-az3}", "{name: us-east-2c, id: use2-az3}" + many))
