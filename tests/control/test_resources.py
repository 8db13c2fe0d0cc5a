"""What resources know about themselves."""

from ipaddress import ip_address, ip_network

import pytest

from hyperplane.control.resources import Subnet


@pytest.mark.parametrize(
    ("network", "reserved", "free"),
    [
        ("10.0.1.0/24", [0, 1, 2, 3, 255], [4, 5, 254]),
        ("10.0.0.0/28", [0, 1, 2, 3, 15], [4, 14]),
        ("fd00::/64", [0, 1, 2, 3, (1 << 64) - 1], [4, (1 << 64) - 2]),
    ],
)
def test_reserved_addresses(network: str, reserved: list[int], free: list[int]) -> None:
    """AWS: the first four addresses and the last."""
    subnet = Subnet("subnet-1", "app", "vpc-1", "us-east-2a", ip_network(network))
    base = int(subnet.network.network_address)
    assert all(subnet.is_reserved(ip_address(base + place)) for place in reserved)
    assert not any(subnet.is_reserved(ip_address(base + place)) for place in free)
    assert int(subnet.router_address) == base + 1
