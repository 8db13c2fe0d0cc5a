"""Translate an ICMP error: the outside like any packet, and the packet it quotes as well.

A host believes an error only if the quoted packet is one that it sent (RFC 5508 REQ-4, REQ-5). So
the quoted addresses and ports become the original ones again, and the sums inside change by the
same amount; a quoted transport checksum may be cut off, or 0 for UDP, and is left alone then.
The next-hop MTU of a "too big" is raised to a floor, so that a forged one cannot choke a sender.
"""

from dataclasses import replace
from struct import Struct

from hyperplane.limits import PATH_MTU_MIN
from hyperplane.nat.rewrite import address_delta, resize, transport_delta
from hyperplane.wire.checksum import MODULUS, ones_sum
from hyperplane.wire.icmp import IcmpError, QuotedPacket
from hyperplane.wire.packet import TCP, Packet

_WORD = Struct("!H")
_NUMBER = Struct("!I")
_HEADER_CHECKSUM = 10


def translate_error(
    packet: Packet,
    error: IcmpError,
    quoted: QuotedPacket,
    addresses: bytes,
    inner_tuple: bytes,
    sequence: int | None = None,
    added_bytes: int = 0,
) -> None:
    """Rewrite `packet`, which carries `error`, in place.

    `addresses`: new outer source and destination, 8 or 32 bytes. `inner_tuple`: the quoted packet's
    tuple as its sender knows it, 12 or 36 bytes. `sequence`: the quoted segment's number as its sender knows it, if
    that is another. `added_bytes`: what was put before the quoted datagram's data on its way.
    """
    quote = bytearray(error.quote)
    if added_bytes:
        _shorten_quote(quote, len(error.packet_in_error), quoted, added_bytes)
    if sequence is not None:
        _renumber_quote(quote, quoted, sequence)
    _translate_quote(quote, quoted, inner_tuple)
    mtu = error.next_hop_mtu
    rest = error.rest if mtu is None else error.rest - mtu + max(mtu - added_bytes, PATH_MTU_MIN)
    message = replace(error, quote=bytes(quote), rest=rest).emit(addresses)
    resize(packet, len(message) - (packet.end - packet.transport))
    buffer, start = packet.buffer, packet.start
    old = packet.tuple_bytes[:-4]
    if packet.version == 4:
        buffer[start + 12 : start + 20] = addresses
        delta = address_delta(old + bytes(4), addresses + bytes(4))
        _WORD.pack_into(buffer, start + _HEADER_CHECKSUM, (packet.header_checksum - delta) % MODULUS)
    else:
        buffer[start + 8 : start + 40] = addresses
    buffer[packet.transport : packet.transport + len(message)] = message


def _renumber_quote(quote: bytearray, quoted: QuotedPacket, sequence: int) -> None:
    """A stack believes an error only about a number that is on its way (Linux: tcp_v4_err)."""
    transport = quoted.transport
    old = _NUMBER.unpack_from(quote, transport + 4)[0]
    _NUMBER.pack_into(quote, transport + 4, sequence)
    _adjust(quote, transport + 16, old - sequence)


def _shorten_quote(quote: bytearray, end: int, quoted: QuotedPacket, added_bytes: int) -> None:
    """Take what was added out of a datagram again: the data, as far as it is quoted, and both lengths.

    The quoted packet ends at `end`; extensions behind it stay where they are (RFC 4884 section 5).
    """
    transport = quoted.transport
    payload = transport + 8
    added = bytes(quote[payload : min(payload + added_bytes, end)])
    padding = bytes(len(added)) if end < len(quote) else b""
    quote[payload:end] = quote[payload + len(added) : end] + padding
    for length_at in (2 if quoted.version == 4 else 4, transport + 4):
        _WORD.pack_into(quote, length_at, _WORD.unpack_from(quote, length_at)[0] - added_bytes)
    if quoted.version == 4:
        _adjust(quote, _HEADER_CHECKSUM, added_bytes)
    if len(added) == added_bytes and _WORD.unpack_from(quote, transport + 6)[0]:
        _adjust(quote, transport + 6, ones_sum(added) + 2 * added_bytes)


def _adjust(quote: bytearray, field: int, less: int) -> None:
    """A checksum whose words sum to `less` less than before, if it is quoted."""
    if field + 2 <= len(quote):
        _WORD.pack_into(quote, field, (_WORD.unpack_from(quote, field)[0] + less) % MODULUS)


def _translate_quote(quote: bytearray, quoted: QuotedPacket, inner_tuple: bytes) -> None:
    transport = quoted.transport
    if quoted.version == 4:
        quote[12:20] = inner_tuple[:8]
        old = _WORD.unpack_from(quote, _HEADER_CHECKSUM)[0]
        header = (old - address_delta(quoted.tuple_bytes, inner_tuple)) % MODULUS
        _WORD.pack_into(quote, _HEADER_CHECKSUM, header)
    else:
        quote[8:40] = inner_tuple[:32]
    quote[transport : transport + 4] = inner_tuple[-4:]
    field = transport + (16 if quoted.protocol == TCP else 6)
    if field + 2 > len(quote):
        return
    value = _WORD.unpack_from(quote, field)[0]
    if value or quoted.protocol == TCP:
        changed = (value - transport_delta(quoted.tuple_bytes, inner_tuple)) % MODULUS
        _WORD.pack_into(quote, field, changed if quoted.protocol == TCP else changed or MODULUS)
