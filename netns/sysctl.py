"""Sysctls of a namespace: read first, written only where they differ.

`/proc/sys/net` shows the values of the namespace of the thread that opens it (`proc(5)`), so the
functions here are called inside the namespace.
"""

from collections.abc import Iterable
from pathlib import Path

from netns.topology import Sysctls

ROOT = Path("/proc/sys")

_QUIET = (("accept_ra", "0"), ("autoconf", "0"), ("dad_transmits", "0"), ("router_solicitations", "0"))

QUIET: Sysctls = (
    *((f"net.ipv6.conf.{which}.{name}", value) for which in ("default", "all") for name, value in _QUIET),
    ("net.ipv6.conf.default.addr_gen_mode", "1"),
)
"""A new link makes no IPv6 address of its own, so it solicits nothing, detects no duplicates and reports
no groups (RFC 4861, 4862, 3810): what a capture shows is what the namespaces sent. Addresses that a
topology names work as ever. addr_gen_mode 1 is "none" (kernel, ip-sysctl)."""


class SysctlRefused(OSError):
    """A sysctl that is not there, or does not take the value."""


def set_sysctls(sysctls: Sysctls) -> list[str]:
    """Set those that differ, in order; returns their names. Raises SysctlRefused."""
    changed = []
    for name, value in sysctls:
        path = _path(name)
        try:
            # Some sysctls separate their numbers by tabs.
            if path.read_text().split() == value.split():
                continue
            path.write_text(value)
        except OSError as error:
            raise SysctlRefused(error.errno, f"cannot set {name} to {value}: {error.strerror}") from error
        changed.append(name)
    return changed


def known_here(sysctls: Iterable[tuple[str, str]]) -> Sysctls:
    """Those that this kernel has: one without IPv6 has nothing to keep quiet."""
    return tuple((name, value) for name, value in sysctls if _path(name).exists())


def link_sysctls(link: str, sysctls: Sysctls) -> Sysctls:
    """The full names of a link's sysctls: ipv4.arp_ignore is net.ipv4.conf.LINK.arp_ignore."""
    split = ((name.partition("."), value) for name, value in sysctls)
    return tuple((f"net.{family}.conf.{link}.{key}", value) for (family, _, key), value in split)


def _path(name: str) -> Path:
    return ROOT / name.replace(".", "/")
