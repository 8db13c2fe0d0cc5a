"""Sequence and acknowledgment numbers around the header, and where they wrap (the checklist's rows in the names)."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import cases
from tests.cases import ACK, FIN, PSH, sack
from tests.dataplane.header_road import (
    AT_ONCE,
    FIRST,
    NUMBERS,
    PLAIN_WAYS,
    REPEATED,
    WITH_PAYLOAD,
    HeaderRoad,
    Way,
    WrappingRoad,
    judged,
    name_of,
    tells,
)
from tests.dataplane.story import Step


@tells()
def test_pp_16_an_acknowledgment_inside_the_header_is_the_first_byte(road: HeaderRoad) -> Iterator[Step]:
    """No more, or the client would be told of something that it never sent; no less, or it would go back."""
    yield from road.asked()
    for got in (0, 1, 10, road.length - 1):
        yield road.acked(got)
    yield road.acked(road.length)
    for more in (1, 7, 8):
        yield road.mapped({"acknowledgment": FIRST + road.length + more}, {"acknowledgment": FIRST + more})
    yield road.acked(road.length)
    yield road.acked(10)


@tells(AT_ONCE)
def test_pp_20_a_keep_alive_before_any_data_brings_the_header_or_is_shifted(road: HeaderRoad) -> Iterator[Step]:
    """It has the number before the first byte, and perhaps a byte that nobody reads."""
    yield from road.opened()
    for payload in (b"", b"\0"):
        came = cases.tcp(road.client, road.endpoint, sequence=FIRST - 1, payload=payload, checksum=road.sum)
        step = road.replaced(counted=REPEATED)
        yield replace(step, packet=came, moved=step.moved | {"bytes_original": len(came)})
    yield road.acked()
    for payload in (b"", b"\0"):
        yield road.shifted(sequence=FIRST - 1, payload=payload)
        yield road.acked()
    yield road.shifted(PSH | ACK, payload=b"question")


@tells(WITH_PAYLOAD)
def test_pp_20_a_keep_alive_before_any_data_is_answered_without_a_header(road: HeaderRoad) -> Iterator[Step]:
    """There is no payload yet, so no header, and the target knows the client's own numbers."""
    yield from road.opened()
    for payload in (b"", b"\0"):
        came = cases.tcp(road.client, road.endpoint, sequence=FIRST - 1, payload=payload, checksum=road.sum)
        step = road.up(sequence=FIRST - 1)  # the byte is none of the stream's, and does not go where the header will
        yield replace(step, packet=came, moved=step.moved | {"bytes_original": len(came)})
        yield road.acked(0)
    yield from [*road.asked()][3:]
    yield road.mapped({"acknowledgment": FIRST + road.length + 8}, {"acknowledgment": FIRST + 8})
    for payload in (b"", b"\0"):
        yield road.shifted(sequence=FIRST - 1, payload=payload)
        yield road.shifted(sequence=FIRST + 7, payload=payload)
        yield road.mapped({"acknowledgment": FIRST + road.length + 8}, {"acknowledgment": FIRST + 8})


@tells()
def test_pp_20_the_targets_keep_alives_pass(road: HeaderRoad) -> Iterator[Step]:
    yield from road.answered_once()
    for payload in (b"", b"\0"):
        yield road.mapped(
            {"acknowledgment": FIRST + road.length + 8}, {"acknowledgment": FIRST + 8}, sequence=1999, payload=payload
        )
        yield road.shifted(sequence=FIRST + 8)


@tells(WITH_PAYLOAD)
def test_a_target_that_has_a_part_of_the_header_is_asked_behind_it(road: HeaderRoad) -> Iterator[Step]:
    """A client's ACK without data has the number that the target expects, or it would be an old one."""
    yield from road.asked()
    yield road.acked(40)
    yield road.shifted(by=40)
    yield road.shifted(sequence=FIRST - 1, by=40)


def transfer(road: HeaderRoad) -> Iterator[Step]:
    """Every kind of number there is, from the SYN to the last ACK."""
    first = road.first
    yield from road.opened()
    yield road.acked(0)
    yield road.shared(counted=REPEATED if road.placement is AT_ONCE else "headers_sent", payload=bytes(150))
    yield road.acked(50)
    yield road.led(counted=REPEATED, payload=bytes(150), leading=(road.segment(50),))
    size = road.length
    for got, window in ((1, 501), (size - 1, 501)):
        yield road.acked(got, offered=window)
    held = (first + size + 10, first + size + 150)
    told = (first + 10, first + 150)
    yield road.mapped(
        {"acknowledgment": first + size, "options": sack(*[_wrapped(held)])},
        {"acknowledgment": first, "options": sack(*[_wrapped(told)])},
    )
    for got in (1, 10, 150):
        yield road.mapped({"acknowledgment": first + size + got}, {"acknowledgment": first + got})
        yield road.shifted(PSH | ACK, sequence=first + got, payload=b"data")
    yield road.shifted(sequence=first - 1)
    yield road.shifted(FIN | ACK, sequence=first + 154)
    yield road.mapped({"acknowledgment": first + size + 155}, {"acknowledgment": first + 155}, FIN | ACK)
    yield road.shifted(sequence=first + 155, acknowledgment=2001)


def _wrapped(block: tuple[int, int]) -> tuple[int, int]:
    return block[0] % NUMBERS, block[1] % NUMBERS


WRAPS = (0, 1, 2, NUMBERS - 1, NUMBERS - 2, NUMBERS - 99, NUMBERS - 100, NUMBERS - 101, NUMBERS - 124, NUMBERS - 32)


@pytest.mark.parametrize("first", [*WRAPS, (1 << 31) - 50, 1 << 31])
@pytest.mark.parametrize("way", PLAIN_WAYS, ids=name_of)
def test_pp_32_the_header_lies_across_the_last_number(way: Way, first: int) -> None:
    judged(transfer, WrappingRoad(way, first))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PLAIN_WAYS), st.integers(0, 260).map(lambda back: -back % NUMBERS) | st.integers(0, NUMBERS - 1))
def test_pp_32_any_first_number(way: Way, first: int) -> None:
    judged(transfer, WrappingRoad(way, first))
