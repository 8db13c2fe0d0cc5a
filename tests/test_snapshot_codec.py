"""The encoded snapshot: what is written comes back equal, and nothing damaged or wrong ever loads (F-19)."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings

from hyperplane import limits
from hyperplane.errors import ConfigurationError
from hyperplane.snapshot import FORMAT, MAGIC, Snapshot
from hyperplane.snapshot_codec import decode_snapshot, encode_snapshot
from tests.snapshots import small_snapshot, snapshots

Edit = Callable[[dict[str, Any]], Any]


def sealed(body: str, magic: str = MAGIC, version: int = FORMAT) -> bytes:
    """A file as this program writes it, around any body."""
    digest = hashlib.sha256(body.encode()).hexdigest()
    return f'{{"magic": "{magic}", "format": {version}, "sha256": "{digest}", "body":\n{body}\n}}\n'.encode()


def edited(edit: Edit) -> bytes:
    """The small snapshot's file after a person changed its body and sealed it again."""
    body = json.loads(encode_snapshot(small_snapshot()))["body"]
    edit(body)
    return sealed(json.dumps(body))


@given(snapshots())
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read(snapshot: Snapshot) -> None:
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot


def test_same_snapshot_same_bytes() -> None:
    assert encode_snapshot(small_snapshot()) == encode_snapshot(small_snapshot())


def test_is_one_json_object_with_a_line_for_each_interface() -> None:
    data = encode_snapshot(small_snapshot(endpoints=3))
    assert json.loads(data)["magic"] == MAGIC
    assert sum(b'"eni_id"' in line for line in data.splitlines()) == 4


def test_no_flipped_bit_loads() -> None:
    """Every byte, one bit each (all eight for the head, where no digest covers the text)."""
    data = encode_snapshot(small_snapshot())
    head_bytes = data.index(b"\n") + 1
    for position in range(len(data)):
        for bit in range(8) if position < head_bytes else (position % 8,):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            with pytest.raises(ConfigurationError):
                decode_snapshot(bytes(damaged))


def test_no_part_of_a_file_loads() -> None:
    data = encode_snapshot(small_snapshot())
    for length in range(len(data)):
        with pytest.raises(ConfigurationError):
            decode_snapshot(data[:length])


@pytest.mark.parametrize("extra", [b"\n", b" ", b"\n}\n", b"x"])
def test_nothing_may_follow(extra: bytes) -> None:
    with pytest.raises(ConfigurationError):
        decode_snapshot(encode_snapshot(small_snapshot()) + extra)


def test_says_which_format_it_reads() -> None:
    with pytest.raises(ConfigurationError, match=r"^format: is 1, this program reads 2"):
        decode_snapshot(sealed("{}", version=1))


@pytest.mark.parametrize("body", ["", "{", "[" * 100_000, "9" * 5000, '"\\ud800"', "[]", "null", "NaN"])
def test_a_sealed_body_that_is_no_snapshot(body: str) -> None:
    with pytest.raises(ConfigurationError):
        decode_snapshot(sealed(body))


def test_size_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode_snapshot(small_snapshot())
    monkeypatch.setattr(limits, "SNAPSHOT_BYTES_MAX", len(data))
    assert decode_snapshot(encode_snapshot(small_snapshot())) == small_snapshot()
    monkeypatch.setattr(limits, "SNAPSHOT_BYTES_MAX", len(data) - 1)
    with pytest.raises(ConfigurationError, match="bytes"):
        encode_snapshot(small_snapshot())
    with pytest.raises(ConfigurationError, match="bytes"):
        decode_snapshot(data)


def setting(path: str, value: Any) -> Edit:
    """An edit that gives the item at `zones.0.enis.1.mtu` another value."""

    def edit(body: dict[str, Any]) -> None:
        item: Any = body
        *steps, last = path.split(".")
        for step in steps:
            item = item[int(step) if step.isdigit() else step]
        item[int(last) if last.isdigit() else last] = value

    return edit


WRONG: list[tuple[str, Any, str, str]] = [
    ("version", 0, "version", "expected 1 to"),
    ("version", True, "version", "true or false"),
    ("version", 1.0, "version", "whole number"),
    ("steering", "random", "steering", "hash, spray"),
    ("zones", {}, "zones", "expected a list"),
    ("zones.0", [], "zones[0]", "expected an object"),
    ("zones.0.node_count", 33, "zones[0].node_count", "1 to 32"),
    ("zones.0.colour", "red", "zones[0]", "unknown key 'colour'"),
    ("zones.0.enis.1.address", "10.0.0.300", "zones[0].enis[1].address", "not an IP address"),
    ("zones.0.enis.1.address", "fe80::1%eth0", "zones[0].enis[1].address", "not an IP address"),
    ("zones.0.enis.1.address", 7, "zones[0].enis[1].address", "a number"),
    ("zones.0.enis.1.number", 65_536, "zones[0].enis[1].number", "1 to 65535"),
    ("zones.0.enis.1.number", 1, "zones[0].enis[1].number", "the same as in zones[0].enis[0]"),
    ("zones.0.enis.1.eni_id", "eni-00000000000000001", "zones[0].enis[1].eni_id", "twice"),
    ("zones.0.enis.1.eni_id", "eni 1\n", "zones[0].enis[1].eni_id", "identifier"),
    ("zones.0.enis.1.kind", "nat", "zones[0].enis[1].kind", "endpoint, load_balancer"),
    ("zones.0.enis.1.zone", "us-east-2b", "zones[0].enis[1].zone", "inside zone us-east-2a"),
    ("zones.0.enis.1.mtu", 576, "zones[0].enis[1].mtu", "1280 to 9216"),
    ("zones.0.enis.1.interface", "hp-e1", "zones[0].enis[1].interface", "the same"),
    ("zones.0.enis.1.interface", "a-name-far-too-long", "zones[0].enis[1].interface", "15 characters"),
    ("zones.0.enis.1.available", 1, "zones[0].enis[1].available", "true or false"),
    ("zones.0.enis.1.shard", [], "zones[0].enis[1].shard", "0 items"),
    ("zones.0.enis.1.shard", [1, 0], "zones[0].enis[1].shard", "ascend"),
    ("zones.0.enis.1.shard", [1, 1], "zones[0].enis[1].shard", "ascend"),
    ("zones.0.enis.1.shard", [4], "zones[0].enis[1].shard", "zone of 4 nodes"),
    ("zones.0.enis.1.load_balancer_eni", 9, "zones[0].enis[1].load_balancer_eni", "no load balancer's interface"),
    ("zones.0.enis.1.load_balancer_eni", 2, "zones[0].enis[1].load_balancer_eni", "no load balancer's interface"),
    ("zones.0.enis.0.load_balancer_eni", 1, "zones[0].enis[0].load_balancer_eni", "endpoints only"),
    ("zones.0.enis.0.owner_id", "net/other/1", "zones[0].enis[0].owner_id", "no load balancer net/other/1"),
    ("zones.0.enis.1.owner_id", "vpce-00Fg", "zones[0].enis[1].owner_id", "no endpoint's id"),
    ("target_groups.0.proxy_protocol_v2", "on", "target_groups[0].proxy_protocol_v2", "off, on_first_ack_with_payload"),
    ("zones.0.enis.1.vpc_networks", [], "zones[0].enis[1].vpc_networks", "0 items"),
    ("zones.0.enis.1.vpc_networks.0", "10.0.1.0/16", "zones[0].enis[1].vpc_networks[0]", "not a network"),
    ("zones.0.enis.1.vpc_networks.0", "10.0.0.0", "zones[0].enis[1].vpc_networks[0]", "not a network"),
    ("zones.0.enis.1.vpc_networks.0", "10.0.0.0/33", "zones[0].enis[1].vpc_networks[0]", "not a network"),
    ("zones.0.enis.1.security_rules.1.protocol", "SCTP", "zones[0].enis[1].security_rules[1].protocol", "any, TCP"),
    ("zones.0.enis.1.security_rules.0.port_first", 444, "zones[0].enis[1].security_rules[0].port_first", "port_last"),
    ("load_balancers.0.listeners.0.port", 0, "load_balancers[0].listeners[0].port", "1 to 65535"),
    (
        "load_balancers.0.listeners.0.idle_timeout_s",
        59,
        "load_balancers[0].listeners[0].idle_timeout_s",
        "less than 60",
    ),
    ("load_balancers.0.listeners.0.idle_timeout_s", 6001, "load_balancers[0].listeners[0].idle_timeout_s", "to 6000"),
    (
        "load_balancers.0.listeners.0.target_group_id",
        "x",
        "load_balancers[0].listeners[0].target_group_id",
        "no target",
    ),
    ("load_balancers.0.listeners.0.protocol", "UDP", "load_balancers[0].listeners[0].protocol", "is TCP"),
    ("load_balancers.0.load_balancer_id", "net/other/1", "zones[0].enis[0].owner_id", "no load balancer"),
    ("target_groups.0.targets.0.zone", "us-east-2z", "target_groups[0].targets[0].zone", "no zone us-east-2z"),
    ("flows_per_node_max", 400, "flows_per_endpoint_max", "more than flows_per_node_max"),
    ("flows_per_endpoint_max", 99, "half_open_per_endpoint_max", "more than flows_per_endpoint_max"),
]


@pytest.mark.parametrize(("path", "value", "place", "part"), WRONG)
def test_a_wrong_field_is_named(path: str, value: Any, place: str, part: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        decode_snapshot(edited(setting(path, value)))
    assert caught.value.place == place
    assert part in caught.value.message


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("zones", "zones[1].name"),
        ("load_balancers", "load_balancers[1].load_balancer_id"),
        ("load_balancers.0.listeners", "load_balancers[0].listeners[1].port"),
        ("target_groups", "target_groups[1].target_group_id"),
        ("target_groups.0.targets", "target_groups[0].targets[1].address"),
    ],
)
def test_nothing_stands_twice(path: str, place: str) -> None:
    def edit(body: dict[str, Any]) -> None:
        items: Any = body
        for step in path.split("."):
            items = items[int(step) if step.isdigit() else step]
        items.append(items[0])

    with pytest.raises(ConfigurationError) as caught:
        decode_snapshot(edited(edit))
    assert caught.value.place == place


def test_every_missing_key_is_named() -> None:
    """Each key of each kind of object, taken away in turn."""

    def objects(item: Any, path: str) -> list[tuple[str, str]]:
        found = []
        if isinstance(item, dict):
            found = [(path, key) for key in item]
            for key, inner in item.items():
                found += objects(inner, f"{path}.{key}" if path else key)
        elif isinstance(item, list):
            for index, inner in enumerate(item):
                found += objects(inner, f"{path}.{index}")
        return found

    places = objects(json.loads(encode_snapshot(small_snapshot()))["body"], "")
    assert len(places) > 60
    for path, key in places:

        def edit(body: dict[str, Any], path: str = path, key: str = key) -> None:
            item: Any = body
            for step in path.split(".") if path else []:
                item = item[int(step) if step.isdigit() else step]
            del item[key]

        with pytest.raises(ConfigurationError, match="is missing") as caught:
            decode_snapshot(edited(edit))
        assert caught.value.place.endswith(key)


def test_a_thousand_endpoints_round_trip() -> None:
    snapshot = small_snapshot(endpoints=1000)
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot
