"""The segments of one connection as they pass a link of one of its ends."""

import socket
from dataclasses import dataclass
from itertools import chain
from types import TracebackType
from typing import Self

from scapy.layers.inet import IP, TCP

from netns.namespace import open_socket
from tests.faults.header_ground import LINK

_ETH_P_ALL = 0x0003
_RCVBUFFORCE = 33  # asm-generic/socket.h
_OUTGOING = 4  # linux/if_packet.h
_PACKET_BYTES = 1 << 16
_HALF, _NUMBERS = 1 << 31, 1 << 32


@dataclass(frozen=True, slots=True)
class Segment:
    """Numbers are counted from the first byte of whoever sent it and of the other end: the SYNs are at -1."""

    is_sent: bool
    """By the end at which we look."""
    flags: str
    sequence: int
    acknowledgment: int | None
    payload: bytes
    sacks: tuple[tuple[int, int], ...]
    """Blocks, in the numbers of the acknowledgment."""
    options: tuple[str, ...]

    @property
    def end(self) -> int:
        return self.sequence + len(self.payload)


class Tap:
    """A context manager. `segments` are those of the last connection with this port at the other end."""

    def __init__(self, namespace: str, port: int) -> None:
        self._namespace, self._port = namespace, port
        self._packets: list[tuple[bool, IP]] = []

    def __enter__(self) -> Self:
        self._socket = open_socket(self._namespace, socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, 64 << 20)
        self._socket.setblocking(False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def _collect(self) -> None:
        while True:
            try:
                packet, (link, _, direction, *_) = self._socket.recvfrom(_PACKET_BYTES)
            except BlockingIOError:
                return
            if link == LINK and packet[9] == socket.IPPROTO_TCP:
                parsed = IP(packet)
                if self._port in (parsed[TCP].sport, parsed[TCP].dport):
                    self._packets.append((direction == _OUTGOING, parsed))

    def segments(self) -> list[Segment]:
        """What has passed so far, in order, of the connection whose SYN came last."""
        self._collect()
        syns = [packet[TCP] for _, packet in self._packets if packet[TCP].flags == "S"]
        client = syns[-1].sport
        own = [(sent, packet) for sent, packet in self._packets if client in (packet[TCP].sport, packet[TCP].dport)]
        first: dict[int, int] = {}
        for _, packet in own:
            if "S" in packet[TCP].flags:
                first[packet[TCP].sport] = packet[TCP].seq + 1
        return [_segment(sent, packet, first) for sent, packet in own]


def _segment(sent: bool, packet: IP, first: dict[int, int]) -> Segment:
    tcp = packet[TCP]
    theirs = first.get(tcp.dport, 0)
    options = dict(tcp.options)
    distances = [_distance(edge, theirs) for edge in options.get("SAck", ())]
    start = packet.ihl * 4 + tcp.dataofs * 4
    return Segment(
        sent,
        str(tcp.flags),
        _distance(tcp.seq, first.get(tcp.sport, 0)),
        _distance(tcp.ack, theirs) if "A" in tcp.flags else None,
        bytes(packet)[start : packet.len or None],
        tuple(zip(distances[::2], distances[1::2], strict=True)),
        tuple(options),
    )


def _distance(number: int, origin: int) -> int:
    return (number - origin + _HALF) % _NUMBERS - _HALF


def strange(segments: list[Segment]) -> list[Segment]:
    """What no client may be told: of more than it has sent, of less than nothing, of blocks that are empty."""
    sent, found = 0, []
    for segment in segments:
        if segment.is_sent:
            sent = max(sent, segment.end + ("F" in segment.flags))
        elif "S" not in segment.flags and segment.acknowledgment is not None:
            numbers = [segment.acknowledgment, *chain(*segment.sacks)]
            is_empty = any(left >= right for left, right in segment.sacks)
            if is_empty or not all(0 <= number <= sent for number in numbers):
                found.append(segment)
    return found
