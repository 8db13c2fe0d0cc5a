"""Packets from the kernel, verdicts back to it: NFQUEUE.

The library netfilterqueue opens the netlink socket and binds the queue. What it does not do is
done here, on the same socket and nowhere else (linux/netfilter/nfnetlink_queue.h):

- NFQA_CFG_F_GSO: a sender's super-packet of up to 64 KiB arrives whole instead of cut into 45
  segments. The library's own buffer holds 4 KiB, so reading is done here too.
- the attribute SKB_INFO, which says whether a checksum is finished; the library hides it.
- verdicts of many packets in one send, each built in place in front of its packet, so that a
  packet is copied once from the kernel and once back, and never in between.

A packet is lost by nobody. The queue's socket is opened by the supervisor and inherited, so the
kernel keeps what a killed node has read but not answered; `repeat` hands those out again.
Verdicts are given in the order of arrival: the kernel finds the packet at the head of its list.
"""

import errno
import os
import socket
import struct

import netfilterqueue

from hyperplane.limits import PACKET_BYTES_MAX, PACKETS_PER_WAKE_MAX, QUEUE_PACKETS_MAX, QUEUE_SOCKET_BYTES
from hyperplane.wire.packet import ChecksumState
from netns.steer import REPLAY_BIT

_SUBSYSTEM = 3  # NFNL_SUBSYS_QUEUE
_MSG_PACKET, _MSG_VERDICT, _MSG_CONFIG = (_SUBSYSTEM << 8 | number for number in (0, 1, 2))
_REQUEST, _ACK = 0x01, 0x04
_ERROR = 2  # NLMSG_ERROR

_ATTR_PACKET_HEADER, _ATTR_VERDICT, _ATTR_MARK, _ATTR_INDEV, _ATTR_PAYLOAD, _ATTR_INFO = 1, 2, 3, 5, 10, 14
_CONFIG_PARAMS, _CONFIG_MAXLEN, _CONFIG_MASK, _CONFIG_FLAGS = 2, 3, 4, 5
_FLAG_GSO = 4
_COPY_PACKET = 2

_NF_DROP, _NF_ACCEPT, _NF_REPEAT = 0, 1, 4

_SOL_NETLINK, _NO_ENOBUFS = 270, 5
_SNDBUFFORCE, _RCVBUFFORCE = 32, 33  # asm-generic/socket.h

_NLMSG = struct.Struct("=IHHII")
_NFGEN = struct.Struct("!BBH")
_ATTR = struct.Struct("=HH")
_HEADERS_BYTES = _NLMSG.size + _NFGEN.size

_VERDICT_IN_PLACE = struct.Struct("=I24s4s8sHH")
_VERDICT_BYTES = _VERDICT_IN_PLACE.size
_PLAIN_VERDICT = struct.Struct("=I20s4s4s")

_INFO_UNFINISHED, _INFO_GSO = 1, 2
_SLOT_BYTES = 72 * 1024
_LAYOUTS_MAX = 8
_SEND_BYTES_MAX = 32 * 1024

"""On a packet that a node had in its hands when it died."""

assert _VERDICT_BYTES == 44 and _SLOT_BYTES > PACKET_BYTES_MAX + 1024


def _checksum_state(info: bytes) -> ChecksumState:
    flags = int.from_bytes(info, "big")
    if flags & _INFO_GSO:
        return ChecksumState.SEGMENTED
    return ChecksumState.UNFINISHED if flags & _INFO_UNFINISHED else ChecksumState.FINISHED


_STATES = {bits: _checksum_state(bits) for bits in (flags.to_bytes(4, "big") for flags in range(8))}
"""By NFQA_SKB_INFO: the kernel has three flags (NFQA_SKB_CSUMNOTREADY, GSO, CSUM_NOTVERIFIED)."""
_NO_INFO = bytes(4)


QueuedPacket = tuple[bytes, int, int, bytes, ChecksumState, bool]
"""One packet of a batch: id, place in the queue's buffer, length in bytes, interface index, what is known of its
checksum, whether it is replayed. Id and index are 4 bytes as the kernel writes them. A plain tuple, because one
is made for every packet."""


class _Layout:
    """Where the attributes stand in a message. Nearly all messages of a queue look alike, so it is learned once."""

    __slots__ = ("fields", "headers", "id_at", "indev_at", "info_at", "mark_at", "payload_at")

    def __init__(self, attributes: list[tuple[int, int]]) -> None:
        """`attributes`: (type, length) of each before the payload, in order."""
        pattern, place = "=", {}
        for index, (kind, length) in enumerate(attributes):
            body = length - 4
            pattern += f"I{body}s" + (f"{-body % 4}x" if body % 4 else "")
            place[kind] = index * 2 + 1
        self.fields = struct.Struct(pattern + "HH")
        self.headers = tuple(kind << 16 | length for kind, length in attributes)
        self.id_at = place[_ATTR_PACKET_HEADER]
        self.indev_at = place.get(_ATTR_INDEV, -1)
        self.info_at = place.get(_ATTR_INFO, -1)
        self.mark_at = place.get(_ATTR_MARK, -1)
        self.payload_at = _HEADERS_BYTES + self.fields.size


class Queue:
    """One NFQUEUE number: read packets in batches, answer each, send the answers together."""

    def __init__(self, number: int) -> None:
        """Bind queue `number` in the present network namespace. Raises OSError, saying what is missing."""
        self.number = number
        self._library = netfilterqueue.NetfilterQueue()
        try:
            self._library.bind(
                number, _unexpected, max_len=QUEUE_PACKETS_MAX, mode=netfilterqueue.COPY_PACKET, sock_len=1 << 16
            )
        except (OSError, RuntimeWarning) as error:
            raise OSError(f"queue {number} cannot be bound (held by another process, or no CAP_NET_ADMIN)") from error
        os.set_inheritable(self._library.get_fd(), False)
        self._socket = socket.socket(fileno=os.dup(self._library.get_fd()))
        self._configure()
        self._socket.setblocking(False)
        self._nfgen = _NFGEN.pack(0, 0, number)
        self._accept = struct.pack("=HHII", _MSG_VERDICT, _REQUEST, 0, 0) + self._nfgen
        self._accept += _ATTR.pack(12, _ATTR_VERDICT) + struct.pack("!I", _NF_ACCEPT)
        self._plain = struct.pack("=HHII", _MSG_VERDICT, _REQUEST, 0, 0) + self._nfgen + _ATTR.pack(12, _ATTR_VERDICT)
        self._marks: dict[int, bytes] = {}
        self.buffer = bytearray(_SLOT_BYTES * PACKETS_PER_WAKE_MAX)
        self._view = memoryview(self.buffer)
        self._slots = [
            self._view[at : at + _SLOT_BYTES] for at in range(0, _SLOT_BYTES * PACKETS_PER_WAKE_MAX, _SLOT_BYTES)
        ]
        self._layouts: list[_Layout] = []
        self._answers: list[memoryview | bytes] = []
        self._answers_bytes = 0
        self.errors = 0
        """Verdicts that the kernel refused: the packet was gone."""

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        """Let go of this process's hold on the queue; packets stay while another process holds it."""
        self._socket.close()
        os.close(self._library.get_fd())

    # --- reading -----------------------------------------------------------------------------

    def read(self, at_most: int = PACKETS_PER_WAKE_MAX) -> list[QueuedPacket]:
        """The packets that are waiting, `at_most` of them. They stay in `buffer` until the next read."""
        packets: list[QueuedPacket] = []
        receive = self._socket.recv_into
        for slot in range(at_most):
            try:
                received = receive(self._slots[slot])
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                continue
            packet = self._parse(slot * _SLOT_BYTES, received)
            if packet is not None:
                packets.append(packet)
        return packets

    def _parse(self, base: int, received: int) -> QueuedPacket | None:
        for place, layout in enumerate(self._layouts):
            packet = self._parse_as(layout, base, received)
            if packet is not None:
                if place:
                    self._layouts.insert(0, self._layouts.pop(place))
                return packet
        layout_or_none = self._learn(base)
        return None if layout_or_none is None else self._parse_as(layout_or_none, base, received)

    def _parse_as(self, layout: _Layout, base: int, received: int) -> QueuedPacket | None:
        if received < layout.payload_at:
            return None
        fields = layout.fields.unpack_from(self.buffer, base + _HEADERS_BYTES)
        if fields[-1] != _ATTR_PAYLOAD or fields[:-2:2] != layout.headers:
            return None
        info = fields[layout.info_at] if layout.info_at >= 0 else _NO_INFO
        return (
            fields[layout.id_at][:4],
            base + layout.payload_at,
            fields[-2] - 4,
            fields[layout.indev_at],
            _STATES[info],
            layout.mark_at >= 0 and fields[layout.mark_at][0] >= 0x80,
        )

    def _learn(self, base: int) -> _Layout | None:
        """Walk the attributes of a message that looks new."""
        length, kind, _, _, _ = _NLMSG.unpack_from(self.buffer, base)
        if kind != _MSG_PACKET:
            self.errors += kind == _ERROR
            return None
        attributes: list[tuple[int, int]] = []
        at = base + _HEADERS_BYTES
        while at < base + length:
            attribute_length, attribute = _ATTR.unpack_from(self.buffer, at)
            if attribute == _ATTR_PAYLOAD:
                layout = _Layout(attributes)
                self._layouts = [layout, *self._layouts][:_LAYOUTS_MAX]
                return layout
            attributes.append((attribute, attribute_length))
            at += attribute_length + 3 & ~3
        return None

    # --- answering ---------------------------------------------------------------------------

    def accept(self, packet_id: bytes, start: int, length: int, mark: int) -> None:
        """Send the packet on as it stands in the buffer, `length` bytes at `start`, by the routing table of `mark`."""
        mark_attribute = self._marks.get(mark)
        if mark_attribute is None:
            mark_attribute = self._marks[mark] = _ATTR.pack(8, _ATTR_MARK) + struct.pack("!I", mark)
        at = start - _VERDICT_BYTES
        total = _VERDICT_BYTES + length
        _VERDICT_IN_PLACE.pack_into(
            self.buffer, at, total, self._accept, packet_id, mark_attribute, length + 4, _ATTR_PAYLOAD
        )
        if total + self._answers_bytes > _SEND_BYTES_MAX:
            self.flush()
        self._answers.append(self._view[at : at + (total + 3 & ~3)])
        self._answers_bytes += total

    def drop(self, packet_id: bytes) -> None:
        """The packet disappears."""
        self._answer(packet_id, _NF_DROP)

    def repeat(self, packet_id: bytes) -> None:
        """The packet goes through the rules again, marked, so that a node gets it a second and last time."""
        self._answer(packet_id, _NF_REPEAT, _ATTR.pack(8, _ATTR_MARK) + struct.pack("!I", REPLAY_BIT | 1))

    def _answer(self, packet_id: bytes, verdict: int, attributes: bytes = b"") -> None:
        length = _PLAIN_VERDICT.size + len(attributes)
        message = _PLAIN_VERDICT.pack(length, self._plain, struct.pack("!I", verdict), packet_id)
        self._answers.append(message + attributes)
        self._answers_bytes += length

    def flush(self) -> None:
        """Give the kernel all answers at once."""
        if self._answers:
            self._socket.sendmsg(self._answers)
            self._answers = []
            self._answers_bytes = 0

    # --- configuration -----------------------------------------------------------------------

    def _configure(self) -> None:
        self._socket.setsockopt(_SOL_NETLINK, _NO_ENOBUFS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, QUEUE_SOCKET_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, _SNDBUFFORCE, QUEUE_SOCKET_BYTES)
        self._request(
            _attribute(_CONFIG_PARAMS, struct.pack("!IB", PACKET_BYTES_MAX, _COPY_PACKET)),
            _attribute(_CONFIG_MAXLEN, struct.pack("!I", QUEUE_PACKETS_MAX)),
            _attribute(_CONFIG_MASK, struct.pack("!I", _FLAG_GSO)),
            _attribute(_CONFIG_FLAGS, struct.pack("!I", _FLAG_GSO)),
        )

    def _request(self, *attributes: bytes) -> None:
        """Configure the queue and wait for the kernel's yes. Raises OSError with the kernel's number."""
        body = _NFGEN.pack(0, 0, self.number) + b"".join(attributes)
        self._socket.send(_NLMSG.pack(_NLMSG.size + len(body), _MSG_CONFIG, _REQUEST | _ACK, 1, 0) + body)
        while True:
            answer = self._socket.recv(PACKET_BYTES_MAX)
            _, kind, _, _, _ = _NLMSG.unpack_from(answer)
            if kind == _ERROR:
                code = struct.unpack_from("=i", answer, _NLMSG.size)[0]
                if code:
                    raise OSError(-code, f"queue {self.number}: {os.strerror(-code)}")
                return


def _attribute(kind: int, body: bytes) -> bytes:
    return _ATTR.pack(4 + len(body), kind) + body + bytes(-len(body) % 4)


def _unexpected(packet: netfilterqueue.Packet) -> None:
    """The library never reads, so it never calls back."""
    raise AssertionError("netfilterqueue's own reader is not used")
