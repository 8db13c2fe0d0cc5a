"""Translate an ICMP error: the outside like any packet, and the packet it quotes as well.

A host believes an error only if the quoted packet is one that it sent (RFC 5508 REQ-4, REQ-5). So
the quoted addresses and ports become the original ones again, and the sums inside change by the
same amount; a quoted transport checksum may be cut off, or 0 for UDP, and is left alone then.
The next-hop MTU of a "too big" is raised to a floor, so that a forged one cannot choke a sender.
"""

from dataclasses import replace
from struct import Struct

from hyperplane.limits import PATH_MTU_MIN
from hyperplane.nat.rewrite import address_delta, transport_delta
from hyperplane.wire.checksum import MODULUS
from hyperplane.wire.icmp import IcmpError, QuotedPacket
from hyperplane.wire.packet import TCP, Packet

_WORD = Struct("!H")
_HEADER_CHECKSUM = 10


def translate_error(
    packet: Packet, error: IcmpError, quoted: QuotedPacket, addresses: bytes, inner_tuple: bytes
) -> None:
    """Rewrite `packet`, which carries `error`, in place.

    `addresses`: new outer source and destination, 8 or 32 bytes. `inner_tuple`: the quoted packet's
    tuple as its sender knows it, 12 or 36 bytes.
    """
    quote = bytearray(error.quote)
    _translate_quote(quote, quoted, inner_tuple)
    mtu = error.next_hop_mtu
    rest = error.rest if mtu is None or mtu >= PATH_MTU_MIN else error.rest - mtu + PATH_MTU_MIN
    message = replace(error, quote=bytes(quote), rest=rest).emit(addresses)
    buffer, start = packet.buffer, packet.start
    old = packet.tuple_bytes[:-4]
    if packet.version == 4:
        buffer[start + 12 : start + 20] = addresses
        delta = address_delta(old + bytes(4), addresses + bytes(4))
        _WORD.pack_into(buffer, start + _HEADER_CHECKSUM, (packet.header_checksum - delta) % MODULUS)
    else:
        buffer[start + 8 : start + 40] = addresses
    buffer[packet.transport : packet.transport + len(message)] = message


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
