"""The Proxy Protocol v2 header as the target got it: put together from what was heard there, and taken apart.

It stands at the stream's beginning, in a segment of its own or in several, perhaps more than once; of a datagram it is
the first bytes. Decoded by the strict parser of `wire/ppv2.py`, and shown with its bytes, so that what the parser says
can be compared with the layout that the PROXY protocol specification gives.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from hyperplane.cli.trace.sightings import HopView, Sighting
from hyperplane.io.flow_view import SocketAddress
from hyperplane.io.hops import Hop
from hyperplane.wire.ppv2 import AWS, CRC32C, NOOP, SIGNATURE, Command, IncompleteHeader, ProxyHeader, ProxyHeaderError

_BLOCK_AT = 16
_NUMBERS = 1 << 32
_SHOWN_BYTES = 16
_KINDS = {CRC32C: "CRC32C", NOOP: "NOOP", AWS: "AWS, VPC endpoint id"}


@dataclass(frozen=True, slots=True)
class Field:
    """Some bytes of the header and what they say."""

    offset: int
    bytes_hex: str
    says: str


@dataclass(frozen=True, slots=True)
class HeaderView:
    """The header of one call."""

    length: int
    segments: int
    """How many packets at the target carried bytes of it: more than one if it was split, or sent again."""
    client: SocketAddress | None
    destination: SocketAddress | None
    endpoint_id: str | None
    bytes_hex: str
    fields: tuple[Field, ...]
    problem: str | None
    """Why it cannot be read."""


def header_at_target(hops: Sequence[HopView], sightings: Iterable[Sighting]) -> HeaderView | None:
    """The header in front of what the target got from the client; None if there is none."""
    target = next((hop for hop in hops if hop.place.hop is Hop.TARGET and hop.original), None)
    if target is None or target.original is None:
        return None
    ends = (target.original.source, target.original.destination)
    here = [item for item in sightings if item.place == target.place and (item.source, item.destination) == ends]
    data = _beginning(here)
    return _view(data, here) if data.startswith(SIGNATURE) else None


def _beginning(sightings: Sequence[Sighting]) -> bytes:
    """The first bytes of the stream, as far as they were heard without a hole; of a datagram all of it."""
    syn = next((item for item in sightings if "S" in item.flags), None)
    if syn is None:
        return next((item.data for item in sightings if not item.flags), b"")
    stream = b""
    for item in sorted(sightings, key=lambda item: _place(item, syn)):
        place = _place(item, syn)
        if item.data and place <= len(stream):
            stream = stream[:place] + item.data + stream[place + len(item.data) :]
    return stream


def _place(item: Sighting, syn: Sighting) -> int:
    return (item.sequence - syn.sequence - 1) % _NUMBERS


def _view(data: bytes, here: Sequence[Sighting]) -> HeaderView:
    try:
        header, length = ProxyHeader.parse(data)
    except IncompleteHeader as error:
        return _unread(data, here, f"it ends too early: at least {error.bytes_needed} more bytes are needed")
    except ProxyHeaderError as error:
        return _unread(data, here, str(error))
    addressed = bool(header.source)
    return HeaderView(
        length=length,
        segments=_carriers(here, length),
        client=SocketAddress(str(ip_address(header.source)), header.source_port) if addressed else None,
        destination=SocketAddress(str(ip_address(header.destination)), header.destination_port) if addressed else None,
        endpoint_id=header.endpoint_id,
        bytes_hex=data[:length].hex(),
        fields=tuple(_fields(header, data[:length])),
        problem=None,
    )


def _unread(data: bytes, here: Sequence[Sighting], problem: str) -> HeaderView:
    return HeaderView(len(data), _carriers(here, len(data)), None, None, None, data.hex(), (), problem)


def _carriers(here: Sequence[Sighting], length: int) -> int:
    syn = next((item for item in here if "S" in item.flags), None)
    return sum(bool(item.data) and (syn is None or _place(item, syn) < length) for item in here)


def _fields(header: ProxyHeader, data: bytes) -> Iterator[Field]:
    yield _field(data, 0, 12, "signature")
    yield _field(data, 12, 1, f"version 2, {header.command.name}")
    family = {4: "IPv4", 16: "IPv6"}.get(len(header.source), "no address")
    transport = {6: "TCP", 17: "UDP"}.get(header.protocol or 0, "unspecified")
    yield _field(data, 13, 1, f"{transport} over {family}")
    yield _field(data, 14, 2, f"{len(data) - _BLOCK_AT} bytes follow")
    if header.command is not Command.PROXY:
        return
    at, size = _BLOCK_AT, len(header.source)
    for length, says in (
        (size, f"client {ip_address(header.source)}"),
        (size, f"endpoint {ip_address(header.destination)}"),
        (2, f"client port {header.source_port}"),
        (2, f"endpoint port {header.destination_port}"),
    ):
        yield _field(data, at, length, says)
        at += length
    for tlv in header.tlvs:
        length = 3 + len(tlv.value)
        says = f"TLV {tlv.type:#04x} {_KINDS.get(tlv.type, 'unknown')}"
        yield _field(data, at, length, f"{says}: {header.endpoint_id}" if tlv.is_endpoint_id else says)
        at += length


def _field(data: bytes, at: int, length: int, says: str) -> Field:
    return Field(at, data[at : at + length].hex(), says)


def header_rows(view: HeaderView) -> list[list[str]]:
    """(offset, bytes, what they say) of each field, for people; long ones are cut."""
    return [[str(field.offset), _spaced(bytes.fromhex(field.bytes_hex)), field.says] for field in view.fields]


def _spaced(data: bytes) -> str:
    shown = data[:_SHOWN_BYTES].hex(" ")
    return shown if len(data) <= _SHOWN_BYTES else f"{shown} ..."
