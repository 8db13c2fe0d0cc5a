"""What a trace says of the Proxy Protocol header: put together from segments that were heard at the target."""

from dataclasses import replace

import pytest
from scapy.packet import Packet

from hyperplane.cli.output import console
from hyperplane.cli.trace.proxy_header import HeaderView, header_at_target
from hyperplane.cli.trace.report import draw_trace
from hyperplane.wire.header_template import HeaderTemplate
from hyperplane.wire.ppv2 import LOCAL_HEADER
from tests.cases import packed
from tests.cli.test_trace_report import hops, traced
from tests.cli.test_trace_sightings import CLIENT, NAT, SERVER, TARGET, WAY, sighted, tcp, udp, walked

ENDPOINT_ID = "vpce-0123456789abcdef0"
PORT = CLIENT.port.to_bytes(2, "big")
AT_TARGET = 5


def header(protocol: int = 6) -> bytes:
    return HeaderTemplate(protocol, packed(SERVER.address), SERVER.port, ENDPOINT_ID).header_for(
        packed(CLIENT.address), PORT
    )


def seen(*at_target: Packet, first: Packet | None = None) -> HeaderView | None:
    """The header of a call of which the target saw these packets."""
    sent = first or tcp(CLIENT, SERVER, "S", seq=7)
    packets = [(0, 1, sent), *((AT_TARGET, 2 + at, packet) for at, packet in enumerate(at_target))]
    heard = [sighted(WAY[place], at, packet) for place, at, packet in packets]
    return header_at_target(walked(*packets), heard)


SYN = tcp(NAT, TARGET, "S", seq=7)


def segment(sequence: int, data: bytes) -> Packet:
    return tcp(NAT, TARGET, "PA", seq=sequence) / data


def test_a_header_in_a_segment_of_its_own() -> None:
    view = seen(SYN, segment(8, header()), segment(108, b"GET / HTTP/1.1"))
    assert view is not None
    assert (view.length, view.segments, view.problem) == (100, 1, None)
    assert (view.client, view.destination, view.endpoint_id) == (CLIENT, SERVER, ENDPOINT_ID)
    assert view.bytes_hex == header().hex()
    assert "".join(field.bytes_hex for field in view.fields) == header().hex()
    assert [field.offset for field in view.fields] == [0, 12, 13, 14, 16, 20, 24, 26, 28, 35, 61]


@pytest.mark.parametrize("cut", [1, 12, 50, 99])
def test_a_header_that_was_split_sent_again_and_out_of_order(cut: int) -> None:
    whole = header()
    view = seen(SYN, segment(8 + cut, whole[cut:] + b"data"), segment(8, whole[:cut]), segment(8, whole))
    assert view is not None
    assert (view.length, view.segments) == (100, 3)


def test_numbers_wrap() -> None:
    first = (1 << 32) - 40
    whole = header()
    view = seen(
        tcp(NAT, TARGET, "S", seq=first - 1), segment(first, whole[:40]), segment(0, whole[40:]),
        first=tcp(CLIENT, SERVER, "S", seq=first - 1),
    )  # fmt: skip
    assert view is not None and view.length == 100


def test_a_datagrams_header() -> None:
    view = seen(udp(NAT, TARGET, header(17) + b"question"), first=udp(CLIENT, SERVER, b"question"))
    assert view is not None
    assert (view.length, view.segments, view.client) == (100, 1, CLIENT)


def test_no_header() -> None:
    assert seen(SYN, segment(8, b"GET / HTTP/1.1")) is None
    assert seen(SYN, segment(9, header())) is None, "the first byte is missing"
    assert seen(SYN) is None


def test_a_broken_header_is_shown_with_what_is_wrong() -> None:
    broken = bytearray(header())
    broken[20] ^= 1
    view = seen(SYN, segment(8, bytes(broken)))
    assert view is not None and view.problem is not None and "checksum" in view.problem
    short = seen(SYN, segment(8, header()[:60]))
    assert short is not None and short.problem == "it ends too early: at least 40 more bytes are needed"


def test_a_health_checks_header_names_nobody() -> None:
    view = seen(SYN, segment(8, LOCAL_HEADER))
    assert view is not None
    assert (view.length, view.client, view.endpoint_id) == (16, None, None)


def test_people_see_bytes_and_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    console().print(draw_trace(replace(traced(None, hops(5, 5), [], []), proxy_header=seen(SYN, segment(8, header())))))
    out = capsys.readouterr().out
    assert "PROXY PROTOCOL V2 HEADER, 100 bytes, as the target got it in one packet\n" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["16", "0a", "00", "01", "32", "client", "10.0.1.50"] in rows
    assert ["26", "01", "bb", "endpoint", "port", "443"] in rows
    assert any(row[-1:] == [ENDPOINT_ID] for row in rows)
