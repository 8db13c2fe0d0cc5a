"""What the taps have heard, read by scapy: which packets belong to the call, and how they looked at each hop.

Only here are packets taken apart, and by a stranger's program, so that what is shown is what was on the
wire and not what our own code believes. On the client's side a packet is known by its addresses and ports. Beyond
the translation it has others; there the first packet of the call is found by what no translation changes
(TCP: its sequence number, UDP: its data, perhaps behind a header), and all others by the addresses and ports of that
first one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

from hyperplane.io.flow_view import SocketAddress
from hyperplane.io.hops import Hop, Place
from hyperplane.io.tap import TappedPacket

_ETHERNET_BYTES = 14

CLIENT_SIDE = (Hop.CLIENT, Hop.ENDPOINT)


@dataclass(frozen=True, slots=True)
class Sighting:
    """One packet at one place."""

    place: Place
    time_ns: int
    source: SocketAddress
    destination: SocketAddress
    ttl: int
    length: int
    """Bytes of the IP packet. A sender's super-packet may have 64 KiB."""
    flags: str
    """TCP flags in scapy's letters; empty for UDP."""
    sequence: int
    data: bytes


def read_packet(place: Place, packet: TappedPacket) -> Sighting | None:
    """A TCP segment or UDP datagram over IPv4; None for anything else (ARP, IPv6, ICMP)."""
    if len(packet.data) < _ETHERNET_BYTES:
        return None
    read = Ether(packet.data)  # what is broken further in becomes plain bytes
    if IP not in read or (TCP not in read and UDP not in read):
        return None
    network = read[IP]
    transport = network[TCP] if TCP in network else network[UDP]
    return Sighting(
        place=place,
        time_ns=packet.time_ns,
        source=SocketAddress(network.src, int(transport.sport)),
        destination=SocketAddress(network.dst, int(transport.dport)),
        ttl=int(network.ttl),
        length=int(network.len),
        flags=str(transport.flags) if TCP in network else "",
        sequence=int(transport.seq) if TCP in network else 0,
        data=bytes(transport.payload),
    )


@dataclass(frozen=True, slots=True)
class Direction:
    """All packets of one direction at one hop: what the first one looked like, and how many there were."""

    source: SocketAddress
    destination: SocketAddress
    ttl: int
    packets: int
    bytes: int
    first_at_s: float
    """Since the call's very first packet was seen."""
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HopView:
    """One hop: what passed from client to target, and what came back. None: nothing did."""

    place: Place
    original: Direction | None
    reply: Direction | None


def hops_of(
    places: Sequence[Place], sightings: Iterable[Sighting], client: SocketAddress, server: SocketAddress
) -> list[HopView]:
    """The call `client` -> `server` at each place. Beyond the translation, places that saw nothing of it are left out
    where another place of the same hop saw it."""
    ordered = sorted(sightings, key=lambda sighting: sighting.time_ns)
    near = [item for item in ordered if item.place.hop in CLIENT_SIDE]
    mine = [item for item in near if {item.source, item.destination} == {client, server}]
    first = next((item for item in mine if item.source == client), None)
    began_ns = first.time_ns if first else 0
    views = []
    for place in places:
        here = [item for item in ordered if item.place == place]
        outbound = (client, server) if place.hop in CLIENT_SIDE else _translated(first, here)
        views.append(_hop_view(place, here, outbound, began_ns))
    return _without_bystanders(views)


def _translated(first: Sighting | None, here: Sequence[Sighting]) -> tuple[SocketAddress, SocketAddress] | None:
    """Source and destination that the call's packets have at a place beyond the translation.

    Times do not count: the kernel begins to stamp packets a moment after the first listener came, and until then
    a packet has the time at which it was read (linux: net/core/dev.c, netstamp_needed_key).
    """
    if first is None:
        return None
    return next(((item.source, item.destination) for item in here if _same_packet(first, item)), None)


def _same_packet(first: Sighting, other: Sighting) -> bool:
    """Whether `other` is `first` with other addresses."""
    if first.flags:
        return "S" in other.flags and "A" not in other.flags and other.sequence == first.sequence
    return not other.flags and other.data.endswith(first.data)


def _hop_view(
    place: Place, here: Sequence[Sighting], outbound: tuple[SocketAddress, SocketAddress] | None, began_ns: int
) -> HopView:
    if outbound is None:
        return HopView(place, None, None)
    source, destination = outbound
    original = [item for item in here if (item.source, item.destination) == (source, destination)]
    reply = [item for item in here if (item.source, item.destination) == (destination, source)]
    return HopView(place, _direction(original, began_ns), _direction(reply, began_ns))


def _direction(sightings: Sequence[Sighting], began_ns: int) -> Direction | None:
    if not sightings:
        return None
    first = sightings[0]
    return Direction(
        source=first.source,
        destination=first.destination,
        ttl=first.ttl,
        packets=len(sightings),
        bytes=sum(item.length for item in sightings),
        first_at_s=(first.time_ns - began_ns) / 1e9,
        flags=tuple(item.flags for item in sightings),
    )


def _without_bystanders(views: list[HopView]) -> list[HopView]:
    """One view a hop: the other targets (and the ways to them) saw nothing, and nothing was to be seen there."""
    kept: dict[Hop, HopView] = {}
    for view in views:
        standing = kept.get(view.place.hop)
        if standing is None or (standing.original is None and view.original is not None):
            kept[view.place.hop] = view
    return [kept[hop] for hop in Hop if hop in kept]
