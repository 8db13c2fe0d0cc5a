"""Stories of streams whose target gets a Proxy Protocol v2 header: who sends what, and what must reach the other end.

    @tells(AT_ONCE)
    def test_pp_01_the_header_takes_the_place_of_the_handshakes_ack(road):
        yield road.syn()
        yield road.syn_ack()
        yield road.replaced()

The client's first byte has the number `FIRST`. Each step says the exact packets, built by `tests/cases.py`, with a
header from `tests/header_oracle.py`, and every counter that moves. A test is told on all its roads: IPv4 and IPv6,
checksums finished by the sender and left to us, either placement.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from hyperplane.snapshot import HeaderPlacement
from hyperplane.wire.packet import ChecksumState
from tests import cases
from tests.cases import ACK, CWR, ECE, FIN, PSH, SYN, UDP, URG, Ip
from tests.dataplane.story import ALL_ROADS, PLAIN, Road, Step, play
from tests.dissection import dissect
from tests.header_oracle import proxy_header
from tests.nodes import EXIT, MemoryZone, snapshot_6, snapshot_of

WITH_PAYLOAD, AT_ONCE = HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD, HeaderPlacement.ON_FIRST_ACK
FIRST = 1000
NUMBERS = 1 << 32
ENDPOINT_ID = "vpce-1"
SENT, REPEATED, RESENT = "headers_sent", "headers_repeated", "headers_resent"

Way = tuple[int, ChecksumState, HeaderPlacement]
Told = Callable[["HeaderRoad"], Iterator[Step]]


class HeaderRoad(Road):
    """A road whose target gets a header."""

    first = FIRST

    def __init__(self, family: int, state: ChecksumState, placement: HeaderPlacement) -> None:
        super().__init__(family, state)
        self.placement = placement
        self.header = proxy_header(self.client, self.endpoint, ENDPOINT_ID)
        self.length = len(self.header)
        self.datagram_header = proxy_header(self.client, self.datagrams, ENDPOINT_ID, UDP)

    def zone(self, ports: int = 1) -> MemoryZone:
        """With more than one port nobody knows beforehand which a flow gets (`tests/dataplane/beginnings.py`)."""
        snapshot = snapshot_6(self.placement) if self.family == 6 else snapshot_of(placement=self.placement)
        return MemoryZone(snapshot, ports=ports)

    # --- towards the target --------------------------------------------------------------------

    def segment(
        self,
        begin: int = 0,
        end: int | None = None,
        *,
        acknowledgment: int = 2000,
        window: int = 502,
        options: bytes = b"",
        ip: Ip | None = None,
    ) -> bytes:
        """Bytes `begin` to `end` of the header in a segment of its own. It does not pass a router before it leaves."""
        return cases.tcp(
            self.balancer,
            self.target,
            flags=PSH | ACK,
            sequence=self.first + begin,
            acknowledgment=acknowledgment,
            window=window,
            options=options,
            payload=self.header[begin:end],
            ip=ip or Ip(ttl=63, identification=0),
        )

    def reset_before(self, begin: int = 0) -> bytes:
        """A reset of the node's own, where the header begins, or what the target has not got of it."""
        return cases.tcp(
            self.balancer,
            self.target,
            flags=cases.RST,
            sequence=self.first + begin,
            window=0,
            ip=Ip(ttl=63, identification=0),
        )

    def shifted(self, flags: int = ACK, by: int | None = None, **fields: Any) -> Step:
        """A segment of the client's behind the header."""
        fields = {"sequence": self.first} | fields
        came = cases.tcp(self.client, self.endpoint, flags=flags, checksum=self.sum, **fields)
        fields["sequence"] += self.length if by is None else by
        return self.passes(came, cases.tcp(self.balancer, self.target, flags=flags, **fields))

    def led(
        self,
        flags: int = PSH | ACK,
        counted: str = SENT,
        leading: tuple[bytes, ...] | None = None,
        stamp: bytes = b"",
        **fields: Any,
    ) -> Step:
        """The header, and behind it a segment of the client's. `stamp`: the timestamps among its options."""
        step = self.shifted(flags, **fields)
        if leading is None:
            taken = {name: value for name, value in fields.items() if name in ("acknowledgment", "window")}
            leading = (self.segment(options=stamp, **taken),)
        return replace(step, leading=leading, moved=step.moved | {counted: 1})

    def shared(self, flags: int = PSH | ACK, counted: str = SENT, payload: bytes = b"question", **fields: Any) -> Step:
        """Data so short that it goes in one segment with the header. It is counted as the client sent it."""
        fields = {"sequence": self.first} | fields
        came = cases.tcp(self.client, self.endpoint, flags=flags, payload=payload, checksum=self.sum, **fields)
        out = cases.tcp(self.balancer, self.target, flags=flags, payload=self.header + payload, **fields)
        step = self.passes(came, out)
        return replace(step, moved=step.moved | {"bytes_original": len(came), counted: 1})

    def replaced(
        self, begin: int = 0, end: int | None = None, counted: str | None = SENT, flags: int = ACK, **fields: Any
    ) -> Step:
        """An ACK in whose place the header goes, or as much of it as there is room for."""
        fields = {"sequence": self.first} | fields
        came = cases.tcp(self.client, self.endpoint, flags=flags, checksum=self.sum, **fields)
        fields |= {"sequence": self.first + begin, "payload": self.header[begin:end]}
        out = cases.tcp(self.balancer, self.target, flags=PSH | ACK, **fields)
        step = self.passes(came, out)
        counters = step.moved | {"bytes_original": len(came)} | ({counted: 1} if counted else {})
        return replace(step, moved=counters)

    # --- towards the client --------------------------------------------------------------------

    def mapped(self, came: dict[str, Any], out: dict[str, Any], flags: int = ACK, **fields: Any) -> Step:
        """A segment of the target's: what of it changes, and into what."""
        fields = {"acknowledgment": self.first, "sequence": 2000} | fields
        packet = cases.tcp(self.target, self.balancer, flags=flags, checksum=self.sum, **(fields | came))
        return self.passes(packet, cases.tcp(self.endpoint, self.client, flags=flags, **(fields | out)), EXIT)

    def acked(self, up_to: int | None = None, window: int = 502, offered: int | None = None, **fields: Any) -> Step:
        """The target has `up_to` bytes of the header, or all of it and nothing else."""
        up_to = self.length if up_to is None else up_to
        missing = self.length - up_to
        if offered is None:
            offered = window - (-(-missing // 128))  # both ends' windows are in units of 128, see `linux_syn`
        return self.mapped(
            {"acknowledgment": self.first + up_to, "window": window},
            {"acknowledgment": self.first, "window": offered},
            **fields,
        )

    # --- beginnings ----------------------------------------------------------------------------

    def syn_ack(self, window: int = 502, offered: int | None = None, **fields: Any) -> Step:
        """Its window is never scaled. The header needs its room in it."""
        fields = {"sequence": 1999, "options": cases.linux_syn(size_bytes=1400), "acknowledgment": self.first} | fields
        offered = max(window - self.length, 0) if offered is None else offered
        return self.mapped({"window": window}, {"window": offered}, SYN | ACK, **fields)

    def opened(self) -> Iterator[Step]:
        """The handshake. With `AT_ONCE` the header is on its way, and not acknowledged."""
        yield self.syn(sequence=self.first - 1)
        yield self.syn_ack()
        yield self.replaced() if self.placement is AT_ONCE else self.up(ACK, sequence=self.first)

    def asked(self, payload: bytes = b"question") -> Iterator[Step]:
        """The handshake and the client's first data; nothing of it is acknowledged."""
        yield from self.opened()
        counted = REPEATED if self.placement is AT_ONCE else SENT
        yield self.shared(counted=counted, payload=payload)

    def answered_once(self, payload: bytes = b"question") -> Iterator[Step]:
        """The header and the client's first data are acknowledged."""
        yield from self.asked(payload)
        yield self.mapped(
            {"acknowledgment": self.first + self.length + len(payload)}, {"acknowledgment": self.first + len(payload)}
        )


class WrappingRoad(HeaderRoad):
    """The client's first number is near the end of all numbers."""

    def __init__(self, way: Way, first: int) -> None:
        super().__init__(*way)
        self.first = first


def ways(*placements: HeaderPlacement, roads: tuple[tuple[int, ChecksumState], ...] = ALL_ROADS) -> list[Way]:
    return [(*road, placement) for road in roads for placement in placements or (WITH_PAYLOAD, AT_ONCE)]


def name_of(way: Way) -> str:
    family, state, placement = way
    return f"IPv{family}, {state.name.lower()}, {placement.name.lower()}"


PLAIN_WAYS = ways(roads=PLAIN)


def judged(told: Told, road: HeaderRoad) -> None:
    """Play a story; what leaves is also read by whoever only knows the RFCs."""
    for step, packet in play(told, road):
        super_packet = step.state is ChecksumState.SEGMENTED
        assert all(dissect(sent).sums_are_right for sent in step.leading)
        assert not packet or super_packet or dissect(packet).sums_are_right


def tells(
    *placements: HeaderPlacement, roads: tuple[tuple[int, ChecksumState], ...] = ALL_ROADS
) -> Callable[[Told], Callable[[Way], None]]:
    """Make a test of a story: told on these roads in these placements, by default all."""

    def make(told: Told) -> Callable[[Way], None]:
        @pytest.mark.parametrize("way", ways(*placements, roads=roads), ids=name_of)
        def test(way: Way) -> None:
            judged(told, HeaderRoad(*way))

        test.__name__, test.__doc__ = told.__name__, told.__doc__
        return test

    return make


CONGESTED = URG | ECE | CWR
CLOSING = FIN | ACK
