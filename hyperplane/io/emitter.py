"""Send a packet that the packet plane made itself: a reset, an ICMP error, a Proxy Protocol header.

One raw socket per zone, opened by the supervisor in the fabric's namespace and inherited. The mark
chooses the routing table, so the packet leaves by the right ENI; setting it needs CAP_NET_ADMIN,
opening the socket CAP_NET_RAW, which nodes do not have.
"""

import socket
import struct

_MARK = getattr(socket, "SO_MARK", 36)


class Emitter:
    """Sends whole IPv4 packets out by the ENI with a given number."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._socket.setblocking(False)
        self.failures = 0
        """Packets the kernel would not take: no route, no room. Their senders try again or give up."""

    def send(self, packet: bytes, eni_number: int) -> None:
        """Send `packet`, addresses and checksums as they are."""
        destination = socket.inet_ntoa(packet[16:20])
        control = [(socket.SOL_SOCKET, _MARK, struct.pack("=I", eni_number))]
        try:
            self._socket.sendmsg([packet], control, 0, (destination, 0))
        except OSError:
            self.failures += 1

    def close(self) -> None:
        self._socket.close()
