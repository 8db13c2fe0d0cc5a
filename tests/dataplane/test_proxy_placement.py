"""Where the Proxy Protocol header goes in a stream (PP rows of the checklist in the names)."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from hyperplane.dataplane.verdict import DropReason
from hyperplane.wire.ppv2 import LOCAL_HEADER
from tests import cases
from tests.cases import ACK, CLIENT, CLIENT_6, ENDPOINT, FIN, PSH, SYN, TCP, UDP, tcp, udp
from tests.conversation import Conversation
from tests.dataplane.header_road import AT_ONCE, FIRST, REPEATED, WITH_PAYLOAD, HeaderRoad, tells
from tests.dataplane.story import Step
from tests.dissection import dissect
from tests.header_oracle import SIGNATURE, proxy_header
from tests.lab.ppv2_oracle import header
from tests.nodes import DATAGRAM_PORT, DOOR, ENDPOINT_6, MemoryZone, door, snapshot_of, way_out


@tells(AT_ONCE)
def test_pp_01_the_header_takes_the_place_of_the_handshakes_ack(road: HeaderRoad) -> Iterator[Step]:
    """The target's third packet has the header's bytes and no others; no bare ACK is before it or beside it."""
    yield road.syn()
    yield road.syn_ack()
    yield road.replaced()
    yield road.acked()
    yield road.shifted(PSH | ACK, payload=b"question")
    yield road.shifted(sequence=FIRST + 8)


@tells(WITH_PAYLOAD)
def test_pp_01_the_header_goes_before_the_first_data_and_no_earlier(road: HeaderRoad) -> Iterator[Step]:
    yield road.syn()
    yield road.syn_ack()
    for _ in range(3):
        yield road.up(ACK)
        yield road.mapped({"window": 502}, {"window": 501}, payload=b"banner")
    yield road.shared()
    yield road.mapped({"acknowledgment": FIRST + road.length + 8}, {"acknowledgment": FIRST + 8})
    yield road.shifted(sequence=FIRST + 8)


@tells()
def test_pp_25_data_on_the_handshakes_ack(road: HeaderRoad) -> Iterator[Step]:
    yield road.syn()
    yield road.syn_ack()
    yield road.shared()
    yield road.mapped({"acknowledgment": FIRST + road.length + 8}, {"acknowledgment": FIRST + 8})


@tells()
def test_pp_26_data_in_a_syn_is_stripped_and_the_header_is_before_it_when_it_comes_again(
    road: HeaderRoad,
) -> Iterator[Step]:
    cookie = cases.option(34, b"cookie!!")
    came = cases.tcp(
        road.client, road.endpoint, flags=SYN, sequence=999, options=cookie + b"\0\0", payload=b"early",
        checksum=road.sum,
    )  # fmt: skip
    out = cases.tcp(road.balancer, road.target, flags=SYN, sequence=999, options=cases.NOP * 10 + b"\0\0")
    yield road.passes(came, out, flows_new=1, fast_open_stripped=1)
    yield road.syn_ack()
    yield road.shared(payload=b"early")


@tells()
def test_pp_28_the_header_alone_is_data_that_completes_a_deferred_accept(road: HeaderRoad) -> Iterator[Step]:
    """TCP_DEFER_ACCEPT wakes its owner at the first data: the SYN-ACK comes again until there is some."""
    yield road.syn()
    yield road.syn_ack()
    for repetition in range(3):
        if road.placement is AT_ONCE:
            yield road.replaced(counted=REPEATED if repetition else "headers_sent")
        else:
            yield road.up(ACK)
        yield road.syn_ack()
    counted = REPEATED if road.placement is AT_ONCE else "headers_sent"
    yield road.shared(counted=counted)


@tells()
def test_pp_36_a_header_of_the_clients_own_is_payload_behind_ours(road: HeaderRoad) -> Iterator[Step]:
    yield from road.asked(proxy_header(("192.0.2.1", 1), ("192.0.2.2", 2), "vpce-forged"))
    yield road.shifted(PSH | ACK, sequence=FIRST + 100, payload=b"question")


@tells()
def test_pp_42_bytes_are_counted_as_the_client_sent_them(road: HeaderRoad) -> Iterator[Step]:
    """Whatever the header needs: its own segment, the place of an ACK, a repetition, the timer."""
    counted, packets = 0, 0
    steps = [*road.asked(), road.led(counted=REPEATED, payload=b"question"), road.shifted(FIN | ACK, sequence=1008)]
    for step in steps:
        yield step
        counted += step.moved.get("bytes_original", 0)
        packets += step.moved.get("packets_original", 0)
    sent = [step.packet for step in steps if step.packet is not None and "packets_original" in step.moved]
    assert (counted, packets) == (sum(map(len, sent)), len(sent))


@tells(AT_ONCE)
def test_pp_42_a_keep_alive_with_a_byte_in_it_counts_that_byte(road: HeaderRoad) -> Iterator[Step]:
    yield from road.opened()
    came = cases.tcp(road.client, road.endpoint, sequence=FIRST - 1, payload=b"?", checksum=road.sum)
    out = cases.tcp(road.balancer, road.target, flags=PSH | ACK, sequence=FIRST, payload=road.header)
    step = road.passes(came, out, headers_repeated=1)
    yield replace(step, moved=step.moved | {"bytes_original": len(came)})


def test_pp_37_health_checks_say_that_there_is_no_client() -> None:
    assert LOCAL_HEADER == SIGNATURE + b"\x20\x00\x00\x00"


@tells()
def test_pp_39_the_header_is_of_the_clients_family(road: HeaderRoad) -> Iterator[Step]:
    """100 bytes over IPv4, 124 over IPv6. The plane carries no flow from one family to the other, see below."""
    assert (road.header[13], road.length) == ((0x11, 100) if road.family == 4 else (0x21, 124))
    yield from road.answered_once()


def test_pp_39_a_client_of_the_other_family_starts_no_flow() -> None:
    """AWS's dual-stack load balancers carry IPv6 clients to IPv4 targets. Not supported here: it is refused at once,
    before anybody would have to say which family's header it gets."""
    mixed = snapshot_of(door(DOOR, ENDPOINT_6[0], "fd00:0:1::/64"), way_out(), placement=WITH_PAYLOAD)
    out = MemoryZone(mixed).node(0).send(tcp(CLIENT_6, ENDPOINT_6, flags=SYN), DOOR)
    assert (out.reason, out.moved) == (
        DropReason.NOT_AVAILABLE,
        {"packets_dropped": 1, "dropped_not_available": 1},
    )


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_the_header_has_a_real_endpoints_id(protocol: int) -> None:
    """22 characters, as AWS's are: the layout of a real load balancer's header."""
    endpoint_id = "vpce-0123456789abcdef0"
    zone = MemoryZone(snapshot_of(door(owner_id=endpoint_id), way_out(), placement=WITH_PAYLOAD))
    node = zone.node(0)
    if protocol == UDP:
        service = (ENDPOINT[0], DATAGRAM_PORT)
        seen = dissect(node.send(udp(CLIENT, service, b"question"), DOOR).packet).payload
        assert seen == proxy_header(CLIENT, service, endpoint_id, UDP) + b"question"
    else:
        talk = Conversation()
        talk.open(node, 1.0)
        seen = dissect(talk.up(node, 1.1, PSH | ACK, b"question").packet).payload
        assert seen == proxy_header(CLIENT, ENDPOINT, endpoint_id) + b"question"


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_two_hands_wrote_the_same_header(protocol: str) -> None:
    """The judge of these tests and the judge of the lab's: neither knows the other, or the product."""
    endpoint_id = "vpce-0123456789abcdef0"
    number = TCP if protocol == "tcp" else UDP
    assert proxy_header(CLIENT, ENDPOINT, endpoint_id, number) == header(protocol, CLIENT, ENDPOINT, endpoint_id)
