"""Take away what carries the prefix: namespaces, the links in them, and links where the caller is.

Links go before their namespace's name: a namespace that a process still lives in goes on without its
name, and its links would go on with it. Processes are only listed; their owners end them, by id.
"""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass

from netns import namespace as namespaces
from netns.link import Netlink, NetlinkPool
from netns.names import PREFIX, is_ours


@dataclass(frozen=True, slots=True)
class Removed:
    """What `clean` took away. `links` are those of the caller's namespace; others went with theirs."""

    namespaces: tuple[str, ...]
    links: tuple[str, ...]


def clean(prefix: str = PREFIX) -> Removed:
    """Remove all namespaces, and all links here, whose names start with `prefix`, our prefix or a longer one.

    Raises KernelError, OSError.
    """
    if not prefix.startswith(PREFIX):
        raise ValueError(f"{prefix!r} does not start with {PREFIX!r}: others' things are not ours to remove")
    names = tuple(name for name in namespaces.list_names() if name.startswith(prefix))
    remove_namespaces(names)
    with NetlinkPool() as pool:
        netlink = pool.here()
        links = _delete_links(netlink, prefix)
        netlink.close()
    return Removed(names, links)


def remove_namespaces(names: Iterable[str]) -> None:
    """Remove exactly these namespaces, with our links in them. Raises KernelError, OSError."""
    with NetlinkPool() as pool:
        for name in names:
            # One that goes while we look was removed by somebody else, which is as good.
            with contextlib.suppress(namespaces.NamespaceMissing):
                if namespaces.exists(name):
                    _delete_links(pool.of(name), PREFIX)
                namespaces.delete(name)


def processes(names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Ids of the processes in each namespace, ascending: those with at least one thread there.

    Missing namespaces have none. Not found is a process that only
    holds a socket of a namespace, or that the caller may not look into.
    """
    found: dict[str, list[int]] = {name: [] for name in names}
    name_of = {namespaces.identity_or_none(name): name for name in found}
    name_of.pop(None, None)
    for pid in sorted(int(entry) for entry in os.listdir("/proc") if entry.isdecimal()):
        for inode in _namespaces_of(pid):
            if inode in name_of:
                found[name_of[inode]].append(pid)
    return {name: tuple(pids) for name, pids in found.items()}


def _namespaces_of(pid: int) -> set[int]:
    inodes = set()
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            inodes.add(os.stat(f"/proc/{pid}/task/{thread}/ns/net").st_ino)
    except (FileNotFoundError, ProcessLookupError):
        pass  # it ended while we looked
    except PermissionError:
        pass  # a process that we may not look into is none that we started
    return inodes


def _delete_links(netlink: Netlink, prefix: str) -> tuple[str, ...]:
    gone = tuple(name for name in netlink.links() if is_ours(name) and name.startswith(prefix))
    for name in gone:
        netlink.delete_link(name)
    return gone
