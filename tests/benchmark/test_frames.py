"""What the benchmark's sender sends, judged by scapy."""

from ipaddress import IPv4Address

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from benchmark.frames import FRAME_BYTES, SOURCE_PORTS, Stream, frames

CLIENT_MAC = bytes.fromhex("020000000001")
MIDDLE_MAC = bytes.fromhex("020000000002")


def stream(flow_count: int, port_count: int = 1) -> Stream:
    source, destination = IPv4Address("10.77.1.2"), IPv4Address("10.77.1.1")
    return Stream(CLIENT_MAC, MIDDLE_MAC, source, destination, 9000, port_count, flow_count)


def test_a_frame_reads_back_with_the_checksums_scapy_would_set() -> None:
    for frame in frames(stream(70, port_count=32)):
        assert len(frame) == FRAME_BYTES
        packet = Ether(frame)
        seen = packet[IP].chksum, packet[UDP].chksum
        del packet[IP].chksum, packet[UDP].chksum
        rebuilt = Ether(bytes(packet))
        assert (rebuilt[IP].chksum, rebuilt[UDP].chksum) == seen
        assert (packet.src, packet.dst) == ("02:00:00:00:00:01", "02:00:00:00:00:02")


def test_every_frame_is_a_flow_of_its_own() -> None:
    count = SOURCE_PORTS + 10
    keys = {(frame[26:30], frame[34:38]) for frame in frames(stream(count))}
    assert len(keys) == count
    assert {key[0] for key in keys} == {IPv4Address("10.77.1.2").packed, IPv4Address("10.77.1.3").packed}


def test_target_ports_take_turns() -> None:
    ports = [Ether(frame)[UDP].dport for frame in frames(stream(5, port_count=3))]
    assert ports == [9000, 9001, 9002, 9000, 9001]
