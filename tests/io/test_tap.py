"""Taps hear both directions, filter before the first packet, and tell what they lost."""

import secrets
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from hyperplane.io.tap import FilterRefused, Tap, TappedPacket, compile_filter
from netns import namespace as namespaces
from netns.build import build
from netns.clean import clean
from netns.namespace import NamespaceMissing, open_socket
from netns.topology import Link, LinkEnd, Namespace, Topology

LEFT, RIGHT = "192.0.2.1", "192.0.2.2"
WAIT_S = 10.0
tcpdump = pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed")


@pytest.fixture
def wire() -> Iterator[tuple[str, str]]:
    """Two namespaces with a wire between them: (left, right)."""
    prefix = f"hp-tap{secrets.token_hex(3)}"
    left, right = f"{prefix}-left", f"{prefix}-right"
    ends = [LinkEnd(name, "hp-eth0", addresses=(f"{at}/24",)) for name, at in ((left, LEFT), (right, RIGHT))]
    build(Topology((Namespace(left), Namespace(right)), (Link(*ends),)))
    yield left, right
    clean(prefix)
    assert not [name for name in namespaces.list_names() if name.startswith(prefix)]


def exchange(left: str, right: str, *payloads: bytes) -> None:
    """Send datagrams from left to right, and wait until the last has arrived."""
    with (
        open_socket(right, socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        open_socket(left, socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind((RIGHT, 9))
        receiver.settimeout(WAIT_S)
        for payload in payloads:
            sender.sendto(payload, (RIGHT, 9))
            assert receiver.recv(100) == payload


def heard(tap: Tap, count: int) -> list[TappedPacket]:
    """The first packets with a payload of the test, in order."""
    found: list[TappedPacket] = []
    until = time.monotonic() + WAIT_S
    while len(found) < count:
        assert select.select([tap], [], [], max(0, until - time.monotonic()))[0], f"only {len(found)} of {count} came"
        found += (packet for packet in tap.read() if b"payload" in packet.data)
    return found


@pytest.mark.netns
def test_both_ends_hear_a_packet_and_know_its_direction(wire: tuple[str, str]) -> None:
    taps = [Tap(name, "hp-eth0") for name in wire]
    before_ns = time.time_ns()
    exchange(*wire, b"payload")
    sent, received = (heard(tap, 1)[0] for tap in taps)
    assert (sent.outgoing, received.outgoing) == (True, False)
    assert sent.data == received.data and sent.data.endswith(b"payload")
    assert before_ns <= sent.time_ns <= received.time_ns <= time.time_ns()
    for tap in taps:
        tap.close()


@pytest.mark.netns
def test_the_very_first_packet_has_the_time_at_which_it_came(wire: tuple[str, str]) -> None:
    """Not the time at which it was read, as it would be while the kernel only begins to stamp packets."""
    for _ in range(40):
        taps = [Tap(name, "hp-eth0") for name in wire]  # the first of the machine, again and again
        exchange(*wire, b"payload")
        for tap in taps:
            assert select.select([tap], [], [], WAIT_S)[0]
        reads_at_ns = time.time_ns()
        sent, received = (heard(tap, 1)[0].time_ns for tap in taps)
        assert sent <= received <= reads_at_ns
        for tap in taps:
            tap.close()


@pytest.mark.netns
@tcpdump
def test_a_filter_lets_nothing_else_pass(wire: tuple[str, str]) -> None:
    tap = Tap(wire[1], "hp-eth0", compile_filter("udp[8:4] = 0x7061796c"))  # "payl"
    exchange(*wire, b"another one", b"payload", b"another one", b"payload 2")
    assert [packet.data[42:] for packet in heard(tap, 2)] == [b"payload", b"payload 2"]
    tap.count()
    assert (tap.received, tap.dropped, tap.drain()) == (2, 0, [])
    tap.close()


@pytest.mark.netns
def test_what_does_not_fit_is_counted(wire: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hyperplane.io.tap._BUFFER_BYTES", 0)  # the kernel makes it its smallest
    tap = Tap(wire[1], "hp-eth0")
    exchange(*wire, *[b"payload %d" % number for number in range(50)])
    tap.count()
    assert tap.received >= 50
    assert tap.dropped > 0
    assert len(tap.drain()) == tap.received - tap.dropped
    tap.close()


@pytest.mark.netns
def test_a_link_that_is_down_is_silent_until_it_is_up(wire: tuple[str, str]) -> None:
    def set_link(state: str) -> None:
        subprocess.run(["ip", "-n", wire[1], "link", "set", "hp-eth0", state], check=True)

    set_link("down")
    tap = Tap(wire[1], "hp-eth0")
    assert tap.drain() == []
    set_link("up")
    exchange(*wire, b"payload")
    assert len(heard(tap, 1)) == 1
    set_link("down")
    assert [packet for packet in tap.drain() if b"payload" in packet.data] == []
    tap.close()


@pytest.mark.netns
def test_an_interface_that_is_not_there_is_named(wire: tuple[str, str]) -> None:
    with pytest.raises(OSError, match=f"hp-eth9 in {wire[0]}"):
        Tap(wire[0], "hp-eth9")


@pytest.mark.netns
def test_a_namespace_that_is_not_there_is_named() -> None:
    with pytest.raises(NamespaceMissing, match="hp-nowhere"):
        Tap("hp-nowhere", "hp-eth0")


@tcpdump
def test_a_filter_that_is_none_is_refused_with_tcpdumps_words() -> None:
    with pytest.raises(FilterRefused, match=r"'tcpp'.*syntax error"):
        compile_filter("tcpp")


def test_without_tcpdump_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(FilterRefused, match="not installed"):
        compile_filter("tcp")
