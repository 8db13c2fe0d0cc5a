"""The options of TCP: what passes unchanged, what is clamped, what is taken out, and what is refused at once."""

import contextlib
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import TCP

from tests.lab.capture import Capture, Captures
from tests.lab.ends import (
    Pair,
    listening,
    receive_all,
    tcp_socket,
)
from tests.lab.laboratory import (
    CLIENT,
    CONSUMER_A,
    ENDPOINT,
    LINK,
    STAND_IN_PORT,
    TARGET_1,
    Lab,
    until,
)
from tests.lab.raw import segment, send_ip
from tests.lab.strangers import run

pytestmark = pytest.mark.netns

DOOR = (ENDPOINT, STAND_IN_PORT)
MPTCP = 262
"""IPPROTO_MPTCP, linux/in.h"""
TCP_MD5SIG, TCP_FASTOPEN = 14, 23
"""linux/tcp.h"""
SIOCATMARK = 0x8905
MEGABYTE = 1 << 20


@contextlib.contextmanager
def sysctl(namespace: str, name: str, value: str) -> Iterator[None]:
    """A sysctl of a namespace, set and set back."""
    before = run(namespace, "sysctl", "-n", name).stdout.strip()
    run(namespace, "sysctl", "-qw", f"{name}={value}")
    try:
        yield
    finally:
        run(namespace, "sysctl", "-qw", f"{name}={before}")


@contextlib.contextmanager
def advertising(namespace: str, mss: int) -> Iterator[None]:
    """Let a namespace offer this segment size, whatever its link can carry."""
    route = run(namespace, "ip", "route", "show", "default").stdout.split()
    run(namespace, "ip", "route", "change", *route, "advmss", str(mss))
    try:
        yield
    finally:
        run(namespace, "ip", "route", "change", *route)


def options_of(packets: list[Any], source: str, flags: str) -> dict[str, Any]:
    """TCP options of the one segment with these flags from that source."""
    (found,) = [packet[TCP] for packet in packets if packet.src == source and packet[TCP].flags == flags]
    return dict(found.options)


@pytest.mark.parametrize(("offered", "arrives"), [(8960, 1460), (1460, 1460), (536, 536), (None, None)])
def test_the_segment_size_is_clamped_and_never_raised(
    lab: Lab, tmp_path: Path, offered: int | None, arrives: int | None
) -> None:
    options = [] if offered is None else [("MSS", offered)]
    with listening(), Capture(tmp_path, TARGET_1, LINK) as capture:
        send_ip(CONSUMER_A, segment((CLIENT, 4447), DOOR, "S", seq=offered or 1, options=options))
        until(lambda: bool(capture.packets()), "the SYN arrives")
        assert dict(capture.packets()[0][TCP].options).get("MSS") == arrives


def test_segment_sizes_of_jumbo_hosts_are_clamped_both_ways(lab: Lab, tmp_path: Path) -> None:
    with (
        advertising(CONSUMER_A, 8960),
        advertising(TARGET_1, 8960),
        Captures(tmp_path, [(CONSUMER_A, LINK), (TARGET_1, LINK)]) as captures,
        Pair() as pair,
    ):
        pair.echo()
    consumer, target = captures[CONSUMER_A, LINK].packets(), captures[TARGET_1, LINK].packets()
    assert options_of(consumer, ENDPOINT, "SA")["MSS"] == 1460
    assert options_of(target, pair.balancer, "S")["MSS"] == 1460


def test_timestamps_and_sequence_numbers_pass_unchanged(lab: Lab, tmp_path: Path) -> None:
    """Every segment is the same on both sides but for its addresses, ports and sums."""
    with Captures(tmp_path, [(CONSUMER_A, LINK), (TARGET_1, LINK)]) as captures, Pair() as pair:
        for _ in range(5):
            pair.echo()
        pair.client.close()
        assert receive_all(pair.target) == b""
        pair.target.close()
    sides = []
    for place, near in (((CONSUMER_A, LINK), CLIENT), ((TARGET_1, LINK), pair.balancer)):
        segments = [(packet.src == near, packet[TCP]) for packet in captures[place].packets()]
        sides.append(
            sorted((up, t.seq, t.ack, str(t.flags), t.window, str(t.options), bytes(t.payload)) for up, t in segments)
        )
    assert sides[0] == sides[1]
    assert "Timestamp" in sides[0][-1][5]


def test_a_signed_connection_is_refused_at_once(lab: Lab) -> None:
    """A signature covers the addresses, so it cannot survive (RFC 2385). The client hears so and does not wait."""
    before = lab.counters()
    with listening(), tcp_socket(CONSUMER_A) as client:
        key = struct.pack("=H2s4s120xBBHI80s", socket.AF_INET, bytes(2), socket.inet_aton(ENDPOINT), 0, 0, 3, 0, b"key")
        client.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, key)
        with pytest.raises(ConnectionRefusedError):
            client.connect(DOOR)
    moved = lab.moved_since(before)
    tries = moved.pop("packets_dropped")  # on a busy machine the client tries again before it hears
    assert moved == {"dropped_signed_segment": tries, "replies": tries}


@pytest.mark.parametrize(("client_sysctl", "stripped"), [("1", 1), ("5", 0)], ids=["asks-a-cookie", "without-cookie"])
def test_fast_open_falls_back_and_the_data_arrives_once(
    lab: Lab, tmp_path: Path, client_sysctl: str, stripped: int
) -> None:
    """The cookie would be bound to an address that all consumers share (RFC 7413)."""
    before = lab.counters()
    with (
        sysctl(CONSUMER_A, "net.ipv4.tcp_fastopen", client_sysctl),
        sysctl(TARGET_1, "net.ipv4.tcp_fastopen", "514"),  # take data without a cookie
        listening() as listener,
        Capture(tmp_path, TARGET_1, LINK) as capture,
        tcp_socket(CONSUMER_A) as client,
    ):
        listener.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 16)
        client.settimeout(None)  # with a timeout, Python would not let the kernel wait for the handshake
        assert client.sendto(b"hello", socket.MSG_FASTOPEN, DOOR) == 5
        target, _ = listener.accept()
        with target:
            client.shutdown(socket.SHUT_WR)
            assert receive_all(target) == b"hello"
    syn = capture.packets()[0][TCP]
    assert (str(syn.flags), bytes(syn.payload)) == ("S", b"")
    assert not {34, "TFO"} & dict(syn.options).keys()
    assert lab.moved_since(before).get("fast_open_stripped", 0) == stripped


def test_multipath_falls_back_to_one_path(lab: Lab) -> None:
    """A join could reach another target (RFC 8684).

    Not tried with sprayed packets: after a fallback Linux 6.18 now and then keeps from its reader what came out of
    order, though its TCP has acknowledged all of it.
    """
    before = lab.counters()
    try:
        client = tcp_socket(CONSUMER_A, MPTCP)
    except OSError as error:
        pytest.skip(f"this kernel has no Multipath TCP: {error}")
    with listening(MPTCP) as listener, Pair(client=client, listener=listener) as pair:
        pair.transfer(MEGABYTE)
        pair.transfer(MEGABYTE, up=False)
    assert lab.moved_since(before)["multipath_stripped"] == 1
