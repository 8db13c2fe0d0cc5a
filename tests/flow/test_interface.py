"""One ENI as a node uses it: who may come in, and what a new configuration changes."""

from typing import Any

import pytest

from hyperplane.flow.interface import Interface
from hyperplane.limits import TCP_IDLE_TIMEOUT_S
from hyperplane.snapshot import Protocol, SecurityRule
from hyperplane.wire.packet import TCP, UDP
from tests.cases import packed
from tests.flow.flows import TIMERS, interface_of
from tests.nodes import DOOR, EXIT, door, network, way_out


def interface_with(**changes: Any) -> Interface:
    interface = Interface(DOOR, TIMERS)
    interface.load(door(**changes))
    return interface


@pytest.mark.parametrize(
    ("source", "inside"),
    [
        ("10.0.0.0", True),
        ("10.0.255.255", True),
        ("10.1.0.0", False),
        ("9.255.255.255", False),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("192.168.7.1", True),
        ("192.168.8.1", False),
        ("fd00:1::1", True),
        ("fd00:2::1", False),
        ("::", False),
        ("::a00:132", False),
    ],
)
def test_who_is_of_the_vpc(source: str, inside: bool) -> None:
    vpc = (network("10.0.0.0/16"), network("192.168.7.0/24"), network("fd00:1::/32"))
    assert interface_with(vpc_networks=vpc).in_vpc(packed(source)) is inside


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        (SecurityRule(None, 0, 65_535, network("0.0.0.0/0")), {"tcp", "tcp port", "udp", "other"}),
        (SecurityRule(Protocol.TCP, 443, 443, network("0.0.0.0/0")), {"tcp", "other"}),
        (SecurityRule(Protocol.UDP, 443, 443, network("0.0.0.0/0")), {"udp"}),
        (SecurityRule(Protocol.TCP, 444, 500, network("0.0.0.0/0")), {"tcp port"}),
        (SecurityRule(None, 443, 443, network("10.0.1.50/32")), {"tcp", "udp"}),
        (SecurityRule(None, 0, 65_535, network("::/0")), set()),
        (SecurityRule(None, 0, 442, network("0.0.0.0/0")), set()),
    ],
)
def test_what_a_security_rule_lets_in(rule: SecurityRule, allowed: set[str]) -> None:
    interface = interface_with(security_rules=(rule,))
    tried = {
        "tcp": (TCP, 443, packed("10.0.1.50")),
        "tcp port": (TCP, 444, packed("10.0.1.50")),
        "udp": (UDP, 443, packed("10.0.1.50")),
        "other": (TCP, 443, packed("10.0.1.51")),
    }
    assert {name for name, packet in tried.items() if interface.permits(*packet)} == allowed


def test_rules_add_up_and_none_means_closed() -> None:
    assert not interface_with(security_rules=()).permits(TCP, 443, packed("10.0.1.50"))
    rules = tuple(SecurityRule(Protocol.TCP, port, port, network("10.0.0.0/16")) for port in (80, 443))
    interface = interface_with(security_rules=rules)
    assert [interface.permits(TCP, port, packed("10.0.1.50")) for port in (80, 81, 443)] == [True, False, True]


def test_a_removed_eni_lets_nothing_in_and_keeps_its_number() -> None:
    interface = interface_of()
    interface.close()
    assert (interface.number, interface.available, interface.address, interface.shard) == (DOOR, False, b"", ())
    assert not interface.in_vpc(packed("10.0.1.50"))
    assert not interface.permits(TCP, 443, packed("10.0.1.50"))
    interface.load(door())
    assert interface.available
    assert interface.in_vpc(packed("10.0.1.50"))


def test_what_a_snapshot_says_is_taken_over() -> None:
    interface = Interface(EXIT, TIMERS)
    interface.load(way_out(mtu=8500, shard=(1, 2), available=False))
    assert (interface.is_endpoint, interface.mtu, interface.shard, interface.available) == (False, 8500, (1, 2), False)
    assert interface.suffixes == {TCP: b"\x00\x09\x06", UDP: b"\x00\x09\x11"}


def test_a_listener_that_is_gone_leaves_its_flows_awss_default_timer() -> None:
    assert interface_of().service(TCP, 443).idle_timeout_s == TCP_IDLE_TIMEOUT_S
    assert interface_of().service(TCP, 443).targets is None
