"""Security groups flattened: from groups that name each other to plain networks, as packets need them.

A rule whose source is a group means the private addresses of the group's members in the VPC: its
instances and its endpoint interfaces (Amazon VPC guide, "Security group referencing"). All groups of
an interface add up; what none of them allows is dropped without an answer. ICMP rules have no effect,
because an endpoint's interface does not answer ping (AWS PrivateLink guide).
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses

from hyperplane import limits
from hyperplane.control.resources import (
    Instance,
    IpAddress,
    IpNetwork,
    RuleProtocol,
    SecurityGroup,
    SecurityGroupRule,
    VpcEndpoint,
)
from hyperplane.control.store import Store
from hyperplane.errors import ConfigurationError
from hyperplane.snapshot import Network, Protocol, SecurityRule

PROTOCOLS = {RuleProtocol.ALL: None, RuleProtocol.TCP: Protocol.TCP, RuleProtocol.UDP: Protocol.UDP}
"""ICMP is not among them on purpose."""


class FlatRules:
    """The flattened rules of one store's groups; each group is flattened once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._members: dict[str, list[IpAddress]] = {}
        for address, group_id in _memberships(store):
            self._members.setdefault(group_id, []).append(address)
        self._flat: dict[str, frozenset[SecurityRule]] = {}

    def of(self, place: str, group_ids: Iterable[str]) -> tuple[SecurityRule, ...]:
        """Rules of an interface with these groups, sorted, each once. `place` is for the error when there are too many.

        Raises `ConfigurationError` beyond SECURITY_GROUP_RULES_MAX.
        """
        rules: set[SecurityRule] = set()
        for group_id in group_ids:
            if group_id not in self._flat:
                self._flat[group_id] = self._flatten(group_id)
            rules |= self._flat[group_id]
        if len(rules) > limits.SECURITY_GROUP_RULES_MAX:
            raise ConfigurationError(
                place,
                f"its security groups come to {len(rules)} rules, "
                f"at most {limits.SECURITY_GROUP_RULES_MAX} are allowed; use networks in place of groups as sources",
            )
        return tuple(sorted(rules, key=_order))

    def _flatten(self, group_id: str) -> frozenset[SecurityRule]:
        group = self._store.get(SecurityGroup, group_id)
        return frozenset(
            SecurityRule(PROTOCOLS[rule.protocol], rule.port_first, rule.port_last, compiled_network(network))
            for rule in group.inbound
            if rule.protocol in PROTOCOLS
            for network in self._sources(rule)
        )

    def _sources(self, rule: SecurityGroupRule) -> Iterator[IpNetwork]:
        if not isinstance(rule.source, str):
            yield rule.source
            return
        members = self._members.get(rule.source, [])
        yield from collapse_addresses(IPv4Network(member) for member in members if isinstance(member, IPv4Address))
        yield from collapse_addresses(IPv6Network(member) for member in members if isinstance(member, IPv6Address))


def _memberships(store: Store) -> Iterator[tuple[IpAddress, str]]:
    for instance in store.all(Instance):
        for group_id in instance.security_group_ids:
            yield instance.address, group_id
    for owner, interface in store.interfaces():
        if isinstance(owner, VpcEndpoint):
            for group_id in owner.security_group_ids:
                yield interface.address, group_id


def compiled_network(network: IpNetwork) -> Network:
    """A network as the snapshot has it."""
    return Network(network.network_address.packed, network.prefixlen)


def _order(rule: SecurityRule) -> tuple[int, int, int, Network]:
    return (rule.protocol.value if rule.protocol else 0, rule.port_first, rule.port_last, rule.source)
