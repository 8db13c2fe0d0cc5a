"""Which packets belong to a call, and how they looked at each hop: built by scapy, heard at places of a made lab."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from hyperplane.cli.trace.sightings import HopView, Sighting, hops_of, read_packet
from hyperplane.io.flow_view import SocketAddress
from hyperplane.io.hops import Hop, Place
from hyperplane.io.tap import TappedPacket

CLIENT, SERVER = SocketAddress("10.0.1.50", 51_000), SocketAddress("10.0.1.10", 443)
NAT, TARGET = SocketAddress("10.9.0.7", 20_000), SocketAddress("10.9.3.20", 8080)
OTHER = SocketAddress("10.9.4.20", 8080)

WAY = [
    Place(Hop.CLIENT, "hp-c", "hp-eth0", CLIENT.address, "the client"),
    Place(Hop.ENDPOINT, "hp-f", "hp-e2", SERVER.address, "the endpoint"),
    Place(Hop.NLB, "hp-f", "hp-e1", NAT.address, "the load balancer"),
    Place(Hop.ROUTER, "hp-v", "hp-i-1", TARGET.address, "the router"),
    Place(Hop.ROUTER, "hp-v", "hp-i-2", OTHER.address, "the router, to the other"),
    Place(Hop.TARGET, "hp-t1", "hp-eth0", TARGET.address, "the target"),
    Place(Hop.TARGET, "hp-t2", "hp-eth0", OTHER.address, "another target"),
]


def tcp(source: SocketAddress, destination: SocketAddress, flags: str, seq: int = 7, ttl: int = 64) -> Packet:
    network = IP(src=source.address, dst=destination.address, ttl=ttl)
    return network / TCP(sport=source.port, dport=destination.port, flags=flags, seq=seq)


def udp(source: SocketAddress, destination: SocketAddress, data: bytes) -> Packet:
    return IP(src=source.address, dst=destination.address) / UDP(sport=source.port, dport=destination.port) / data


def sighted(place: Place, time_ns: int, packet: Packet) -> Sighting:
    read = read_packet(place, TappedPacket(time_ns, False, bytes(Ether() / packet)))
    assert read is not None
    return read


def walked(*packets: tuple[int, int, Packet]) -> list[HopView]:
    """The hops of the call, from (place's number, moment in ms, packet)."""
    found = [sighted(WAY[place], at * 1_000_000, packet) for place, at, packet in packets]
    return hops_of(WAY, found, CLIENT, SERVER)


def ends(view: HopView) -> tuple[str, str] | None:
    seen = view.original
    return None if seen is None else (str(seen.source), str(seen.destination))


def test_a_call_that_goes_all_the_way() -> None:
    hops = walked(
        (0, 10, tcp(CLIENT, SERVER, "S")),
        (1, 11, tcp(CLIENT, SERVER, "S")),
        (2, 12, tcp(NAT, TARGET, "S", ttl=63)),
        (3, 13, tcp(NAT, TARGET, "S", ttl=62)),
        (5, 14, tcp(NAT, TARGET, "S", ttl=62)),
        (5, 15, tcp(TARGET, NAT, "SA")),
        (3, 16, tcp(TARGET, NAT, "SA")),
        (2, 17, tcp(TARGET, NAT, "SA")),
        (1, 18, tcp(SERVER, CLIENT, "SA")),
        (0, 19, tcp(SERVER, CLIENT, "SA")),
        (0, 20, tcp(CLIENT, SERVER, "A", seq=8)),
        (2, 21, tcp(NAT, TARGET, "A", seq=8, ttl=63)),
    )
    assert [view.place.hop for view in hops] == list(Hop)
    assert [ends(view) for view in hops] == [(str(CLIENT), str(SERVER))] * 2 + [(str(NAT), str(TARGET))] * 3
    assert [view.place.what for view in hops][3:] == ["the router", "the target"]
    assert [view.reply is not None for view in hops] == [True] * 5
    client, nlb = hops[0].original, hops[2].original
    assert client is not None and nlb is not None
    assert (client.packets, client.flags, client.ttl, client.first_at_s) == (2, ("S", "A"), 64, 0.0)
    assert (nlb.packets, nlb.bytes, nlb.ttl, nlb.first_at_s) == (2, 80, 63, 0.002)


def test_a_datagram_is_known_by_its_data() -> None:
    hops = walked(
        (0, 10, udp(CLIENT, SERVER, b"token")),
        (1, 11, udp(CLIENT, SERVER, b"token")),
        (2, 11, udp(NAT, TARGET, b"somebody else's")),
        (2, 12, udp(SocketAddress(NAT.address, 4), TARGET, b"token")),
        (5, 13, udp(SocketAddress(NAT.address, 4), TARGET, b"token")),
    )
    assert ends(hops[2]) == ("10.9.0.7:4", str(TARGET))
    assert hops[2].original is not None and hops[2].original.packets == 1


def test_others_packets_are_not_the_calls() -> None:
    """Another client of the same address and port, another connection to the same target."""
    stranger = SocketAddress("10.9.0.7", 30_000)
    hops = walked(
        (0, 10, tcp(CLIENT, SERVER, "S")),
        (0, 10, tcp(SocketAddress(CLIENT.address, 1), SERVER, "S")),
        (2, 11, tcp(stranger, TARGET, "S", seq=8)),
        (2, 12, tcp(stranger, TARGET, "SA", seq=7)),
    )
    assert hops[0].original is not None and hops[0].original.packets == 1
    assert ends(hops[2]) is None


def test_a_packet_with_an_earlier_time_beyond_the_translation_is_the_calls() -> None:
    """The kernel had not begun to stamp packets when the SYN left, so that has the time at which it was read."""
    outside = SocketAddress("10.9.0.7", 30_000)
    hops = walked((0, 10, tcp(CLIENT, SERVER, "S", seq=7)), (2, 9, tcp(outside, TARGET, "S", seq=7)))
    assert hops[2].original is not None and hops[2].original.source == outside


def test_where_nothing_was_seen_there_is_still_a_hop() -> None:
    hops = walked((0, 10, tcp(CLIENT, SERVER, "S")))
    assert [view.place.hop for view in hops] == list(Hop)
    assert [ends(view) is None for view in hops] == [False, True, True, True, True]


def test_a_way_without_a_load_balancer_ends_at_the_endpoint() -> None:
    assert [view.place.hop for view in hops_of(WAY[:2], [], CLIENT, SERVER)] == [Hop.CLIENT, Hop.ENDPOINT]


@pytest.mark.parametrize(
    "data",
    [
        bytes(Ether() / ARP()),
        bytes(Ether() / IP(src="10.0.1.50", dst="10.0.1.10") / ICMP()),
        bytes(Ether(type=0x86DD)),
        b"\x00",
        b"",
        bytes(Ether() / IP(src="10.0.1.50", dst="10.0.1.10", proto=6)),
    ],
)
def test_what_is_neither_tcp_nor_udp_is_nothing(data: bytes) -> None:
    assert read_packet(WAY[0], TappedPacket(1, False, data)) is None


def test_a_super_packet_has_its_true_length() -> None:
    packet = tcp(CLIENT, SERVER, "PA") / bytes(8000)
    assert sighted(WAY[0], 1, packet).length == 8040
