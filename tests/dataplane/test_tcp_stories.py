"""TCP through a node: what is forwarded, changed, refused and answered (the checklist's rows are in the names)."""

from collections.abc import Iterator
from typing import Any

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6

from hyperplane.dataplane.verdict import DropReason
from hyperplane.wire.packet import ChecksumState
from tests import cases
from tests.cases import ACK, AE, CWR, ECE, FIN, NOP, PSH, RST, SYN, URG, Ip, linux_syn, mss, option, timestamps
from tests.dataplane.story import ALL_ROADS, BOTH_FAMILIES, PLAIN, Road, Step, Stories, Story, play
from tests.nodes import EXIT

stories = Stories()
HOUR_S = 3600


def reset_to(road: Road, to_client: bool, **fields: Any) -> bytes:
    """The reset that the client takes for its peer's, or the target for the balancer's."""
    if to_client:
        return cases.tcp(road.endpoint, road.client, window=0, ip=Ip(identification=0), **fields)
    return cases.tcp(road.balancer, road.target, window=0, ip=Ip(identification=0), **fields)


@stories("a connection from the first segment to the last")
def whole_connection(road: Road) -> Iterator[Step]:
    yield from road.closed()
    yield road.later(121.5, flows=0, flows_expired=1)


@stories("NAT-19 a repeated SYN and SYN-ACK change nothing")
def repeated_handshake(road: Road) -> Iterator[Step]:
    yield road.syn()
    yield road.up(SYN, sequence=999, options=linux_syn(1400))
    for _ in range(2):
        yield road.syn_ack()
    yield road.up(ACK)
    yield road.syn_ack()
    yield road.up(PSH | ACK, payload=b"question")


@stories("NAT-19 data on the handshake ACK, FIN with data, segments without data")
def odd_but_valid(road: Road) -> Iterator[Step]:
    yield road.syn()
    yield road.syn_ack()
    yield road.up(PSH | ACK, payload=b"question")
    yield road.down(ACK)
    yield road.down(PSH | FIN | ACK, payload=b"answer and farewell")
    yield road.up(FIN | ACK, sequence=1008, payload=b"farewell")
    yield road.down(ACK, sequence=2020)


@stories("NAT-19 half-close: the target streams for an hour under the idle timer")
def half_close(road: Road) -> Iterator[Step]:
    yield from road.opened()
    yield road.up(FIN | ACK)
    for second in range(0, HOUR_S, 300):
        yield road.later(300)
        yield road.down(ACK, sequence=2000 + second, payload=b"still streaming")
    yield road.down(FIN | ACK, sequence=9000)
    yield road.later(119)
    yield road.up(ACK, sequence=1001)


@stories("NAT-19 simultaneous close")
def simultaneous_close(road: Road) -> Iterator[Step]:
    yield from road.opened()
    yield road.up(FIN | ACK)
    yield road.down(FIN | ACK, sequence=2000)
    yield road.up(ACK, sequence=1001)
    yield road.down(ACK, sequence=2001)


@stories("NAT-14 349 s of silence keep the flow, 351 s end it")
def idle(road: Road) -> Iterator[Step]:
    yield from road.opened()
    yield road.later(349, flows=1)
    yield road.up(ACK)
    yield road.later(349, flows=1)
    yield road.down(ACK)
    yield road.later(351.5, flows=0, flows_expired=1)


@stories("NAT-15 keepalives of either side keep the flow")
def keepalives(road: Road) -> Iterator[Step]:
    yield from road.opened()
    for _ in range(5):
        yield road.later(300)
        yield road.up(ACK, sequence=999)
        yield road.later(300)
        yield road.down(ACK, sequence=1999)


@stories("NAT-16 after expiry whoever sends gets a reset derived from his segment alone")
def after_expiry(road: Road) -> Iterator[Step]:
    yield from road.opened()
    yield road.later(352, flows_expired=1)
    late = cases.tcp(road.client, road.endpoint, flags=PSH | ACK, acknowledgment=77, payload=b"late", checksum=road.sum)
    yield road.answered(late, DropReason.NO_FLOW, reset_to(road, True, flags=RST, sequence=77))
    late = cases.tcp(road.target, road.balancer, flags=FIN | ACK, acknowledgment=78, checksum=road.sum)
    yield road.answered(late, DropReason.NO_FLOW, reset_to(road, False, flags=RST, sequence=78), EXIT)
    late = cases.tcp(road.client, road.endpoint, flags=RST, sequence=1000, checksum=road.sum)
    yield road.dropped(late, DropReason.NO_FLOW)


@stories("NAT-17 a SYN's repetitions use one port and keep the flow; 60 s after the last it ends")
def half_open(road: Road) -> Iterator[Step]:
    yield road.syn()
    for pause in (1, 2, 4, 8, 16):
        yield road.later(pause, flows=1)
        yield road.up(SYN, sequence=999, options=linux_syn(1400))
    yield road.later(59, flows=1)
    yield road.later(2.5, flows=0, flows_expired=1)


@stories("NAT-18 for 120 s after the end a repeated last segment still passes")
def closing(road: Road) -> Iterator[Step]:
    yield from road.closed()
    yield road.later(100, flows=1)
    yield road.down(FIN | ACK, sequence=2000, acknowledgment=1001)
    yield road.up(ACK, sequence=1001, acknowledgment=2001)
    yield road.later(119, flows=1)
    yield road.later(2.5, flows=0, flows_expired=1)


@stories("NAT-20 S-02 a SYN from the target on the very tuple of a flow is dropped, and the flow goes on")
def simultaneous_open(road: Road) -> Iterator[Step]:
    def crossing(flags: int) -> Step:
        came = cases.tcp(road.target, road.balancer, flags=flags, checksum=road.sum)
        return road.dropped(came, DropReason.SYN_FROM_TARGET, EXIT, flows=1)

    yield road.syn()
    for flags in (SYN, SYN | PSH, SYN | URG, SYN | ECE | CWR):
        yield crossing(flags)
    yield road.syn_ack()
    yield crossing(SYN)
    yield road.up(ACK)
    yield crossing(SYN)
    yield road.up(PSH | ACK, payload=b"question")


@stories("NAT-21 S-02 a SYN from the provider's side is dropped without a word")
def unsolicited(road: Road) -> Iterator[Step]:
    for source in (road.target, road.balancer, road.client):
        for port in (road.balancer[1], 80, 443):
            came = cases.tcp(source, (road.balancer[0], port), flags=SYN, checksum=road.sum)
            yield road.dropped(came, DropReason.SYN_FROM_TARGET, EXIT, flows=0)


@stories("NAT-22 a SYN inside an established flow is the end system's to answer")
def syn_inside(road: Road) -> Iterator[Step]:
    yield from road.opened()
    yield road.up(SYN, sequence=123_456, options=linux_syn(1400))
    yield road.down(ACK)
    yield road.up(PSH | ACK, payload=b"the flow goes on")


@stories("NAT-22 after the end a SYN on the same tuple opens a new conversation")
def reopened(road: Road) -> Iterator[Step]:
    yield from road.closed()
    syn = road.up(SYN, sequence=777_777, options=linux_syn(1400))
    yield Step(syn.now, syn.packet, syn.eni, syn.state, syn.out, None, syn.moved | {"flows_reopened": 1}, 1)
    yield road.down(SYN | ACK, sequence=888_888, acknowledgment=777_778)
    yield road.up(ACK, sequence=777_778, acknowledgment=888_889)
    yield road.later(349, flows=1)
    yield road.up(PSH | ACK, sequence=777_778, payload=b"hello")


@stories("NAT-24 data in any order is none of our business")
def any_order(road: Road) -> Iterator[Step]:
    yield from road.opened()
    for sequence in (5000, 1000, 1000, 1 << 31, 4_000_000_000, 900):
        yield road.up(ACK, sequence=sequence, payload=b"x")
        yield road.down(ACK, sequence=sequence, acknowledgment=sequence + 9, payload=b"y")


@stories("NAT-25 sequence numbers wrap")
def wrap(road: Road) -> Iterator[Step]:
    top = (1 << 32) - 8
    yield road.syn(sequence=top - 1)
    yield road.syn_ack(sequence=top - 1, acknowledgment=top)
    yield road.up(ACK, sequence=top, acknowledgment=top, payload=b"x" * 16)
    yield road.down(ACK, sequence=top, acknowledgment=top + 16, payload=b"y" * 16)
    yield road.up(RST, sequence=8)


@stories("NAT-26 the segment size is lowered to what fits, and never raised or added")
def segment_size(road: Road) -> Iterator[Step]:
    fits = 1460 if road.family == 4 else 1440

    def sizes(offered: bytes, kept: bytes, flags: int, up: bool) -> Step:
        ends = (road.client, road.endpoint, road.balancer, road.target)
        source, destination, new_source, new_destination = (
            ends if up else (road.target, road.balancer, road.endpoint, road.client)
        )
        came = cases.tcp(source, destination, flags=flags, options=offered, checksum=road.sum)
        return road.passes(came, cases.tcp(new_source, new_destination, flags=flags, options=kept), 1 if up else EXIT)

    yield road.syn()
    for flags, up in ((SYN, True), (SYN | ACK, False)):
        for size in (8960, fits + 1, 65_535):
            yield sizes(mss(size), mss(fits), flags, up)
            yield sizes(NOP + mss(size) + b"\x04\x02", NOP + mss(fits) + b"\x04\x02", flags, up)
        for size in (fits, 536, 0):
            yield sizes(mss(size), mss(size), flags, up)
        yield sizes(b"", b"", flags, up)
    yield road.up(ACK, options=mss(9000))


@stories("NAT-27 timestamps pass unchanged, both ways")
def unchanged_timestamps(road: Road) -> Iterator[Step]:
    yield from road.opened()
    for value in (1, 0xFFFFFFFF):
        yield road.up(ACK, options=NOP + NOP + timestamps(value, 7), payload=b"x")
        yield road.down(ACK, options=NOP + NOP + timestamps(9, value), payload=b"y")


@stories("NAT-28 a signed SYN is refused at once, by ICMP: an unsigned reset would not be heard")
def signed(road: Road) -> Iterator[Step]:
    icmp_type, code = (3, 3) if road.family == 4 else (1, 4)
    fields = Ip(identification=0, traffic_class=0xC0 if road.family == 4 else 0)
    for kind in (option(19, bytes(16)), option(29, bytes(14))):
        came = cases.tcp(road.client, road.endpoint, flags=SYN, sequence=41, options=kind, checksum=road.sum)
        answer = cases.icmp(road.endpoint[0], road.client[0], icmp_type, code, 0, came, ip=fields)
        yield road.answered(came, DropReason.SIGNED_SEGMENT, answer, flows=0)


FAST_OPEN = option(34, b"cookie!!")
FAST_OPEN_OLD = option(254, b"\xf9\x89cookie")
MULTIPATH = option(30, bytes(10))


def stripped(road: Road, offered: bytes, payload: bytes = b"", **counted: int) -> Step:
    came = cases.tcp(
        road.client, road.endpoint, flags=SYN, options=mss(1400) + offered, payload=payload, checksum=road.sum
    )
    kept = mss(1400) + NOP * len(offered)
    kept += b"\0" * (-len(kept) % 4)
    return road.passes(came, cases.tcp(road.balancer, road.target, flags=SYN, options=kept), **counted)


@stories("NAT-29 fast open is taken off a SYN, and its data too")
def fast_open(road: Road) -> Iterator[Step]:
    yield stripped(road, FAST_OPEN, b"early data", flows_new=1, fast_open_stripped=1)
    yield stripped(road, FAST_OPEN_OLD, b"odd", fast_open_stripped=1)
    came = cases.tcp(road.client, road.endpoint, flags=SYN, payload=b"data without a cookie", checksum=road.sum)
    yield road.passes(came, cases.tcp(road.balancer, road.target, flags=SYN))


@stories("NAT-30 multipath is taken off a SYN")
def multipath(road: Road) -> Iterator[Step]:
    yield stripped(road, MULTIPATH, flows_new=1, multipath_stripped=1)
    yield stripped(road, FAST_OPEN + MULTIPATH, fast_open_stripped=1, multipath_stripped=1)


@stories("NAT-31 the urgent pointer is kept")
def urgent(road: Road) -> Iterator[Step]:
    yield from road.opened()
    yield road.up(URG | PSH | ACK, urgent_pointer=3, payload=b"abc")
    yield road.down(URG | ACK, urgent_pointer=65_535, payload=b"abc")


@stories("NAT-50 congestion flags, traffic class and congestion marks are kept")
def congestion(road: Road) -> Iterator[Step]:
    yield road.syn()
    yield road.up(SYN | ECE | CWR | AE, sequence=999)
    yield road.down(SYN | ACK | ECE, sequence=1999)
    for traffic_class in (0x8C, 0x01, 0x02, 0x03, 0xFF):
        yield road.up(ACK | ECE, ip=Ip(traffic_class=traffic_class), payload=b"x")
        yield road.down(ACK | CWR, ip=Ip(traffic_class=traffic_class), payload=b"y")


@stories("NAT-32 a segment that starts nothing gets a reset, and makes no flow")
def no_beginning(road: Road) -> Iterator[Step]:
    for flags in (ACK, FIN | ACK, PSH | ACK, SYN | ACK):
        came = cases.tcp(road.client, road.endpoint, flags=flags, acknowledgment=5, checksum=road.sum)
        yield road.answered(came, DropReason.NO_FLOW, reset_to(road, True, flags=RST, sequence=5), flows=0)


@stories("NAT-32 broken options end a packet before anything else is asked", BOTH_FAMILIES)
def broken_options(road: Road) -> Iterator[Step]:
    yield from road.opened()
    for options in (
        b"\x02\x00\x05\xb4",
        b"\x02\x01\x05\xb4",
        b"\x02\x05\x05\xb4",
        b"\x01\x01\x01\x08",
        b"\x05\xff\x00\x00",
    ):
        for flags in (SYN, ACK, RST, FIN | ACK):
            for source, destination, eni in ((road.client, road.endpoint, 1), (road.target, road.balancer, EXIT)):
                came = cases.tcp(source, destination, flags=flags, options=options)
                yield road.dropped(came, DropReason.BAD_TCP_OPTIONS, eni, flows=1)
    yield road.up(PSH | ACK, payload=b"the flow goes on")


@stories("NAT-45 NAT-46 a segment that does not fit is answered with the size that does, and one that fits passes")
def ladder(road: Road) -> Iterator[Step]:
    headers = 40 if road.family == 4 else 60
    yield from road.opened()
    for size in (1200, 1280, 1400, 1499, 1500):
        yield road.up(ACK, payload=bytes(size - headers))
        yield road.down(ACK, payload=bytes(size - headers))
    for size in (1501, 9000, 60_000):
        came = cases.tcp(road.client, road.endpoint, payload=bytes(size - headers), checksum=road.sum)
        yield road.answered(came, DropReason.TOO_BIG, too_big(road, road.endpoint[0], road.client[0], came))
        came = cases.tcp(road.target, road.balancer, payload=bytes(size - headers), checksum=road.sum)
        yield road.answered(came, DropReason.TOO_BIG, too_big(road, road.balancer[0], road.target[0], came), EXIT)


def too_big(road: Road, router: str, sender: str, packet: bytes) -> bytes:
    fields = Ip(identification=0, traffic_class=0xC0 if road.family == 4 else 0)
    quote = packet[: 548 if road.family == 4 else 1232]
    icmp_type, code = (3, 4) if road.family == 4 else (2, 0)
    return cases.icmp(router, sender, icmp_type, code, 1500, quote, ip=fields)


@stories("NAT-49 a packet that expires here is answered by the ENI; one with a hop left passes")
def time_to_live(road: Road) -> Iterator[Step]:
    yield from road.opened()
    icmp_type = 11 if road.family == 4 else 3
    fields = Ip(identification=0, traffic_class=0xC0 if road.family == 4 else 0)
    for hops in (0, 1):
        for source, destination, eni in ((road.client, road.endpoint, 1), (road.target, road.balancer, EXIT)):
            came = cases.tcp(source, destination, ip=Ip(ttl=hops), checksum=road.sum)
            quote = came[: 548 if road.family == 4 else 1232]
            answer = cases.icmp(destination[0], source[0], icmp_type, 0, 0, quote, ip=fields)
            yield road.answered(came, DropReason.TIME_EXCEEDED, answer, eni)
    yield road.up(ACK, ip=Ip(ttl=2))
    yield road.down(ACK, ip=Ip(ttl=2))


@stories("NAT-37 what came in corrupt never leaves", BOTH_FAMILIES)
def corrupt(road: Road) -> Iterator[Step]:
    yield from road.opened()
    for flags in (SYN, ACK, FIN | ACK, RST):
        came = cases.tcp(road.client, road.endpoint, flags=flags, payload=b"abc", checksum=cases.Sum.WRONG)
        yield road.dropped(came, DropReason.BAD_CHECKSUM, flows=1)
        came = cases.tcp(road.target, road.balancer, flags=flags, payload=b"abc", checksum=cases.Sum.WRONG)
        yield road.dropped(came, DropReason.BAD_CHECKSUM, EXIT, flows=1)


def scapy_agrees(packet: bytes) -> None:
    """scapy, left to compute every sum and length itself, builds the very same bytes."""
    seen = IP(packet) if packet[0] >> 4 == 4 else IPv6(packet)
    for layer in (seen, seen.payload):
        for computed in ("chksum", "cksum", "len", "plen"):
            if computed in layer.fields:
                del layer.fields[computed]
    assert bytes(seen) == packet


@pytest.mark.parametrize(("description", "told", "road"), stories.rows, ids=stories.ids)
def test_story(description: str, told: Story, road: tuple[int, ChecksumState]) -> None:
    for step, packet in play(told, Road(*road)):
        if packet and step.reason is None:
            scapy_agrees(packet)


def test_the_table_is_told_on_every_road() -> None:
    assert {road for _, _, road in stories.rows} == set(ALL_ROADS)
    assert set(PLAIN) <= set(ALL_ROADS)
