"""What the kernels at both ends count and do when a Proxy Protocol v2 header stands between them."""

import itertools
import os
import re
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from hyperplane.wire.ppv2 import SIGNATURE
from tests.faults.header_gate import gate
from tests.faults.header_ground import SEGMENT, close_with_reset, counters, first_of_each, rule, run, without_offloads
from tests.faults.header_line import CONSUMER, Line, calling, line, listening, take
from tests.faults.header_talks import AT_ONCE, CLIENTS, TARGET, WITH_PAYLOAD, Kind, Talk, talk_all
from tests.faults.header_wire import Segment, Tap, strange
from tests.faults.lab import FABRIC_NAMESPACE, FaultLab, until
from tests.faults.plan import HEADER_PORTS, Plan

pytestmark = [pytest.mark.netns, pytest.mark.fault]

PLAN = Plan(headers=True)
CLIENT = f"hp-{CONSUMER}"
ENDS = (TARGET, *(f"hp-{consumer}" for consumer in CLIENTS))
HEADER_BYTES = 100
placements = pytest.mark.parametrize("placement", [WITH_PAYLOAD, AT_ONCE])

EVERY_KIND = (
    (Kind.CLIENT_FIRST, WITH_PAYLOAD),
    (Kind.CLIENT_FIRST, AT_ONCE),
    (Kind.TARGET_FIRST, AT_ONCE),
    (Kind.CLOSE, WITH_PAYLOAD),
    (Kind.CLOSE, AT_ONCE),
)


def some_of_every_kind(count: int) -> list[Talk]:
    consumers = itertools.cycle(CLIENTS)
    return [
        Talk(*EVERY_KIND[number % len(EVERY_KIND)], number, next(consumers), 20_000, 20_000) for number in range(count)
    ]


def change_of(namespaces: tuple[str, ...], before: Counter[str]) -> Counter[str]:
    change = counters(*namespaces)
    change.subtract(before)
    return change


# --- nothing is lost -----------------------------------------------------------------------


def test_pp_17_nobody_takes_the_header_for_a_loss(lab: FaultLab) -> None:
    """Its acknowledgment is one that repeats the last one at the client, and one is not three."""
    before = counters(*ENDS)
    talk_all(lab.snapshot(), some_of_every_kind(60)).assert_whole()
    change = change_of(ENDS, before)
    names = ("TCPFastRetrans", "TCPSackRecovery", "TCPSACKDiscard", "BeyondWindow", "PAWSEstab")
    assert {name: change[f"TcpExt{name}"] for name in names} == dict.fromkeys(names, 0)
    assert change["TcpInCsumErrors"] == 0


@placements
@pytest.mark.parametrize("offloads", ["on", "off"])
def test_pp_09_the_first_segment_is_a_super_packet(lab: FaultLab, placement: str, offloads: str) -> None:
    """As a TLS ClientHello of several segments is. The header is a segment of its own, before all others."""
    hello = os.urandom(5000)
    port = HEADER_PORTS[placement]
    with ExitStack() as stack:
        if offloads == "off":
            stack.enter_context(without_offloads(CLIENT, TARGET))
        leaving, coming = stack.enter_context(Tap(CLIENT, port)), stack.enter_context(Tap(TARGET, port))
        talking = stack.enter_context(line(placement))
        talking.client.sendall(hello)
        talking.take_header(lab.snapshot())
        assert take(talking.target, len(hello)) == hello
        talking.end()
        first = next(segment for segment in leaving.segments() if segment.payload)
        arrived = [segment for segment in coming.segments() if not segment.is_sent and "S" not in segment.flags]
    assert (len(first.payload) > 1460) == (offloads == "on")
    assert arrived_in_order(arrived, placement) == hello


def arrived_in_order(arrived: list[Segment], placement: str) -> bytes:
    """What came behind the header, which came by itself; PP-01: no ACK before it, where it has taken an ACK's place."""
    data = b""
    for segment in arrived[0 if placement == AT_ONCE else 1 :]:
        if segment.payload.startswith(SIGNATURE):
            assert (segment.sequence, len(segment.payload), data) == (0, HEADER_BYTES, b"")
            assert segment.flags == "PA"
        elif segment.payload:
            assert segment.sequence == HEADER_BYTES + len(data)
            data += segment.payload
        else:
            assert segment.sequence >= HEADER_BYTES or placement == WITH_PAYLOAD
    assert arrived[0].payload.startswith(SIGNATURE) or placement == WITH_PAYLOAD
    return data


def test_pp_40_every_checksum_is_right(lab: FaultLab) -> None:
    """Without offloads nobody fills in a sum later, and nobody passes on a wrong one; a wrong one is noticed."""
    before = counters(*ENDS)
    with without_offloads(*ENDS, features=("tx",)):
        talk_all(lab.snapshot(), some_of_every_kind(30)).assert_whole()
        assert change_of(ENDS, before)["TcpInCsumErrors"] == 0
        with gate(TARGET, "PREROUTING", *SEGMENT, change=with_a_wrong_sum), line(WITH_PAYLOAD) as talking:
            talking.client.sendall(b"hello")
            until(lambda: change_of(ENDS, before)["TcpInCsumErrors"] > 0, "a wrong sum")
            close_with_reset(talking.client)


def with_a_wrong_sum(packet: bytes) -> bytes:
    """Wrong by the header's length, as it is when someone counts with another header."""
    at = (packet[0] & 0xF) * 4 + 16
    wrong = int.from_bytes(packet[at : at + 2]) + HEADER_BYTES & 0xFFFF
    return packet[:at] + wrong.to_bytes(2) + packet[at + 2 :]


def test_pp_41_no_connection_is_tracked(lab: FaultLab) -> None:
    """Where a kernel tracks, it would see streams with a gap."""
    talk_all(lab.snapshot(), some_of_every_kind(10)).assert_whole()
    raw = lab.rules().partition("*raw")[2].partition("COMMIT")[0]
    assert "-A PREROUTING -j CT --notrack" in raw and "-A OUTPUT -j CT --notrack" in raw
    said = run(FABRIC_NAMESPACE, "conntrack", "-S")
    assert {int(count) for count in re.findall(r"\b(?:invalid|insert)=(\d+)", said)} == {0}


# --- small windows and small segments ------------------------------------------------------


def smallest_buffer(listener: socket.socket) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)


WINDOW_BYTES = 8000
"""More than the smallest buffer takes."""


@placements
def test_pp_18_no_segment_ends_beyond_the_window(lab: FaultLab, placement: str) -> None:
    """A client fills the window exactly; what the header takes of it, it is not offered."""
    data = os.urandom(WINDOW_BYTES)
    before = counters(TARGET)["TcpExtBeyondWindow"]
    with listening(placement, smallest_buffer) as listener:
        for _ in range(5):
            with calling(placement) as client:
                client.sendall(data)
                talking = Line(placement, listener, client)
                talking.take_header(lab.snapshot())
                assert take(talking.target, len(data)) == data
                talking.end()
    assert counters(TARGET)["TcpExtBeyondWindow"] == before


def smallest_segments(listener: socket.socket) -> None:
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 88)


PIECES = (76, 24)
"""Of a header: 88 bytes without the time stamps."""
SECOND_PIECE = ("-p", "tcp", "-m", "length", "--length", str(20 + 32 + PIECES[1]))


@contextmanager
def second_piece_lost(count: int) -> Iterator[None]:
    with rule(TARGET, "INPUT", *SECOND_PIECE, *first_of_each(count), "-j", "DROP") if count else ExitStack():
        yield


def header_in_pieces(lab: FaultLab, placement: str, lost: int) -> tuple[list[Segment], list[Segment]]:
    """What passes the client and the target when a header does not fit into a segment of the target's."""
    port = HEADER_PORTS[placement]
    with (
        without_offloads(CLIENT),
        Tap(CLIENT, port) as client,
        Tap(TARGET, port) as target,
        second_piece_lost(lost),
        line(placement, smallest_segments) as talking,
    ):
        talking.converse(lab.snapshot())
        talking.carry_up(os.urandom(3000))
        talking.end()
        return client.segments(), target.segments()


@placements
@pytest.mark.parametrize("lost", [0, 1])
def test_pp_11_the_header_is_longer_than_a_segment(lab: FaultLab, placement: str, lost: int) -> None:
    """It comes in pieces. What is acknowledged of it by itself, no client hears of."""
    at_client, at_target = header_in_pieces(lab, placement, lost)
    pieces = [(segment.sequence, len(segment.payload)) for segment in at_target if 0 <= segment.end <= HEADER_BYTES]
    pieces = [piece for piece in pieces if piece[1]]
    assert pieces[:2] == [(0, PIECES[0]), PIECES]
    assert len(pieces) > 2 if lost else True
    assert max(len(segment.payload) for segment in at_target if not segment.is_sent) <= PIECES[0]
    assert strange(at_client) == []


# --- silence -------------------------------------------------------------------------------


def kept_alive(client: socket.socket) -> None:
    """A probe a second; two without an answer end the connection."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)


def test_pp_20_silence_is_kept_alive(lab: FaultLab) -> None:
    """Before the client's first byte and later, in both placements."""
    before = counters(CLIENT)["TcpExtTCPKeepAlive"]
    with ExitStack() as stack:
        listeners = {name: stack.enter_context(listening(name)) for name in HEADER_PORTS}
        lines = []
        for placement, has_spoken in itertools.product(HEADER_PORTS, (False, True)):
            client = stack.enter_context(calling(placement, kept_alive))
            talking = Line(placement, listeners[placement], client)
            stack.callback(talking.close)
            if has_spoken:
                talking.converse(lab.snapshot())
            elif placement == AT_ONCE:
                talking.take_header(lab.snapshot())
            else:
                assert talking.target.fileno() > 0
            lines.append((talking, has_spoken or placement == AT_ONCE))
        until(lambda: counters(CLIENT)["TcpExtTCPKeepAlive"] - before >= 4 * len(lines), "four probes each")
        for talking, has_header in lines:
            if not has_header:
                talking.client.sendall(b"now")
                talking.take_header(lab.snapshot())
                assert take(talking.target, 3) == b"now"
            talking.carry_up(b"goodbye")
            talking.carry_down(b"goodbye")
            talking.end()


def small_buffer(end: socket.socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)


def has_risen(namespace: str, name: str, before: Counter[str], by: int) -> bool:
    return counters(namespace)[name] - before[name] >= by


@placements
def test_pp_21_both_ends_stop_reading(lab: FaultLab, placement: str) -> None:
    """Until both windows are closed and each end has asked three times whether the other's is open."""
    data = os.urandom(1 << 22)
    with ThreadPoolExecutor(4) as pool, line(placement, small_buffer, small_buffer) as talking:
        talking.converse(lab.snapshot())
        before = {namespace: counters(namespace) for namespace in (CLIENT, TARGET)}
        ends = (talking.client, talking.target)
        saying = [pool.submit(end.sendall, data) for end in ends]
        for namespace, counted in before.items():
            until(lambda: has_risen(namespace, "TcpExtTCPToZeroWindowAdv", counted, 1), "a closed window")  # noqa: B023
            until(lambda: has_risen(namespace, "TcpExtTCPWinProbe", counted, 3), "three probes")  # noqa: B023
        hearing = [pool.submit(take, end, len(data)) for end in ends]
        assert all(heard.result() == data for heard in hearing)
        assert all(said.result() is None for said in saying)
        talking.end()


def deferred(listener: socket.socket) -> None:
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)


def test_pp_28_a_target_that_accepts_with_the_first_data(lab: FaultLab) -> None:
    """The header is data: the target may speak first. Without one at once, it is the client's first words."""
    with line(AT_ONCE, deferred) as talking:
        talking.take_header(lab.snapshot())
        talking.carry_down(b"welcome")
        talking.carry_up(b"hello")
        talking.end()
    with line(WITH_PAYLOAD, deferred) as talking:
        talking.converse(lab.snapshot())
        talking.end()
