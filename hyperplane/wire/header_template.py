"""The Proxy Protocol headers of one listener behind one endpoint: what all have in common, and the client filled in.

A header is made for nearly every connection and every datagram whose target gets one. All but the client's address and
port is fixed, and a CRC is linear: each of those bytes changes it by what a table says (`crc32c.py`), whatever the
others are. So a header costs a few look-ups instead of a walk over its hundred bytes.
"""

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct

from hyperplane.wire.crc32c import changes
from hyperplane.wire.ppv2 import CHECKSUM, NOOP, START_BYTES, TLV_START_BYTES, Command, ProxyHeader, Tlv

_LENGTHS_AIMED_AT = {4: 100, 16: 124}
_LAYOUTS_KEPT = 32


class HeaderTemplate:
    """What a load balancer sends to the targets of one listener for all clients of one PrivateLink endpoint.

    `header_for` fills in the client and gives exactly the bytes above. Two lengths are our choice:

    - Over IPv6 AWS documents none. Ours has the same TLVs behind the longer addresses: 124 bytes.
    - An id of another length than 22 characters makes the NOOP shorter or longer, so that the header
      stays at 100 or 124 bytes. Beyond 58 characters there is no room for that: no NOOP, or an empty
      one where that makes the length even. It is always even, so that the checksum of what follows
      the header in a segment is the sum that it had before.
    """

    __slots__ = ("_checksum", "_destination", "_layout", "_port_and_tlv", "_rest", "_start", "_tables", "length")

    length: int
    """Bytes of every header of this template."""

    def __init__(self, protocol: int, destination: bytes, destination_port: int, endpoint_id: str) -> None:
        """`destination`: the endpoint's address, 4 or 16 bytes; its clients' are of the same family."""
        address_bytes = len(destination)
        tlvs = _tlvs_of(address_bytes, endpoint_id)
        nobody = bytes(address_bytes)
        header = ProxyHeader(Command.PROXY, protocol, nobody, destination, 0, destination_port, tlvs).emit()
        self.length = len(header)
        self._layout, self._tables = _layout_of(address_bytes, len(header))
        self._start, _, self._destination, _, self._port_and_tlv, self._checksum, self._rest = self._layout.unpack(
            header
        )

    def header_for(self, client: bytes, client_port: bytes) -> bytes:
        """The header. Address, 4 or 16 bytes, and port, 2 bytes, as they are on the wire."""
        checksum = self._checksum
        for table, byte in zip(self._tables, client + client_port, strict=True):
            checksum ^= table[byte]
        return self._layout.pack(
            self._start, client, self._destination, client_port, self._port_and_tlv, checksum, self._rest
        )


def header_bytes(address_bytes: int, endpoint_id: str) -> int:
    """Length of all headers that tell of clients of this endpoint, whose address has so many bytes."""
    return _bytes_of(address_bytes, _tlvs_of(address_bytes, endpoint_id))


def _tlvs_of(address_bytes: int, endpoint_id: str) -> tuple[Tlv, ...]:
    tlvs = (CHECKSUM, Tlv.for_endpoint(endpoint_id))
    return tlvs + _padding(_bytes_of(address_bytes, tlvs), _LENGTHS_AIMED_AT[address_bytes])


def _bytes_of(address_bytes: int, tlvs: Sequence[Tlv]) -> int:
    return START_BYTES + 2 * (address_bytes + 2) + sum(TLV_START_BYTES + len(tlv.value) for tlv in tlvs)


def _padding(length: int, aimed_at: int) -> tuple[Tlv, ...]:
    """The NOOP that takes a header of this length to the other, or as near as `HeaderTemplate` says."""
    room = aimed_at - length - TLV_START_BYTES
    if room >= 0:
        return (Tlv(NOOP, bytes(room)),)
    return (Tlv(NOOP, b""),) if length % 2 else ()


@lru_cache(_LAYOUTS_KEPT)
def _layout_of(address_bytes: int, header_bytes: int) -> tuple[Struct, tuple[tuple[int, ...], ...]]:
    """How a template's header is put together, and per byte of the client what that byte does to the checksum.

    Start, client, destination, client's port; listener's port with the first TLV's type and length; checksum; rest.
    """
    port_at = START_BYTES + 2 * address_bytes
    places = (*range(START_BYTES, START_BYTES + address_bytes), port_at, port_at + 1)
    start = f"!{START_BYTES}s{address_bytes}s{address_bytes}s2s5sI"
    return (
        Struct(f"{start}{header_bytes - Struct(start).size}s"),
        tuple(changes(header_bytes - 1 - place) for place in places),
    )
