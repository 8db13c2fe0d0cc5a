"""A topology from YAML, every fault with file and line.

    namespaces:
      - name: hp-left
        sysctls: {net.ipv4.ip_forward: 1}
        bridges: [{name: hp-br0, addresses: [10.0.1.1/24], mtu: 1500}]
        rules: [{priority: 100, mark: 1, mask: 0xffff, table: 10001},
                {priority: 200, ip_protocol: tcp, action: blackhole}]
        routes: [{destination: default, via: 10.0.1.254, link: hp-br0}]
    links:
      - a: {namespace: hp-left, name: hp-p1, bridge: hp-br0}
        b: {namespace: hp-right, name: hp-eth0, mac: 02:00:00:00:00:01, mtu: 1500, addresses: [10.0.1.2/24],
            sysctls: {ipv4.arp_ignore: 1}, routes: [{destination: default, via: 10.0.1.1}]}

Keys are the fields of `topology.py`; what is left out has its default there. Unknown keys are errors.
"""

from pathlib import Path
from typing import TypeVar

from netns.document import DocumentError, Node, parse_document, read_document
from netns.topology import (
    MTU_DEFAULT,
    TABLE_MAIN,
    Action,
    Bridge,
    IpProtocol,
    Link,
    LinkEnd,
    Namespace,
    Route,
    Rule,
    Scope,
    Sysctls,
    Topology,
)
from netns.validate import MTU_MAX, MTU_MIN, NUMBER_MAX, TopologyError, validate

_Default = TypeVar("_Default", int, None)


def load_topology(path: Path) -> Topology:
    """The valid topology of a file. Raises DocumentError, or OSError where the file cannot be read."""
    return topology_of(read_document(path))


def parse_topology(text: str, file: str = "<text>") -> Topology:
    """The valid topology of a text. Raises DocumentError."""
    return topology_of(parse_document(text, file))


def topology_of(node: Node) -> Topology:
    """The valid topology of a document, or of the part of one. Raises DocumentError."""
    node.only("namespaces", "links")
    topology = Topology(
        namespaces=tuple(_namespace(item) for item in node.require("namespaces").items()),
        links=tuple(_link(item) for item in _items(node, "links")),
    )
    try:
        validate(topology)
    except TopologyError as error:
        place = node.find(error.path)
        raise DocumentError(place.file, place.line, error.path, error.message) from None
    return topology


def _namespace(node: Node) -> Namespace:
    node.only("name", "sysctls", "bridges", "rules", "routes")
    return Namespace(
        name=node.require("name").text(),
        sysctls=_sysctls(node),
        bridges=tuple(_bridge(item) for item in _items(node, "bridges")),
        rules=tuple(_rule(item) for item in _items(node, "rules")),
        routes=tuple(_route(item) for item in _items(node, "routes")),
    )


def _bridge(node: Node) -> Bridge:
    node.only("name", "addresses", "mtu")
    return Bridge(node.require("name").text(), _texts(node, "addresses"), _mtu(node))


def _link(node: Node) -> Link:
    node.only("a", "b")
    return Link(_end(node.require("a")), _end(node.require("b")))


def _end(node: Node) -> LinkEnd:
    node.only("namespace", "name", "mac", "mtu", "addresses", "bridge", "routes", "sysctls", "cuts_datagrams")
    return LinkEnd(
        namespace=node.require("namespace").text(),
        name=node.require("name").text(),
        mac=_text(node, "mac"),
        mtu=_mtu(node),
        addresses=_texts(node, "addresses"),
        bridge=_text(node, "bridge"),
        routes=tuple(_route(item) for item in _items(node, "routes")),
        sysctls=_sysctls(node),
        cuts_datagrams=_flag(node, "cuts_datagrams"),
    )


def _route(node: Node) -> Route:
    node.only("destination", "via", "link", "table", "source", "scope")
    scope = node.optional("scope")
    return Route(
        destination=node.require("destination").text(),
        via=_text(node, "via"),
        link=_text(node, "link"),
        table=_number(node, "table", TABLE_MAIN),
        source=_text(node, "source"),
        scope=Scope.GLOBAL if scope is None else Scope(scope.choice([item.value for item in Scope])),
    )


def _rule(node: Node) -> Rule:
    node.only("priority", "mark", "mask", "table", "ip_protocol", "action")
    protocol = node.optional("ip_protocol")
    action = node.optional("action")
    protocols = {item.name.lower(): item for item in IpProtocol}
    return Rule(
        priority=node.require("priority").integer(0, NUMBER_MAX),
        mark=_number(node, "mark", None),
        mask=_number(node, "mask", NUMBER_MAX),
        table=_number(node, "table", None),
        ip_protocol=None if protocol is None else protocols[protocol.choice(protocols)],
        action=Action.LOOKUP if action is None else Action(action.choice([item.value for item in Action])),
    )


def _items(node: Node, key: str) -> tuple[Node, ...]:
    child = node.optional(key)
    return () if child is None else child.items()


def _text(node: Node, key: str) -> str | None:
    child = node.optional(key)
    return None if child is None else child.text()


def _texts(node: Node, key: str) -> tuple[str, ...]:
    return tuple(item.text() for item in _items(node, key))


def _number(node: Node, key: str, default: _Default) -> int | _Default:
    child = node.optional(key)
    return default if child is None else child.integer(0, NUMBER_MAX)


def _flag(node: Node, key: str) -> bool | None:
    child = node.optional(key)
    return None if child is None else child.boolean()


def _mtu(node: Node) -> int:
    child = node.optional("mtu")
    return MTU_DEFAULT if child is None else child.integer(MTU_MIN, MTU_MAX)


def _sysctls(node: Node) -> Sysctls:
    child = node.optional("sysctls")
    return () if child is None else tuple((name, value.text()) for name, value in child.entries().items())
