"""Wireshark against our Proxy Protocol header: it finds every field where we put it."""

import shutil
import subprocess

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Raw
from scapy.utils import wrpcap

from hyperplane.wire.header_template import HeaderTemplate
from hyperplane.wire.ppv2 import CHECKSUM, LOCAL_HEADER, Command, ProxyHeader, Tlv
from tests.cases import packed

ENDPOINT_ID = "vpce-0123456789abcdef0"
IN_ASCII = "01" + ENDPOINT_ID.encode().hex()
OTHER_TLVS = ProxyHeader(Command.PROXY, 17, bytes(4), bytes(4), 1, 2, (CHECKSUM, Tlv(0xE0, bytes(40))))
"""The long one last: Wireshark 4.0 overlooks a TLV that begins in the last 16 bytes."""

TLVS = "proxy.v2.tlv.type proxy.v2.tlv.length proxy.v2.tlv.value".split()
START = "proxy.v2.version proxy.v2.cmd proxy.v2.addr_family_protocol proxy.v2.length".split()
PORTS = ["proxy.srcport", "proxy.dstport"]
FIELDS = [*START, "proxy.src.ipv4", "proxy.dst.ipv4", "proxy.src.ipv6", "proxy.dst.ipv6", *PORTS, *TLVS]


def written_for(protocol: int, client: str, endpoint: str) -> bytes:
    template = HeaderTemplate(protocol, packed(endpoint), 443, ENDPOINT_ID)
    return template.header_for(packed(client), b"\x9c\x40")


@pytest.fixture(scope="module")
def dissected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What Wireshark reads in each of our headers, field by field."""
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    headers = {
        "TCP over IPv4": TCP(flags="PA") / Raw(written_for(6, "10.0.1.50", "10.0.1.10")),
        "UDP over IPv4": UDP() / Raw(written_for(17, "10.0.1.50", "10.0.1.10")),
        "TCP over IPv6": TCP(flags="PA") / Raw(written_for(6, "2001:db8::50", "2001:db8::10")),
        "local": TCP(flags="PA") / Raw(LOCAL_HEADER),
        "without TLVs": TCP(flags="PA") / Raw(ProxyHeader(Command.PROXY, 6, bytes(4), bytes(4), 1, 2).emit()),
        "other TLVs": UDP() / Raw(OTHER_TLVS.emit()),
    }
    packets = []
    for number, transport in enumerate(headers.values()):
        # Ports that no protocol owns: Wireshark is to see by itself that this is a Proxy Protocol header.
        transport.sport, transport.dport = 40000 + number, 40100
        packets.append(IP() / transport / Raw(b"hello"))
    path = tmp_path_factory.mktemp("ppv2") / "headers.pcap"
    wrpcap(str(path), packets)
    command = ["tshark", "-r", str(path), "-T", "fields", *(word for field in FIELDS for word in ("-e", field))]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {name: line.split("\t") for name, line in zip(headers, lines, strict=True)}


def test_pp_43_wireshark_reads_what_we_wrote(dissected: dict[str, list[str]]) -> None:
    v4 = ["10.0.1.50", "10.0.1.10", "", "", "40000", "443"]
    v6 = ["", "", "2001:db8::50", "2001:db8::10", "40000", "443"]
    tlvs = ["0x03,0xea,0x04", "4,23,36"]
    expected = {
        "TCP over IPv4": ["2", "1", "0x11", "84", *v4, *tlvs],
        "UDP over IPv4": ["2", "1", "0x12", "84", *v4, *tlvs],
        "TCP over IPv6": ["2", "1", "0x21", "108", *v6, *tlvs],
        "local": ["2", "0", "0x00", "0", *[""] * 8],
        "without TLVs": ["2", "1", "0x11", "12", "0.0.0.0", "0.0.0.0", "", "", "1", "2", "", ""],
        "other TLVs": ["2", "1", "0x12", "62", "0.0.0.0", "0.0.0.0", "", "", "1", "2", "0x03,0xe0", "4,40"],
    }
    assert {name: fields[:-1] for name, fields in dissected.items()} == expected
    _, endpoint_id, padding = dissected["TCP over IPv4"][-1].split(",")
    assert (endpoint_id, padding) == (IN_ASCII, "00" * 36)
