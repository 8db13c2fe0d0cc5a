"""The region's part of a lab file: zones, and how the packet plane is laid out in them."""

from dataclasses import replace

from hyperplane import limits
from hyperplane.balance.shuffle_shard import SEED_BITS
from hyperplane.control import lab_document as doc
from hyperplane.control.lab_document import Node
from hyperplane.control.resources import AvailabilityZone, Fabric
from hyperplane.snapshot import STEERINGS


def read_zones(node: Node, region: str) -> tuple[AvailabilityZone, ...]:
    """`zones: [{name: us-east-2a, id: use2-az1}]`"""
    zones: list[AvailabilityZone] = []
    for item in node.items():
        item.only("name", "id")
        zone = AvailabilityZone(doc.zone_name(item.require("name"), region), doc.zone_id(item.require("id")))
        for other in zones:
            if zone.name == other.name:
                raise item.require("name").error(f"zone {zone.name} is there twice")
            if zone.zone_id == other.zone_id:
                raise item.require("id").error(f"{zone.zone_id} is already the id of {other.name}")
        zones.append(zone)
    if not 1 <= len(zones) <= limits.ZONES_MAX:
        raise node.error(f"a lab has 1 to {limits.ZONES_MAX} zones, not {len(zones)}")
    return tuple(zones)


def read_fabric(node: Node | None) -> Fabric:
    """`fabric: {nodes_per_zone, shard_size, seed, steering, mtu, timers: {...}, limits: {...}}`, all optional."""
    fabric = Fabric()
    if node is None:
        return fabric
    node.only("nodes_per_zone", "shard_size", "seed", "steering", "mtu", "timers", "limits")
    node_count = doc.integer(node, "nodes_per_zone", 1, limits.NODES_PER_ZONE_MAX, fabric.nodes_per_zone)
    shard_size = doc.integer(node, "shard_size", 1, limits.NODES_PER_ZONE_MAX, min(fabric.shard_size, node_count))
    if shard_size > node_count:
        raise node.require("shard_size").error(f"{shard_size} nodes in a shard, but a zone has only {node_count}")
    steering = node.optional("steering")
    fabric = replace(
        fabric,
        nodes_per_zone=node_count,
        shard_size=shard_size,
        seed=doc.integer(node, "seed", 0, (1 << SEED_BITS) - 1, fabric.seed),
        steering=fabric.steering if steering is None else steering.choice(STEERINGS),
        mtu=doc.integer(node, "mtu", limits.MTU_MIN, limits.MTU_MAX, fabric.mtu),
    )
    timers, bounds = node.optional("timers"), node.optional("limits")
    fabric = fabric if timers is None else _with_timers(timers, fabric)
    return fabric if bounds is None else _with_limits(bounds, fabric)


def _with_timers(node: Node, fabric: Fabric) -> Fabric:
    node.only("tcp_idle_s", "udp_idle_s", "half_open_s", "closing_s")
    tcp_min_s, max_s = limits.TCP_IDLE_TIMEOUT_S_MIN, limits.TCP_IDLE_TIMEOUT_S_MAX
    return replace(
        fabric,
        tcp_idle_timeout_s=doc.integer(node, "tcp_idle_s", tcp_min_s, max_s, fabric.tcp_idle_timeout_s),
        udp_idle_timeout_s=doc.integer(node, "udp_idle_s", 1, max_s, fabric.udp_idle_timeout_s),
        half_open_timeout_s=doc.integer(node, "half_open_s", 1, max_s, fabric.half_open_timeout_s),
        closing_timeout_s=doc.integer(node, "closing_s", 1, max_s, fabric.closing_timeout_s),
    )


def _with_limits(node: Node, fabric: Fabric) -> Fabric:
    """A lower limit for the whole lowers the limit for the part, unless the file says that one, too."""
    node.only("flows_per_node", "flows_per_endpoint", "half_open_per_endpoint")
    flows_max = doc.integer(node, "flows_per_node", 1, limits.FLOWS_PER_NODE_MAX, fabric.flows_per_node_max)
    endpoint_max = min(flows_max, fabric.flows_per_endpoint_max)
    endpoint_max = doc.integer(node, "flows_per_endpoint", 1, limits.FLOWS_PER_ENDPOINT_MAX, endpoint_max)
    half_open_max = min(endpoint_max, fabric.half_open_per_endpoint_max)
    half_open_max = doc.integer(node, "half_open_per_endpoint", 1, limits.HALF_OPEN_PER_ENDPOINT_MAX, half_open_max)
    if endpoint_max > flows_max:
        raise node.require("flows_per_endpoint").error(f"{endpoint_max} is more than flows_per_node, {flows_max}")
    if half_open_max > endpoint_max:
        raise node.require("half_open_per_endpoint").error(
            f"{half_open_max} is more than flows_per_endpoint, {endpoint_max}"
        )
    return replace(
        fabric,
        flows_per_node_max=flows_max,
        flows_per_endpoint_max=endpoint_max,
        half_open_per_endpoint_max=half_open_max,
    )
