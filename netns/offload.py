"""Whether a link's end lets UDP super-packets leave whole, or has the kernel cut them first.

A sender may hand the kernel up to 64 KiB as one packet that stands for many datagrams (UDP_SEGMENT, `udp(7)`). It
travels whole from namespace to namespace, until it leaves by a link whose feature `tx-udp-segmentation` is off
(linux: net/core/dev.c, validate_xmit_skb). Asked and set by `ioctl` (linux/ethtool.h), as `ethtool -K` once did: a
system call each, in the namespace of the calling thread.
"""

import ctypes
import fcntl
import socket
from struct import Struct
from typing import NamedTuple

from netns.errors import KernelError

_SIOCETHTOOL = 0x8946
_GET_STRINGS, _SET_INFO, _GET_FEATURES, _SET_FEATURES = 0x1B, 0x37, 0x3A, 0x3B
_NAMES_OF_FEATURES = 4  # ETH_SS_FEATURES
_NAME_BYTES = 32  # ETH_GSTRING_LEN
_FEATURE = b"tx-udp-segmentation"

_REQUEST = Struct("@16sP16x")  # struct ifreq
_HEAD = Struct("=II")
_COUNT = Struct("=IIQI")
_NAMES = Struct("=III")
_STATE = Struct("=IIII")  # available, requested, active, never changed
_ORDER = Struct("=II")  # valid, requested


class _Place(NamedTuple):
    """Where the feature stands among all: the 32 features of `block`, and its bit there."""

    block: int
    bit: int


def cuts_datagrams(link: str) -> bool:
    """Whether UDP super-packets are to be cut before they leave by `link`. Raises KernelError.

    What was asked for, that is: while checksums are not offloaded either, they are cut anyway.
    """
    place = _place(link)
    request = _HEAD.pack(_GET_FEATURES, place.block + 1) + bytes(_STATE.size * (place.block + 1))
    _, requested, _, _ = _STATE.unpack_from(_ask(link, request), _HEAD.size + _STATE.size * place.block)
    return not requested & place.bit


def cut_datagrams(link: str, cut: bool) -> None:
    """Have them cut, or let them pass. Raises KernelError."""
    place = _place(link)
    orders = bytearray(_ORDER.size * (place.block + 1))
    _ORDER.pack_into(orders, _ORDER.size * place.block, place.bit, 0 if cut else place.bit)
    _ask(link, _HEAD.pack(_SET_FEATURES, place.block + 1) + bytes(orders))


_places: list[_Place] = []
"""The one place, once it is known: the same for every link of a kernel."""


def _place(link: str) -> _Place:
    if not _places:
        number = _feature_names(link).index(_FEATURE)
        _places.append(_Place(number // 32, 1 << number % 32))
    return _places[0]


def _feature_names(link: str) -> tuple[bytes, ...]:
    info = _ask(link, _COUNT.pack(_SET_INFO, 0, 1 << _NAMES_OF_FEATURES, 0))
    count = _COUNT.unpack(info)[3]
    answer = _ask(link, _NAMES.pack(_GET_STRINGS, _NAMES_OF_FEATURES, count) + bytes(_NAME_BYTES * count))
    ends = range(_NAMES.size, len(answer), _NAME_BYTES)
    return tuple(answer[at : at + _NAME_BYTES].rstrip(b"\0") for at in ends)


def _ask(link: str, request: bytes) -> bytes:
    buffer = ctypes.create_string_buffer(request, len(request))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        try:
            fcntl.ioctl(door, _SIOCETHTOOL, _REQUEST.pack(link.encode(), ctypes.addressof(buffer)))
        except OSError as error:
            raise KernelError(error.errno or 0, link, "ask or set what it offloads") from error
    return buffer.raw
