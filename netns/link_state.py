"""A link as the kernel tells it, without the hundred attributes that nobody asked for."""

from dataclasses import dataclass
from typing import Any

_FLAG_UP = 1  # linux/if.h


@dataclass(frozen=True, slots=True)
class LinkState:
    """`bridge_index` and `peer_index` are 0, `kind` and `peer_namespace_id` None where there is none."""

    index: int
    name: str
    kind: str | None
    up: bool
    mtu: int
    mac: str
    bridge_index: int
    peer_index: int
    peer_namespace_id: int | None


def link_state_of(message: Any) -> LinkState:
    """The link of one decoded netlink message (RTM_NEWLINK)."""
    return LinkState(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        kind=message.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND"),
        up=bool(message["flags"] & _FLAG_UP),
        mtu=message.get_attr("IFLA_MTU"),
        mac=message.get_attr("IFLA_ADDRESS") or "",
        bridge_index=message.get_attr("IFLA_MASTER") or 0,
        peer_index=message.get_attr("IFLA_LINK") or 0,
        peer_namespace_id=message.get_attr("IFLA_LINK_NETNSID"),
    )
