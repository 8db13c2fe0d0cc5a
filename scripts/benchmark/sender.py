"""A packet sender faster than a UDP socket: `python -m benchmark.sender '{...}'` in the client's namespace.

A UDP socket is itself the limit at about 200,000 packets/s. Here one sendmmsg(2) hands hundreds of finished
frames to a packet socket that skips the queueing discipline (PACKET_QDISC_BYPASS, packet(7)).

Prints `started`, then one JSON object with what was handed to the kernel. What arrived is for the sink to count.
"""

import ctypes
import json
import socket
import struct
import sys
import time
from dataclasses import dataclass
from ipaddress import IPv4Address

from benchmark.frames import FRAME_BYTES, Stream, frames

SOL_PACKET = 263
PACKET_QDISC_BYPASS = 20
BATCH_FRAMES = 256
TICK_S = 0.002
"""A paced sender wakes this often, so a rate of 20,000/s comes in bursts of 40."""

MMSGHDR = struct.Struct("@QIxxxxQQQQIxxxxIxxxx")
"""struct mmsghdr on a 64 bit machine: name, name length, iovec, their number, control, its length, flags, sent."""
IOVEC = struct.Struct("@QQ")
LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Order:
    """How long and how fast to send."""

    seconds: float
    packets_per_s: float
    """0 is as fast as can be."""
    count: int
    """Stop after so many packets; 0 is no such limit."""


class Blaster:
    """All frames of a stream laid out in memory once; sending only passes pointers."""

    def __init__(self, link: str, stream: Stream) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        self._socket.bind((link, 0))
        self._count = stream.flow_count
        self._data = bytearray(FRAME_BYTES * self._count)
        self._vectors = bytearray(IOVEC.size * self._count)
        self._headers = bytearray(MMSGHDR.size * self._count)
        data, vectors = _address(self._data), _address(self._vectors)
        self._headers_at = _address(self._headers)
        for index, frame in enumerate(frames(stream)):
            self._data[index * FRAME_BYTES : (index + 1) * FRAME_BYTES] = frame
            IOVEC.pack_into(self._vectors, index * IOVEC.size, data + index * FRAME_BYTES, FRAME_BYTES)
            MMSGHDR.pack_into(self._headers, index * MMSGHDR.size, 0, 0, vectors + index * IOVEC.size, 1, 0, 0, 0, 0)
        self._next = 0

    def send(self, count: int) -> int:
        """Send at most `count` frames, and no further than the end of the ring. Returns how many were taken."""
        batch = min(count, BATCH_FRAMES, self._count - self._next)
        at = ctypes.c_void_p(self._headers_at + self._next * MMSGHDR.size)
        sent = int(LIBC.sendmmsg(self._socket.fileno(), at, batch, 0))
        if sent <= 0:  # the device was full: this frame is lost, as on a real wire
            sent = 1
        self._next = (self._next + sent) % self._count
        return sent


def _address(buffer: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def send_all(blaster: Blaster, order: Order) -> dict[str, float]:
    started = time.perf_counter()
    ends = started + order.seconds
    sent = 0
    while (now := time.perf_counter()) < ends and not (order.count and sent >= order.count):
        due = order.count - sent if order.count else BATCH_FRAMES
        if order.packets_per_s:
            due = min(due, int((now - started) * order.packets_per_s) - sent)
            if due <= 0:
                time.sleep(TICK_S)
                continue
        sent += blaster.send(due)
    return {"sent": sent, "seconds": time.perf_counter() - started}


def main(text: str) -> None:
    wish = json.loads(text)
    stream = Stream(
        bytes.fromhex(wish["source_mac"]),
        bytes.fromhex(wish["destination_mac"]),
        IPv4Address(wish["source"]),
        IPv4Address(wish["destination"]),
        wish["port_first"],
        wish["port_count"],
        wish["flow_count"],
    )
    blaster = Blaster(wish["link"], stream)
    print("started", flush=True)
    print(json.dumps(send_all(blaster, Order(wish["seconds"], wish["packets_per_s"], wish["count"]))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
