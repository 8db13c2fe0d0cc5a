"""Addresses, networks and MACs as text: which are well formed, and in which spelling.

One spelling each, the kernel's own, so that what is wanted and what is found compare as text.
Every check raises ValueError with the reason and, where there is one, the right spelling.
"""

import ipaddress
import re

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.ASCII)


def check_mac(mac: str) -> None:
    """An interface's own MAC address, lower case."""
    if not _MAC.fullmatch(mac):
        raise ValueError(f"{mac!r} is not a MAC address such as 02:00:00:00:00:01 (lower case)")
    if int(mac[:2], 16) & 1:
        raise ValueError(f"{mac!r} is a group address; the first byte must be even")
    if mac == "00:00:00:00:00:00":
        raise ValueError("no kernel takes a MAC address of zeros")


def check_interface_address(text: str) -> None:
    """An address with the length of its prefix, such as 10.0.1.10/24."""
    try:
        address = ipaddress.ip_interface(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an address such as 10.0.1.10/24") from None
    if str(address) != text or "%" in text:
        raise ValueError(f"write {text!r} with its prefix length, as {address}")
    if address.ip.is_multicast or address.ip.is_unspecified:
        raise ValueError(f"{text!r} cannot be the address of a link")


def check_address(text: str) -> int:
    """An address alone, such as 10.0.1.1. Returns its IP version."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an address such as 10.0.1.1") from None
    if str(address) != text or "%" in text:
        raise ValueError(f"write {text!r} as {address}")
    return address.version


def check_destination(text: str) -> int | None:
    """A network such as 10.0.0.0/16. Returns its IP version; None for "default", which has either."""
    if text == "default":
        return None
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is neither a network such as 10.0.0.0/16 nor default") from None
    if network.prefixlen == 0:
        raise ValueError(f"write {text!r} as default")
    if str(network) != text:
        raise ValueError(f"write {text!r} as {network}")
    return network.version
