"""Routes and policy rules in the kernel's words: `Route` and `Rule` to netlink and back.

Messages are mappings with attributes, as pyroute2 decodes them; nothing here calls pyroute2.
What a `Route` or `Rule` cannot say (another type, several next hops, other selectors) becomes
None, so that `build` can tell a stranger's entry from one of its own.
"""

import ipaddress
import socket
from typing import Any

from netns.topology import TABLE_LOCAL, Action, IpProtocol, Route, Rule, Scope

# linux/rtnetlink.h, linux/fib_rules.h
_SCOPES = {Scope.GLOBAL: 0, Scope.LINK: 253, Scope.HOST: 254}
_SCOPE_OF = {number: scope for scope, number in _SCOPES.items()}
_ROUTE_UNICAST = 1
ROUTE_BY_KERNEL = 2
_ROUTE_STATIC = 4
_ROUTE_CLONED = 0x200
_ACTIONS = {1: Action.LOOKUP, 6: Action.BLACKHOLE}
_RULE_PERMANENT = 0x1
_RULE_ATTRIBUTES = frozenset({
    "FRA_TABLE", "FRA_SUPPRESS_PREFIXLEN", "FRA_PROTOCOL", "FRA_PRIORITY", "FRA_FWMARK", "FRA_FWMASK", "FRA_IP_PROTO",
})  # fmt: skip
_NO_SUPPRESS = 0xFFFFFFFF


def describe_route(route: Route) -> str:
    parts = [f"route {route.destination}"]
    parts += [f"via {route.via}"] if route.via else []
    parts += [f"dev {route.link}"] if route.link else []
    return " ".join([*parts, f"table {route.table}"])


def describe_rule(rule: Rule) -> str:
    parts = [f"rule {rule.priority}:"]
    parts += [f"fwmark {rule.mark:#x}/{rule.mask:#x}"] if rule.mark is not None else []
    parts += [f"ipproto {rule.ip_protocol.name.lower()}"] if rule.ip_protocol else []
    return " ".join([*parts, rule.action.value] + ([str(rule.table)] if rule.table else []))


def version_of(route: Route) -> int:
    if route.destination == "default":
        return 6 if ":" in (route.via or route.source or "") else 4
    return ipaddress.ip_network(route.destination).version


def route_request(route: Route, index: int | None) -> dict[str, object]:
    """The words of a request that puts the route in; `index` is that of its link, where it names one."""
    version_4 = version_of(route) == 4
    request: dict[str, object] = {
        "dst": route.destination,
        "table": route.table,
        "family": socket.AF_INET if version_4 else socket.AF_INET6,
        "proto": _ROUTE_STATIC,
    }
    if route.via is not None:
        request["gateway"] = route.via
    if index is not None:
        request["oif"] = index
    if route.source is not None:
        request["prefsrc"] = route.source
    if version_4:
        request["scope"] = _SCOPES[route.scope]
    return request


def rule_request(rule: Rule) -> dict[str, object]:
    """The words of a request that adds the rule."""
    request: dict[str, object] = {"family": socket.AF_INET, "priority": rule.priority}
    if rule.mark is not None:
        request |= {"fwmark": rule.mark, "fwmask": rule.mask}
    if rule.ip_protocol is not None:
        request["ip_proto"] = rule.ip_protocol.value
    if rule.action is Action.LOOKUP:
        request["table"] = rule.table
    else:
        request["action"] = rule.action.value
    return request


def is_set(message: Any) -> bool:
    """Whether somebody set the route; the kernel makes others for addresses, and copies for its cache."""
    table = message.get_attr("RTA_TABLE") or message["table"]
    return table != TABLE_LOCAL and message["proto"] != ROUTE_BY_KERNEL and not message["flags"] & _ROUTE_CLONED


def route_of(message: Any, names: dict[int, str]) -> Route | None:
    """The route, or None for what a `Route` cannot say: another type, several next hops, a metric in IPv4."""
    version_4 = message["family"] == socket.AF_INET
    odd = message["type"] != _ROUTE_UNICAST or message.get_attr("RTA_MULTIPATH") or message["tos"]
    if odd or message["scope"] not in _SCOPE_OF or (version_4 and message.get_attr("RTA_PRIORITY")):
        return None
    destination = message.get_attr("RTA_DST")
    return Route(
        destination=f"{destination}/{message['dst_len']}" if message["dst_len"] else "default",
        via=message.get_attr("RTA_GATEWAY"),
        link=names.get(message.get_attr("RTA_OIF")),
        table=message.get_attr("RTA_TABLE") or message["table"],
        source=message.get_attr("RTA_PREFSRC"),
        scope=_SCOPE_OF[message["scope"]],
    )


def rule_of(message: Any) -> Rule | None:
    """The rule, or None for what a `Rule` cannot say: other selectors, other actions."""
    values = dict(message["attrs"])
    action = _ACTIONS.get(message["action"])
    protocol = values.get("FRA_IP_PROTO")
    if action is None or not values.keys() <= _RULE_ATTRIBUTES or message["flags"] & ~_RULE_PERMANENT:
        return None
    if message["src_len"] or message["dst_len"] or message["tos"]:
        return None
    if values.get("FRA_SUPPRESS_PREFIXLEN", _NO_SUPPRESS) != _NO_SUPPRESS:
        return None
    if protocol is not None and protocol not in {item.value for item in IpProtocol}:
        return None
    marked = "FRA_FWMARK" in values
    return Rule(
        priority=values.get("FRA_PRIORITY", 0),
        mark=values["FRA_FWMARK"] if marked else None,
        mask=values.get("FRA_FWMASK", _NO_SUPPRESS) if marked else _NO_SUPPRESS,
        table=values.get("FRA_TABLE") if action is Action.LOOKUP else None,
        ip_protocol=None if protocol is None else IpProtocol(protocol),
        action=action,
    )


def route_place(route: Route) -> tuple[int, int, str]:
    """What can be there only once: the kernel replaces the route that has the same place."""
    return version_of(route), route.table, route.destination


def is_same_route(wanted: Route, found: Route) -> bool:
    """Of two routes of one place. Where none is named, the kernel chose the link; IPv6 routes have no scope."""
    return (
        (wanted.via, wanted.source) == (found.via, found.source)
        and wanted.link in (None, found.link)
        and (wanted.scope is found.scope or version_of(wanted) == 6)
    )
