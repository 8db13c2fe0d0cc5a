"""Wireshark, which nobody here has taught anything about the header, reads it in a capture."""

from pathlib import Path

from tests.lab.laboratory import TARGET_1
from tests.lab.ppv2_oracle import CRC_AT
from tests.lab.proxy_clients import endpoint_id, header_of
from tests.lab.strangers import needs, run


def wireshark(directory: Path) -> list[str]:
    """What Wireshark reads in the headers of a capture: the `CLIENT_WORDS`, then types and values of the TLVs.

    Each once: until a target has acknowledged its header, it may get it again.
    """
    needs("tshark")
    (file,) = directory.glob("*.pcap")
    fields = "src.ipv4 srcport dst.ipv4 dstport v2.tlv.type v2.tlv.value".split()
    shown = [word for field in fields for word in ("-e", f"proxy.{field}")]
    # The load balancer's port may be one that belongs to some other protocol.
    guess = ("-o", "tcp.try_heuristic_first:TRUE", "-o", "udp.try_heuristic_first:TRUE")
    chosen = ("-Y", "proxy", "-T", "fields", "-E", "separator=/s", *shown)
    lines = run(TARGET_1, "tshark", "-r", str(file), *guess, *chosen).stdout.splitlines()
    return list(dict.fromkeys(lines))


def as_wireshark_says(words: str, consumer: str, protocol: str = "tcp") -> str:
    """Its line for a header of which the `CLIENT_WORDS` are known."""
    _, client_port, _, port = words.split()
    crc = header_of(consumer, int(client_port), int(port), protocol)[CRC_AT : CRC_AT + 4].hex()
    value = b"\x01" + endpoint_id(consumer).encode()
    return f"{words} 0x03,0xea,0x04 {crc},{value.hex()},{bytes(36).hex()}"
