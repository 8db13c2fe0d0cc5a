"""The header in a TCP stream as it is on the target's wire: hundred bytes, compared with what the tests build alone."""

from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import TCP

from tests.lab.capture import Capture
from tests.lab.ends import Pair, listening, receive_exactly, tcp_socket, wrong_sums
from tests.lab.laboratory import CONSUMER_A, CONSUMERS, LINK, PLACEMENTS, PROXY_AT_ONCE_PORT, PROXY_PORT, TARGET_1, Lab
from tests.lab.ppv2_oracle import CRC_AT, HEADER_BYTES, crc32c, header, payload
from tests.lab.proxy_clients import HEADER_CLIENT_PORTS, header_of, pairs_of_all
from tests.lab.test_offloads import FEATURES, without

pytestmark = pytest.mark.netns

SHORT = b"GET / HTTP/1.1\r\n\r\n"
LONG = bytes(range(250)) * 6
"""More than a segment holds."""
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


def test_the_oracle_agrees_with_others() -> None:
    """The check value of RFC 3720 appendix B.4, and the CRC of a header that a real load balancer has sent."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    made = header("tcp", ("172.31.7.113", 51_442), ("172.31.10.31", 80), "vpce-08d2bf15fac5001c9")
    assert made[CRC_AT : CRC_AT + 4].hex() == "e8d6892d"


def own(packets: list[Any], pair: Pair) -> list[Any]:
    """The client's packets of a connection as the target got them."""
    return [packet for packet in packets if (packet.src, packet.sport) == (pair.balancer, pair.snat_port)]


def stream(packets: list[Any]) -> bytes:
    """What a receiver makes of them: each byte at the place that its number gives it."""
    (start,) = {packet[TCP].seq for packet in packets if packet[TCP].flags.S}
    found: dict[int, int] = {}
    for packet in packets:
        at = (packet[TCP].seq - start - 1) & 0xFFFFFFFF
        for place, byte in enumerate(payload(packet), start=at):
            assert found.setdefault(place, byte) == byte, f"byte {place} was sent twice and not the same"
    assert found.keys() == set(range(len(found)))
    return bytes(found[place] for place in range(len(found)))


@pytest.mark.parametrize("data", [SHORT, LONG], ids=["short", "long"])
@pytest.mark.parametrize("port", PLACEMENTS, ids=PLACEMENTS.values())
def test_pp_01_the_hundred_bytes_of_each_consumer(
    lab: Lab, steering: str, tmp_path: Path, port: int, data: bytes
) -> None:
    """All at once, from one client port: of consumers a and b even the addresses are the same."""
    client_port = HEADER_CLIENT_PORTS[steering] + (data is LONG)
    expected = {consumer: header_of(consumer, client_port, port) for consumer in CONSUMERS}
    assert len(set(expected.values())) == len(CONSUMERS)
    with Capture(tmp_path, TARGET_1, LINK, f"tcp port {port}") as capture, pairs_of_all(port, client_port) as pairs:
        for pair in pairs.values():
            pair.client.sendall(data)
        for consumer, pair in pairs.items():
            assert receive_exactly(pair.target, HEADER_BYTES + len(data)) == expected[consumer] + data
            pair.target.sendall(ANSWER)
            assert receive_exactly(pair.client, len(ANSWER)) == ANSWER
        packets = capture.packets()
    for consumer, pair in pairs.items():
        sent = own(packets, pair)
        assert stream(sent) == expected[consumer] + data
        assert payload(next(packet for packet in sent if payload(packet))).startswith(expected[consumer])


def test_pp_01_on_first_ack_it_replaces_the_ack_of_the_handshake(lab: Lab, steering: str, tmp_path: Path) -> None:
    """The client says nothing, and the target gets a SYN and the header and nothing else: no ACK before it or after it.

    With such an ACK a target that has lost the header would not repeat its SYN-ACK, and a silent client would send
    nothing any more that could bring the header again.
    """
    client_port, port = HEADER_CLIENT_PORTS[steering] + 2, PROXY_AT_ONCE_PORT
    with Capture(tmp_path, TARGET_1, LINK, f"tcp port {port}") as capture, pairs_of_all(port, client_port) as pairs:
        for consumer, pair in pairs.items():
            assert receive_exactly(pair.target, HEADER_BYTES) == header_of(consumer, client_port, port)
        lab.settle()
        packets = capture.packets()
    for consumer, pair in pairs.items():
        syn, *others = own(packets, pair)
        beginning = (syn[TCP].seq + 1) & 0xFFFFFFFF, "PA", header_of(consumer, client_port, port)
        assert {(p[TCP].seq, str(p[TCP].flags), payload(p)) for p in others if p[TCP].flags != "S"} == {beginning}


def test_pp_01_on_first_ack_with_payload_a_silent_client_has_no_header(lab: Lab, steering: str, tmp_path: Path) -> None:
    """The handshake is complete, everything that was on its way has arrived, and no byte was among it."""
    client_port, port = HEADER_CLIENT_PORTS[steering] + 3, PROXY_PORT
    with Capture(tmp_path, TARGET_1, LINK, f"tcp port {port}") as capture, pairs_of_all(port, client_port) as pairs:
        lab.settle()
        for pair in pairs.values():
            sent = own(capture.packets(), pair)
            assert {str(packet[TCP].flags) for packet in sent} == {"S", "A"}
            assert stream(sent) == b""
        for consumer, pair in pairs.items():
            pair.client.sendall(SHORT)
            assert receive_exactly(pair.target, HEADER_BYTES + len(SHORT)) == (
                header_of(consumer, client_port, port) + SHORT
            )


@pytest.mark.parametrize("port", PLACEMENTS, ids=PLACEMENTS.values())
def test_pp_36_a_header_of_the_clients_own_is_its_payload(lab: Lab, port: int) -> None:
    """The target gets two, and the first is the one to believe."""
    client_port = HEADER_CLIENT_PORTS["hash"] + 4
    with pairs_of_all(port, client_port) as pairs:
        for consumer, pair in pairs.items():
            forged = header("tcp", ("192.0.2.66", 666), ("192.0.2.67", 80), "vpce-0123456789abcdef0")
            pair.client.sendall(forged)
            assert receive_exactly(pair.target, 2 * HEADER_BYTES) == header_of(consumer, client_port, port) + forged


@pytest.mark.parametrize("features", [(), FEATURES], ids=["offloads", "no-offloads"])
@pytest.mark.parametrize("port", PLACEMENTS, ids=PLACEMENTS.values())
def test_pp_40_no_checksum_is_wrong_and_nothing_too_long(
    lab: Lab, steering: str, tmp_path: Path, port: int, features: tuple[str, ...]
) -> None:
    """Two megabytes behind the header and two back. Without offloads the ends compute and verify every checksum."""
    client_port = HEADER_CLIENT_PORTS[steering] + 5 + len(features)
    before = wrong_sums()
    with (
        without(features, (*CONSUMERS, TARGET_1)),
        Capture(tmp_path, TARGET_1, LINK, f"tcp port {port}") as capture,
        pairs_of_all(port, client_port) as pairs,
    ):
        for consumer, pair in pairs.items():
            pair.client.sendall(LONG)
            told = receive_exactly(pair.target, HEADER_BYTES + len(LONG))
            assert told == header_of(consumer, client_port, port) + LONG
        if features:
            assert max(packet.len for packet in capture.packets()) == 1500
        capture.stop()  # it could not keep up with what follows
        for pair in pairs.values():
            pair.transfer(2 << 20)
            pair.transfer(2 << 20, up=False)
    assert wrong_sums() == before


@pytest.mark.parametrize("port", PLACEMENTS, ids=PLACEMENTS.values())
def test_pp_42_the_header_is_not_counted_as_the_clients_bytes(
    lab: Lab, steering: str, tmp_path: Path, port: int
) -> None:
    """The counter moves by what the client has sent, as its own link shows."""
    client_port = HEADER_CLIENT_PORTS[steering] + 20
    before = lab.counters()
    with Capture(tmp_path, CONSUMER_A, LINK, f"tcp dst port {port}") as capture, listening(port=port) as listener:
        client = tcp_socket(CONSUMER_A)
        client.bind(("0.0.0.0", client_port))
        with Pair(port=port, client=client, listener=listener) as pair:
            client.sendall(SHORT)
            receive_exactly(pair.target, HEADER_BYTES + len(SHORT))
            pair.reset()
        moved = lab.moved_since(before)
    assert moved["bytes_original"] == sum(packet.len for packet in capture.packets())
