"""TCP options: as values, and changed in place (RFC 9293 section 3.2).

Options fill the header from byte 20 up to the data offset. Two kinds are one byte long, all
others carry their own length, which counts the two first bytes:

    +--------+     +--------+     +--------+--------+=================+
    | END 0  |     | NOP 1  |     |  Kind  | Length |  Length - 2 ... |
    +--------+     +--------+     +--------+--------+=================+

    kind 2   length 4        maximum segment size             RFC 9293 section 3.7.1
    kind 3   length 3        window scale                     RFC 7323 section 2
    kind 4   length 2        SACK permitted                   RFC 2018 section 2
    kind 5   length 8n + 2   SACK, n = 1 .. 4 blocks          RFC 2018 section 3
    kind 8   length 10       timestamps                       RFC 7323 section 3
    kind 19, 29              MD5 signature, TCP-AO            RFC 2385, RFC 5925
    kind 30                  multipath TCP                    RFC 8684 section 3
    kind 34                  fast open                        RFC 7413 section 4.1.1
    kind 254 + 0xF989        fast open, before it had a kind  RFC 7413 section 9

Accepted: every layout that can be walked. Order, alignment, repetition and unknown kinds do
not matter. END ends the list; what follows it is padding and is not looked at. A known kind
with a length that is not its own is treated as unknown, as other stacks do, and never changed.
Refused with BAD_TCP_OPTIONS: a length of 0 or 1, one that runs over the end of the header, and
a kind that needs a length where the header ends.

Options start at an even offset of the segment, so their sum is a part of the segment's own.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from struct import Struct

from hyperplane.errors import Malformation, WireError
from hyperplane.wire.checksum import MODULUS, ones_sum

END = 0
NOP = 1
MAXIMUM_SEGMENT_SIZE = 2
WINDOW_SCALE = 3
SACK_PERMITTED = 4
SACK = 5
TIMESTAMPS = 8
MD5_SIGNATURE = 19
AUTHENTICATION = 29
MULTIPATH = 30
FAST_OPEN = 34
EXPERIMENT = 254

OPTIONS_BYTES_MAX = 40
WINDOW_SCALE_MAX = 14
"""RFC 7323 section 2.3: a larger one is used as this."""

_FAST_OPEN_EXPERIMENT = b"\xf9\x89"

_U16 = Struct("!H")
_TWO_U32 = Struct("!II")


@dataclass(slots=True, frozen=True)
class NoOperation:
    """One byte that aligns what follows."""


@dataclass(slots=True, frozen=True)
class MaximumSegmentSize:
    """In a SYN: the largest segment that the sender takes, headers not counted (RFC 6691)."""

    size_bytes: int


@dataclass(slots=True, frozen=True)
class WindowScale:
    """In a SYN: by how many bits the sender's later windows are shifted."""

    shift: int
    """As sent, 0 .. 255. See `WINDOW_SCALE_MAX`."""


@dataclass(slots=True, frozen=True)
class SackPermitted:
    """In a SYN: the sender understands SACK."""


@dataclass(slots=True, frozen=True)
class Sack:
    """What the sender holds beyond its acknowledgment number."""

    blocks: tuple[tuple[int, int], ...]
    """(first sequence number received, first one not received), 1 to 4 of them, order kept."""


@dataclass(slots=True, frozen=True)
class Timestamps:
    """The sender's clock, and the last of the peer's that it saw, both 32 bits."""

    value: int
    echo_reply: int


@dataclass(slots=True, frozen=True)
class UnknownOption:
    """A kind that we do not take apart, or a known kind with a strange length."""

    kind: int
    body: bytes
    """What follows the length byte."""

    def __post_init__(self) -> None:
        assert self.kind > NOP and isinstance(_value_of(self.kind, self.body), UnknownOption | None)


TcpOption = NoOperation | MaximumSegmentSize | WindowScale | SackPermitted | Sack | Timestamps | UnknownOption


def _value_of(kind: int, body: bytes) -> TcpOption | None:
    """The value of a known kind with its right length, else None."""
    if kind == MAXIMUM_SEGMENT_SIZE and len(body) == 2:
        return MaximumSegmentSize(*_U16.unpack(body))
    if kind == WINDOW_SCALE and len(body) == 1:
        return WindowScale(body[0])
    if kind == SACK_PERMITTED and not body:
        return SackPermitted()
    if kind == SACK and body and len(body) % 8 == 0:
        return Sack(tuple((left, right) for left, right in _TWO_U32.iter_unpack(body)))
    if kind == TIMESTAMPS and len(body) == 8:
        return Timestamps(*_TWO_U32.unpack(body))
    return None


def parse_options(area: bytes) -> tuple[TcpOption, ...]:
    """The options of a header as values, in order, NOPs kept, END and padding left away."""
    options: list[TcpOption] = []
    position = 0
    for _, start, length in OptionArea(area, 0, len(area)):
        options.extend([NoOperation()] * (start - position))
        kind, body = area[start], area[start + 2 : start + length]
        options.append(_value_of(kind, body) or UnknownOption(kind, body))
        position = start + length
    trailing_nops = len(area[position:]) - len(area[position:].lstrip(bytes([NOP])))
    options.extend([NoOperation()] * trailing_nops)
    return tuple(options)


def emit_options(options: Sequence[TcpOption]) -> bytes:
    """The options' bytes, padded with END to whole words. At most 40."""
    area = b"".join(_emit_option(option) for option in options)
    area += bytes([END]) * (-len(area) % 4)
    assert len(area) <= OPTIONS_BYTES_MAX, "a TCP header has room for 40 bytes of options"
    return area


def _emit_option(option: TcpOption) -> bytes:
    match option:
        case NoOperation():
            return bytes([NOP])
        case MaximumSegmentSize(size_bytes):
            kind, body = MAXIMUM_SEGMENT_SIZE, _U16.pack(size_bytes)
        case WindowScale(shift):
            kind, body = WINDOW_SCALE, bytes([shift])
        case SackPermitted():
            kind, body = SACK_PERMITTED, b""
        case Sack(blocks):
            assert blocks, "a SACK option without a block says nothing"
            kind, body = SACK, b"".join(_TWO_U32.pack(*block) for block in blocks)
        case Timestamps(value, echo_reply):
            kind, body = TIMESTAMPS, _TWO_U32.pack(value, echo_reply)
        case UnknownOption(kind, body):
            pass
    return bytes([kind, len(body) + 2]) + body


class OptionArea:
    """The options of one segment in its buffer, walked once: asked and changed in place.

    Nothing moves, so no sequence number changes. What changes bytes returns by how much the sum of the options
    grew, 0 .. 65534, for `checksum.adjusted`.
    """

    __slots__ = ("_buffer", "_end", "_found", "_start", "kinds")

    kinds: frozenset[int]
    """The kinds that are present, without END and NOP. Both code points of fast open are `FAST_OPEN`."""

    def __init__(self, buffer: bytes | bytearray, start: int, end: int) -> None:
        """Options are `buffer[start:end]`. Raises `WireError`; nothing was changed then."""
        self._buffer = buffer
        self._start, self._end = start, end
        found: list[tuple[int, int, int]] = []
        at = start
        while at < end:
            kind = buffer[at]
            if kind == NOP:
                at += 1
                continue
            if kind == END:
                break
            length = buffer[at + 1] if at + 1 < end else 0
            if length < 2 or at + length > end:
                raise WireError(Malformation.BAD_TCP_OPTIONS)
            if kind == EXPERIMENT and buffer[at + 2 : at + length][:2] == _FAST_OPEN_EXPERIMENT:
                kind = FAST_OPEN
            found.append((kind, at, length))
            at += length
        self._found = found
        self.kinds = frozenset([kind for kind, _, _ in found])

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """(kind, offset, length) of each option up to END, NOPs left away."""
        return iter(self._found)

    def window_scale(self) -> int | None:
        """The shift that the sender of this SYN means, 0 .. 14; None without the option. The last one counts."""
        shift = None
        for kind, offset, length in self._found:
            if kind == WINDOW_SCALE and length == 3:
                shift = min(self._buffer[offset + 2], WINDOW_SCALE_MAX)
        return shift

    def segment_size(self) -> int:
        """What the sender of this SYN takes, in bytes; 0 if it does not say. The last one counts."""
        size_bytes = 0
        for kind, offset, length in self._found:
            if kind == MAXIMUM_SEGMENT_SIZE and length == 4:
                size_bytes = _U16.unpack_from(self._buffer, offset + 2)[0]
        return size_bytes

    def clamp_mss(self, size_bytes_max: int) -> int:
        """Lower each maximum segment size to at most `size_bytes_max` (RFC 6691). Never raises or adds one."""
        too_large = [
            offset + 2
            for kind, offset, length in self._found
            if kind == MAXIMUM_SEGMENT_SIZE
            and length == 4
            and _U16.unpack_from(self._buffer, offset + 2)[0] > size_bytes_max
        ]
        return self._write([(offset, _U16.pack(size_bytes_max)) for offset in too_large])

    def map_sack(self, translate: Callable[[int], int]) -> int:
        """Translate both edges of every SACK block (RFC 2018 section 3), order kept.

        A block that becomes empty goes, and NOPs fill its room behind the others.
        """
        changes = []
        for kind, offset, length in self._found:
            if kind != SACK or length < 10 or length % 8 != 2:
                continue
            edges = _TWO_U32.iter_unpack(self._buffer[offset + 2 : offset + length])
            blocks = [(translate(left), translate(right)) for left, right in edges]
            kept = [_TWO_U32.pack(left, right) for left, right in blocks if left != right]
            option = bytes([SACK, 2 + 8 * len(kept)]) + b"".join(kept) if kept else b""
            changes.append((offset, option + bytes([NOP]) * (length - len(option))))
        return self._write(changes)

    def blank(self, kinds: Collection[int]) -> int:
        """Overwrite every option of `kinds` with NOPs, whatever its length. `FAST_OPEN` means both its code points.

        What was blanked is still among `kinds` and found by the other methods: to be the last change.
        """
        return self._write([(offset, bytes([NOP]) * length) for kind, offset, length in self._found if kind in kinds])

    def _write(self, changes: list[tuple[int, bytes]]) -> int:
        if not changes:
            return 0
        buffer, start, end = self._buffer, self._start, self._end
        assert isinstance(buffer, bytearray), "only what is in a bytearray can be changed"
        before = ones_sum(buffer[start:end])
        for offset, replacement in changes:
            buffer[offset : offset + len(replacement)] = replacement
        return (ones_sum(buffer[start:end]) - before) % MODULUS


_USUAL_TIMESTAMPS = b"\x01\x01\x08\x0a"
_USUAL_BYTES = 12


def timestamps_of(buffer: bytes | bytearray, start: int, end: int) -> bytes:
    """The timestamps among the options `buffer[start:end]`, aligned as most stacks send them (RFC 7323 appendix A);
    nothing where there are none. The options can be walked."""
    area = bytes(buffer[start:end])
    if len(area) == _USUAL_BYTES and area.startswith(_USUAL_TIMESTAMPS):
        return area
    for kind, offset, length in OptionArea(area, 0, len(area)):
        if kind == TIMESTAMPS and length == 10:
            return _USUAL_TIMESTAMPS[:2] + area[offset : offset + length]
    return b""


NO_OPTIONS = OptionArea(b"", 0, 0)
