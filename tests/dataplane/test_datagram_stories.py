"""Datagrams and ICMP through a node (the checklist's rows are in the names)."""

from collections.abc import Iterator
from typing import Any

import pytest

from hyperplane.dataplane.verdict import DropReason
from hyperplane.wire.packet import ChecksumState
from tests import cases
from tests.cases import ACK, FIN, RST, Ip, Sum
from tests.dataplane.story import ALL_ROADS, BOTH_FAMILIES, PLAIN, Road, Step, Stories, Story, play
from tests.dissection import dissect
from tests.nodes import DOOR, EXIT, MemoryZone

stories = Stories()
ROUTER = "10.9.200.1"


def first_question(road: Road, payload: bytes = b"question", **fields: Any) -> Step:
    step = road.question(payload, **fields)
    return Step(step.now, step.packet, step.eni, step.state, step.out, None, step.moved | {"flows_new": 1}, 1)


@stories("a question and its answer")
def question_and_answer(road: Road) -> Iterator[Step]:
    yield first_question(road)
    yield road.answer()


@stories("NAT-33 119 s of silence keep a datagram flow, 121 s end it")
def idle(road: Road) -> Iterator[Step]:
    yield first_question(road)
    for _ in range(3):
        yield road.later(119, flows=1)
        yield road.question()
    yield road.later(121.5, flows=0, flows_expired=1)


@stories("NAT-34 only the client keeps a datagram flow: a target cannot hold the door open")
def one_way_refresh(road: Road) -> Iterator[Step]:
    yield first_question(road)
    for _ in range(11):
        yield road.later(10, flows=1)
        yield road.answer()
    yield road.later(11.5, flows=0, flows_expired=1)
    came = cases.udp(road.datagram_target, road.balancer, b"knock", checksum=road.sum)
    yield road.dropped(came, DropReason.NO_FLOW, EXIT)


@stories("NAT-38 datagrams of every size that fits, and one byte more")
def sizes(road: Road) -> Iterator[Step]:
    most = 1500 - (28 if road.family == 4 else 48)
    yield first_question(road, b"")
    yield road.answer(b"")
    for size in (1, 2, most - 1, most):
        yield road.question(bytes(size))
        yield road.answer(b"\xff" * size)
    came = cases.udp(road.client, road.datagrams, bytes(most + 1), checksum=road.sum)
    fields = Ip(identification=0, traffic_class=0xC0 if road.family == 4 else 0)
    quote = came[: 548 if road.family == 4 else 1232]
    icmp_type, code = (3, 4) if road.family == 4 else (2, 0)
    answer = cases.icmp(road.endpoint[0], road.client[0], icmp_type, code, 1500, quote, ip=fields)
    yield road.answered(came, DropReason.TOO_BIG, answer)


@stories("NAT-35 a datagram without a checksum stays without, and over IPv6 there is none", BOTH_FAMILIES)
def no_checksum(road: Road) -> Iterator[Step]:
    came = cases.udp(road.client, road.datagrams, b"x", checksum=Sum.ABSENT)
    if road.family == 6:
        yield road.dropped(came, DropReason.BAD_CHECKSUM, flows=0)
        return
    out = cases.udp(road.balancer, road.datagram_target, b"x", checksum=Sum.ABSENT)
    yield road.passes(came, out, flows_new=1)
    came = cases.udp(road.datagram_target, road.balancer, b"y", checksum=Sum.ABSENT)
    yield road.passes(came, cases.udp(road.datagrams, road.client, b"y", checksum=Sum.ABSENT), EXIT)


@stories("NAT-35 a computed checksum of 0 is sent as FFFF", ALL_ROADS)
def computed_zero(road: Road) -> Iterator[Step]:
    blank = cases.udp(road.balancer, road.datagram_target, b"\0\0")
    field = (20 if road.family == 4 else 40) + 6
    payload = blank[field : field + 2]
    yield first_question(road, payload)
    assert cases.udp(road.balancer, road.datagram_target, payload)[field : field + 2] == b"\xff\xff"


@stories("NAT-37 a corrupt datagram never leaves", BOTH_FAMILIES)
def corrupt(road: Road) -> Iterator[Step]:
    came = cases.udp(road.client, road.datagrams, b"x", checksum=Sum.WRONG)
    yield road.dropped(came, DropReason.BAD_CHECKSUM, flows=0)
    yield first_question(road)
    came = cases.udp(road.datagram_target, road.balancer, b"x", checksum=Sum.WRONG)
    yield road.dropped(came, DropReason.BAD_CHECKSUM, EXIT, flows=1)


# --- ICMP errors ----------------------------------------------------------------------------------------


def translated(
    road: Road, icmp_type: int, code: int, rest: int = 0, passed_on: int | None = None, quote_bytes: int = 548
) -> Step:
    """An error about what the client sent, and what the client gets of it."""
    about = cases.tcp(road.balancer, road.target, payload=b"data")
    came = cases.icmp_error(ROUTER, road.balancer[0], about, icmp_type, code, rest, quote_bytes=quote_bytes)
    own = cases.tcp(road.client, road.endpoint, payload=b"data")
    out = cases.icmp_error(
        road.endpoint[0],
        road.client[0],
        own,
        icmp_type,
        code,
        rest if passed_on is None else passed_on,
        quote_bytes=quote_bytes,
    )
    return road.passes(came, out, EXIT, icmp_translated=1)


@stories("NAT-40 errors about what the client sent reach the client as if there were no translator", PLAIN)
def errors_to_the_client(road: Road) -> Iterator[Step]:
    yield from road.opened()
    yield road.up(ACK, payload=b"data")
    for icmp_type, code in ((3, 0), (3, 1), (3, 3), (3, 10), (11, 0), (11, 1), (12, 0)):
        yield translated(road, icmp_type, code)
    yield translated(road, 3, 1, quote_bytes=28)
    yield translated(road, 3, 4, 1400)


@stories("NAT-40 errors about what the target sent reach the target", PLAIN)
def errors_to_the_target(road: Road) -> Iterator[Step]:
    yield from road.opened()
    yield road.down(ACK, sequence=2000, payload=b"data")
    for icmp_type, code in ((3, 1), (3, 4), (11, 1)):
        about = cases.tcp(road.endpoint, road.client, sequence=2000, payload=b"data")
        came = cases.icmp_error("10.0.1.1", road.endpoint[0], about, icmp_type, code, 1400)
        own = cases.tcp(road.target, road.balancer, sequence=2000, payload=b"data")
        yield road.passes(
            came, cases.icmp_error(road.balancer[0], road.target[0], own, icmp_type, code, 1400), icmp_translated=1
        )


@stories("NAT-40 a refused datagram is reported to the client", PLAIN)
def port_unreachable(road: Road) -> Iterator[Step]:
    yield first_question(road)
    about = cases.udp(road.balancer, road.datagram_target, b"question")
    came = cases.icmp_error(road.target[0], road.balancer[0], about, 3, 3)
    own = cases.udp(road.client, road.datagrams, b"question")
    yield road.passes(came, cases.icmp_error(road.endpoint[0], road.client[0], own, 3, 3), EXIT, icmp_translated=1)


@stories("NAT-41 an error that is corrupt, or about nothing that is live, is dropped", PLAIN)
def refused_errors(road: Road) -> Iterator[Step]:
    yield from road.opened()
    about = cases.tcp(road.balancer, road.target, payload=b"data")

    def refused(quoted: bytes, reason: DropReason, **fields: Any) -> Step:
        return road.dropped(cases.icmp_error(ROUTER, road.balancer[0], quoted, 3, 1, **fields), reason, EXIT, flows=1)

    yield refused(about, DropReason.BAD_CHECKSUM, checksum=Sum.WRONG)
    broken = bytearray(about)
    broken[10] ^= 1
    yield refused(bytes(broken), DropReason.BAD_CHECKSUM)
    yield refused(cases.tcp((road.balancer[0], 1025), road.target), DropReason.NO_FLOW)
    yield refused(cases.tcp(road.balancer, (road.target[0], 8081)), DropReason.NO_FLOW)
    yield refused(cases.tcp(road.client, road.endpoint), DropReason.NO_FLOW)
    yield refused(about[:27], DropReason.BAD_ICMP)
    yield refused(cases.tcp(road.balancer, road.target, ip=Ip(fragment_offset=1)), DropReason.FRAGMENT)
    yield refused(cases.icmp(road.balancer[0], road.target[0], 8), DropReason.UNSUPPORTED_PROTOCOL)


@stories("S-04 an error that quotes what was never sent is dropped", PLAIN)
def forged_errors(road: Road) -> Iterator[Step]:
    yield from road.opened()
    yield road.up(ACK, payload=b"data")
    for distance in (1 << 27, 1 << 30, 1 << 31):
        about = cases.tcp(road.balancer, road.target, sequence=1000 + distance)
        came = cases.icmp_error(ROUTER, road.balancer[0], about, 3, 4, 1400)
        yield road.dropped(came, DropReason.ICMP_OUT_OF_WINDOW, EXIT)
    yield road.up(ACK, payload=b"the flow goes on")


@stories("S-04 a next-hop MTU below 552 is raised", PLAIN)
def forged_mtu(road: Road) -> Iterator[Step]:
    yield from road.opened()
    yield road.up(ACK, payload=b"data")
    for told in (0, 68, 551):
        yield translated(road, 3, 4, told, 552)


@stories("S-04 NAT-43 everything but errors is dropped: echo, redirect, source quench, timestamps", PLAIN)
def other_icmp(road: Road) -> Iterator[Step]:
    yield from road.opened()
    about = cases.tcp(road.balancer, road.target)
    for icmp_type in (0, 4, 5, 8, 9, 10, 13, 14, 17, 18, 40):
        came = cases.icmp(ROUTER, road.balancer[0], icmp_type, 0, 0, about)
        yield road.dropped(came, DropReason.UNSUPPORTED_PROTOCOL, EXIT, flows=1)
        came = cases.icmp(road.client[0], road.endpoint[0], icmp_type, 0, 0, b"x" * 56)
        yield road.dropped(came, DropReason.UNSUPPORTED_PROTOCOL, DOOR, flows=1)


@stories("NAT-43 ICMPv6 is not carried yet", BOTH_FAMILIES[1:])
def icmp_6(road: Road) -> Iterator[Step]:
    came = cases.icmp(road.client[0], road.endpoint[0], 128, 0, 0, b"x" * 56)
    yield road.dropped(came, DropReason.UNSUPPORTED_PROTOCOL, flows=0)


@pytest.mark.parametrize(("description", "told", "road"), stories.rows, ids=stories.ids)
def test_story(description: str, told: Story, road: tuple[int, ChecksumState]) -> None:
    play(told, Road(*road))


def test_nat_39_no_error_ends_a_flow() -> None:
    """All 256 codes of "unreachable", both ways, and the conversation goes on (RFC 4787 REQ-12, RFC 5382 REQ-10)."""

    def told(road: Road) -> Iterator[Step]:
        yield from road.opened()
        yield road.up(ACK, payload=b"data")
        for code in range(256):
            yield translated(road, 3, code, 1400)
        yield road.up(ACK, payload=b"the flow goes on")
        yield road.down(ACK, payload=b"on both sides")

    play(told, Road(*PLAIN[0]))


def test_nat_34_errors_and_resets_in_answer_keep_nothing_alive() -> None:
    road, zone = Road(*PLAIN[0]), MemoryZone(ports=1)
    node = zone.node(0)
    play(lambda road: iter([first_question(road)]), road, node)
    about = cases.udp(road.balancer, road.datagram_target, b"question")
    for now in range(10, 120, 10):
        assert node.send(cases.icmp_error(ROUTER, road.balancer[0], about, 3, 3), EXIT, float(now)).accepted
        node.pass_time(float(now))
    node.pass_time(123.0)
    assert node.flows == 0


def test_s_04_errors_are_passed_on_at_a_bounded_rate() -> None:
    road = Road(*PLAIN[0])
    node = road.zone().node(0)
    play(lambda road: iter([first_question(road)]), road, node)
    about = cases.udp(road.balancer, road.datagram_target, b"question")
    error = cases.icmp_error(ROUTER, road.balancer[0], about, 3, 3)
    passed = [node.send(error, EXIT, 2.0) for _ in range(1100)]
    assert sum(out.accepted for out in passed) == 1000
    assert passed[-1].moved == {"packets_dropped": 1, "dropped_rate_limit": 1}
    assert node.send(cases.udp(road.client, road.datagrams, b"x"), DOOR, 2.0).accepted, "data is not held back"


def test_resets_are_sent_at_a_bounded_rate() -> None:
    road = Road(*PLAIN[0])
    node = road.zone().node(0)
    late = cases.tcp(road.client, road.endpoint, flags=FIN | ACK)
    answers = [node.send(late, DOOR, 2.0) for _ in range(1100)]
    assert sum(bool(out.packet) for out in answers) == 1000
    assert answers[-1].reason is DropReason.RATE_LIMIT
    assert dissect(answers[0].packet).flags == RST


def test_nat_51_datagrams_that_may_be_cut_never_share_an_identification() -> None:
    """Two consumers send with the same identification; at the target both come from one address."""
    zone = MemoryZone()
    seen = set()
    for number in range(100):
        for eni in (1, 2):
            data = cases.udp(
                ("10.0.1.50", 5000 + number), ("10.0.1.10", 53), b"x", ip=Ip(dont_fragment=False, identification=7)
            )
            seen.add(dissect(zone.node(eni - 1).send(data, eni).packet).identification)
    assert len(seen) == 200
