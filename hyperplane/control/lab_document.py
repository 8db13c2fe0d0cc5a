"""What the reader of a lab file needs from a document, and the scalars that occur in it.

Files are the shell's business: a parsed document arrives as nodes that know their file, line and path.
Every complaint is made by `node.error(message)`, so it names all three, and is raised by who
found it. Type and range of plain text and numbers the node itself checks, in the same way.
"""

import re
from collections.abc import Collection
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from typing import Protocol as Shape

from hyperplane.control.ids import ACCOUNT, Prefix, is_ec2_id
from hyperplane.control.resources import RuleProtocol

NAME_CHARACTERS_MAX = 32
"""As AWS for load balancers and target groups; and a namespace's name is made of it."""

PREFIX_LENGTH_MIN, PREFIX_LENGTH_MAX = 16, 28
"""AWS: VPCs and subnets are /16 to /28."""

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", re.ASCII)
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[1-9]", re.ASCII)
_ZONE_ID = re.compile(r"[a-z0-9]+-az[1-9][0-9]?", re.ASCII)
_NEVER_IN_A_VPC = tuple(ip_network(text) for text in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"))


class Node(Shape):
    """One value of a document that knows its place. Each method raises the document's own error."""

    @property
    def line(self) -> int:
        """Line of the file, from 1."""

    @property
    def path(self) -> str:
        """Place inside the document, as in `vpcs[0].subnets[1].cidr`."""

    def error(self, message: str) -> Exception:
        """An error that names file, line and path, to be raised."""

    def only(self, *keys: str) -> "Node":
        """This node, if it is a mapping with no other keys."""

    def require(self, key: str) -> "Node":
        """A mapping's value that must be there."""

    def optional(self, key: str) -> "Node | None":
        """A mapping's value, or None."""

    def items(self) -> "tuple[Node, ...]":
        """A list's values."""

    def text(self) -> str:
        """A scalar as text."""

    def integer(self, minimum: int, maximum: int) -> int:
        """A whole number within bounds."""

    def boolean(self) -> bool:
        """true or false."""

    def choice(self, words: Collection[str]) -> str:
        """One of the words."""


def items(node: Node, key: str) -> tuple[Node, ...]:
    """The values of a list that may be left out."""
    child = node.optional(key)
    return () if child is None else child.items()


def integer(node: Node, key: str, minimum: int, maximum: int, default: int) -> int:
    """A whole number that may be left out."""
    child = node.optional(key)
    return default if child is None else child.integer(minimum, maximum)


def flag(node: Node, key: str, default: bool) -> bool:
    """true or false, may be left out."""
    child = node.optional(key)
    return default if child is None else child.boolean()


def name(node: Node) -> str:
    """A name that people gave: lower case, digits, single dashes; it becomes part of names in the kernel."""
    text = node.text()
    if _NAME.fullmatch(text) is None or len(text) > NAME_CHARACTERS_MAX:
        raise node.error(
            f"{text!r} is no name: at most {NAME_CHARACTERS_MAX} of a-z and 0-9, with single dashes between them"
        )
    return text


def region(node: Node) -> str:
    """Such as us-east-2."""
    text = node.text()
    if _REGION.fullmatch(text) is None:
        raise node.error(f"{text!r} is no region; expected a name such as us-east-2")
    return text


def zone_name(node: Node, region_name: str) -> str:
    """Such as us-east-2a: the region and a letter."""
    text = node.text()
    if re.fullmatch(rf"{re.escape(region_name)}[a-z]", text, re.ASCII) is None:
        raise node.error(f"{text!r} is no zone of {region_name}; expected a name such as {region_name}a")
    return text


def zone_id(node: Node) -> str:
    """Such as use2-az1."""
    text = node.text()
    if _ZONE_ID.fullmatch(text) is None:
        raise node.error(f"{text!r} is no zone id; expected one such as use2-az1")
    return text


def account(node: Node) -> str:
    """12 digits."""
    text = node.text()
    if ACCOUNT.fullmatch(text) is None:
        raise node.error(f"{text!r} is no account number: it has 12 digits")
    return text


def ec2_id(node: Node, prefix: Prefix) -> str:
    """An id that the file chose itself."""
    text = node.text()
    if not is_ec2_id(prefix, text):
        raise node.error(f"{text!r} is no id of this kind: {prefix.value}- and 17 hex digits in lower case")
    return text


def address(node: Node) -> IPv4Address:
    """An IPv4 address."""
    text = node.text()
    try:
        parsed = ip_address(text)
    except ValueError:
        raise node.error(f"{text!r} is no IP address") from None
    if not isinstance(parsed, IPv4Address):
        raise node.error(f"{text!r} is an IPv6 address; labs are IPv4 so far")
    return parsed


def network(node: Node) -> IPv4Network:
    """An IPv4 network in CIDR notation, written with its network address."""
    text = node.text()
    if "/" not in text:
        raise node.error(f"{text!r} has no prefix length; expected a network such as 10.0.0.0/16")
    try:
        parsed = ip_network(text, strict=False)
    except ValueError:
        raise node.error(f"{text!r} is no network; expected one such as 10.0.0.0/16") from None
    if not isinstance(parsed, IPv4Network):
        raise node.error(f"{text!r} is an IPv6 network; labs are IPv4 so far")
    if str(parsed) != text:
        raise node.error(f"{text!r} has bits beyond its prefix length or odd spelling; did you mean {parsed}?")
    return parsed


def vpc_network(node: Node) -> IPv4Network:
    """A network that a VPC or a subnet may have."""
    parsed = network(node)
    if not PREFIX_LENGTH_MIN <= parsed.prefixlen <= PREFIX_LENGTH_MAX:
        raise node.error(f"{parsed} is not between a /{PREFIX_LENGTH_MIN} and a /{PREFIX_LENGTH_MAX}, as AWS wants it")
    for forbidden in _NEVER_IN_A_VPC:
        if parsed.overlaps(forbidden):
            raise node.error(f"{parsed} overlaps {forbidden}, which no VPC may use")
    return parsed


def ports(node: Node, protocol: RuleProtocol) -> tuple[int, int]:
    """`443` or `8000-8100`; `all` for all ports."""
    text = node.text()
    if text == "all":
        return 0, 65_535
    if protocol not in (RuleProtocol.TCP, RuleProtocol.UDP):
        raise node.error(f"protocol {protocol.value} has no ports; leave `ports` out")
    match = _PORTS.fullmatch(text)
    if match is None:
        raise node.error(f"{text!r} is neither a port, nor a range such as 8000-8100, nor all")
    first, last = int(match[1]), int(match[2] or match[1])
    if last > 65_535 or first > last:
        raise node.error(f"{text!r}: ports are 0 to 65535, the lower one first")
    return first, last


def unknown(node: Node, what: str, wanted: str, known: Collection[str]) -> Exception:
    """The error for a name that nothing has, with the nearest name that something has."""
    near = get_close_matches(wanted, known, n=1)
    return node.error(f"{what} {wanted!r} does not exist" + (f"; did you mean {near[0]!r}?" if near else ""))
