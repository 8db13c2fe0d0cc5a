"""Named network namespaces: create, delete, list, step inside.

A named namespace is a file in `/run/netns` on which the namespace is mounted, as `ip netns`
makes them (`ip-netns(8)`); ours are the same files, so `ip netns exec` works with them.
A file without a mount is what a crash leaves between the two steps: it is not a namespace here,
and `create` replaces it.

A namespace lives on without its name while a process or a socket is in it. So `delete` takes the
name only; `clean.py` takes the links first.

The kernel keeps the current namespace per thread (`setns(2)`), and a child process starts in that
of the thread which forks it. `inside` therefore serves sockets, `/proc/sys/net` and children alike.
Do not await within it: another task of the thread would run in the wrong place.
"""

import contextlib
import ctypes
import errno
import os
import socket
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from netns.errors import KernelError
from netns.names import check_namespace_name, is_ours

RUN_FOLDER = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
"""`linux/sched.h`"""

_libc = ctypes.CDLL(None, use_errno=True)


class NamespaceMissing(LookupError):
    """There is no namespace of that name."""


def create(names: Iterable[str]) -> None:
    """Make namespaces that do not exist. Raises OSError with the words of `ip` when the kernel refuses.

    One `ip -batch` for all of them: 0.6 ms each where a process each takes 5 ms.
    """
    wanted = [check_namespace_name(name) for name in names]
    for name in wanted:
        if _path(name).exists() and not exists(name):
            _path(name).unlink()
    if not wanted:
        return
    commands = "".join(f"netns add {name}\n" for name in wanted)
    done = subprocess.run(["ip", "-batch", "-"], input=commands, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise OSError(f"cannot create namespaces: {done.stderr.strip()}")


def delete(name: str) -> None:
    """Take the name away; the namespace ends with its last process and socket. Raises NamespaceMissing."""
    path = _path(check_namespace_name(name))
    if not path.exists():
        raise NamespaceMissing(name)
    if _libc.umount2(os.fsencode(path), 2) != 0 and ctypes.get_errno() != errno.EINVAL:  # 2: MNT_DETACH
        raise KernelError(ctypes.get_errno(), name, "unmount the namespace")
    path.unlink()


def exists(name: str) -> bool:
    """Whether the name leads to a living namespace (and not to a file that a crash left)."""
    return identity_or_none(name) is not None


def list_names() -> tuple[str, ...]:
    """Names that carry our prefix, sorted, dead files included."""
    try:
        return tuple(sorted(name for name in os.listdir(RUN_FOLDER) if is_ours(name)))
    except FileNotFoundError:
        return ()


def identity(name: str) -> int:
    """The namespace's inode: what `/proc/PID/ns/net` of a process inside shows too. Raises NamespaceMissing."""
    found = identity_or_none(name)
    if found is None:
        raise NamespaceMissing(name)
    return found


def identity_or_none(name: str) -> int | None:
    try:
        status = os.stat(_path(name))
    except FileNotFoundError:
        return None
    # All namespace files live on one kernel-internal device, ordinary files never do.
    return status.st_ino if status.st_dev == os.stat("/proc/self/ns/net").st_dev else None


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """The calling thread, and what it forks or opens, is in the namespace. Raises NamespaceMissing."""
    identity(name)
    with _away():
        with open(_path(name), "rb") as target:
            _set_namespace(target.fileno(), name)
        yield


@contextlib.contextmanager
def inside_scratch() -> Iterator[None]:
    """The calling thread is in a new namespace without a name, which ends with the block."""
    with _away():
        if _libc.unshare(_CLONE_NEWNET) != 0:
            raise KernelError(ctypes.get_errno(), "scratch", "make a namespace")
        yield


@contextlib.contextmanager
def _away() -> Iterator[None]:
    """Come back to the thread's own namespace at the end."""
    with open("/proc/thread-self/ns/net", "rb") as home:
        try:
            yield
        finally:
            _set_namespace(home.fileno(), "the thread's own namespace")


def open_socket(name: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket that lives in the namespace and may be used from anywhere. Raises NamespaceMissing, OSError."""
    with inside(name):
        return socket.socket(family, kind, protocol)


def _path(name: str) -> Path:
    return RUN_FOLDER / name


def _set_namespace(descriptor: int, name: str) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise KernelError(ctypes.get_errno(), name, "enter the namespace")
