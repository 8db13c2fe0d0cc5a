"""Entries for tests, and what a journal should say of them."""

import sys
from zlib import crc32

from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.interface import Interface, Service, Timers
from hyperplane.flow.journal import Delta
from hyperplane.flow.key import SUFFIX_BYTES, parts_of, tuple_of
from hyperplane.flow.tcp_state import State
from hyperplane.snapshot import HeaderPlacement
from hyperplane.wire.packet import TCP
from tests.cases import packed
from tests.nodes import BALANCER_6, DOOR, ENDPOINT_6, EXIT, door, way_out

TIMERS = Timers(udp_idle_s=120.0, half_open_s=60.0, closing_s=120.0)


def interface_of(family: int = 4, number: int = DOOR) -> Interface:
    interface = Interface(number, TIMERS)
    if family == 4:
        interface.load(door(number) if number != EXIT else way_out())
    else:
        interface.load(
            door(number, ENDPOINT_6[0], "fd00::/16") if number != EXIT else way_out(BALANCER_6[0], "fd00::/16")
        )
    return interface


class Flows:
    """Makes entries that differ in the client's port and the source port towards the target."""

    def __init__(self, family: int = 4, idle_timeout_s: float = 350.0) -> None:
        self.endpoint = interface_of(family)
        self.balancer = interface_of(family, EXIT)
        self.service = Service(idle_timeout_s, None)
        self.client = packed("10.0.1.50" if family == 4 else "fd00:0:1::50")
        self.target = packed("10.9.3.20" if family == 4 else "fd00:9:3::20")

    def entry(self, number: int = 0, now: float = 1.0, snat_port: int | None = None, protocol: int = TCP) -> FlowEntry:
        snat_port = 20_000 + number if snat_port is None else snat_port
        original = tuple_of(self.client, self.endpoint.address, 40_000 + number, 443)
        translated = tuple_of(self.balancer.address, self.target, snat_port, 8080)
        return FlowEntry(
            original + self.endpoint.suffixes[protocol],
            translated + self.balancer.suffixes[protocol],
            self.endpoint,
            self.balancer,
            self.service,
            now,
        )


ANSWER, SEGMENT_BYTES = 4_000_000_000, 1400
"""What a target's SYN-ACK says."""


def with_header(entry: FlowEntry, answered: bool = False, first: int = 1000) -> FlowEntry:
    """The entry, whose target gets a header, and has answered or not."""
    entry.get_header(HeaderPlacement.ON_FIRST_ACK, first)
    if answered:
        take_answer(entry)
    return entry


def take_answer(entry: FlowEntry) -> None:
    assert entry.injection is not None
    entry.injection.note_answer(ANSWER, SEGMENT_BYTES)
    entry.enter(State.SYN_RECEIVED)


def tag_of(entry: FlowEntry, use: int) -> int:
    """The second word of the entry's row, which has told of `use` flows so far, made without the journal's code."""
    client, _, client_port, service_port = parts_of(entry.original_key[:-SUFFIX_BYTES])
    _, target, snat_port, target_port = parts_of(entry.translated_key[:-SUFFIX_BYTES])
    places = b"".join(
        number.to_bytes(2, "big") for number in (use & 0xFFFF, entry.endpoint.number, entry.balancer.number)
    )
    version = 4 if len(client) == 4 else 6
    addresses = client.ljust(16, b"\0") + target.ljust(16, b"\0")
    ports = b"".join(port.to_bytes(2, "big") for port in (client_port, service_port, target_port, snat_port))
    identity = places + bytes([entry.protocol, version]) + addresses + ports + entry.born_ms.to_bytes(4, "big")
    first, placement = header_of(entry)
    identity += first.to_bytes(4, "big") + bytes([placement, 0, 0, 0])
    return int.from_bytes(crc32(identity).to_bytes(4, "big") + identity[:4], sys.byteorder)


def header_of(entry: FlowEntry) -> tuple[int, int]:
    """(first byte's number, placement) as a journal says it."""
    if entry.injection is None:
        return 0, 0
    return entry.injection.first, 1 + (entry.injection.placement is HeaderPlacement.ON_FIRST_ACK)


def delta_of(entry: FlowEntry, row: int, use: int = 1) -> Delta:
    """What a journal must say of this entry, made without the journal's code."""
    client, _, client_port, service_port = parts_of(entry.original_key[:-SUFFIX_BYTES])
    _, target, snat_port, target_port = parts_of(entry.translated_key[:-SUFFIX_BYTES])
    return Delta(
        endpoint=entry.endpoint.number,
        load_balancer=entry.balancer.number,
        protocol=entry.protocol,
        client=client,
        target=target,
        client_port=client_port.to_bytes(2, "big"),
        service_port=service_port.to_bytes(2, "big"),
        target_port=target_port.to_bytes(2, "big"),
        snat_port=snat_port.to_bytes(2, "big"),
        born_ms=entry.born_ms,
        first=header_of(entry)[0],
        placement=header_of(entry)[1],
        told_state=entry.state | (entry.injection.marks << 5 if entry.injection else 0),
        epoch=entry.epoch,
        scales=entry.scales,
        seen_at=int(entry.seen_at * 1000) / 1000,
        row=row,
        tag=tag_of(entry, use),
        offer=entry.injection.offer if entry.injection else 0,
    )
