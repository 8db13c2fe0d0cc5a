"""Fragments become datagrams again (RFC 791 section 3.2, RFC 815).

    datagram   |0 ........ 1199|1200 ...... 2399|2400 .... 3079|
    pieces        offset 0, MF    offset 150, MF   offset 300      in any order, repeated or not

Why here and not in the kernel: several networks with equal addresses meet in one namespace, and the
kernel tells fragments apart by addresses, protocol and identification alone (linux: net/ipv4/ip_fragment.c).
One tenant's pieces would end up in another's datagram. Here the interface is part of the key, and each
interface has a bounded room of its own, so nobody can fill the room of others.

Refused, together with everything else of the same datagram (RFC 5722, which Linux follows for IPv4 too): pieces
that overlap, pieces that repeat a place with other bytes, a piece behind the end, two ends. A single piece is
refused when its data is empty, when it reaches beyond 65,535 bytes, or when it is not the last
and not a multiple of eight bytes. Headers with options and the reserved flag are refused too. A whole that is longer
than QUEUED_BYTES_MAX is refused as TOO_LONG: its last piece could not be answered with it.

The whole has the first piece's header, without fragment fields; DF is gone, it may be cut again. If any piece
says "congestion experienced" the whole does (RFC 3168 section 5.3). Room is made by forgetting the
interface's oldest datagram (RFC 4787 REQ-14: memory must be bounded).
"""

from bisect import bisect_left
from collections import OrderedDict
from struct import Struct

from hyperplane.errors import Malformation, WireError
from hyperplane.limits import (
    FRAGMENT_BYTES_PER_INTERFACE_MAX,
    FRAGMENT_BYTES_PER_NODE_MAX,
    FRAGMENT_TIMEOUT_S,
    FRAGMENTED_DATAGRAMS_PER_INTERFACE_MAX,
    FRAGMENTS_PER_DATAGRAM_MAX,
    QUEUED_BYTES_MAX,
)
from hyperplane.wire.checksum import checksum

HEADER_BYTES = 20
_LENGTH_TO_FRAGMENT = Struct("!HHH")
_RESERVED, _MORE, _OFFSET = 0x8000, 0x2000, 0x1FFF
_DATA_BYTES_MAX = 0xFFFF - HEADER_BYTES
_CONGESTION_EXPERIENCED = 0b11


def is_fragment(packet: bytes | bytearray | memoryview, start: int, length: int) -> bool:
    """Whether the `length` bytes at `start` are a piece of an IPv4 datagram, as long as it says and without options."""
    if length < HEADER_BYTES or packet[start] != 0x45:
        return False
    total, _, field = _LENGTH_TO_FRAGMENT.unpack_from(packet, start + 2)
    return total == length and bool(field & (_MORE | _OFFSET))


class _Datagram:
    """Pieces of one datagram, sorted, without overlap."""

    __slots__ = ("began_at", "congested", "held_bytes", "pieces", "refused", "starts", "total_bytes")

    def __init__(self, now: float) -> None:
        self.began_at = now
        self.starts: list[int] = []
        self.pieces: list[bytes] = []
        """Whole packets, header and all; `starts` says where in the datagram each one's data belongs."""
        self.held_bytes = 0
        self.total_bytes: int | None = None
        """Of data, once the last piece has told."""
        self.congested = False
        self.refused = False
        """Something did not fit; what still comes is refused as well."""

    def add(self, packet: bytes, start: int, more: bool) -> None:
        """Put a piece in its place. Raises WireError, and then nothing of this datagram is worth keeping."""
        end = start + len(packet) - HEADER_BYTES
        place = bisect_left(self.starts, start)
        if place < len(self.starts) and self.starts[place] == start and self._data(place) == packet[HEADER_BYTES:]:
            return  # the network may repeat a packet
        fits = not place or self._end(place - 1) <= start
        fits &= place == len(self.starts) or end <= self.starts[place]
        if more:
            fits &= self.total_bytes is None or end < self.total_bytes
        else:
            fits &= self.total_bytes is None and place == len(self.starts)
        if not fits or len(self.starts) == FRAGMENTS_PER_DATAGRAM_MAX:
            raise WireError(Malformation.FRAGMENT)
        if not more:
            self.total_bytes = end
        self.starts.insert(place, start)
        self.pieces.insert(place, packet)
        self.held_bytes += end - start
        self.congested |= packet[1] & _CONGESTION_EXPERIENCED == _CONGESTION_EXPERIENCED

    def is_whole(self) -> bool:
        return self.held_bytes == self.total_bytes

    def whole(self) -> bytes:
        """One packet, with the header of the first piece."""
        header = bytearray(self.pieces[0][:HEADER_BYTES])
        length = HEADER_BYTES + self.held_bytes
        if length > QUEUED_BYTES_MAX:
            raise WireError(Malformation.TOO_LONG)
        header[1] |= _CONGESTION_EXPERIENCED if self.congested else 0
        header[2:4] = length.to_bytes(2, "big")
        header[6:8] = header[10:12] = bytes(2)
        header[10:12] = checksum(header).to_bytes(2, "big")
        return b"".join((header, *(piece[HEADER_BYTES:] for piece in self.pieces)))

    def refuse(self) -> None:
        """Keep no bytes, but remember the datagram."""
        self.refused = True
        self.starts, self.pieces, self.held_bytes = [], [], 0

    def _data(self, place: int) -> bytes:
        return self.pieces[place][HEADER_BYTES:]

    def _end(self, place: int) -> int:
        return self.starts[place] + len(self.pieces[place]) - HEADER_BYTES


class _Room:
    """The datagrams of one interface, oldest first."""

    __slots__ = ("datagrams", "held_bytes")

    def __init__(self) -> None:
        self.datagrams: OrderedDict[bytes, _Datagram] = OrderedDict()
        self.held_bytes = 0


class Reassembler:
    """All fragments of one node."""

    def __init__(self) -> None:
        self._rooms: dict[int, _Room] = {}
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Bytes of data that wait for the rest of their datagrams."""
        return self._held_bytes

    def __len__(self) -> int:
        """Datagrams that are not whole."""
        return sum(len(room.datagrams) for room in self._rooms.values())

    def add(self, interface: int, packet: bytes, now: float) -> tuple[bytes | None, int]:
        """Take in a fragment (a whole IPv4 packet without options, as long as it says).

        Returns the datagram as one packet, or None while pieces are missing; and how many others had to make room.
        Raises WireError for a piece that cannot be part of anything, or for a datagram that is refused.
        """
        _, _, field = _LENGTH_TO_FRAGMENT.unpack_from(packet, 2)
        start, more, size = (field & _OFFSET) * 8, bool(field & _MORE), len(packet) - HEADER_BYTES
        if field & _RESERVED or not size or start + size > _DATA_BYTES_MAX or (more and size % 8):
            raise WireError(Malformation.FRAGMENT)
        key = packet[12:20] + packet[9:10] + packet[4:6]
        room = self._rooms.setdefault(interface, _Room())
        datagram = room.datagrams.get(key)
        if datagram is not None and now - datagram.began_at >= FRAGMENT_TIMEOUT_S:
            self._forget(room, key)
            datagram = None
        if datagram is None:
            datagram = room.datagrams[key] = _Datagram(now)
        whole = self._put(room, key, datagram, packet, start, more)
        return whole, self._make_room(room)

    def _put(self, room: _Room, key: bytes, datagram: _Datagram, packet: bytes, start: int, more: bool) -> bytes | None:
        held_before = datagram.held_bytes
        try:
            if datagram.refused:
                raise WireError(Malformation.FRAGMENT)
            datagram.add(packet, start, more)
            whole = datagram.whole() if datagram.is_whole() else None
        except WireError:
            datagram.refuse()
            raise
        finally:
            self._hold(room, datagram.held_bytes - held_before)
        if whole is not None:
            self._forget(room, key)
        return whole

    def expire(self, now: float) -> int:
        """Forget what has waited too long. Returns how many datagrams that were."""
        count = 0
        for interface, room in list(self._rooms.items()):
            while room.datagrams:
                key, datagram = next(iter(room.datagrams.items()))
                if now - datagram.began_at < FRAGMENT_TIMEOUT_S:
                    break
                count += not datagram.refused
                self._forget(room, key)
            if not room.datagrams:
                del self._rooms[interface]
        return count

    def _make_room(self, room: _Room) -> int:
        """Forget an interface's oldest datagrams until it is within its bounds, and the node within its own."""
        count = 0
        while room.datagrams and (
            len(room.datagrams) > FRAGMENTED_DATAGRAMS_PER_INTERFACE_MAX
            or room.held_bytes > FRAGMENT_BYTES_PER_INTERFACE_MAX
            or self._held_bytes > FRAGMENT_BYTES_PER_NODE_MAX
        ):
            key, datagram = next(iter(room.datagrams.items()))
            count += not datagram.refused
            self._forget(room, key)
        return count

    def _forget(self, room: _Room, key: bytes) -> None:
        self._hold(room, -room.datagrams.pop(key).held_bytes)

    def _hold(self, room: _Room, by: int) -> None:
        room.held_bytes += by
        self._held_bytes += by
