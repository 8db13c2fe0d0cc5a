"""ICMP errors about packets of streams and datagrams with a header: the client hears of what it sent itself."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hyperplane.dataplane.verdict import DropReason
from tests import cases
from tests.cases import ACK, PSH, Ip, Sum
from tests.dataplane.header_road import AT_ONCE, FIRST, REPEATED, WITH_PAYLOAD, HeaderRoad, tells
from tests.dataplane.story import PLAIN, Step
from tests.nodes import EXIT

ROUTER = "10.9.200.1"
KINDS = ((3, 0), (3, 1), (3, 3), (11, 0), (12, 0))
QUOTES = (28, 32, 40, 548)
"""How many bytes of the packet a router quotes: the least that is allowed, some headers, all of it."""


def heard(road: HeaderRoad, about: bytes, own: bytes, kind: tuple[int, int], rest: int = 0, **fields: Any) -> Step:
    """An error from the provider's side about `about`, which the client must take for one about `own`."""
    mtu = fields.pop("mtu", rest)
    came = cases.icmp_error(ROUTER, road.balancer[0], about, *kind, rest, **fields)
    out = cases.icmp_error(road.endpoint[0], road.client[0], own, *kind, mtu, **fields)
    return road.passes(came, out, EXIT, icmp_translated=1)


@tells(roads=PLAIN)
def test_pp_31_the_client_hears_of_its_own_sequence_number(road: HeaderRoad) -> Iterator[Step]:
    """Byte for byte what a router would have said on a way without a header (Linux believes no other number)."""
    yield from road.answered_once()
    for place in (0, 8, 1408, 100_000):
        own = cases.tcp(road.client, road.endpoint, flags=PSH | ACK, sequence=FIRST + place, payload=b"data")
        about = cases.tcp(
            road.balancer, road.target, flags=PSH | ACK, sequence=FIRST + place + road.length, payload=b"data"
        )
        for kind in KINDS:
            for quote_bytes in QUOTES:
                yield heard(road, about, own, kind, quote_bytes=quote_bytes)
        yield heard(road, about, own, (3, 4), 1400)
        yield heard(road, about, own, (3, 4), 68, mtu=552)


@tells(roads=PLAIN)
def test_pp_31_an_error_about_the_handshake_is_the_clients_own(road: HeaderRoad) -> Iterator[Step]:
    yield from road.opened()
    own = cases.tcp(road.client, road.endpoint, flags=cases.SYN, sequence=FIRST - 1)
    about = cases.tcp(road.balancer, road.target, flags=cases.SYN, sequence=FIRST - 1)
    yield heard(road, about, own, (3, 1))


@tells(roads=PLAIN)
def test_pp_31_an_error_about_the_header_itself_is_about_the_first_byte(road: HeaderRoad) -> Iterator[Step]:
    """The client has sent nothing else at that number; what is quoted is no other packet than the one that failed."""
    yield from road.asked()
    for begin in (0, 1, 50, road.length - 1):
        about = road.segment(begin)
        own = cases.tcp(
            road.client, road.endpoint, flags=PSH | ACK, sequence=FIRST, payload=road.header[begin:],
            ip=Ip(ttl=63, identification=0),
        )  # fmt: skip
        yield heard(road, about, own, (3, 1))


@tells(roads=PLAIN)
def test_pp_31_the_targets_errors_are_untouched(road: HeaderRoad) -> Iterator[Step]:
    """From the consumer's side, about what the target sent: its own numbers have never changed."""
    yield from road.answered_once()
    yield road.mapped({"acknowledgment": FIRST + 8 + road.length}, {"acknowledgment": FIRST + 8}, payload=b"answer")
    about = cases.tcp(road.endpoint, road.client, sequence=2000, acknowledgment=FIRST + 8, payload=b"answer")
    own = cases.tcp(road.target, road.balancer, sequence=2000, acknowledgment=FIRST + 8, payload=b"answer")
    came = cases.icmp_error("10.0.1.1", road.endpoint[0], about, 3, 1)
    out = cases.icmp_error(road.balancer[0], road.target[0], own, 3, 1)
    yield road.passes(came, out, icmp_translated=1)


@tells(roads=PLAIN)
def test_pp_31_a_forged_error_is_held_to_the_clients_numbers(road: HeaderRoad) -> Iterator[Step]:
    yield from road.answered_once()
    for distance in (1 << 27, 1 << 30, -(1 << 27)):
        about = cases.tcp(road.balancer, road.target, sequence=FIRST + 8 + road.length + distance)
        came = cases.icmp_error(ROUTER, road.balancer[0], about, 3, 4, 1400)
        yield road.dropped(came, DropReason.ICMP_OUT_OF_WINDOW, EXIT)


def refused(road: HeaderRoad, came: bytes, router: str, sender: str, mtu: int, eni: int, reason: DropReason) -> Step:
    """Too big: the answer names `mtu` and quotes what came, byte for byte."""
    quote = came[: 548 if road.family == 4 else 1232]
    icmp_type, code = (3, 4) if road.family == 4 else (2, 0)
    fields = Ip(identification=0, traffic_class=0xC0 if road.family == 4 else 0)
    return road.answered(came, reason, cases.icmp(router, sender, icmp_type, code, mtu, quote, ip=fields), eni)


@tells()
def test_pp_31_a_segment_that_does_not_fit_is_quoted_as_it_came(road: HeaderRoad) -> Iterator[Step]:
    """As it once was: with the target's number in it, which the client had not sent. No header is counted either."""
    yield from road.opened()
    for place in (0, 1460):
        came = cases.tcp(
            road.client, road.endpoint, sequence=FIRST + place, payload=bytes(1461), checksum=road.sum
        )  # fmt: skip
        yield refused(road, came, road.endpoint[0], road.client[0], 1500, 1, DropReason.TOO_BIG)
    came = cases.tcp(
        road.target, road.balancer, sequence=2000, acknowledgment=FIRST, payload=bytes(1461), checksum=road.sum
    )  # fmt: skip
    yield refused(road, came, road.balancer[0], road.target[0], 1500, EXIT, DropReason.TOO_BIG)
    yield road.shared(counted=REPEATED if road.placement is AT_ONCE else "headers_sent")


@tells(WITH_PAYLOAD, roads=PLAIN)
def test_pp_08_a_narrow_way_to_the_target_does_not_lose_the_same_segment_for_ever(road: HeaderRoad) -> Iterator[Step]:
    """Header and data fit the target's segment size together, but not the way to it. The client's own segment fits,
    so what it is told changes nothing: the second time they go apart."""
    data = bytes(1250)
    yield road.syn()
    yield road.syn_ack(window=65_535)
    step = road.shared(payload=data)
    yield step
    own = cases.tcp(road.client, road.endpoint, flags=PSH | ACK, sequence=FIRST, payload=road.header + data)
    yield heard(road, step.out, own, (3, 4), 1350)
    for _ in range(2):
        yield road.led(counted=REPEATED, payload=data)


# --- datagrams ------------------------------------------------------------------------------------------


def first_question(road: HeaderRoad, payload: bytes, **fields: Any) -> Step:
    came = cases.udp(road.client, road.datagrams, payload, checksum=road.sum, **fields)
    out = cases.udp(road.balancer, road.datagram_target, road.datagram_header + payload, **fields)
    step = road.passes(came, out, flows_new=1, headers_sent=1)
    return replace(step, moved=step.moved | {"bytes_original": len(came)})


@tells(WITH_PAYLOAD, roads=PLAIN)
def test_pp_31_a_quoted_datagram_is_as_short_as_the_client_sent_it(road: HeaderRoad) -> Iterator[Step]:
    """Lengths, sums and data, if all of the header is quoted; a lesser quote ends where it must."""
    payload = bytes(range(200))
    yield first_question(road, payload)
    own = cases.udp(road.client, road.datagrams, payload)
    about = cases.udp(road.balancer, road.datagram_target, road.datagram_header + payload)
    for kind in KINDS:
        came = cases.icmp_error(ROUTER, road.balancer[0], about, *kind)
        out = cases.icmp_error(road.endpoint[0], road.client[0], own, *kind)
        yield road.passes(came, out, EXIT, icmp_translated=1)
    for quote_bytes in (28 + 100, 28 + 101, 28 + 250):
        came = cases.icmp_error(ROUTER, road.balancer[0], about, 3, 3, quote_bytes=quote_bytes)
        out = cases.icmp_error(road.endpoint[0], road.client[0], own, 3, 3, quote_bytes=quote_bytes - 100)
        yield road.passes(came, out, EXIT, icmp_translated=1)


@tells(WITH_PAYLOAD, roads=PLAIN)
def test_pp_31_a_quote_that_ends_inside_the_header_has_its_headers_right(road: HeaderRoad) -> Iterator[Step]:
    """What the sum would be nobody can tell from it, so that stays as far off as it was (RFC 5508 REQ-3c)."""
    yield first_question(road, b"question")
    about = cases.udp(road.balancer, road.datagram_target, road.datagram_header + b"question")
    own = cases.udp(road.client, road.datagrams, b"question")
    for quote_bytes in (28, 29, 60, 127):
        came = cases.icmp_error(ROUTER, road.balancer[0], about, 3, 3, quote_bytes=quote_bytes)
        moved = cases.internet_sum(about[12:24]) - cases.internet_sum(own[12:24])
        field = (int.from_bytes(about[26:28], "big") + moved) % 0xFFFF
        quoted = own[:26] + field.to_bytes(2, "big")
        out = cases.icmp_error(road.endpoint[0], road.client[0], quoted, 3, 3)
        yield road.passes(came, out, EXIT, icmp_translated=1)


@tells(WITH_PAYLOAD, roads=PLAIN)
def test_pp_31_a_quoted_datagram_without_a_checksum_stays_without(road: HeaderRoad) -> Iterator[Step]:
    yield first_question(road, b"question")
    about = cases.udp(road.balancer, road.datagram_target, road.datagram_header + b"question", checksum=Sum.ABSENT)
    own = cases.udp(road.client, road.datagrams, b"question", checksum=Sum.ABSENT)
    yield heard(road, about, own, (3, 3))


@tells(WITH_PAYLOAD, roads=PLAIN)
def test_pp_31_extensions_behind_a_quote_stay_where_they_are(road: HeaderRoad) -> Iterator[Step]:
    """RFC 4884: the quote's length, in words, is in the second word, and says where they begin."""
    extension = bytes.fromhex("2000fd4d 000c0201 0a090001 00000000")
    yield first_question(road, bytes(300))
    about = cases.udp(road.balancer, road.datagram_target, road.datagram_header + bytes(300))[:128]
    own = cases.udp(road.client, road.datagrams, bytes(300))[:28] + bytes(100)
    came = cases.icmp(ROUTER, road.balancer[0], 11, 0, 32 << 16, about + extension)
    out = cases.icmp(road.endpoint[0], road.client[0], 11, 0, 32 << 16, own + extension)
    yield road.passes(came, out, EXIT, icmp_translated=1)


@tells(WITH_PAYLOAD, roads=PLAIN)
def test_pp_31_the_size_that_fits_is_the_clients(road: HeaderRoad) -> Iterator[Step]:
    """A datagram as large as the client is told gets through with its header; the floor is for forged sizes."""
    payload = bytes(1300)
    yield first_question(road, payload)
    own = cases.udp(road.client, road.datagrams, payload)
    about = cases.udp(road.balancer, road.datagram_target, road.datagram_header + payload)
    for told, passed_on in ((1400, 1300), (652, 552), (600, 552), (0, 552)):
        came = cases.too_big(ROUTER, road.balancer[0], about, told)
        out = cases.too_big(road.endpoint[0], road.client[0], own, passed_on, quote_bytes=448)
        yield road.passes(came, out, EXIT, icmp_translated=1)
