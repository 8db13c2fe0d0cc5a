"""Exactly these packets are lost, late or in another order while a target gets its Proxy Protocol v2 header."""

import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.faults.header_gate import gate
from tests.faults.header_ground import (
    HEADER,
    SEGMENT,
    close_with_reset,
    connections,
    counters,
    first_of_each,
    rule,
    sysctl,
    without_offloads,
)
from tests.faults.header_line import CONSUMER, Line, calling, line, listening, take
from tests.faults.header_talks import AT_ONCE, CLIENTS, TARGET, WITH_PAYLOAD, Kind, Talk, talk_all
from tests.faults.header_wire import Segment, Tap, strange
from tests.faults.lab import FaultLab, until
from tests.faults.plan import HEADER_PORTS, Plan

pytestmark = [pytest.mark.netns, pytest.mark.fault]

PLAN = Plan(headers=True)
CLIENT = f"hp-{CONSUMER}"
ROUTER = "hp-vpc-flt-p"
"""Between the target and its load balancer."""

FIN = ("-p", "tcp", "--tcp-flags", "FIN", "FIN")
ACK = ("-p", "tcp", "--tcp-flags", "SYN,RST,ACK", "ACK")
FULL_BYTES = 1448
"""Of a segment that has no room for anything more."""
placements = pytest.mark.parametrize("placement", [WITH_PAYLOAD, AT_ONCE])


def talks(count: int, *kinds: tuple[Kind, str]) -> list[Talk]:
    consumers = itertools.cycle(CLIENTS)
    return [Talk(*kinds[number % len(kinds)], number, next(consumers)) for number in range(count)]


@contextmanager
def headers_lost(count: int) -> Iterator[None]:
    """The first headers of every connection do not reach the target."""
    with rule(TARGET, "INPUT", *HEADER, *first_of_each(count), "-j", "DROP"):
        yield


def sent_again(lab: FaultLab) -> int:
    now = lab.counters()
    return now["headers_repeated"] + now["headers_resent"]


# --- the header is lost --------------------------------------------------------------------


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_pp_02_header_lost_and_the_client_speaks_first(lab: FaultLab, lost: int) -> None:
    before = sent_again(lab)
    with headers_lost(lost):
        report = talk_all(lab.snapshot(), talks(100, (Kind.CLIENT_FIRST, WITH_PAYLOAD), (Kind.CLIENT_FIRST, AT_ONCE)))
    report.assert_whole()
    until(lambda: sent_again(lab) - before >= 100 * lost, "a header again for each that was lost")


@pytest.mark.parametrize("lost", [1, 2])
def test_pp_03_header_lost_and_the_target_speaks_first(lab: FaultLab, lost: int) -> None:
    before = sent_again(lab)
    with headers_lost(lost):
        report = talk_all(lab.snapshot(), talks(50, (Kind.TARGET_FIRST, AT_ONCE)))
    report.assert_whole()
    until(lambda: sent_again(lab) - before >= 50 * lost, "a header again for each that was lost")


def test_pp_04_header_lost_and_the_target_keeps_no_state(lab: FaultLab) -> None:
    """SYN cookies: the target repeats nothing, so it is the timer."""
    before = lab.counters()["headers_resent"]
    with sysctl(TARGET, "tcp_syncookies", 2), headers_lost(1):
        report = talk_all(lab.snapshot(), talks(50, (Kind.TARGET_FIRST, AT_ONCE)))
    report.assert_whole()
    until(lambda: lab.counters()["headers_resent"] - before >= 50, "a header again for each that was lost")


@pytest.mark.parametrize("lost", ["header", "fin", "both"])
def test_pp_22_the_end_is_all_that_the_client_says(lab: FaultLab, lost: str) -> None:
    """A FIN with data before it and without; whatever is lost is sent again, the header before the FIN."""
    with ExitStack() as stack:
        if lost != "fin":
            stack.enter_context(headers_lost(1))
        if lost != "header":
            stack.enter_context(rule(TARGET, "INPUT", *FIN, *first_of_each(1), "-j", "DROP"))
        kinds = itertools.product((Kind.CLOSE, Kind.SAY_AND_CLOSE), (WITH_PAYLOAD, AT_ONCE))
        report = talk_all(lab.snapshot(), talks(80, *kinds))
    report.assert_whole()
    for port in HEADER_PORTS.values():
        until(lambda port=port: not connections(TARGET, port), "nobody at the target")  # type: ignore[misc]


@placements
@pytest.mark.parametrize("lost", [0, 1])
def test_pp_23_a_reset_before_any_data(lab: FaultLab, placement: str, lost: int) -> None:
    """Its number must be the one that the target waits for, else the target stays open."""
    with listening(placement), headers_lost(lost) if lost else ExitStack():
        for _ in range(20):
            with calling(placement) as client:
                close_with_reset(client)
        until(lambda: not connections(TARGET, HEADER_PORTS[placement]), "nobody at the target")


# --- the target's side ---------------------------------------------------------------------


@contextmanager
def first_ack_lost(count: int = 1) -> Iterator[None]:
    """On its way from the target to the load balancer."""
    plain = (*ACK, "--sport", "9011:9012", "-m", "length", "--length", "0:79")
    with rule(ROUTER, "FORWARD", *plain, *first_of_each(count), "-j", "DROP"):
        yield


def heard_of_a_second_header(lab: FaultLab, first: str) -> list[Segment]:
    """What passes the client while the target gets the header twice, because its acknowledgment is lost."""
    before = counters(TARGET)["TcpExtTCPDSACKOldSent"]
    with Tap(CLIENT, HEADER_PORTS[AT_ONCE]) as tap, first_ack_lost(), line(AT_ONCE) as talking:
        talking.take_header(lab.snapshot())
        if first == "client":
            talking.carry_up(b"hello")
        until(lambda: counters(TARGET)["TcpExtTCPDSACKOldSent"] > before, "the target says that it had it")
        talking.carry_down(b"welcome")
        talking.end()
        return tap.segments()


@pytest.mark.parametrize("first", ["client", "target"])
def test_pp_05_the_header_comes_twice(lab: FaultLab, first: str) -> None:
    before = counters(CLIENT)["TcpExtTCPDSACKRecv"]
    segments = heard_of_a_second_header(lab, first)
    assert [segment for segment in segments if not segment.is_sent and segment.sacks] == []
    assert strange(segments) == []
    assert counters(CLIENT)["TcpExtTCPDSACKRecv"] == before


ORDERS = {WITH_PAYLOAD: tuple(itertools.permutations(range(3))), AT_ONCE: tuple(itertools.permutations(range(4)))}
"""The header and the first two segments; where the header goes at once, it comes a second time with the first one."""


@placements
def test_pp_07_in_any_order(lab: FaultLab, placement: str) -> None:
    """What comes early is kept and told of in SACK blocks, which are about the client's bytes only."""
    data = os.urandom(3000)
    told = 0
    with without_offloads(CLIENT), Tap(CLIENT, HEADER_PORTS[placement]) as tap:
        for order in ORDERS[placement]:
            with gate(TARGET, "PREROUTING", *SEGMENT, order=order), line(placement) as talking:
                talking.client.sendall(data)
                talking.take_header(lab.snapshot())
                assert take(talking.target, len(data)) == data
                talking.carry_down(b"welcome")
                talking.end()
                segments = tap.segments()
            assert strange(segments) == [], order
            told += any(segment.sacks for segment in segments if not segment.is_sent)
    assert told > 0


@placements
def test_pp_10_a_super_packet_is_lost_in_parts(lab: FaultLab, placement: str) -> None:
    """A queue with room for eight of its forty-five segments."""
    large = Talk(Kind.CLIENT_FIRST, placement, 1, up_bytes=2_000_000)
    with gate(TARGET, "PREROUTING", *SEGMENT, room=8) as narrow:
        talk_all(lab.snapshot(), [large]).assert_whole()
        assert narrow.dropped > 0


@placements
def test_pp_24_refused(lab: FaultLab, placement: str) -> None:
    with pytest.raises(ConnectionRefusedError), calling(placement):
        pass


@placements
@pytest.mark.parametrize("when", ["at the header", "later"])
def test_pp_24_reset_by_the_target(lab: FaultLab, placement: str, when: str) -> None:
    """By a packet filter before it, which knows nothing but the segment that it refuses."""
    refusing = (*SEGMENT, "--dport", str(HEADER_PORTS[placement]), "-j", "REJECT", "--reject-with", "tcp-reset")
    with line(placement) as talking, ExitStack() as stack:
        if when == "later":
            talking.converse(lab.snapshot())
        stack.enter_context(rule(TARGET, "INPUT", *refusing))
        with pytest.raises(ConnectionResetError):
            talking.client.sendall(b"anybody there?")
            talking.client.recv(1)


# --- what a node has in hand at the same time ----------------------------------------------


@contextmanager
def nodes_stopped(lab: FaultLab) -> Iterator[None]:
    """None reads its queue, and nobody takes them for dead."""
    pids = [lab.fabric_pid(), *lab.pids().values()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: all(map(lab.is_stopped, pids)), "still nodes")
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


def test_pp_13_headers_leave_in_the_order_of_what_they_are_made_of(lab: FaultLab) -> None:
    """A node reads the ACK that becomes a header and the data behind it at once: the older header goes first."""
    before, data = counters(TARGET)["TcpExtPAWSEstab"], os.urandom(FULL_BYTES)
    with (
        Tap(TARGET, HEADER_PORTS[AT_ONCE]) as tap,
        listening(AT_ONCE) as listener,
        gate(CLIENT, "OUTPUT", *ACK, order=(0, 1)) as closed,
        calling(AT_ONCE) as client,
    ):
        until(lambda: closed.held == 1, "the end of the handshake")
        connected_at = time.monotonic()
        until(lambda: time.monotonic() > connected_at + 0.005, "another time stamp")
        with nodes_stopped(lab):
            client.sendall(data)
            until(lambda: closed.passed == 2, "both at the node")
        talking = Line(AT_ONCE, listener, client)
        talking.take_header(lab.snapshot())
        assert take(talking.target, len(data)) == data
        talking.close()
        segments = [segment for segment in tap.segments() if segment.payload]
    assert [segment.sequence for segment in segments if not segment.is_sent] == [0, 0, 100]
    assert counters(TARGET)["TcpExtPAWSEstab"] == before
