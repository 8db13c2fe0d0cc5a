"""A scratch namespace with one veth pair: packets are sent into one end and caught at the other.

    sender -> hp-d0 == hp-d1 (192.0.2.1) -> the product's own kind of rules -> a queue, read by the product's reader

The addresses are for documentation (RFC 5737), and nothing leaves the namespace.
"""

import contextlib
import select
import socket
import struct
import subprocess
from collections.abc import Iterator

from hyperplane.wire.checksum import pseudo_sum
from hyperplane.wire.ipv4 import MORE_FRAGMENTS, Ipv4Header
from hyperplane.wire.packet import TCP, UDP, ChecksumState
from netns.iptables import restore
from netns.namespace import inside_scratch

WAIT_S = 2.0
"""For a packet that must come. A kernel that cannot do it does not do it later either."""

SEGMENT_BYTES = 8000
DATAGRAM_BYTES = 3000
_FRAGMENT_BYTES = 1480

_QUEUE = 1
_SENDER, _CATCHER = "hp-d0", "hp-d1"
_SOURCE, _ADDRESS = "192.0.2.9", "192.0.2.1"
_ETHERTYPE_IPV4 = b"\x08\x00"
_SOL_PACKET, _PACKET_VNET_HDR = 263, 15
_VNET = struct.Struct("=BBHHHH")
_NEEDS_CHECKSUM, _GSO_TCPV4 = 1, 1
_MSS = 1460
_ETHERNET_BYTES, _IP_BYTES, _TCP_BYTES = 14, 20, 20

_RULES = f"""\
*raw
-A PREROUTING -j CT --notrack
COMMIT
*mangle
-A PREROUTING -i {_CATCHER} -s {_SOURCE} -j NFQUEUE --queue-num {_QUEUE}
COMMIT
"""


def run_ip(*commands: str) -> None:
    """`ip` for each command, in the namespace of the calling thread. Raises OSError with its words."""
    done = subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise OSError(done.stderr.strip().splitlines()[0] if done.stderr.strip() else "ip failed")


@contextlib.contextmanager
def veth_pair() -> Iterator[None]:
    """The calling thread is in a new namespace with both ends of a pair, up."""
    with inside_scratch():
        run_ip(
            f"link add {_SENDER} type veth peer name {_CATCHER}",
            f"addr add {_ADDRESS}/24 dev {_CATCHER}",
            "link set lo up",
            f"link set {_SENDER} up",
            f"link set {_CATCHER} up",
        )
        yield


def catch(packets: list[bytes], segment_bytes: int = 0) -> tuple[int, ChecksumState] | None:
    """Send IPv4 packets; (length, checksum state) of the first that a queue hands out, None if none comes.

    With `segment_bytes` the packet is sent as one super-packet, to be cut into segments of that size by whoever must.
    Raises OSError where the queue or its super-packet mode is refused, RulesetError where a rule is.
    """
    from hyperplane.io.nfqueue import Queue  # noqa: PLC0415 - without netfilterqueue the doctor must still speak

    with veth_pair():
        restore(_RULES, "")
        queue = Queue(_QUEUE)
        try:
            _send(packets, segment_bytes)
            if not select.select([queue], [], [], WAIT_S)[0]:
                return None
            caught = [(packet_id, length, state) for packet_id, _, length, _, state, _ in queue.read()]
            for packet_id, _, _ in caught:
                queue.drop(packet_id)
            queue.flush()
            return caught[0][1:] if caught else None
        finally:
            queue.close()


def _send(packets: list[bytes], segment_bytes: int) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        if segment_bytes:
            sender.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        sender.bind((_SENDER, 0))
        destination, source = _hardware_address(_CATCHER), _hardware_address(_SENDER)
        for packet in packets:
            sender.send(_offload(segment_bytes) + destination + source + _ETHERTYPE_IPV4 + packet)


def _offload(segment_bytes: int) -> bytes:
    """struct virtio_net_hdr (linux/virtio_net.h): one TCP super-packet whose checksum is not finished."""
    if not segment_bytes:
        return b""
    headers = _ETHERNET_BYTES + _IP_BYTES
    return _VNET.pack(_NEEDS_CHECKSUM, _GSO_TCPV4, headers + _TCP_BYTES, segment_bytes, headers, 16)


def _hardware_address(interface: str) -> bytes:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as asked:
        asked.bind((interface, 0))
        address: bytes = asked.getsockname()[4]
        return address


def super_packet() -> tuple[list[bytes], int]:
    """A TCP packet of 8,000 bytes of data, and the size of its segments."""
    source, destination = socket.inet_aton(_SOURCE), socket.inet_aton(_ADDRESS)
    length = _TCP_BYTES + SEGMENT_BYTES
    unfinished = pseudo_sum(source + destination, TCP, length)
    segment = struct.pack("!HHIIBBHHH", 40_000, 9, 1, 1, 5 << 4, 0x10, 65_535, unfinished, 0) + bytes(SEGMENT_BYTES)
    return [Ipv4Header(source, destination, TCP, _IP_BYTES + length).emit() + segment], _MSS


def fragments() -> list[bytes]:
    """A UDP datagram of 3,000 bytes of data in three fragments."""
    source, destination = socket.inet_aton(_SOURCE), socket.inet_aton(_ADDRESS)
    datagram = struct.pack("!HHHH", 40_000, 9, 8 + DATAGRAM_BYTES, 0) + bytes(DATAGRAM_BYTES)  # 0: no checksum
    packets = []
    for start in range(0, len(datagram), _FRAGMENT_BYTES):
        piece = datagram[start : start + _FRAGMENT_BYTES]
        flags = MORE_FRAGMENTS if start + len(piece) < len(datagram) else 0
        header = Ipv4Header(
            source, destination, UDP, _IP_BYTES + len(piece), identification=7, flags=flags, fragment_offset=start // 8
        )
        packets.append(header.emit() + piece)
    return packets
