"""Hear when somebody changes the packet rules of a namespace, without asking again and again.

The kernel announces every nftables transaction on a multicast group of its netlink family
(`linux/netfilter/nfnetlink.h`, NFNLGRP_NFTABLES). iptables on its usual `nf_tables` interface makes such
transactions; on the `legacy` interface nothing is announced, so who must be sure also compares
`steer.fingerprint` now and then.

The watch says that something happened, not what: compare the fingerprint then.
"""

import errno
import socket

from netns.namespace import open_socket

_NETLINK_NETFILTER = 12
_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_NFNLGRP_NFTABLES = 7
_DATAGRAM_BYTES = 65536


class RulesetWatch:
    """A file descriptor that becomes readable when rules of the namespace change. A context manager."""

    def __init__(self, namespace: str) -> None:
        """Raises NamespaceMissing, OSError."""
        self._socket = open_socket(namespace, socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        # Without an address of its own a socket hears nothing: announcements spare address 0, the kernel's.
        self._socket.bind((0, 0))
        self._socket.setblocking(False)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _NFNLGRP_NFTABLES)

    def __enter__(self) -> "RulesetWatch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def heard(self) -> bool:
        """Whether rules have changed since the last call. Never blocks. Our own writing is heard too."""
        heard = False
        while True:
            try:
                self._socket.recv(_DATAGRAM_BYTES)
            except BlockingIOError:
                return heard
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
            # ENOBUFS: there was more to hear than the socket holds, which is an answer too.
            heard = True

    def close(self) -> None:
        self._socket.close()
