"""A tun device. A test reads what this namespace's kernel sends to an address; what it writes the kernel hears."""

import fcntl
import os
import struct

from pyroute2 import IPRoute

_TUNSETIFF = 0x400454CA
_TUN, _NO_PACKET_INFORMATION = 0x0001, 0x1000
"""linux/if_tun.h"""
_PACKET_BYTES_MAX = 65_535


class Tun:
    """Up, with `address` its own and a route to `peer`. It is gone when it is closed."""

    def __init__(self, name: str, address: str, peer: str) -> None:
        self._number = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self._number, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TUN | _NO_PACKET_INFORMATION))
        with IPRoute() as kernel:
            for device in ("lo", name):
                kernel.link("set", index=kernel.link_lookup(ifname=device)[0], state="up")
            index = kernel.link_lookup(ifname=name)[0]
            kernel.addr("add", index=index, address=address, prefixlen=32)
            kernel.route("add", dst=f"{peer}/32", oif=index, prefsrc=address)

    def fileno(self) -> int:
        return self._number

    def write(self, packet: bytes) -> None:
        os.write(self._number, packet)

    def read(self) -> bytes | None:
        """The next packet of IPv4, if there is one: the kernel looks for routers of IPv6, too."""
        while True:
            try:
                packet = os.read(self._number, _PACKET_BYTES_MAX)
            except BlockingIOError:
                return None
            if packet[0] >> 4 == 4:
                return packet

    def close(self) -> None:
        os.close(self._number)
