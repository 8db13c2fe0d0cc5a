"""pcapng files, judged by scapy and by Wireshark's own tools."""

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import RawPcapNgReader

from hyperplane.io.pcapng import INBOUND, OUTBOUND, PcapngWriter

INTERFACES = [("hp-a/hp-eth0", "the client", "hop 1 – first"), ("hp-b/hp-eth0", "", "")]
PACKETS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(0, (1 << 63) - 1),
        st.binary(max_size=200),
        st.integers(0, 100),
        st.sampled_from([INBOUND, OUTBOUND]),
    ),
    max_size=8,
)
PACKET = bytes(12) + b"\x08\x00" + bytes(21)
"""35 bytes: not a multiple of 4."""


def written(packets: list[tuple[int, int, bytes, int, int]]) -> bytes:
    """A file with these packets: (interface, time, bytes, bytes that were cut off, direction)."""
    stream = io.BytesIO()
    writer = PcapngWriter(stream, INTERFACES, "a test")
    for interface, time_ns, packet, cut, direction in packets:
        writer.write(interface, time_ns, packet, len(packet) + cut, direction)
    writer.write_statistics(0, 1, 10, 3)
    return stream.getvalue()


@given(PACKETS)
def test_scapy_reads_what_was_written(packets: list[tuple[int, int, bytes, int, int]]) -> None:
    read = list(RawPcapNgReader(io.BytesIO(written(packets))))
    assert [bytes(data) for data, _ in read] == [packet for _, _, packet, _, _ in packets]
    for (_, about), (interface, time_ns, packet, cut, direction) in zip(read, packets, strict=True):
        assert about.tshigh << 32 | about.tslow == time_ns
        assert (about.tsresol, about.wirelen) == (1_000_000_000, len(packet) + cut)
        assert (about.ifname, about.linktype) == (INTERFACES[interface][0].encode(), 1)
        assert about.direction == direction


@given(PACKETS)
def test_every_block_says_its_length_at_both_ends(packets: list[tuple[int, int, bytes, int, int]]) -> None:
    data = written(packets)
    at, kinds = 0, []
    while at < len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        assert length % 4 == 0 and data[at + 4 : at + 8] == data[at + length - 4 : at + length]
        kinds.append(int.from_bytes(data[at : at + 4], "little"))
        at += length
    assert kinds == [0x0A0D0D0A, 1, 1, *[6] * len(packets), 5]


def test_wireshark_reads_names_comments_and_losses(tmp_path: Path) -> None:
    for tool in ("capinfos", "tshark"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    path = tmp_path / "made.pcapng"
    path.write_bytes(written([(0, 5_000_000_000, PACKET, 0, INBOUND), (1, 6_000_000_007, PACKET, 0, OUTBOUND)]))
    told = subprocess.run(["capinfos", str(path)], capture_output=True, text=True, check=True).stdout
    for words in ("Name = hp-a/hp-eth0", "Description = the client", "Comment = hop 1 – first", "nanoseconds (9)"):
        assert words in told
    assert "Capture application: a test" in told
    fields = ("frame.interface_name", "frame.time_epoch", "frame.len", "frame.packet_flags_direction")
    command = ["tshark", "-r", str(path), "-T", "fields", *(word for field in fields for word in ("-e", field))]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split("\t") for line in lines]
    assert [(row[0], row[2], row[3][-1]) for row in rows] == [("hp-a/hp-eth0", "35", "1"), ("hp-b/hp-eth0", "35", "2")]
    assert rows[1][1].endswith("6.000000007") or rows[1][1].endswith("06.000000007Z")
