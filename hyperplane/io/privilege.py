"""Give up every privilege but CAP_NET_ADMIN, which the kernel asks for at each verdict.

A node is a process that reads packets of strangers. It runs as an ordinary user, cannot gain
anything back (no_new_privs) and holds the one capability that NFQUEUE checks on every verdict.
Sources: capabilities(7), prctl(2), linux/capability.h.
"""

import ctypes
import os
import pwd
import stat
from pathlib import Path

from hyperplane.errors import ConfigurationError

_CAP_NET_ADMIN = 12
_CAP_LAST_MAX = 63

_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_DUMPABLE = 4

_CAPABILITY_VERSION_3 = 0x20080522

NODE_USER = "nobody"
"""Who nodes run as: a user that owns nothing."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def node_user_ids() -> tuple[int, int]:
    """(uid, gid) that nodes run under."""
    user = pwd.getpwnam(NODE_USER)
    return user.pw_uid, user.pw_gid


def check_reachable(path: Path) -> None:
    """Raise ConfigurationError naming the first folder on the way to `path` that the node user may not enter."""
    uid, gid = node_user_ids()
    for folder in reversed((path, *path.parents)):
        status = folder.stat()
        bit = stat.S_IXUSR if status.st_uid == uid else stat.S_IXGRP if status.st_gid == gid else stat.S_IXOTH
        if not status.st_mode & bit:
            raise ConfigurationError(str(folder), f"nodes run as {NODE_USER}, who may not enter this folder")


def drop_to_net_admin() -> None:
    """Become the node user with CAP_NET_ADMIN alone, for good. Raises OSError if the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = node_user_ids()
    for capability in range(_CAP_LAST_MAX + 1):
        if capability != _CAP_NET_ADMIN and libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break  # the kernel knows no capability of this number
    _check(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep capabilities")
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    bit = 1 << _CAP_NET_ADMIN
    header = _Header(_CAPABILITY_VERSION_3, 0)
    data = (_Data * 2)(_Data(bit, bit, 0), _Data(0, 0, 0))
    _check(libc.capset(ctypes.byref(header), data), "reduce capabilities")
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "set no_new_privs")
    _check(libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "stay readable for the supervisor")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot {what}: {os.strerror(number)}")
