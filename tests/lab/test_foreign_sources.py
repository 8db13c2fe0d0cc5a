"""What one consumer may not do to another, and what no packet may be: spoofed, borrowed, malformed."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR, IPOption_RR, IPOption_SSRR, IPOption_Timestamp
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from tests.lab.capture import Capture, Captures
from tests.lab.ends import Pair, answering, listening, tcp_socket, udp_socket
from tests.lab.laboratory import (
    BALANCER,
    CLIENT,
    CONSUMER_A,
    CONSUMER_B,
    CONSUMER_C,
    ENDPOINT,
    ENDPOINT_C,
    FABRIC_1,
    LINK,
    STAND_IN_PORT,
    TARGET_1,
    TARGET_ADDRESS,
    Lab,
    until,
)
from tests.lab.raw import datagram, segment, send_frames, send_ip
from tests.lab.strangers import run

pytestmark = pytest.mark.netns

DOOR = (ENDPOINT, STAND_IN_PORT)


def mac_in(namespace: str, link: str) -> str:
    return run(namespace, "ip", "-br", "link", "show", link).stdout.split()[2]


def seen_by_nodes(counters: Counter[str]) -> int:
    return counters["packets_original"] + counters["packets_reply"] + counters["packets_dropped"]


@pytest.fixture
def pair(lab: Lab) -> Iterator[Pair]:
    with Pair() as pair:
        yield pair


def test_another_consumer_cannot_touch_a_connection(lab: Lab, pair: Pair, tmp_path: Path) -> None:
    """Consumer b has a's address and door. It knows the whole tuple, and sweeps the sequence numbers besides."""
    stolen = (CLIENT, pair.client_port)
    with Capture(tmp_path, CONSUMER_A, LINK) as capture:
        pair.echo()
    seen = [packet for packet in capture.packets() if packet.src == CLIENT][-1][TCP]
    before = lab.counters()
    exact = {"seq": seen.seq, "ack": seen.ack}
    send_ip(CONSUMER_B, [segment(stolen, DOOR, flags, b"forged", **exact) for flags in ("R", "RA", "S", "PA", "FA")])
    sweep = (segment(stolen, DOOR, "R", seq=seq) for seq in range(0, 1 << 32, 1 << 20))
    send_ip(CONSUMER_B, sweep)
    # Most of it is dropped. The forged SYN is b's own good right and opens a flow of b's, in which its resets may pass.
    sent = seen_by_nodes(before) + 5 + 4096
    until(lambda: seen_by_nodes(lab.shown()) >= sent, "the nodes have seen all of it")
    pair.echo()
    with Pair(CONSUMER_B) as other:
        other.echo()


@pytest.mark.parametrize(
    ("consumer", "source"),
    [
        (CONSUMER_A, "10.9.3.20"),  # a target's
        (CONSUMER_A, "10.9.0.7"),  # the balancer's
        (CONSUMER_A, "8.8.8.8"),
        (CONSUMER_A, "127.0.0.1"),
        (CONSUMER_A, "0.0.0.0"),
        (CONSUMER_A, "224.0.0.1"),
        (CONSUMER_A, "240.0.0.1"),
        (CONSUMER_A, "255.255.255.255"),
        (CONSUMER_A, ENDPOINT),  # land: from the endpoint to itself
        (CONSUMER_C, "10.0.1.50"),  # of the consumers, at c's endpoint
        (CONSUMER_C, ENDPOINT_C),
    ],
)
def test_a_foreign_source_starts_no_flow(lab: Lab, consumer: str, source: str) -> None:
    """As a frame, so that not the sender's own kernel holds it back."""
    endpoint, link = (ENDPOINT, "hp-e2") if consumer == CONSUMER_A else (ENDPOINT_C, "hp-e4")
    ether = Ether(src=mac_in(consumer, LINK), dst=mac_in(FABRIC_1, link))
    before = lab.counters()
    door = (endpoint, STAND_IN_PORT)
    packets = [segment((source, 4444), door, "S"), datagram((source, 4444), door, b"hello")]
    send_frames(consumer, LINK, [ether / packet for packet in packets])
    lab.expect(before, packets_dropped=2, dropped_foreign_source=2)


def test_the_endpoint_is_no_gateway(lab: Lab, tmp_path: Path) -> None:
    """A consumer that routes to others by way of its endpoint's own interface reaches nobody."""
    others = (TARGET_ADDRESS, BALANCER, ENDPOINT_C, "10.0.2.10", "8.8.8.8")
    ether = Ether(src=mac_in(CONSUMER_A, LINK), dst=mac_in(FABRIC_1, "hp-e2"))
    before = lab.counters()
    frames = [ether / segment((CLIENT, 4444), (address, 80), "S") for address in others]
    frames += [ether / datagram((CLIENT, 4444), (address, 53), b"hello") for address in others]
    with Capture(tmp_path, TARGET_1, LINK) as target:
        send_frames(CONSUMER_A, LINK, frames)
        lab.expect(before, packets_dropped=len(frames), dropped_not_our_address=len(frames))
        assert target.packets() == []


def test_no_frame_reaches_another_consumers_endpoint(lab: Lab, tmp_path: Path) -> None:
    """Consumer b's endpoint has the very address; its interface hears nothing, whatever a's frames look like."""
    own, mine, theirs = mac_in(CONSUMER_A, LINK), mac_in(FABRIC_1, "hp-e2"), mac_in(FABRIC_1, "hp-e3")
    packet = segment((CLIENT, 4444), DOOR, "S")
    frames = [
        Ether(src=own, dst=theirs) / packet,
        Ether(src=mac_in(CONSUMER_B, LINK), dst=theirs) / packet,
        Ether(src=own, dst="ff:ff:ff:ff:ff:ff") / packet,
        *(Ether(src=own, dst=mac) / Dot1Q(vlan=tag) / packet for mac in (mine, theirs) for tag in (1, 3, 4094)),
        Ether(src=own, dst=theirs) / Dot1Q(vlan=3) / Dot1Q(vlan=2) / packet,
        Ether(src=own, dst=mine) / Dot1Q(vlan=3) / Dot1Q(vlan=2) / packet,
    ]
    watched = [(FABRIC_1, "hp-e3"), (FABRIC_1, "hp-e4"), (CONSUMER_B, LINK), (CONSUMER_C, LINK)]
    with Captures(tmp_path, watched) as captures, Capture(tmp_path, TARGET_1, LINK) as target:
        before = lab.counters()
        send_frames(CONSUMER_A, LINK, frames)
        with Pair() as barrier:  # frames keep their order up to the fabric: what came before it, came before
            barrier.echo()
        assert lab.moved_since(before)["flows_new"] == 2, "the broadcast, for a's own endpoint, and the barrier"
        assert {place: capture.packets() for place, capture in captures.items()} == {place: [] for place in watched}
        assert {packet.dport for packet in target.packets() if packet.dst != BALANCER} == {STAND_IN_PORT}


def strange_packets() -> dict[str, Any]:
    """By the drop reason that must be counted, packets that a consumer's client might send to its endpoint."""
    source, sender = {"src": CLIENT, "dst": ENDPOINT}, (CLIENT, 4444)
    options = (IPOption_LSRR, IPOption_SSRR, IPOption_RR)
    syn = TCP(sport=4444, dport=STAND_IN_PORT, flags="S")
    flags = ["", "FSPU", "F", "FPU", "SF", "SR", "SFRPAU"]
    return {
        "ip_options": [
            *(IP(**source, options=[option(routers=["10.0.1.99"])]) / syn for option in options),
            IP(**source, options=[IPOption_Timestamp(flg=0)]) / syn,
        ],
        "unsupported_protocol": [IP(**source) / ICMP(type=8) / Raw(b"ping"), IP(**source) / ICMP(type=13)],
        "bad_tcp_flags": [segment(sender, DOOR, word) for word in flags],
        "bad_length": [
            segment(sender, DOOR, "S", dataofs=4),
            segment(sender, DOOR, "S", dataofs=15),
            IP(**source) / UDP(sport=4444, dport=53, len=4) / Raw(b"hello"),
            IP(**source) / UDP(sport=4444, dport=53, len=400) / Raw(b"hello"),
        ],
        "bad_tcp_options": [
            segment(sender, DOOR, "S", dataofs=6) / Raw(bytes([2, 0, 0, 0])),
            segment(sender, DOOR, "S", dataofs=6) / Raw(bytes([2, 40, 0, 0])),
        ],
        "bad_checksum": [
            segment(sender, DOOR, "S", chksum=0x1234),
            IP(**source) / UDP(sport=4444, dport=53, chksum=0x1234) / Raw(b"hello"),
        ],
        "no_listener": [segment(sender, (ENDPOINT, 9001), "S"), datagram(sender, (ENDPOINT, 9001), b"hello")],
        "security_group": [segment(sender, (ENDPOINT, 22), "S"), datagram(sender, (ENDPOINT, 22), b"hello")],
    }


@pytest.mark.parametrize("reason", strange_packets())
def test_a_strange_packet_is_dropped_and_counted(lab: Lab, reason: str, tmp_path: Path) -> None:
    packets = strange_packets()[reason]
    ether = Ether(src=mac_in(CONSUMER_A, LINK), dst=mac_in(FABRIC_1, "hp-e2"))
    before = lab.counters()
    with Captures(tmp_path, [(TARGET_1, LINK), (CONSUMER_A, LINK)]) as captures:
        send_frames(CONSUMER_A, LINK, [ether / packet for packet in packets])
        lab.expect(before, packets_dropped=len(packets), **{f"dropped_{reason}": len(packets)})
        assert captures[TARGET_1, LINK].packets() == []
        assert not [packet for packet in captures[CONSUMER_A, LINK].packets() if packet.src == ENDPOINT], "silence"


def test_other_protocols_do_not_even_reach_a_node(lab: Lab, tmp_path: Path) -> None:
    """IGMP, IPv6 in IPv4, GRE, ESP, SCTP and more: the steering rules drop them."""
    before = lab.counters()
    protocols = (2, 41, 47, 50, 132, 255)
    with Captures(tmp_path, [(TARGET_1, LINK), (FABRIC_1, "hp-e2")]) as captures:
        send_ip(CONSUMER_A, [IP(src=CLIENT, dst=ENDPOINT, proto=proto) / Raw(b"x" * 32) for proto in protocols])
        until(lambda: len(captures[FABRIC_1, "hp-e2"].packets()) == len(protocols), "the fabric has got them")
        lab.expect(before)
        assert captures[TARGET_1, LINK].packets() == []


def test_nmaps_odd_scans_start_no_flow(lab: Lab) -> None:
    """NULL, FIN, XMAS, Maimon and ACK scans: no state, and no port looks open."""
    for kind in ("-sN", "-sF", "-sX", "-sM", "-sA"):
        before = lab.counters()
        run(CONSUMER_A, "nmap", "-n", "-Pn", kind, "-p", "80,443,9000-9010", "--max-retries", "0", ENDPOINT)
        moved = lab.moved_since(before)
        assert moved["packets_dropped"] >= 13
        assert "flows_new" not in moved


def test_ping_hears_nothing(lab: Lab) -> None:
    """An endpoint speaks TCP and UDP only."""
    before = lab.counters()
    done = run(CONSUMER_A, "ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", ENDPOINT, expect=1)
    assert "100% packet loss" in done.stdout
    lab.expect(before, packets_dropped=3, dropped_unsupported_protocol=3)


def test_the_endpoint_answers_arp_with_one_mac(lab: Lab, tmp_path: Path) -> None:
    """Also where the neighbour's endpoint has the same address: each consumer hears of its own."""
    for consumer, link in ((CONSUMER_A, "hp-e2"), (CONSUMER_B, "hp-e3")):
        own = mac_in(consumer, LINK)
        question = ARP(op="who-has", hwsrc=own, psrc=CLIENT, pdst=ENDPOINT)
        with Capture(tmp_path, consumer, LINK, "arp[6:2] = 2") as answers:
            send_frames(consumer, LINK, [Ether(src=own, dst="ff:ff:ff:ff:ff:ff") / question])
            until(lambda answers=answers: bool(answers.packets()), "somebody answers")  # type: ignore[misc]
        macs = {answer[ARP].hwsrc for answer in answers.packets() if answer[ARP].psrc == ENDPOINT}
        assert macs == {mac_in(FABRIC_1, link)}


def test_a_flood_of_half_open_flows_leaves_others_alone(lab: Lab, pair: Pair) -> None:
    """hping3 from the neighbour of a: consumer b connects all the while, and what stands stays."""
    with listening() as listener:
        flood = "hping3 -q -S -p 80 -i u200 -c 3000 -s 1024".split()
        run(CONSUMER_A, *flood, ENDPOINT, expect=None)
        for _ in range(20):
            with Pair(CONSUMER_B, listener=listener) as other:
                other.echo()
    pair.echo()


def test_datagrams_cross_no_border_either(lab: Lab) -> None:
    """Two consumers, one tuple: each datagram comes back to its own."""
    with answering() as target, udp_socket(CONSUMER_A, port=4445) as a, udp_socket(CONSUMER_B, port=4445) as b:
        for sender, word in ((a, b"from a"), (b, b"from b")):
            sender.sendto(word, DOOR)
        for _ in range(2):
            data, peer = target.recvfrom(100)
            target.sendto(data, peer)
        assert (a.recv(100), b.recv(100)) == (b"from a", b"from b")


def test_a_refused_port_is_refused_and_not_hung(lab: Lab) -> None:
    """Nobody listens at the target: its RST comes through."""
    with tcp_socket(CONSUMER_A) as client, pytest.raises(ConnectionRefusedError):
        client.connect(DOOR)
