"""Scalars of a lab file: what is taken, and what a person reads when it is not."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from hyperplane.control import lab_document as doc
from hyperplane.control.ids import Prefix
from hyperplane.control.resources import RuleProtocol
from netns.document import DocumentError, Node, parse_document


def node(text: str) -> Node:
    return parse_document(f"value: {text}", "lab.yml").require("value")


def test_what_is_taken() -> None:
    assert doc.name(node("consumer-a2")) == "consumer-a2"
    assert doc.region(node("us-gov-west-1")) == "us-gov-west-1"
    assert doc.zone_name(node("us-east-2a"), "us-east-2") == "us-east-2a"
    assert doc.zone_id(node("use2-az1")) == "use2-az1"
    assert doc.account(node("012345678901")) == "012345678901"
    assert doc.ec2_id(node("vpce-0123456789abcdef0"), Prefix.ENDPOINT) == "vpce-0123456789abcdef0"
    assert doc.address(node("10.0.1.10")) == IPv4Address("10.0.1.10")
    assert doc.network(node("0.0.0.0/0")) == IPv4Network("0.0.0.0/0")
    assert doc.vpc_network(node("10.0.0.0/16")) == IPv4Network("10.0.0.0/16")
    assert doc.ports(node("443"), RuleProtocol.TCP) == (443, 443)
    assert doc.ports(node("8000-8100"), RuleProtocol.UDP) == (8000, 8100)
    assert doc.ports(node("all"), RuleProtocol.ICMP) == (0, 65_535)


HOSTILE = ["a b", "a;b", "'a\\nb'", "$(id)", "../a", "-a", "a-", "a--b", "A", "ä", "a" * 33, '"\\u202ea"', "''"]


@pytest.mark.parametrize("text", HOSTILE)
def test_names_are_narrow(text: str) -> None:
    """They become names in the kernel and arguments of commands."""
    with pytest.raises(DocumentError, match="is no name"):
        doc.name(node(text))


@pytest.mark.parametrize("text", ["10.0.1.256", "10.0.1", "10.0.1.010", "::1", "10.0.1.10/24", "here"])
def test_addresses(text: str) -> None:
    with pytest.raises(DocumentError, match=r"no IP address|IPv6"):
        doc.address(node(text))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("10.0.0.0", "no prefix length"),
        ("10.0.0.0/33", "is no network"),
        ("10.0.1.0/16", "did you mean 10.0.0.0/16?"),
        ("10.0.0.0/255.255.0.0", "did you mean 10.0.0.0/16?"),
        ("fd00::/56", "IPv6"),
    ],
)
def test_networks(text: str, part: str) -> None:
    with pytest.raises(DocumentError) as caught:
        doc.network(node(text))
    assert part in caught.value.message


@pytest.mark.parametrize(
    "text", ["10.0.0.0/8", "10.0.0.0/29", "127.0.0.0/16", "169.254.0.0/16", "224.0.0.0/16", "255.255.0.0/16"]
)
def test_networks_that_no_vpc_has(text: str) -> None:
    with pytest.raises(DocumentError, match=r"no VPC may use|not between"):
        doc.vpc_network(node(text))


@pytest.mark.parametrize("text", ["65536", "-1", "80-", "90-80", "80-65536", "http", "1-2-3"])
def test_ports(text: str) -> None:
    with pytest.raises(DocumentError, match="port"):
        doc.ports(node(text), RuleProtocol.TCP)


def test_icmp_has_no_ports() -> None:
    with pytest.raises(DocumentError, match="has no ports"):
        doc.ports(node("8"), RuleProtocol.ICMP)


@pytest.mark.parametrize("text", ["vpce-0123456789abcdef", "vpce-0123456789ABCDEF0", "vpc-0123456789abcdef0"])
def test_ids(text: str) -> None:
    with pytest.raises(DocumentError, match="17 hex digits"):
        doc.ec2_id(node(text), Prefix.ENDPOINT)


@pytest.mark.parametrize("text", ["12345678901", "1234567890123", "12345678901a"])
def test_accounts(text: str) -> None:
    with pytest.raises(DocumentError, match="12 digits"):
        doc.account(node(text))


def test_the_nearest_name_is_offered() -> None:
    assert "did you mean 'orders'?" in str(doc.unknown(node("order"), "service", "order", ["orders", "payments"]))
    assert "did you mean" not in str(doc.unknown(node("xyz"), "service", "xyz", ["orders"]))
