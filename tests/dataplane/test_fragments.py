"""Datagrams that come in pieces: translated as a whole, refused as a whole, and every piece counted."""

import pytest

from hyperplane.dataplane.verdict import HELD, DropReason
from hyperplane.limits import FRAGMENT_TIMEOUT_S, FRAGMENTED_DATAGRAMS_PER_INTERFACE_MAX
from tests.cases import BALANCER, CLIENT, ENDPOINT, SYN, TARGET, Ip, Sum, ip_packet, tcp, udp
from tests.dissection import dissect
from tests.nodes import DATAGRAM_PORT, DATAGRAM_TARGET, DOOR, DOOR_B, EXIT, MemoryZone, Node, snapshot_of

SERVICE = (ENDPOINT[0], DATAGRAM_PORT)


@pytest.fixture
def node() -> Node:
    return MemoryZone(snapshot_of()).node(0)


def pieces(packet: bytes, size: int = 800, identification: int = 1) -> list[bytes]:
    """A whole IPv4 packet cut into pieces of `size` bytes of data."""
    seen = dissect(packet)
    data = packet[20:]
    return [
        ip_packet(
            seen.source[0],
            seen.destination[0],
            packet[9],
            data[at : at + size],
            Ip(
                identification=identification,
                dont_fragment=False,
                more_fragments=at + size < len(data),
                fragment_offset=at // 8,
            ),
        )
        for at in range(0, len(data), size)
    ]


def test_a_whole_datagram_goes_on_in_the_place_of_its_last_piece(node: Node) -> None:
    payload = bytes(range(256)) * 8
    first, second, third = pieces(udp(CLIENT, SERVICE, payload))
    for piece in (third, first):
        out = node.send(piece, DOOR)
        assert (out.verdict, out.moved) == (HELD, {"fragments_held": 1})
    out = node.send(second, DOOR)
    assert out.eni == EXIT
    assert out.moved == {"flows_new": 1, "packets_original": 1, "bytes_original": 28 + len(payload)}
    seen = dissect(out.packet)
    assert (seen.source[0], seen.destination, seen.payload) == (BALANCER[0], DATAGRAM_TARGET, payload)
    assert seen.sums_are_right
    back = pieces(udp(DATAGRAM_TARGET, seen.source, payload), size=1480)
    assert node.send(back[1], EXIT).verdict is HELD
    out = node.send(back[0], EXIT)
    assert (out.eni, dissect(out.packet).destination, dissect(out.packet).payload) == (DOOR, CLIENT, payload)


def test_pieces_of_two_consumers_with_equal_addresses_never_meet(node: Node) -> None:
    mine, theirs = (pieces(udp(CLIENT, SERVICE, letter * 1000)) for letter in (b"a", b"b"))
    assert node.send(mine[0], DOOR).verdict is HELD
    assert node.send(theirs[1], DOOR_B).verdict is HELD
    for piece, door, letter in ((mine[1], DOOR, b"a"), (theirs[0], DOOR_B, b"b")):
        out = node.send(piece, door)
        assert out.eni == EXIT
        assert dissect(out.packet).payload == letter * 1000


def test_a_whole_that_is_corrupt_is_dropped(node: Node) -> None:
    first, second = pieces(udp(CLIENT, SERVICE, bytes(1000), checksum=Sum.WRONG))
    assert node.send(first, DOOR).verdict is HELD
    out = node.send(second, DOOR)
    assert out.reason is DropReason.BAD_CHECKSUM
    assert out.moved == {"packets_dropped": 1, "dropped_bad_checksum": 1}


def test_a_header_in_crumbs_is_read_when_it_is_whole(node: Node) -> None:
    """A TCP header cut in three (RFC 1858): nothing is decided before all of it is there."""
    crumbs = pieces(tcp(CLIENT, ENDPOINT, flags=SYN), size=8)
    assert [len(crumb) for crumb in crumbs] == [28, 28, 24]
    assert [node.send(crumb, DOOR).verdict for crumb in crumbs[:2]] == [HELD, HELD]
    out = node.send(crumbs[2], DOOR)
    assert (out.eni, dissect(out.packet).destination) == (EXIT, TARGET)


def test_contradicting_pieces_are_dropped(node: Node) -> None:
    first, second = pieces(udp(CLIENT, SERVICE, bytes(1000)))
    other = pieces(udp(CLIENT, SERVICE, b"x" * 1000))[0]
    assert node.send(first, DOOR).verdict is HELD
    for piece in (other, second, first):
        out = node.send(piece, DOOR)
        assert out.moved == {"packets_dropped": 1, "dropped_fragment": 1}


def test_an_interface_that_nobody_knows_holds_nothing(node: Node) -> None:
    out = node.send(pieces(udp(CLIENT, SERVICE, bytes(1000)))[0], 0)
    assert out.moved == {"packets_dropped": 1, "dropped_unknown_interface": 1}


def test_what_is_never_completed_is_counted(node: Node) -> None:
    first, second = pieces(udp(CLIENT, SERVICE, bytes(1000)))
    node.send(first, DOOR, 1.0)
    assert node.pass_time(FRAGMENT_TIMEOUT_S + 0.9).get("datagrams_incomplete", 0) == 0
    assert node.pass_time(FRAGMENT_TIMEOUT_S + 1.1)["datagrams_incomplete"] == 1
    assert node.send(second, DOOR, FRAGMENT_TIMEOUT_S + 2).verdict is HELD


def test_a_flood_of_first_pieces_is_counted_and_leaves_others_alone(node: Node) -> None:
    patient = pieces(udp(CLIENT, SERVICE, b"b" * 1000))
    node.send(patient[0], DOOR_B)
    for number in range(FRAGMENTED_DATAGRAMS_PER_INTERFACE_MAX):
        node.send(pieces(udp(CLIENT, SERVICE, bytes(1000)), identification=number)[0], DOOR)
    one_more = pieces(udp(CLIENT, SERVICE, bytes(1000)), identification=40_000)[0]
    assert node.send(one_more, DOOR).moved == {"fragments_held": 1, "datagrams_incomplete": 1}
    assert node.send(patient[1], DOOR_B).eni == EXIT
