"""Write packets as pcapng, for Wireshark, tshark, tcpdump and scapy.

Source: draft-ietf-opsawg-pcapng (the pcapng specification). Written are a section header, an interface
description for each place that is listened at, enhanced packet blocks, and at the end the interface
statistics with what the kernel had to drop.

    block    type 4 | total length 4 | body, padded to 4 | total length 4
    option   code 2 | length 2 | value, padded to 4

The byte order is this machine's; the section header says which. Times are nanoseconds since 1970
(if_tsresol 9). Packets begin with their Ethernet header (LINKTYPE_ETHERNET).
"""

import struct
from collections.abc import Iterable
from typing import BinaryIO

_SECTION, _INTERFACE, _PACKET, _STATISTICS = 0x0A0D0D0A, 1, 6, 5
_MAGIC = 0x1A2B3C4D
_LINKTYPE_ETHERNET = 1
_END, _COMMENT = 0, 1
_USER_APPLICATION = 4
_IF_NAME, _IF_DESCRIPTION, _IF_TSRESOL = 2, 3, 9
_PACKET_FLAGS = 2
_STATISTICS_RECEIVED, _STATISTICS_DROPPED = 4, 5

INBOUND, OUTBOUND = 1, 2
"""Direction of a packet at its interface, as in epb_flags."""

_BLOCK = struct.Struct("=II")
_LENGTH = struct.Struct("=I")
_OPTION = struct.Struct("=HH")


class PcapngWriter:
    """One section on one stream. Interfaces are known by their number, in the order in which they are given."""

    def __init__(self, stream: BinaryIO, interfaces: Iterable[tuple[str, str, str]], application: str) -> None:
        """`interfaces`: (name, description, comment) of each."""
        self._stream = stream
        options = _option(_USER_APPLICATION, application.encode()) + _option(_END)
        self._block(_SECTION, struct.pack("=IHHq", _MAGIC, 1, 0, -1) + options)
        for name, description, comment in interfaces:
            self._interface(name, description, comment)

    def write(self, interface: int, time_ns: int, packet: bytes, length: int, direction: int) -> None:
        """One packet. `length` is its length on the wire, where less was captured. `time_ns` since 1970."""
        head = struct.pack("=IIIII", interface, time_ns >> 32, time_ns & 0xFFFFFFFF, len(packet), length)
        flags = _option(_PACKET_FLAGS, struct.pack("=I", direction)) + _option(_END)
        self._block(_PACKET, head + _padded(packet) + flags)

    def write_statistics(self, interface: int, time_ns: int, received: int, dropped: int) -> None:
        """How much an interface heard, and how much of it is not here."""
        head = struct.pack("=III", interface, time_ns >> 32, time_ns & 0xFFFFFFFF)
        counts = _option(_STATISTICS_RECEIVED, struct.pack("=Q", received))
        counts += _option(_STATISTICS_DROPPED, struct.pack("=Q", dropped))
        self._block(_STATISTICS, head + counts + _option(_END))

    def flush(self) -> None:
        """Let a reader at the other end of a pipe see all that was written."""
        self._stream.flush()

    def _interface(self, name: str, description: str, comment: str) -> None:
        options = _option(_IF_NAME, name.encode()) + _option(_IF_DESCRIPTION, description.encode())
        options += _option(_IF_TSRESOL, bytes([9])) + _option(_COMMENT, comment.encode()) + _option(_END)
        self._block(_INTERFACE, struct.pack("=HHI", _LINKTYPE_ETHERNET, 0, 0) + options)

    def _block(self, kind: int, body: bytes) -> None:
        total = _BLOCK.size + len(body) + _LENGTH.size
        self._stream.write(_BLOCK.pack(kind, total) + body + _LENGTH.pack(total))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes = b"") -> bytes:
    return _OPTION.pack(code, len(value)) + _padded(value)
