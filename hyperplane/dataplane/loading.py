"""The parse stage: from the bytes of a queue to a packet that is whole and can be read.

A piece of a datagram is kept until the rest has come; the whole goes on in the place of its last piece, as if
it had never been cut (`wire/reassembly.py` says what is refused).
"""

from hyperplane.dataplane.counters import Count
from hyperplane.dataplane.passage import Passage
from hyperplane.dataplane.plane import Plane
from hyperplane.dataplane.verdict import DROPS, HELD, MALFORMED, DropReason, Verdict
from hyperplane.errors import WireError
from hyperplane.wire.packet import TCP, ChecksumState
from hyperplane.wire.reassembly import is_fragment
from hyperplane.wire.tcp_options import NO_OPTIONS, OptionArea

_TCP_HEADER_BYTES = 20
_USUAL_OPTIONS = b"\x01\x01\x08\x0a"
_USUAL_BYTES = 12
"""Two NOPs and a timestamp, which fills its room exactly (RFC 7323 appendix A): nearly every segment has just this."""


def parse(plane: Plane, passage: Passage) -> Verdict | None:
    """Bytes to headers, checksum verified or finished (RFC 791, 9293, 768, 792)."""
    try:
        _load(passage)
    except WireError as error:
        if is_fragment(passage.buffer, passage.start, passage.length):
            return _put_together(plane, passage)
        return MALFORMED[error.malformation]
    return None


def _load(passage: Passage) -> None:
    packet = passage.packet
    packet.load(passage.buffer, passage.start, passage.length, passage.checksum_state)
    if packet.protocol == TCP:
        options = packet.transport + _TCP_HEADER_BYTES
        room = packet.payload - options
        if room and (room != _USUAL_BYTES or passage.buffer[options : options + 4] != _USUAL_OPTIONS):
            passage.options = OptionArea(passage.buffer, options, packet.payload)
        else:
            passage.options = NO_OPTIONS


def _put_together(plane: Plane, passage: Passage) -> Verdict | None:
    """Keep a piece, or go on with the whole. Its checksum is finished: no offload can sum what leaves in pieces."""
    if passage.interface_number not in plane.interfaces:
        return DROPS[DropReason.UNKNOWN_INTERFACE]
    buffer, start = passage.buffer, passage.start
    piece = bytes(buffer[start : start + passage.length])
    try:
        whole, incomplete = plane.fragments.add(passage.interface_number, piece, passage.now)
        plane.counters.add(Count.DATAGRAMS_INCOMPLETE, incomplete)
        if whole is None:
            return HELD
        buffer[start : start + len(whole)] = whole
        passage.length = len(whole)
        passage.checksum_state = ChecksumState.FINISHED
        _load(passage)
    except WireError as error:
        return MALFORMED[error.malformation]
    return None
