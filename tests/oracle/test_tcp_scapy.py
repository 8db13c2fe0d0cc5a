"""scapy against our TCP: the same fields and options give the same bytes, and each reads the other's."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from hyperplane.wire.packet import ChecksumState, Packet
from hyperplane.wire.reply import reset_packet
from hyperplane.wire.tcp import TcpHeader
from hyperplane.wire.tcp_options import (
    MaximumSegmentSize,
    NoOperation,
    Sack,
    SackPermitted,
    TcpOption,
    Timestamps,
    UnknownOption,
    WindowScale,
    emit_options,
)
from tests import cases
from tests.fields import known_option_lists, payloads, tcp_headers

FAMILIES = st.sampled_from([(cases.CLIENT, cases.TARGET), (cases.CLIENT_6, cases.TARGET_6)])
Family = tuple[cases.SocketAddress, cases.SocketAddress]


def in_scapys_words(option: TcpOption) -> tuple[Any, Any]:
    match option:
        case NoOperation():
            return "NOP", None
        case MaximumSegmentSize(size_bytes):
            return "MSS", size_bytes
        case WindowScale(shift):
            return "WScale", shift
        case SackPermitted():
            return "SAckOK", b""
        case Sack(blocks):
            return "SAck", tuple(edge for block in blocks for edge in block)
        case Timestamps(value, echo_reply):
            return "Timestamp", (value, echo_reply)
        case UnknownOption(kind, body):
            return kind, body


def scapy_ip(family: Family) -> Any:
    layer = IP if family[0] is cases.CLIENT else IPv6
    return layer(src=family[0][0], dst=family[1][0])


def scapy_tcp(header: TcpHeader) -> Any:
    return TCP(
        sport=header.source_port,
        dport=header.destination_port,
        seq=header.sequence,
        ack=header.acknowledgment,
        flags=header.flags,
        window=header.window,
        urgptr=header.urgent_pointer,
        options=[in_scapys_words(option) for option in header.options],
    )


def addresses(family: Family) -> bytes:
    return cases.packed(family[0][0]) + cases.packed(family[1][0])


@settings(max_examples=500)
@given(tcp_headers(), payloads, FAMILIES)
def test_scapy_builds_the_same_segment(header: TcpHeader, payload: bytes, family: Family) -> None:
    packet = bytes(scapy_ip(family) / scapy_tcp(header) / Raw(payload))
    segment = packet[20 if family[0] is cases.CLIENT else 40 :]
    assert TcpHeader.parse(segment, addresses=addresses(family)) == header
    assert header.emit(addresses(family), payload) == segment


@settings(max_examples=300)
@given(tcp_headers(known_option_lists), payloads, FAMILIES)
def test_scapy_reads_our_segment(header: TcpHeader, payload: bytes, family: Family) -> None:
    seen = TCP(header.emit(addresses(family), payload))
    assert (seen.sport, seen.dport, seen.seq, seen.ack) == (
        header.source_port,
        header.destination_port,
        header.sequence,
        header.acknowledgment,
    )
    assert (int(seen.flags), seen.reserved, seen.window, seen.urgptr) == (
        header.flags,
        0,
        header.window,
        header.urgent_pointer,
    )
    padding = [("EOL", None)] if len(emit_options(header.options)) > _bytes_without_padding(header.options) else []
    assert seen.options == [in_scapys_words(option) for option in header.options] + padding
    assert bytes(seen.payload) == payload


def _bytes_without_padding(options: tuple[TcpOption, ...]) -> int:
    sizes = {NoOperation: 1, MaximumSegmentSize: 4, WindowScale: 3, SackPermitted: 2, Timestamps: 10}
    return sum(2 + 8 * len(each.blocks) if isinstance(each, Sack) else sizes[type(each)] for each in options)


@settings(max_examples=200)
@given(tcp_headers(known_option_lists), payloads, FAMILIES)
def test_the_packet_view_reads_what_scapy_builds(header: TcpHeader, payload: bytes, family: Family) -> None:
    """With the flags of a plain ACK, so that the view has no reason to refuse it."""
    tcp = scapy_tcp(header)
    tcp.flags = "PA"
    data = bytes(scapy_ip(family) / tcp / Raw(payload))
    packet = Packet()
    packet.load(bytearray(data), 0, len(data), ChecksumState.FINISHED)
    assert packet.tuple_bytes == addresses(family) + data[packet.transport : packet.transport + 4]
    assert (packet.sequence, packet.acknowledgment, packet.window) == (
        header.sequence,
        header.acknowledgment,
        header.window,
    )
    assert data[packet.payload :] == payload


@given(FAMILIES, st.sampled_from(["S", "A", "PA", "FA", "SA"]), payloads)
def test_scapy_agrees_with_our_resets(family: Family, flags: str, payload: bytes) -> None:
    """scapy recomputes both sums of the reset; they must already be right."""
    segment = TCP(sport=40000, dport=443, seq=100, ack=900, flags=flags, options=[("MSS", 1460)])
    data = bytes(scapy_ip(family) / segment / Raw(payload))
    packet = Packet()
    packet.load(bytearray(data), 0, len(data), ChecksumState.FINISHED)
    reply = reset_packet(packet)
    assert reply is not None
    seen = (IP if family[0] is cases.CLIENT else IPv6)(reply)
    sums = (getattr(seen, "chksum", None), seen[TCP].chksum)
    if sums[0] is not None:
        del seen.chksum
    del seen[TCP].chksum
    again = type(seen)(bytes(seen))
    assert (getattr(again, "chksum", None), again[TCP].chksum) == sums
    assert (seen.src, seen.dst, seen[TCP].sport, seen[TCP].dport) == (family[1][0], family[0][0], 443, 40000)
