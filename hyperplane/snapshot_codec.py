"""The snapshot's encoded form: one JSON object that a person can read and damage cannot pass.

    {"magic": "hyperplane-snapshot", "format": 1, "sha256": "<64 hex digits>", "body":
    {
     "version": 7,
     "zones": [ ... one line for each interface ... ],
     ...
    }
    }

Theory. The first line (the head) and the closing line (the tail) are exact byte strings, the digest
covers every byte between them. So each byte of the file is held by one of three things: it is
compared, it is the digest, or it is digested. A flipped bit or a missing end never loads.

After damage come mistakes: a file may be whole and still be wrong. `snapshot_forms.py` checks types,
ranges (`limits.py`) and keys, `snapshot_check.py` what fields say about each other. An error's place
is the path inside the body, as in `zones[0].enis[2].address`.

Addresses are text in the file ("10.0.1.10", "10.0.0.0/16"; RFC 5952 for IPv6) and bytes in the value.
"""

import hashlib
import json
import re
from typing import Any

from hyperplane import limits
from hyperplane.errors import ConfigurationError
from hyperplane.snapshot import (
    FORMAT,
    MAGIC,
    STEERINGS,
    Eni,
    EniKind,
    HeaderPlacement,
    Listener,
    LoadBalancer,
    Protocol,
    SecurityRule,
    Snapshot,
    Target,
    TargetGroup,
    Zone,
)
from hyperplane.snapshot_check import check_references
from hyperplane.snapshot_forms import (
    ADDRESS,
    FLAG,
    NETWORK,
    Fault,
    Form,
    integer,
    member,
    one_of,
    record,
    several,
    text,
)

LINE_DEPTH = 4
"""Containers above this depth stand on several lines, so an interface, a listener and a target get one line each."""

_HEAD = re.compile(rb'\{"magic": "([^"\n]{0,64})", "format": ([0-9]{1,9}), "sha256": "([0-9a-f]{64})", "body":\n')
_TAIL = b"\n}\n"


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """The same snapshot gives the same bytes. Raises `ConfigurationError` when they exceed SNAPSHOT_BYTES_MAX."""
    body = _lay_out(SNAPSHOT.write(snapshot), 0).encode("ascii")
    head = f'{{"magic": "{MAGIC}", "format": {FORMAT}, "sha256": "{hashlib.sha256(body).hexdigest()}", "body":\n'
    data = head.encode("ascii") + body + _TAIL
    _check_size(data)
    return data


def decode_snapshot(data: bytes) -> Snapshot:
    """The whole checked snapshot, or `ConfigurationError` naming the place. Never anything in between."""
    _check_size(data)
    body = _body(data)
    try:
        plain = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError("body", f"is not JSON: {error}") from None
    try:
        snapshot: Snapshot = SNAPSHOT.read(plain)
    except Fault as fault:
        raise ConfigurationError(fault.path.lstrip(".") or "body", fault.message) from None
    check_references(snapshot)
    return snapshot


def _check_size(data: bytes) -> None:
    if len(data) > limits.SNAPSHOT_BYTES_MAX:
        raise ConfigurationError("snapshot", f"has {len(data)} bytes, at most {limits.SNAPSHOT_BYTES_MAX} are allowed")


def _body(data: bytes) -> bytes:
    """The bytes between head and tail, after the digest."""
    head = _HEAD.match(data)
    if head is None or head[1] != MAGIC.encode("ascii"):
        raise ConfigurationError("magic", "not a snapshot, or cut off: the first line is not the one of a snapshot")
    if head[2] != str(FORMAT).encode("ascii"):
        raise ConfigurationError("format", f"is {head[2].decode('ascii')}, this program reads {FORMAT}")
    if not data.endswith(_TAIL):
        raise ConfigurationError("snapshot", "is cut off: the closing line is missing")
    body = data[head.end() : -len(_TAIL)]
    if hashlib.sha256(body).hexdigest().encode("ascii") != head[3]:
        raise ConfigurationError("sha256", "does not fit the body: the file is damaged, or was edited by hand")
    return body


def _lay_out(value: Any, depth: int) -> str:
    """JSON text; below LINE_DEPTH by `json`'s fast encoder, which knows no line breaks."""
    if depth >= LINE_DEPTH or not isinstance(value, dict | list) or not value:
        return json.dumps(value)
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {_lay_out(item, depth + 1)}" for key, item in value.items()]
    else:
        items = [_lay_out(item, depth + 1) for item in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    line = "\n" + " " * (depth + 1)
    return opening + line + ("," + line).join(items) + line[:-1] + closing


_NAME: Form = text(re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}"), "an identifier")
_LINK: Form = text(re.compile(r"[a-z0-9][a-z0-9-]{0,14}"), "a link's name (Linux: at most 15 characters)")
_PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in Protocol}
_PROTOCOL = member({**_PROTOCOLS})
_PORT = integer(1, 65_535)
_PORT_OF_RULE = integer(0, 65_535)
_TIMER_S = integer(1, limits.TCP_IDLE_TIMEOUT_S_MAX)

_SECURITY_RULE = record(
    SecurityRule,
    protocol=member({"any": None, **_PROTOCOLS}),
    port_first=_PORT_OF_RULE,
    port_last=_PORT_OF_RULE,
    source=NETWORK,
)
_TARGET = record(Target, target_id=_NAME, address=ADDRESS, port=_PORT, zone=_NAME, healthy=FLAG)
_TARGET_GROUP = record(
    TargetGroup,
    target_group_id=_NAME,
    protocol=_PROTOCOL,
    targets=several(_TARGET, 0, limits.TARGETS_PER_GROUP_MAX),
    cross_zone=FLAG,
    stickiness=FLAG,
    proxy_protocol_v2=member({"off": None, **{placement.value: placement for placement in HeaderPlacement}}),
)
_LISTENER = record(
    Listener,
    protocol=_PROTOCOL,
    port=_PORT,
    target_group_id=_NAME,
    idle_timeout_s=_TIMER_S,
)
_LOAD_BALANCER = record(
    LoadBalancer,
    load_balancer_id=_NAME,
    listeners=several(_LISTENER, 0, limits.LISTENERS_PER_LOAD_BALANCER_MAX),
)
_ENI = record(
    Eni,
    number=integer(1, limits.ENI_NUMBER_MAX),
    eni_id=_NAME,
    kind=member({kind.value: kind for kind in EniKind}),
    zone=_NAME,
    address=ADDRESS,
    mtu=integer(limits.MTU_MIN, limits.MTU_MAX),
    interface=_LINK,
    shard=several(integer(0, limits.NODES_PER_ZONE_MAX - 1), 1, limits.NODES_PER_ZONE_MAX),
    owner_id=_NAME,
    vpc_networks=several(NETWORK, 1, limits.NETWORKS_PER_VPC_MAX),
    available=FLAG,
    security_rules=several(_SECURITY_RULE, 0, limits.SECURITY_GROUP_RULES_MAX),
    load_balancer_eni=integer(0, limits.ENI_NUMBER_MAX),
)
_ZONE = record(
    Zone,
    name=_NAME,
    zone_id=_NAME,
    node_count=integer(1, limits.NODES_PER_ZONE_MAX),
    enis=several(_ENI, 0, limits.ENI_NUMBER_MAX),
)
SNAPSHOT = record(
    Snapshot,
    version=integer(1, (1 << 63) - 1),
    zones=several(_ZONE, 0, limits.ZONES_MAX),
    load_balancers=several(_LOAD_BALANCER, 0, limits.ENI_NUMBER_MAX),
    target_groups=several(_TARGET_GROUP, 0, limits.ENI_NUMBER_MAX),
    udp_idle_timeout_s=_TIMER_S,
    half_open_timeout_s=_TIMER_S,
    closing_timeout_s=_TIMER_S,
    flows_per_node_max=integer(1, limits.FLOWS_PER_NODE_MAX),
    flows_per_endpoint_max=integer(1, limits.FLOWS_PER_ENDPOINT_MAX),
    half_open_per_endpoint_max=integer(1, limits.HALF_OPEN_PER_ENDPOINT_MAX),
    steering=one_of(STEERINGS),
)
