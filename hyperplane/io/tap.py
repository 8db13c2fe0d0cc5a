"""Listen at one interface of one namespace: AF_PACKET (packet(7)).

The socket is opened inside the namespace and read from anywhere. It hears both directions: what comes in, and
what goes out. The filter is in place before the first packet is taken, because the socket is made deaf
(protocol 0), filtered, and only then bound. Before that the kernel must stamp packets: it begins to a moment after
the first socket of the machine has asked for times, and until then a packet gets the time at which it is read
(linux: net/core/dev.c, net_enable_timestamp). A sender's super-packet is seen whole, up to 64 KiB, its checksum
not finished yet: that is how it really travels between namespaces.
"""

import ctypes
import errno
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

from netns.namespace import open_socket

_ETH_P_ALL = 0x0003
_PACKET_OUTGOING = 4
_SO_TIMESTAMPNS, _SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 35, 26, 33  # asm-generic/socket.h
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_STATISTICS = struct.Struct("=II")
_TIMESPEC = struct.Struct("=qq")
_INSTRUCTION = struct.Struct("=HBBI")
_BUFFER_BYTES = 32 << 20
_PACKET_BYTES_MAX = 1 << 17
_BATCH_MAX = 256
_STAMPS_WAIT_S = 10.0

Program = tuple[bytes, ...]
"""A compiled filter, one instruction of 8 bytes each (`linux/filter.h`, struct sock_filter)."""


class FilterRefused(ValueError):
    """A filter that is none. The text holds tcpdump's words."""


@dataclass(frozen=True, slots=True)
class TappedPacket:
    """One packet, from its Ethernet header on."""

    time_ns: int
    """Since 1970, the kernel's own."""
    outgoing: bool
    data: bytes


class Tap:
    """One interface that is listened at."""

    def __init__(self, namespace: str, interface: str, program: Program = ()) -> None:
        """Raises NamespaceMissing, PermissionError, OSError when there is no such interface."""
        self.namespace = namespace
        self.interface = interface
        self.received = self.dropped = 0
        """Packets that passed the filter, and those of them that did not fit in the buffer; see `count`."""
        self._socket = open_socket(namespace, socket.AF_PACKET, socket.SOCK_RAW)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            _attach(self._socket, program)
            _wait_for_stamps()
            self._socket.bind((interface, _ETH_P_ALL))
        except OSError as error:
            self._socket.close()
            raise OSError(error.errno, f"{interface} in {namespace}: {error.strerror}") from error

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> Iterator[TappedPacket]:
        """What waits, a bounded number. Nothing when nothing waits."""
        for _ in range(_BATCH_MAX):
            try:
                data, ancillary, _, address = self._socket.recvmsg(_PACKET_BYTES_MAX, 64)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENETDOWN:
                    raise
                return  # told once when the link is or goes down; the tap hears again when it is up
            yield TappedPacket(_time_of(ancillary), address[2] == _PACKET_OUTGOING, data)

    def drain(self) -> list[TappedPacket]:
        """All that waits now."""
        found: list[TappedPacket] = []
        while batch := list(self.read()):
            found += batch
        return found

    def count(self) -> None:
        """Bring `received` and `dropped` up to date; the kernel starts again at zero."""
        received, dropped = _STATISTICS.unpack(
            self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        )
        self.received += received
        self.dropped += dropped

    def close(self) -> None:
        self._socket.close()


def compile_filter(expression: str) -> Program:
    """A filter in tcpdump's language (pcap-filter(7)) as the kernel takes it. Raises FilterRefused."""
    try:
        done = subprocess.run(
            ["tcpdump", "-y", "EN10MB", "-ddd", expression], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise FilterRefused("a filter needs tcpdump, which compiles it; it is not installed") from None
    if done.returncode != 0:
        words = done.stderr.strip().splitlines()
        raise FilterRefused(f"{expression!r}: {words[-1].removeprefix('tcpdump: ') if words else 'refused'}")
    count, *lines = done.stdout.splitlines()
    assert int(count) == len(lines), "tcpdump says how many instructions follow"
    return tuple(_INSTRUCTION.pack(*map(int, line.split())) for line in lines)


def _wait_for_stamps() -> None:
    """Until a packet has the time at which it came: one to ourselves was stamped before we began to read it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(_STAMPS_WAIT_S)
        probe.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        probe.bind(("127.0.0.1", 0))
        probe.connect(probe.getsockname())
        until = time.monotonic() + _STAMPS_WAIT_S
        while time.monotonic() < until:
            probe.send(b"")
            reads_at_ns = time.time_ns()
            _, ancillary, _, _ = probe.recvmsg(1, 64)
            if _time_of(ancillary) <= reads_at_ns:
                return
    raise OSError(errno.ETIME, "the kernel does not stamp packets with their times")


def _attach(tap: socket.socket, program: Program) -> None:
    if not program:
        return
    code = ctypes.create_string_buffer(b"".join(program))
    tap.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(code)))


def _time_of(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(value[: _TIMESPEC.size])
            return int(seconds * 1_000_000_000 + nanoseconds)
    raise AssertionError("a packet's time was asked for")
