"""Steering on the real kernel: who gets which packet, what never passes, and what a flush opens (nothing)."""

import threading
from collections import Counter
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

import netns.steer
from netns.iptables import RulesetError
from netns.namespace import NamespaceMissing
from netns.steer import (
    QUEUE_MASK,
    REPLAY_BIT,
    STEERED_BIT,
    InterfaceSteering,
    Mode,
    Steering,
    apply,
    expected_fingerprint,
    fingerprint,
    matches,
    render,
)
from tests.netns.crossings import FAR, NEAR, Crossing, build_crossing, run
from tests.netns.queues import Queues, skip_unless_steering_works
from tests.netns.taps import HANG_GUARD_S, echo, is_udp, payload, tcp, udp

pytestmark = pytest.mark.netns

QUEUES = (101, 102, 103, 104)
HASHED = Steering((InterfaceSteering("hp-e1", QUEUES),))
SPRAYED = Steering((InterfaceSteering("hp-e1", QUEUES),), Mode.SPRAY)
TO_FAR = 3


@pytest.fixture
def crossing(prefix: str) -> Crossing:
    for steering in (HASHED, SPRAYED):
        skip_unless_steering_works(steering)
    return build_crossing(prefix)[0]


def to_far(crossing: Crossing, data: bytes, source_port: int = 40000) -> Packet:
    return udp(crossing.macs(1), (NEAR, FAR), (source_port, 4000), data)


def forward(_: int, packet: Any) -> None:
    packet.set_mark(TO_FAR)
    packet.accept()


def drop(_: int, packet: Any) -> None:
    packet.drop()


def test_all_packets_of_a_flow_meet_and_flows_spread(crossing: Crossing) -> None:
    apply(crossing.name, HASHED)
    seen: dict[bytes, list[int]] = {}

    def note(number: int, packet: Any) -> None:
        assert packet.get_mark() == STEERED_BIT | (QUEUES.index(number) + 1)
        seen.setdefault(packet.get_payload()[9:10] + packet.get_payload()[12:24], []).append(number)
        packet.drop()

    macs = crossing.macs(1)
    flows = [udp(macs, (NEAR, FAR), (40000 + i, 4000), b"x") for i in range(64)]
    flows += [tcp(macs, (NEAR, FAR), (40000 + i, 4000)) for i in range(64)]
    flows += [echo(macs, (NEAR, FAR))]
    with Queues(crossing.name, QUEUES, note) as queues, crossing.tap(crossing.left) as left:
        for packet in flows * 2:
            left.send(packet)
        queues.read(len(flows) * 2)
    assert len(seen) == len(flows)
    assert all(len(numbers) == 2 and len(set(numbers)) == 1 for numbers in seen.values())
    assert {numbers[0] for numbers in seen.values()} == set(QUEUES), "ports count, not addresses alone"


def test_spray_gives_one_flow_to_all_queues(crossing: Crossing) -> None:
    apply(crossing.name, SPRAYED)
    seen: Counter[int] = Counter()

    def note(number: int, packet: Any) -> None:
        assert packet.get_mark() & QUEUE_MASK == QUEUES.index(number) + 1
        seen[number] += 1
        packet.drop()

    with Queues(crossing.name, QUEUES, note) as queues, crossing.tap(crossing.left) as left:
        for _ in range(200):
            left.send(to_far(crossing, b"x"))
        queues.read(200)
    # 200 draws of 4: that one of them is below 20 has a chance of less than 1 in 10^6.
    assert set(seen) == set(QUEUES) and min(seen.values()) > 20


@pytest.mark.parametrize("steering", [HASHED, SPRAYED], ids=["hash", "spray"])
def test_a_replayed_packet_goes_to_the_queue_that_its_mark_names(crossing: Crossing, steering: Steering) -> None:
    apply(crossing.name, steering)
    seen: list[tuple[int, int]] = []

    def replay_everywhere(number: int, packet: Any) -> None:
        seen.append((number, packet.get_mark()))
        if len(seen) > len(QUEUES):
            forward(number, packet)
        else:
            packet.set_mark(REPLAY_BIT | len(seen))
            packet.repeat()

    with (
        Queues(crossing.name, QUEUES, replay_everywhere) as queues,
        crossing.tap(crossing.left) as left,
        crossing.tap(crossing.far) as far,
    ):
        left.send(to_far(crossing, b"again and again"))
        queues.read(1 + len(QUEUES))
        assert payload(far.next(is_udp)) == b"again and again"
    assert seen[1:] == [(number, REPLAY_BIT | place) for place, number in enumerate(QUEUES, start=1)]


def test_only_a_verdict_with_a_way_out_is_forwarded(crossing: Crossing) -> None:
    apply(crossing.name, HASHED)

    def verdict(_: int, packet: Any) -> None:
        data = packet.get_payload()[28:]
        if data.startswith(b"mark"):
            packet.set_mark(int(data[4:], 16))
        packet.accept()

    wrong = (b"none", b"mark0", b"mark40000003", b"mark80000003", b"mark00010000")
    with (
        Queues(crossing.name, QUEUES, verdict) as queues,
        crossing.tap(crossing.left) as left,
        crossing.tap(crossing.right) as right,
        crossing.tap(crossing.far) as far,
    ):
        for data in (*wrong, b"mark00000003"):
            left.send(to_far(crossing, data))
            queues.read(1)
        assert payload(far.next(is_udp)) == b"mark00000003"
        left.send(udp(crossing.macs(1), (FAR, NEAR), (4000, 40000), b"mark00000002"))
        queues.read(1)
        assert payload(right.next(is_udp)) == b"mark00000002", "the first that the right one sees"


@pytest.mark.parametrize("mode", Mode)
def test_all_fragments_of_a_datagram_come_to_one_queue_as_they_are(crossing: Crossing, mode: Mode) -> None:
    """The kernel puts nothing together: it would mix the pieces of hosts with equal addresses."""
    apply(crossing.name, HASHED if mode is Mode.HASH else SPRAYED)
    seen: list[tuple[int, int, int]] = []

    def note(number: int, packet: Any) -> None:
        ip = IP(packet.get_payload())
        seen.append((number, ip.id, ip.frag))
        packet.drop()

    source, destination = crossing.macs(1)
    with Queues(crossing.name, QUEUES, note) as queues, crossing.tap(crossing.left) as left:
        for identification in range(1, 21):
            whole = IP(src=NEAR, dst=FAR, id=identification) / UDP(sport=40000, dport=4000) / Raw(bytes(3000))
            pieces = fragment(whole, fragsize=1480)
            for piece in pieces:
                left.send(Ether(src=source, dst=destination) / piece)
        queues.read(20 * len(pieces))
    assert sorted(seen, key=lambda item: item[1:]) == [
        (seen[0][0], identification, offset) for identification in range(1, 21) for offset in (0, 185, 370)
    ]


def test_what_may_not_pass_does_not_reach_a_queue(crossing: Crossing) -> None:
    apply(crossing.name, HASHED)
    source, destination = crossing.macs(1)
    ether = Ether(src=source, dst=destination)
    ip = IP(src=NEAR, dst=FAR)
    forbidden = [
        ether / ip.copy() / Raw(b"x"),
        *(
            ether / IP(src=NEAR, dst=FAR, proto=protocol) / Raw(bytes(40))
            for protocol in (2, 4, 41, 47, 50, 132, 136, 255)
        ),
        ether / IPv6(src="2001:db8::1", dst="2001:db8::2") / ICMPv6EchoRequest(),
    ]
    seen: list[bytes] = []

    def note(_: int, packet: Any) -> None:
        seen.append(packet.get_payload()[28:])
        packet.drop()

    with (
        Queues(crossing.name, QUEUES, note) as queues,
        crossing.tap(crossing.left) as left,
        crossing.tap(crossing.right) as right,
    ):
        right.send(udp((source, crossing.mac(2)), (NEAR, FAR), (40000, 4000), b"interface that is not steered"))
        for packet in forbidden:
            left.send(packet)
        left.send(to_far(crossing, b"good"))
        queues.read(1)
    assert seen == [b"good"]


def test_of_many_interfaces_each_has_its_own_queue(crossing: Crossing) -> None:
    others = tuple(InterfaceSteering(f"hp-e{number}", (300,)) for number in range(4, 140))
    apply(crossing.name, Steering((*others, InterfaceSteering("hp-e1", (101,)), InterfaceSteering("hp-e2", (102,)))))
    seen: list[tuple[int, bytes]] = []

    def note(number: int, packet: Any) -> None:
        seen.append((number, packet.get_payload()[28:]))
        packet.drop()

    with (
        Queues(crossing.name, (101, 102, 300), note) as queues,
        crossing.tap(crossing.left) as left,
        crossing.tap(crossing.right) as right,
    ):
        left.send(to_far(crossing, b"left"))
        queues.read(1)
        right.send(udp((crossing.macs(2)), (NEAR, FAR), (40000, 4000), b"right"))
        queues.read(1)
    assert seen == [(101, b"left"), (102, b"right")]


def test_without_a_reader_packets_are_dropped(crossing: Crossing) -> None:
    apply(crossing.name, HASHED)
    with crossing.tap(crossing.left) as left, crossing.tap(crossing.far) as far:
        left.send(to_far(crossing, b"nobody reads"))
        with Queues(crossing.name, QUEUES, forward) as queues:
            left.send(to_far(crossing, b"somebody reads"))
            queues.read(1)
            assert payload(far.next(is_udp)) == b"somebody reads"


def test_no_connection_is_tracked(crossing: Crossing) -> None:
    apply(crossing.name, HASHED)
    with (
        Queues(crossing.name, QUEUES, forward) as queues,
        crossing.tap(crossing.left) as left,
        crossing.tap(crossing.far) as far,
    ):
        left.send(to_far(crossing, b"x"))
        queues.read(1)
        far.next(is_udp)
    count = run("ip", "netns", "exec", crossing.name, "cat", "/proc/sys/net/netfilter/nf_conntrack_count")
    assert count == "0\n"


TAMPERINGS = [
    "iptables -F",
    "iptables -t mangle -F",
    "iptables -t mangle -F hp-e1",
    "iptables -t raw -F",
    "iptables -t mangle -P PREROUTING ACCEPT",
    "iptables -P FORWARD ACCEPT",
    "iptables -I FORWARD -j ACCEPT",
    "iptables -t mangle -I PREROUTING -j ACCEPT",
    "iptables -t mangle -D hp-e1 -j DROP",
    "iptables -N hp-strange",
    "ip6tables -P INPUT ACCEPT",
    "ip6tables -t raw -P PREROUTING ACCEPT",
    "nft flush ruleset",
]


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_tampering_is_noticed_opens_nothing_and_is_undone(crossing: Crossing, tampering: str) -> None:
    good = apply(crossing.name, HASHED)
    with crossing.tap(crossing.left) as left, crossing.tap(crossing.far) as far:
        run("ip", "netns", "exec", crossing.name, *tampering.split())
        assert fingerprint(crossing.name) != good
        assert not matches(crossing.name, HASHED)
        left.send(to_far(crossing, b"while open"))
        assert apply(crossing.name, HASHED) == good
        assert matches(crossing.name, HASHED)
        with Queues(crossing.name, QUEUES, forward) as queues:
            left.send(to_far(crossing, b"closed again"))
            queues.read(1)
            assert payload(far.next(is_udp)) == b"closed again"


def test_flushing_everything_under_marked_traffic_lets_nothing_through(crossing: Crossing) -> None:
    """Even a reader that goes on giving verdicts forwards nothing once FORWARD's rules are gone."""
    apply(crossing.name, HASHED)
    with (
        Queues(crossing.name, QUEUES, forward) as queues,
        crossing.tap(crossing.left) as left,
        crossing.tap(crossing.far) as far,
    ):
        crossing.iptables("-F")
        left.send(to_far(crossing, b"verdict, but no FORWARD rule"))
        queues.read(1)
        apply(crossing.name, HASHED)
        left.send(to_far(crossing, b"restored"))
        queues.read(1)
        assert payload(far.next(is_udp)) == b"restored"


def test_new_rules_take_over_without_losing_a_packet(crossing: Crossing) -> None:
    """Each packet meets the old rules or the new ones, never none and never half of them."""
    after = Steering((InterfaceSteering("hp-e1", (201, 202)),))
    apply(crossing.name, HASHED)
    seen: Counter[int] = Counter()
    written: list[str] = []

    def note(number: int, packet: Any) -> None:
        seen[number] += 1
        packet.drop()

    def switch() -> None:
        written.extend(apply(crossing.name, steering) for steering in (after, HASHED, after))

    packets = [to_far(crossing, b"x", 1024 + i) for i in range(64)]
    sent = 0
    with Queues(crossing.name, (*QUEUES, 201, 202), note) as queues, crossing.tap(crossing.left) as left:
        thread = threading.Thread(target=switch)
        thread.start()
        while thread.is_alive():
            for packet in packets:
                left.send(packet)
            queues.read(len(packets))
            sent += len(packets)
        thread.join(HANG_GUARD_S)
        for packet in packets:
            left.send(packet)
        queues.read(len(packets))
    assert len(written) == 3 and written[0] == written[2]
    assert sum(seen.values()) == sent + len(packets)
    assert seen[201] + seen[202] >= len(packets)


def test_rules_that_the_kernel_refuses_change_nothing(crossing: Crossing, monkeypatch: pytest.MonkeyPatch) -> None:
    good = apply(crossing.name, HASHED)
    broken = render(SPRAYED).replace("-j NFQUEUE --queue-num 104", "-j NOSUCHTARGET")
    monkeypatch.setattr(netns.steer, "render", lambda steering: broken)
    with pytest.raises(RulesetError, match="NOSUCHTARGET"):
        apply(crossing.name, SPRAYED)
    assert fingerprint(crossing.name) == good


def test_writing_again_changes_nothing(crossing: Crossing) -> None:
    assert apply(crossing.name, HASHED) == apply(crossing.name, HASHED) == expected_fingerprint(HASHED)
    assert expected_fingerprint(HASHED) != expected_fingerprint(SPRAYED)
    apply(crossing.name, Steering())
    assert matches(crossing.name, Steering())


def test_a_missing_namespace_is_said_to_be_missing(prefix: str) -> None:
    with pytest.raises(NamespaceMissing):
        fingerprint(prefix)
