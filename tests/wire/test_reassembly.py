"""Pieces of datagrams: whole again in any order, refused when they contradict each other, bounded, and never mixed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet import fragment as cut
from scapy.packet import Raw

from hyperplane.errors import Malformation, WireError
from hyperplane.limits import (
    FRAGMENT_BYTES_PER_INTERFACE_MAX,
    FRAGMENT_BYTES_PER_NODE_MAX,
    FRAGMENT_TIMEOUT_S,
    FRAGMENTED_DATAGRAMS_PER_INTERFACE_MAX,
    FRAGMENTS_PER_DATAGRAM_MAX,
    QUEUED_BYTES_MAX,
)
from hyperplane.wire.reassembly import Reassembler, is_fragment
from tests.cases import CLIENT, TARGET, Ip, ip_packet, udp
from tests.dissection import dissect

SOURCE, DESTINATION = CLIENT[0], TARGET[0]
ENI, OTHER_ENI = 7, 8


def piece(
    offset: int, data: bytes, more: bool = True, identification: int = 1, traffic_class: int = 0, **fields: Any
) -> bytes:
    """A fragment whose data belongs at `offset`, in bytes."""
    ip = Ip(
        identification=identification,
        more_fragments=more,
        dont_fragment=False,
        fragment_offset=offset // 8,
        traffic_class=traffic_class,
        **fields,
    )
    return ip_packet(SOURCE, DESTINATION, 17, data, ip)


def add(reassembler: Reassembler, packet: bytes, eni: int = ENI, now: float = 0.0) -> bytes | None:
    return reassembler.add(eni, packet, now)[0]


def refused(reassembler: Reassembler, packet: bytes, eni: int = ENI) -> Malformation:
    with pytest.raises(WireError) as caught:
        reassembler.add(eni, packet, 0.0)
    return caught.value.malformation


@given(st.data(), st.binary(min_size=1, max_size=6000), st.integers(1, 100))
def test_scapys_pieces_in_any_order_make_the_datagram(data: st.DataObject, payload: bytes, eighths: int) -> None:
    whole = IP(src=SOURCE, dst=DESTINATION, id=9, tos=0xB8) / UDP(sport=1, dport=2) / Raw(payload)
    pieces = [bytes(part) for part in cut(whole, fragsize=max(eighths * 8, len(payload) // 100 // 8 * 8 + 8))]
    if len(pieces) == 1:
        assert not is_fragment(pieces[0], 0, len(pieces[0]))
        return
    again = data.draw(st.lists(st.sampled_from(pieces), max_size=3))
    order = [*again, *data.draw(st.permutations(pieces))]
    reassembler = Reassembler()
    made = [answer for part in order if (answer := add(reassembler, part)) is not None]
    assert made[0] == bytes(whole)
    assert len(made) <= 2, "a repeated piece may begin anew, but pieces are not used twice"


def test_the_whole_has_the_first_header_and_right_sums() -> None:
    datagram = udp(CLIENT, TARGET, b"x" * 3000)[20:]
    reassembler = Reassembler()
    last = piece(1600, datagram[1600:], more=False, ttl=9, traffic_class=0x28)
    assert add(reassembler, last) is None
    whole = add(reassembler, piece(0, datagram[:1600], ttl=33, traffic_class=0xB8))
    assert whole is not None
    seen = dissect(whole)
    assert (seen.sums_are_right, whole[8], whole[1], whole[6:8]) == (True, 33, 0xB8, bytes(2))
    assert len(reassembler) == reassembler.held_bytes == 0


def test_congestion_anywhere_is_congestion_of_the_whole() -> None:
    reassembler = Reassembler()
    add(reassembler, piece(0, bytes(8), traffic_class=0xBA))
    whole = add(reassembler, piece(8, b"x", more=False, traffic_class=0xBB))
    assert whole is not None and whole[1] == 0xBB


CONTRADICTIONS = {
    "overlap from before": [piece(0, bytes(16)), piece(8, bytes(16))],
    "overlap from behind": [piece(8, bytes(16)), piece(0, bytes(16))],
    "overlap by the smallest step, at the end": [piece(0, bytes(24)), piece(16, bytes(24), more=False)],
    "the same place with other bytes": [piece(0, bytes(16)), piece(0, b"x" * 16)],
    "a piece inside a piece": [piece(0, bytes(32)), piece(8, bytes(8))],
    "a piece around a piece": [piece(8, bytes(8)), piece(0, bytes(32))],
    "behind the end": [piece(16, b"end", more=False), piece(24, bytes(8))],
    "up to the end, but not the last": [piece(8, bytes(8), more=False), piece(8, bytes(16))],
    "two ends": [piece(16, b"end", more=False), piece(32, b"end", more=False)],
    "an end before what is there": [piece(64, bytes(8)), piece(16, b"end", more=False)],
}


@pytest.mark.parametrize("pieces", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_a_contradiction_ends_the_whole_datagram(pieces: list[bytes]) -> None:
    reassembler = Reassembler()
    first, second = pieces
    assert add(reassembler, first) is None
    assert refused(reassembler, second) is Malformation.FRAGMENT
    assert reassembler.held_bytes == 0
    for late in (piece(0, bytes(8)), piece(8, b"end", more=False)):
        assert refused(reassembler, late) is Malformation.FRAGMENT, "what still comes of it is refused, too"
    assert reassembler.expire(FRAGMENT_TIMEOUT_S) == 0, "it has been counted already"
    assert add(reassembler, piece(0, bytes(8))) is None, "later the number may be used again"


@pytest.mark.parametrize(
    "packet",
    [
        piece(0, b""),
        piece(0, bytes(7)),
        piece(65_528, bytes(8)),
        piece(65_512, bytes(4), more=False),
        piece(0, bytes(8), reserved_flag=True),
    ],
    ids=["empty", "no multiple of eight", "beyond the end of IP", "by one byte", "reserved flag"],
)
def test_what_can_be_no_piece_is_refused(packet: bytes) -> None:
    reassembler = Reassembler()
    assert refused(reassembler, packet) is Malformation.FRAGMENT
    assert len(reassembler) == 0


def test_the_largest_that_a_queue_can_hold() -> None:
    for size, fits in ((QUEUED_BYTES_MAX - 20, True), (QUEUED_BYTES_MAX - 19, False)):
        reassembler = Reassembler()
        data = bytes(size)
        for at in range(0, 64_000, 1280):
            assert add(reassembler, piece(at, data[at : at + 1280])) is None
        last = piece(64_000, data[64_000:], more=False)
        if fits:
            whole = add(reassembler, last)
            assert whole is not None and len(whole) == QUEUED_BYTES_MAX
        else:
            assert refused(reassembler, last) is Malformation.TOO_LONG


def test_interfaces_and_identifications_are_kept_apart() -> None:
    """Two tenants with equal addresses and numbers: each gets its own bytes back."""
    reassembler = Reassembler()
    for eni, identification, letter in ((ENI, 1, b"a"), (OTHER_ENI, 1, b"b"), (ENI, 2, b"c")):
        assert add(reassembler, piece(0, letter * 8, identification=identification), eni) is None
    for eni, identification, letter in ((ENI, 1, b"a"), (OTHER_ENI, 1, b"b"), (ENI, 2, b"c")):
        whole = add(reassembler, piece(8, letter * 8, more=False, identification=identification), eni)
        assert whole is not None and whole[20:] == letter * 16


def test_a_flood_makes_room_at_its_own_expense() -> None:
    reassembler = Reassembler()
    assert add(reassembler, piece(0, b"patience"), OTHER_ENI) is None
    gone = 0
    for identification in range(FRAGMENTED_DATAGRAMS_PER_INTERFACE_MAX + 10):
        whole, forgotten = reassembler.add(ENI, piece(0, bytes(8), identification=identification), 0.0)
        gone += forgotten
        assert whole is None
    assert gone == 10
    assert len(reassembler) == FRAGMENTED_DATAGRAMS_PER_INTERFACE_MAX + 1
    newest = add(reassembler, piece(8, b"x", more=False, identification=identification))
    assert newest is not None, "who comes now still gets through"
    assert add(reassembler, piece(8, b"!", more=False), OTHER_ENI) is not None


def test_bytes_are_bounded_for_each_interface_and_for_all() -> None:
    reassembler = Reassembler()
    interfaces = FRAGMENT_BYTES_PER_NODE_MAX // FRAGMENT_BYTES_PER_INTERFACE_MAX + 3
    big = bytes(60_000)
    for eni in range(interfaces):
        for identification in range(FRAGMENT_BYTES_PER_INTERFACE_MAX // len(big) + 2):
            reassembler.add(eni, piece(0, big, identification=identification), 0.0)
    assert FRAGMENT_BYTES_PER_NODE_MAX - len(big) < reassembler.held_bytes <= FRAGMENT_BYTES_PER_NODE_MAX
    reassembler.expire(FRAGMENT_TIMEOUT_S)
    assert (reassembler.held_bytes, len(reassembler)) == (0, 0)


def test_crumbs_are_bounded_in_number() -> None:
    reassembler = Reassembler()
    for place in range(FRAGMENTS_PER_DATAGRAM_MAX):
        assert add(reassembler, piece(place * 8, bytes(8))) is None
    assert refused(reassembler, piece(FRAGMENTS_PER_DATAGRAM_MAX * 8, bytes(8))) is Malformation.FRAGMENT


def test_waiting_ends() -> None:
    reassembler = Reassembler()
    assert add(reassembler, piece(0, bytes(8)), now=100.0) is None
    assert add(reassembler, piece(0, bytes(8), identification=2), now=101.0) is None
    assert reassembler.expire(99.9 + FRAGMENT_TIMEOUT_S) == 0
    assert reassembler.expire(100.0 + FRAGMENT_TIMEOUT_S) == 1
    late = 101.0 + FRAGMENT_TIMEOUT_S
    assert add(reassembler, piece(8, b"x", more=False, identification=2), now=late) is None, "also before the sweep"
    assert len(reassembler) == 1


def test_what_a_fragment_is() -> None:
    for packet, answer in (
        (piece(0, bytes(8)), True),
        (piece(8, b"x", more=False), True),
        (udp(CLIENT, TARGET, b"whole"), False),
        (piece(0, bytes(8))[:-1], False),
        (piece(0, bytes(8)) + b"x", False),
        (piece(0, bytes(8))[:19], False),
        (b"\x46" + piece(0, bytes(8))[1:], False),
    ):
        assert is_fragment(bytearray(b"#" + packet), 1, len(packet)) is answer
