"""Captures: which packets go to which file, and when they end."""

import io
import os
import secrets
import select
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.utils import RawPcapNgReader

from hyperplane.io.capture import Bounds, Capture, by_hop, file_of, stop_signals
from hyperplane.io.hops import Hop, Place, Places
from hyperplane.io.lab_file import DEFAULT_LAB
from hyperplane.io.running_lab import lab_of_file
from hyperplane.io.tap import Tap, TappedPacket
from netns.build import build
from netns.clean import clean
from netns.namespace import open_socket
from netns.topology import Link, LinkEnd, Namespace, Topology

WAIT_S = 10.0


@pytest.fixture
def places() -> Iterator[tuple[Place, Place]]:
    """The two ends of a wire, as a client's and a target's."""
    prefix = f"hp-cap{secrets.token_hex(3)}"
    names = f"{prefix}-left", f"{prefix}-right"
    ends = [LinkEnd(name, "hp-eth0", addresses=(f"192.0.2.{at}/24",)) for at, name in enumerate(names, start=1)]
    build(Topology(tuple(map(Namespace, names)), (Link(*ends),)))
    yield (
        Place(Hop.CLIENT, names[0], "hp-eth0", "192.0.2.1", "the client"),
        Place(Hop.TARGET, names[1], "hp-eth0", "192.0.2.2", "the target"),
    )
    clean(prefix)


def send(place: Place, count: int) -> None:
    """Send datagrams away from a place, to a neighbour that is told without ARP."""
    with open_socket(place.namespace, socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((place.interface, 0))
        for number in range(count):
            sender.send(b"\xff" * 6 + bytes(6) + b"\x88\xb5" + b"packet %d" % number)  # IEEE's ethertype for tests


def packets_in(stream: io.BytesIO) -> list[bytes]:
    return [bytes(data)[14:] for data, _ in RawPcapNgReader(io.BytesIO(stream.getvalue()))]


@pytest.mark.netns
def test_each_hop_has_its_file_and_count_is_exact(places: tuple[Place, Place]) -> None:
    client, target = io.BytesIO(), io.BytesIO()
    capture = Capture(Bounds(packets=3))
    capture.add("client", client, places[:1])
    capture.add("target", target, places[1:])
    send(places[0], 2)
    with stop_signals() as (stopped, wake):
        capture.run(stopped, wake)
    found = capture.close()
    assert (packets_in(client), packets_in(target)) == ([b"packet 0", b"packet 1"], [b"packet 0"])
    assert [(item.name, item.packets, item.lost) for item in found] == [("client", 2, 0), ("target", 1, 0)]


@pytest.mark.netns
def test_one_stream_holds_all_places_in_order(places: tuple[Place, Place]) -> None:
    stream = io.BytesIO()
    witness = Tap(places[1].namespace, places[1].interface)  # the kernel tells those that came later first
    capture = Capture(Bounds(packets=4))
    capture.add("all", stream, places)
    send(places[0], 2)
    arrived: list[TappedPacket] = []
    while len(arrived) < 2:
        assert select.select([witness], [], [], 10)[0], "both arrive"
        arrived += witness.read()
    witness.close()
    with stop_signals() as (stopped, wake):
        capture.run(stopped, wake)
    capture.close()
    read = list(RawPcapNgReader(io.BytesIO(stream.getvalue())))
    times = [about.tshigh << 32 | about.tslow for _, about in read]
    assert times == sorted(times)
    found = [(bytes(data)[14:], about.ifname.decode()) for data, about in read]
    assert [packet for packet, name in found if name == places[0].name] == [b"packet 0", b"packet 1"]
    assert [packet for packet, name in found if name == places[1].name] == [b"packet 0", b"packet 1"]
    for packet in (b"packet 0", b"packet 1"):
        assert found.index((packet, places[0].name)) < found.index((packet, places[1].name))


@pytest.mark.netns
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_what_waits_is_written(places: tuple[Place, Place], number: signal.Signals) -> None:
    stream = io.BytesIO()
    capture = Capture(Bounds())
    capture.add("client", stream, places[:1])
    send(places[0], 2)
    before = signal.getsignal(number)
    with stop_signals() as (stopped, wake):
        threading.Thread(target=os.kill, args=(os.getpid(), number)).start()
        capture.run(stopped, wake)
    assert signal.getsignal(number) is before
    assert capture.close()[0].packets == 2
    assert packets_in(stream) == [b"packet 0", b"packet 1"]


@pytest.mark.netns
def test_seconds_end_it(places: tuple[Place, Place]) -> None:
    stream = io.BytesIO()
    capture = Capture(Bounds(seconds=0.05))
    capture.add("client", stream, places[:1])
    with stop_signals() as (stopped, wake):
        capture.run(stopped, wake)
    assert capture.close()[0].packets == 0
    assert packets_in(stream) == []


def test_files_are_named_in_the_order_of_the_way(tmp_path: Path) -> None:
    names = [file_of(tmp_path, hop).name for hop in Hop]
    assert names == ["1-client.pcapng", "2-endpoint.pcapng", "3-nlb.pcapng", "4-router.pcapng", "5-target.pcapng"]
    assert sorted(names) == names


def test_places_of_one_client_are_those_its_packets_can_pass() -> None:
    lab = lab_of_file(DEFAULT_LAB)
    groups = by_hop(Places(lab).around(lab.instance("consumer-b")))
    names = {hop.value: [place.name for place in found] for hop, found in groups.items()}
    assert names["client"] == ["hp-consumer-b/hp-eth0"]
    assert len(names["endpoint"]) == len(names["nlb"]) == 1
    assert {name.partition("/")[0] for name in (*names["endpoint"], *names["nlb"])} == {"hp-fabric-use2-az1"}
    assert [name.partition("/")[0] for name in names["router"]] == ["hp-vpc-provider"] * 2
    assert names["target"] == ["hp-target-1/hp-eth0", "hp-target-2/hp-eth0"]


def test_places_of_all_clients_leave_out_who_has_no_endpoint() -> None:
    groups = by_hop(Places(lab_of_file(DEFAULT_LAB)).around())
    assert [place.namespace for place in groups[Hop.CLIENT]] == [
        "hp-consumer-a",
        "hp-consumer-a2",
        "hp-consumer-b",
        "hp-consumer-c",
    ]
    assert {hop.value: len(found) for hop, found in groups.items()} == {
        "client": 4,
        "endpoint": 4,
        "nlb": 2,
        "router": 2,
        "target": 2,
    }
