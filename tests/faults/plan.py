"""The lab of the fault tests as a lab file: names and addresses that no other lab has.

    flt-a   10.1.0.0/16          endpoint 10.1.1.10 ─┐
    flt-b   10.1.0.0/16 again    endpoint 10.1.1.10 ─┼─ service "flt-left"   10.9.0.7 ─┐
    flt-c   10.3.0.0/16          endpoint 10.3.1.10 ─┼─ service "flt-right"  10.9.0.8 ─┴─ targets 10.9.3.20, .21
                                                     │
                                   a, c: flt-left    b: flt-right

Four nodes, two to a shard. The seed deals the shards so that everything of flt-b is served by other nodes than
everything of flt-a: whatever kills the nodes of one must leave the other alone. flt-c shares flt-a's load
balancer, but its endpoint has other nodes.
"""

from dataclasses import dataclass

from tests.faults.wire import BANNER_PORT, ECHO_PORT, STREAM_PORT

ZONE, ZONE_ID = "us-east-2a", "flt-az1"
SEED = 308
TARGETS = {"flt-t1": "10.9.3.20", "flt-t2": "10.9.3.21"}
CONSUMERS = {"flt-a": "10.1.1.10", "flt-b": "10.1.1.10", "flt-c": "10.3.1.10"}
"""Consumer and the address of its endpoint."""
_PROXY = "proxy_protocol_v2"
HEADER_PORTS = {"on_first_ack_with_payload": 9011, "on_first_ack": 9012}
"""Ports of listeners, and of flt-t1 behind them, by where its Proxy Protocol v2 header goes."""
SERVICES = {"flt-a": "flt-left", "flt-b": "flt-right", "flt-c": "flt-left"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What differs between one fault's lab and another's."""

    nodes: int = 4
    shard_size: int = 2
    seed: int = SEED
    steering: str = "hash"
    limits: str = "{}"
    timers: str = "{}"
    endpoints: tuple[str, ...] = tuple(CONSUMERS)
    """Consumers that have their endpoint."""
    headers: bool | None = None
    """Whether the targets behind `HEADER_PORTS` get a Proxy Protocol v2 header; None: there is nobody behind them."""


def lab_text(plan: Plan) -> str:
    """The lab file."""
    return f"""
region: us-east-2
zones: [{{name: {ZONE}, id: {ZONE_ID}}}]
fabric:
  nodes_per_zone: {plan.nodes}
  shard_size: {plan.shard_size}
  seed: {plan.seed}
  steering: {plan.steering}
  timers: {plan.timers}
  limits: {plan.limits}
vpcs:
{_consumer("flt-a", "111111111111", "10.1")}
{_consumer("flt-b", "222222222222", "10.1")}
{_consumer("flt-c", "333333333333", "10.3")}
  - name: flt-p
    account: 999999999999
    cidr: 10.9.0.0/16
    subnets:
      - {{name: nlb, zone: {ZONE}, cidr: 10.9.0.0/24}}
      - {{name: targets, zone: {ZONE}, cidr: 10.9.3.0/24}}
    instances:
      - {{name: flt-t1, subnet: targets, address: {TARGETS["flt-t1"]}}}
      - {{name: flt-t2, subnet: targets, address: {TARGETS["flt-t2"]}}}
target_groups:
  - {_group("flt-stream", "TCP", STREAM_PORT, "flt-t1", "flt-t2")}
  - {_group("flt-banner", "TCP", BANNER_PORT, "flt-t1", "flt-t2")}
  - {_group("flt-echo", "UDP", ECHO_PORT, "flt-t1", "flt-t2")}
  - {_group("flt-one", "UDP", 9999, "flt-t1")}
  - {_group("flt-many", "UDP", 9998, "flt-t1")}
{_header_groups(plan.headers)}
load_balancers:
{_load_balancer("flt-left", "10.9.0.7", plan.headers)}
{_load_balancer("flt-right", "10.9.0.8", plan.headers)}
endpoint_services:
  - {{name: flt-left, load_balancers: [flt-left], acceptance_required: false, allowed_principals: ["*"]}}
  - {{name: flt-right, load_balancers: [flt-right], acceptance_required: false, allowed_principals: ["*"]}}
endpoints:
{chr(10).join(_endpoint(name) for name in plan.endpoints)}
"""


def _consumer(name: str, account: str, net: str) -> str:
    return f"""  - name: {name}
    account: {account}
    cidr: {net}.0.0/16
    subnets: [{{name: az1, zone: {ZONE}, cidr: {net}.1.0/24}}]
    instances: [{{name: {name}, subnet: az1, address: {net}.1.50}}]
    security_groups: [{{name: all, inbound: [{{protocol: all, source: 0.0.0.0/0}}]}}]"""


def _group(name: str, protocol: str, port: int, *targets: str) -> str:
    listed = ", ".join(f"{{instance: {target}}}" for target in targets)
    return f"{{name: {name}, vpc: flt-p, protocol: {protocol}, port: {port}, targets: [{listed}]}}"


def _header_groups(enabled: bool | None) -> str:
    groups = []
    for placement, port in HEADER_PORTS.items() if enabled is not None else ():
        group = _group(f"flt-{port}", "TCP", port, "flt-t1").removesuffix("}")
        settings = f"enabled: {str(enabled).lower()}, {_PROXY}.client_to_server.header_placement: {placement}"
        groups.append(f"  - {group}, attributes: {{{_PROXY}.{settings}}}}}")
    return "\n".join(groups)


def _header_listeners(enabled: bool | None) -> str:
    ports = HEADER_PORTS.values() if enabled is not None else ()
    return "".join(f"\n      - {{protocol: TCP, port: {port}, target_group: flt-{port}}}" for port in ports)


def _load_balancer(name: str, address: str, headers: bool | None) -> str:
    return f"""  - name: {name}
    vpc: flt-p
    subnets: [{{subnet: nlb, address: {address}}}]
    listeners:
      - {{protocol: TCP, port: 443, target_group: flt-stream}}
      - {{protocol: TCP, port: 25, target_group: flt-banner}}
      - {{protocol: UDP, port: 53, target_group: flt-echo}}
      - {{protocol: UDP, port: 9999, target_group: flt-one}}
      - {{protocol: UDP, port: 9998, target_group: flt-many}}{_header_listeners(headers)}"""


def _endpoint(name: str) -> str:
    return (
        f"  - {{name: {name}, vpc: {name}, service: {SERVICES[name]}, security_groups: [all],"
        f" subnets: [{{subnet: az1, address: {CONSUMERS[name]}}}]}}"
    )
