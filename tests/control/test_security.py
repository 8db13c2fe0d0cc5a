"""Flattening of security groups."""

import pytest

from hyperplane import limits
from hyperplane.control.resources import VpcEndpoint
from hyperplane.control.security import FlatRules
from hyperplane.control.store import Store
from hyperplane.errors import ConfigurationError
from hyperplane.snapshot import Network, Protocol, SecurityRule
from tests.control.labs import changed, lab

RULES = "          - {protocol: tcp, ports: 8000-8100, source: app}\n"
WHOLE = Network(bytes([10, 0, 0, 0]), 16)
APP = Network(bytes([10, 0, 1, 50]), 32)


def rules(store: Store) -> tuple[SecurityRule, ...]:
    (endpoint,) = store.all(VpcEndpoint)
    return FlatRules(store).of("endpoint orders", endpoint.security_group_ids)


def test_networks_stay_and_groups_become_their_members() -> None:
    assert rules(lab()) == (
        SecurityRule(Protocol.TCP, 443, 443, WHOLE),
        SecurityRule(Protocol.TCP, 8000, 8100, APP),
    )


def test_a_group_without_members_lets_nobody_in() -> None:
    assert rules(lab(changed(", security_groups: [app]}", "}"))) == (SecurityRule(Protocol.TCP, 443, 443, WHOLE),)


def test_neighbouring_members_become_one_network() -> None:
    more = "      - {name: near, subnet: app-1, address: 10.0.1.51, security_groups: [app]}\n  - name: provider"
    flat = rules(lab(changed("  - name: provider", more)))
    assert SecurityRule(Protocol.TCP, 8000, 8100, Network(bytes([10, 0, 1, 50]), 31)) in flat


def test_all_means_any_protocol_and_icmp_means_nothing() -> None:
    store = lab(
        changed(
            RULES,
            "          - {protocol: all, source: 10.0.1.0/24}\n          - {protocol: icmp, source: 10.0.0.0/16}\n",
        )
    )
    assert rules(store) == (
        SecurityRule(None, 0, 65_535, Network(bytes([10, 0, 1, 0]), 24)),
        SecurityRule(Protocol.TCP, 443, 443, WHOLE),
    )


def test_the_default_group_lets_its_own_members_in() -> None:
    """The endpoint itself is a member, and so is the instance that names no group: not the one in group app."""
    flat = rules(lab(changed("    security_groups: [endpoint]\n", "")))
    members = {rule.source for rule in flat}
    assert members == {Network(bytes([10, 0, *host]), 32) for host in ((1, 10), (2, 10), (2, 50))}
    assert {(rule.protocol, rule.port_first, rule.port_last) for rule in flat} == {(None, 0, 65_535)}


def test_groups_add_up_and_a_rule_stands_once() -> None:
    both = "- {name: second, inbound: [{protocol: tcp, ports: 443, source: 10.0.0.0/16}, {protocol: udp, ports: 53, "
    text = changed("- {name: app}", both + "source: 10.0.0.0/16}]}\n      - {name: app}")
    flat = rules(lab(text.replace("security_groups: [endpoint]", "security_groups: [endpoint, second]")))
    assert len(flat) == 3
    assert SecurityRule(Protocol.UDP, 53, 53, WHOLE) in flat


@pytest.mark.parametrize(("count", "fits"), [(999, True), (1000, False)])
def test_rules_of_an_interface_have_a_bound(count: int, fits: bool) -> None:
    """443 of the VPC makes one, so 999 more fill the 1,000."""
    many = "".join(
        f"          - {{protocol: tcp, ports: {port}, source: 10.0.0.0/16}}\n" for port in range(1000, 1000 + count)
    )
    store = lab(changed(RULES, many))
    if fits:
        assert len(rules(store)) == limits.SECURITY_GROUP_RULES_MAX
    else:
        with pytest.raises(ConfigurationError, match="endpoint orders: its security groups come to 1001 rules"):
            rules(store)
