"""The provider can answer and nothing else: no packet of its own makes reaches a consumer.

Every consumer's link, and the fabric's end of it, is watched while the provider tries. Each consumer holds a live
connection meanwhile, so there is a door that stands open as far as it ever does.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.packet import Raw

from tests.lab.capture import Captures, back, tuple_of
from tests.lab.ends import Pair, door_of, listening, tcp_socket
from tests.lab.laboratory import (
    BALANCER,
    BALANCER_2,
    BYSTANDER,
    BYSTANDER_ADDRESS,
    CLIENT,
    CONSUMER_A,
    CONSUMERS,
    ENDPOINT,
    ENDPOINT_2,
    ENDPOINT_C,
    FABRIC_1,
    FABRIC_2,
    LINK,
    NEIGHBOUR,
    NEIGHBOUR_ADDRESS,
    OUTSIDER,
    PROVIDER_ROUTER,
    STAND_IN,
    STAND_IN_PORT,
    TARGET_1,
    TARGET_2,
    TARGET_ADDRESS,
    Lab,
    until,
)
from tests.lab.raw import icmp_error, segment, send_ip
from tests.lab.strangers import run

pytestmark = pytest.mark.netns

WATCHED = [(place, LINK) for place in (*CONSUMERS, NEIGHBOUR, OUTSIDER)]
WATCHED += [(FABRIC_1, "hp-e2"), (FABRIC_1, "hp-e3"), (FABRIC_1, "hp-e4"), (FABRIC_2, "hp-e2")]
LIVE = (STAND_IN, STAND_IN_PORT)


class Watch:
    """A live connection from every consumer, and captures that know which packets are theirs."""

    def __init__(self, directory: Path) -> None:
        with listening() as listener:
            self.pairs = {consumer: Pair(consumer, listener=listener) for consumer in CONSUMERS}
        self.captures = Captures(directory, WATCHED)

    @property
    def live(self) -> tuple[str, int]:
        """Where consumer a's connection comes from, as the target sees it."""
        pair = self.pairs[CONSUMER_A]
        return pair.balancer, pair.snat_port

    def strangers_packets(self) -> list[str]:
        """What the watched links saw that belongs to none of the live connections."""
        own = set()
        for consumer, pair in self.pairs.items():
            asked = (pair.client.getsockname()[0], pair.client_port, *door_of(consumer))
            own |= {asked, back(asked)}
        return [
            f"{place}: {packet.summary()}"
            for place, capture in self.captures.items()
            for packet in capture.packets()
            if tuple_of(packet) not in own
        ]

    def assert_sealed(self, lab: Lab) -> None:
        """Nothing came that the consumers did not ask for, and all that they hold still works."""
        lab.settle()
        assert self.own_packets() == 0, "even packets with a live connection's addresses came"
        assert self.strangers_packets() == []
        for pair in self.pairs.values():
            pair.echo()
        assert self.strangers_packets() == []
        self.assert_awake()

    def assert_awake(self) -> None:
        """Every watched link shows a packet once there is one."""
        for namespace in (NEIGHBOUR, OUTSIDER):  # they have no connection; their router answers them
            run(namespace, "ping", "-n", "-c", "1", "-w", "30", "10.0.1.1")
        blind = [place for place, capture in self.captures.items() if not capture.packets()]
        assert not blind

    def own_packets(self) -> int:
        return sum(len(capture.packets()) for _, capture in self.captures.items()) - len(self.strangers_packets())

    def close(self) -> None:
        self.captures.close()
        for pair in self.pairs.values():
            pair.close()


@pytest.fixture
def watch(lab: Lab, tmp_path: Path) -> Iterator[Watch]:
    watch = Watch(tmp_path)
    yield watch
    watch.close()


@pytest.mark.parametrize(
    ("prober", "balancer"), [(TARGET_1, BALANCER), (PROVIDER_ROUTER, BALANCER), (TARGET_2, BALANCER_2)]
)
@pytest.mark.parametrize(("kind", "counter"), [("-sS", "dropped_syn_from_target"), ("-sU", "dropped_no_flow")])
def test_a_scan_of_every_source_port_reaches_nobody(
    lab: Lab, watch: Watch, prober: str, balancer: str, kind: str, counter: str
) -> None:
    """nmap, all 65,535 ports of the balancer's address, the 55,000 that flows get among them."""
    before, overflowed = lab.counters(), lab.overflowed()
    run(prober, "nmap", "-n", "-Pn", kind, "-p-", "--min-rate", "12000", "--max-retries", "0", balancer)
    seen = lab.moved_since(before)[counter]
    assert seen + lab.overflowed() - overflowed >= 65_535 - 10, "all of the scan came to the nodes' queues"
    assert seen > 20_000, "and the nodes saw a good part of it, however busy they were"
    watch.assert_sealed(lab)


@pytest.mark.parametrize("prober", [TARGET_1, TARGET_2, BYSTANDER, PROVIDER_ROUTER])
def test_a_scan_of_the_consumers_addresses_finds_no_way(lab: Lab, watch: Watch, prober: str) -> None:
    addresses = (CLIENT, NEIGHBOUR_ADDRESS, ENDPOINT, "10.0.2.50", ENDPOINT_2, TARGET_ADDRESS, ENDPOINT_C)
    scan = ("nmap", "-n", "-Pn", "-sS", "-sU", "--top-ports", "50", "--min-rate", "5000", "--max-retries", "0")
    run(prober, *scan, *addresses)
    watch.assert_sealed(lab)


@pytest.mark.parametrize("flags", ["S", "SEC", "SP", "SU"])
def test_a_syn_on_the_reverse_of_a_live_tuple_is_dropped(lab: Lab, watch: Watch, flags: str) -> None:
    before = lab.counters()
    send_ip(TARGET_1, segment(LIVE, watch.live, flags, seq=77))
    lab.expect(before, packets_dropped=1, dropped_syn_from_target=1)
    watch.assert_sealed(lab)


def test_a_crossing_syn_does_not_open_a_half_open_flow(lab: Lab, watch: Watch, tmp_path: Path) -> None:
    """The target answers late. Meanwhile its own SYN on the very tuple is dropped, and the connect succeeds after."""
    hold = ("iptables", "-{}", "INPUT", "-p", "tcp", "--dport", str(STAND_IN_PORT), "-j", "DROP")
    with listening() as listener, tcp_socket(CONSUMER_A) as client, Captures(tmp_path, [(TARGET_1, LINK)]) as target:
        run(TARGET_1, *(word.format("A") for word in hold))
        try:
            client.setblocking(False)
            client.connect_ex(door_of(CONSUMER_A))
            until(lambda: bool(target[TARGET_1, LINK].packets()), "the SYN reaches the target")
            half_open = target[TARGET_1, LINK].packets()[0]
            before = lab.counters()
            send_ip(TARGET_1, segment(LIVE, (half_open.src, half_open.sport), "S", seq=77))
            until(lambda: lab.shown()["dropped_syn_from_target"] > before["dropped_syn_from_target"], "it is dropped")
            (consumer,) = [capture for place, capture in watch.captures.items() if place == (CONSUMER_A, LINK)]
            assert not [packet for packet in consumer.packets() if packet.src == ENDPOINT]
        finally:
            run(TARGET_1, *(word.format("D") for word in hold))
        server, _ = listener.accept()
        server.close()


def test_a_third_host_cannot_use_an_open_door(lab: Lab, watch: Watch, tmp_path: Path) -> None:
    """Mapping and filtering go by the whole tuple: who knows a live source port gets nothing from it, not even a no."""
    before = lab.counters()
    sender = (BYSTANDER_ADDRESS, STAND_IN_PORT)
    tries = [segment(sender, watch.live, flags, b"x", seq=1, ack=1) for flags in ("S", "SA", "A", "PA", "FA", "R")]
    tries.append(IP(src=sender[0], dst=BALANCER) / UDP(sport=sender[1], dport=watch.live[1]) / Raw(b"x"))
    with Captures(tmp_path, [(BYSTANDER, LINK)]) as bystander:
        send_ip(BYSTANDER, tries)
        lab.expect(before, packets_dropped=7, dropped_syn_from_target=1, dropped_no_flow=6)
        assert {packet.src for packet in bystander[BYSTANDER, LINK].packets()} == {BYSTANDER_ADDRESS}
    watch.assert_sealed(lab)


def icmp_that_must_not_pass(live: tuple[str, int]) -> dict[str, Any]:
    """By name: from the provider's side, all that is not a fitting error about a live flow."""
    balancer, port = live
    quoted = segment(live, LIVE, "A", seq=1)
    far_off = segment((balancer, port + 1), LIVE, "A", seq=1)
    return {
        "echo": IP(src=TARGET_ADDRESS, dst=balancer) / ICMP(type=8) / Raw(b"ping"),
        "echo reply": IP(src=TARGET_ADDRESS, dst=balancer) / ICMP(type=0) / Raw(b"pong"),
        "redirect": IP(src=TARGET_ADDRESS, dst=balancer)
        / ICMP(type=5, code=1, gw=TARGET_ADDRESS)
        / Raw(bytes(quoted)[:28]),
        "source quench": icmp_error(TARGET_ADDRESS, balancer, 4, 0, quoted),
        "router advertisement": IP(src=TARGET_ADDRESS, dst=balancer) / ICMP(type=9) / Raw(bytes(8)),
        "timestamp": IP(src=TARGET_ADDRESS, dst=balancer) / ICMP(type=13),
        "unknown inner tuple": icmp_error(TARGET_ADDRESS, balancer, 3, 1, far_off),
        "bad checksum": IP(src=TARGET_ADDRESS, dst=balancer) / ICMP(type=3, code=1, chksum=1) / Raw(bytes(quoted)[:28]),
        "no quote": IP(src=TARGET_ADDRESS, dst=balancer) / ICMP(type=3, code=1) / Raw(b""),
        "half a quote": IP(src=TARGET_ADDRESS, dst=balancer) / ICMP(type=3, code=1) / Raw(bytes(quoted)[:20]),
    }


def test_icmp_of_the_provider_stops_at_the_fabric(lab: Lab, watch: Watch) -> None:
    before = lab.counters()
    packets = icmp_that_must_not_pass(watch.live)
    send_ip(TARGET_1, packets.values())
    lab.expect(
        before,
        packets_dropped=len(packets) - 1,  # without a quote there is nothing to steer by: the rules drop it
        dropped_unsupported_protocol=6,
        dropped_no_flow=1,
        dropped_bad_checksum=1,
        dropped_bad_icmp=1,
    )
    watch.assert_sealed(lab)


def test_a_forged_sequence_number_in_an_icmp_error_is_refused(lab: Lab, watch: Watch) -> None:
    watch.pairs[CONSUMER_A].transfer(100_000)
    seen = [packet for packet in watch.captures[CONSUMER_A, LINK].packets() if packet.src == CLIENT]
    inside = seen[-1][TCP].seq
    outside = (inside + (1 << 31)) & 0xFFFFFFFF
    before = lab.counters()
    send_ip(TARGET_1, icmp_error(TARGET_ADDRESS, BALANCER, 3, 4, segment(watch.live, LIVE, "A", seq=outside), 68))
    lab.expect(before, packets_dropped=1, dropped_icmp_out_of_window=1)
    assert watch.strangers_packets() == []


def test_a_tiny_path_mtu_is_raised_to_the_floor(lab: Lab, watch: Watch) -> None:
    """An error that fits may pass, but nobody makes a client send crumbs."""
    pair = watch.pairs[CONSUMER_A]
    pair.transfer(100_000)
    seen = [packet for packet in watch.captures[CONSUMER_A, LINK].packets() if packet.src == CLIENT]
    before = lab.counters()
    quoted = segment(watch.live, LIVE, "A", seq=seen[-1][TCP].seq)
    send_ip(TARGET_1, icmp_error(TARGET_ADDRESS, BALANCER, 3, 4, quoted, 68))
    until(lambda: lab.shown()["icmp_translated"] == before["icmp_translated"] + 1, "the error comes through")
    (told,) = [packet for packet in watch.captures[CONSUMER_A, LINK].packets() if ICMP in packet]
    assert (told.src, told.dst, told[ICMP].type, told[ICMP].code) == (ENDPOINT, CLIENT, 3, 4)
    assert told[ICMP].nexthopmtu == 552
    inner = told[ICMP].payload
    assert (inner.src, inner.sport, inner.dst, inner.dport) == (CLIENT, pair.client_port, ENDPOINT, STAND_IN_PORT)
    pair.transfer(100_000)
