"""The mark decides the way out, on the real kernel, with and without packet filter."""

import socket

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import ARP
from scapy.packet import Packet

from netns.build import build
from netns.namespace import open_socket
from netns.steer import InterfaceSteering, Steering, apply
from netns.topology import Topology
from tests.netns.crossings import FAR, FAR_INTERFACE, NEAR, NEAR_INTERFACE, NEAR_MAC, Crossing, build_crossing, run
from tests.netns.taps import arp_request, echo, is_arp_reply, is_udp, payload, tcp, udp

pytestmark = pytest.mark.netns

PORTS = (40000, 4000)
STEERING = Steering(tuple(InterfaceSteering(f"hp-e{number}", (number,)) for number in (1, 2, 3)))


@pytest.fixture
def built(prefix: str) -> tuple[Crossing, Topology]:
    return build_crossing(prefix)


@pytest.fixture
def crossing(built: tuple[Crossing, Topology]) -> Crossing:
    return built[0]


def mark(crossing: Crossing, interface: int, way_out: int) -> None:
    crossing.iptables(
        "-t", "mangle", "-A", "PREROUTING", "-i", f"hp-e{interface}", "-j", "MARK", "--set-mark", str(way_out)
    )


def to_far(crossing: Crossing, number: int, data: bytes) -> Packet:
    return udp(crossing.macs(number), (NEAR, FAR), PORTS, data)


def delivered(crossing: Crossing) -> int:
    """IPv4 packets that the crossing's own stack took (RFC 4293 ipIfStatsInDelivers)."""
    names, values = (
        line.split() for line in run("ip", "netns", "exec", crossing.name, "cat", "/proc/net/snmp").splitlines()[:2]
    )
    return int(values[names.index("InDelivers")])


def test_it_is_built_once(built: tuple[Crossing, Topology]) -> None:
    assert build(built[1]) == ()


@pytest.mark.parametrize("filtered", [False, True], ids=["no filter", "steered"])
def test_both_of_two_equal_interfaces_answer_arp(crossing: Crossing, filtered: bool) -> None:
    if filtered:
        apply(crossing.name, STEERING)
    for number, namespace in ((1, crossing.left), (2, crossing.right)):
        with crossing.tap(namespace) as tap:
            tap.send(arp_request(NEAR_MAC, NEAR, NEAR_INTERFACE))
            answer = tap.next(is_arp_reply)[ARP]
            assert (answer.psrc, answer.hwsrc) == (NEAR_INTERFACE, crossing.mac(number))


def test_an_interface_answers_for_no_other(crossing: Crossing) -> None:
    with crossing.tap(crossing.left) as tap:
        tap.send(arp_request(NEAR_MAC, NEAR, FAR_INTERFACE))
        tap.send(arp_request(NEAR_MAC, NEAR, NEAR_INTERFACE))
        assert tap.next(is_arp_reply)[ARP].psrc == NEAR_INTERFACE


def test_without_a_mark_a_packet_goes_nowhere_and_with_it_out_by_the_marks_table(crossing: Crossing) -> None:
    with crossing.tap(crossing.left) as left, crossing.tap(crossing.far) as far:
        left.send(to_far(crossing, 1, b"unmarked"))
        mark(crossing, 1, way_out=3)
        left.send(to_far(crossing, 1, b"marked"))
        seen = far.next(is_udp)
        assert (payload(seen), seen[IP].src) == (b"marked", NEAR)


def test_one_address_leads_to_two_neighbours_by_mark(crossing: Crossing) -> None:
    packets = [udp(("02:00:00:00:00:20", crossing.mac(3)), (FAR, NEAR), PORTS, data) for data in (b"to 1", b"to 2")]
    with crossing.tap(crossing.left) as left, crossing.tap(crossing.right) as right, crossing.tap(crossing.far) as far:
        mark(crossing, 3, way_out=1)
        far.send(packets[0])
        assert payload(left.next(is_udp)) == b"to 1"
        crossing.iptables("-t", "mangle", "-F")
        mark(crossing, 3, way_out=2)
        far.send(packets[1])
        assert payload(right.next(is_udp)) == b"to 2", "and this is the first that it sees"


def test_a_mark_without_an_interface_goes_nowhere(crossing: Crossing) -> None:
    with crossing.tap(crossing.left) as left, crossing.tap(crossing.far) as far:
        for wrong in (4, 0x10000, 0xFFFF):
            mark(crossing, 1, way_out=wrong)
            left.send(to_far(crossing, 1, b"wrong mark"))
        mark(crossing, 1, way_out=3)
        left.send(to_far(crossing, 1, b"right mark"))
        assert payload(far.next(is_udp)) == b"right mark"


@pytest.mark.parametrize("filtered", [False, True], ids=["no filter", "steered"])
def test_the_crossing_itself_answers_nothing_but_arp(crossing: Crossing, filtered: bool) -> None:
    if filtered:
        apply(crossing.name, STEERING)
    with crossing.tap(crossing.left) as tap:
        for packet in (
            echo(crossing.macs(1), (NEAR, NEAR_INTERFACE)),
            tcp(crossing.macs(1), (NEAR, NEAR_INTERFACE), PORTS),
            udp(crossing.macs(1), (NEAR, NEAR_INTERFACE), PORTS, b"closed port"),
            echo(crossing.macs(1), (NEAR, FAR_INTERFACE)),
        ):
            tap.send(packet)
        tap.send(arp_request(NEAR_MAC, NEAR, NEAR_INTERFACE))
        assert is_arp_reply(tap.next(lambda packet: True)), "the first answer of all"
    assert delivered(crossing) == 0, "nor does it take them in and keep silent"


@pytest.mark.parametrize("filtered", [False, True], ids=["no filter", "steered"])
def test_what_the_crossing_sends_needs_a_mark_too(crossing: Crossing, filtered: bool) -> None:
    if filtered:
        apply(crossing.name, STEERING)
    with (
        crossing.tap(crossing.far) as far,
        open_socket(crossing.name, socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        with pytest.raises(OSError, match="Invalid argument"):  # what a blackhole says
            sender.sendto(b"unmarked", (FAR, 4000))
        sender.setsockopt(socket.SOL_SOCKET, 36, 3)  # SO_MARK
        sender.sendto(b"marked", (FAR, 4000))
        seen = far.next(is_udp)
        assert (payload(seen), seen[IP].src) == (b"marked", FAR_INTERFACE)


def test_rules_that_were_flushed_leave_nothing_open_while_they_are_repaired(built: tuple[Crossing, Topology]) -> None:
    crossing, topology = built
    with crossing.tap(crossing.left) as left, crossing.tap(crossing.far) as far:
        run("ip", "-n", crossing.name, "rule", "flush")
        left.send(to_far(crossing, 1, b"no rules at all"))
        assert build(topology)
        mark(crossing, 1, way_out=3)
        left.send(to_far(crossing, 1, b"repaired"))
        assert payload(far.next(is_udp)) == b"repaired"
