"""No bytes break a parser: of 10^5 mutated packets each is read or refused with a `WireError`, and nothing else.

The mutations start from right packets of every kind, so they get deep. Where a checksum would
stop them at the door it is made right again after the mutation, and half of the time the lengths
are. The seed is fixed: the run is the same every time, and the end of the test asserts that it
reached every refusal and that every parser also accepted packets.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from hyperplane.errors import Malformation, WireError
from hyperplane.wire.checksum import checksum, pseudo_sum
from hyperplane.wire.icmp import IcmpError, QuotedPacket, packet_too_big, time_exceeded
from hyperplane.wire.ipv4 import Ipv4Header
from hyperplane.wire.ipv6 import Ipv6Header
from hyperplane.wire.packet import TCP, UDP, ChecksumState, Packet
from hyperplane.wire.reply import error_packet, reset_packet
from hyperplane.wire.tcp import TcpHeader
from hyperplane.wire.tcp_options import OptionArea
from hyperplane.wire.udp import UdpHeader
from tests import cases
from tests.malformed import MALFORMED

MUTATIONS = 100_000
SEED = 9293

EDGES = (0x00, 0x01, 0x02, 0x04, 0x06, 0x11, 0x3A, 0x40, 0x45, 0x4F, 0x60, 0x7F, 0x80, 0xFE, 0xFF)
ROUTER, ROUTER_6 = "192.0.2.1", "2001:db8::1"


def right_packets() -> list[bytes]:
    """One of every kind, with every option that is ever looked at."""
    everything = cases.linux_syn() + cases.option(30, b"\x01\x01") + cases.option(34) + cases.option(254, b"\xf9\x89")
    packets = []
    for client, target, router in (
        (cases.CLIENT, cases.TARGET, ROUTER),
        (cases.CLIENT_6, cases.TARGET_6, ROUTER_6),
    ):
        syn = cases.tcp(client, target, flags=cases.SYN, options=everything)
        options = cases.NOP * 2 + cases.timestamps(1, 2) + cases.sack((1, 2), (3, 4))
        data = cases.tcp(client, target, options=options, payload=b"hello")
        datagram = cases.udp(client, target, b"hello")
        packets += [syn, data, datagram, cases.tcp(client, target, flags=cases.RST)]
        packets += [cases.too_big(router, client[0], packet, 1400) for packet in (syn, data, datagram)]
        packets += [cases.icmp(router, client[0], kind) for kind in (3, 8, 128)]
    packets.append(cases.tcp(cases.CLIENT, cases.TARGET, ip=cases.Ip(options=bytes(8))))
    return packets


def mutated(packet: bytes, dice: random.Random) -> bytes:
    """One to four changes: a bit, a byte, an edge value, a cut, a surplus, a piece that moved."""
    data = bytearray(packet)
    for _ in range(dice.randint(1, 4)):
        if not data:
            return dice.randbytes(dice.randint(0, 80))
        at = dice.randrange(len(data))
        match dice.randrange(7):
            case 0:
                data[at] ^= 1 << dice.randrange(8)
            case 1:
                data[at] = dice.randrange(256)
            case 2:
                data[at] = dice.choice(EDGES)
            case 3:
                del data[at:]
            case 4:
                data += dice.randbytes(dice.randint(1, 20))
            case 5:
                del data[at : at + dice.randint(1, 8)]
            case 6:
                data[at:at] = data[: dice.randint(1, 8)]
    return bytes(data)


def with_right_lengths(data: bytes) -> bytes:
    """The bytes with an IP length, and a UDP length, that fit them."""
    is_6 = data[:1] != b"" and data[0] >> 4 == 6
    size = 40 if is_6 else 20
    if len(data) < size + 8:
        return data
    right = bytearray(data)
    right[4 if is_6 else 2 : 6 if is_6 else 4] = (len(data) - (40 if is_6 else 0)).to_bytes(2, "big")
    if right[6 if is_6 else 9] == UDP:
        right[size + 4 : size + 6] = (len(data) - size).to_bytes(2, "big")
    return bytes(right)


def with_right_header_sum(data: bytes) -> bytes:
    """The bytes as an IPv4 header whose checksum fits them, as far as there is one."""
    header_bytes = (data[0] & 0xF) * 4 if data else 0
    if len(data) < 20 or header_bytes < 20:
        return data
    bare = data[:10] + bytes(2) + data[12:]
    return bare[:10] + checksum(bare[:header_bytes]).to_bytes(2, "big") + bare[12:]


def with_right_icmp_sum(data: bytes, initial: int) -> bytes:
    """The bytes as an ICMP message whose checksum fits them."""
    bare = data[:2] + bytes(2) + data[4:]
    return bare[:2] + checksum(bare, initial).to_bytes(2, "big") + bare[4:]


def use_view(data: bytes, state: ChecksumState) -> None:
    """Load the view, and do to it what a node would: answer it, and look at its options."""
    packet = Packet()
    packet.load(bytearray(data), 0, len(data), state)
    source = cases.packed(ROUTER if packet.version == 4 else ROUTER_6)
    for error in (packet_too_big(packet.data(), 1280), time_exceeded(packet.data())):
        reply = error_packet(packet, error, source)
        if reply is not None:
            receiver = packet.tuple_bytes[: len(source)]
            IcmpError.parse(reply, 20 if packet.version == 4 else 40, addresses=source + receiver)
    if packet.protocol == TCP:
        reset_packet(packet)
        change_options(data, packet.transport + 20, packet.payload)


def change_options(data: bytes, start: int, end: int) -> None:
    buffer = bytearray(data)
    options = OptionArea(buffer, start, end)
    options.window_scale()
    options.clamp_mss(536)
    options.blank({30, 34})
    assert buffer[:start] == data[:start] and buffer[end:] == data[end:]


def parse_error_and_quote(message: bytes, addresses: bytes) -> QuotedPacket:
    return IcmpError.parse(message, addresses=addresses).quoted_packet()


def parsers(data: bytes) -> Iterator[tuple[str, Callable[[], object]]]:
    """Every parser, on the bytes and on what would stand behind an IP header."""
    for state in ChecksumState:
        yield f"Packet {state.name}", partial(use_view, data, state)
    repaired = with_right_header_sum(data)
    for quoted in (False, True):
        yield "Ipv4Header", partial(Ipv4Header.parse, repaired, quoted=quoted)
        yield "Ipv6Header", partial(Ipv6Header.parse, data, quoted=quoted)
    for version in (4, 6):
        yield "QuotedPacket", partial(QuotedPacket.parse, repaired, version)
    size = 40 if data[:1] and data[0] >> 4 == 6 else 20
    rest, addresses = data[size:], (data[8:40] if size == 40 else data[12:20])
    for given in (None, addresses):
        yield "TcpHeader", partial(TcpHeader.parse, rest, addresses=given)
        yield "UdpHeader", partial(UdpHeader.parse, rest, addresses=given)
    if len(addresses) in (8, 32):
        initial = 0 if len(addresses) == 8 else pseudo_sum(addresses, 58, len(rest))
        for message in (rest, with_right_icmp_sum(rest, initial)):
            yield "IcmpError", partial(parse_error_and_quote, message, addresses)


class Replay:
    """Writes under an exception that escapes what the parser was given."""

    def __init__(self, number: int, data: bytes) -> None:
        self.number = number
        self.data = data

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            error.add_note(f"seed {SEED}, mutation {self.number}: {self.data.hex()}")


@pytest.mark.slow
def test_no_mutation_raises_anything_but_a_wire_error() -> None:
    dice = random.Random(SEED)
    right, wrong = right_packets(), [row.packet for row in MALFORMED]
    accepted: Counter[str] = Counter()
    refused: Counter[Malformation] = Counter()
    for number in range(MUTATIONS):
        data = mutated(dice.choice(dice.choice((right, right, wrong))), dice)
        if dice.random() < 0.5:
            data = with_right_lengths(data)
        with Replay(number, data):
            for name, parse in parsers(data):
                try:
                    parse()
                    accepted[name] += 1
                except WireError as refusal:
                    refused[refusal.malformation] += 1
    possible = set(Malformation) - {Malformation.TOO_LONG}  # only pieces put together are
    assert set(refused) == possible, set(refused) ^ possible
    assert min(accepted.values()) > MUTATIONS // 1000 and len(accepted) == 9, accepted
