"""scapy has no Proxy Protocol, but it has SCTP, and SCTP has the same checksum."""

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers import sctp

from hyperplane.wire.crc32c import crc32c
from hyperplane.wire.header_template import HeaderTemplate
from tests.fields import ipv4_addresses


@given(st.binary(max_size=200))
def test_scapy_computes_the_same_crc(data: bytes) -> None:
    """SCTP sends the lowest byte first."""
    assert sctp.crc32c(data).to_bytes(4, "big") == crc32c(data).to_bytes(4, "little")


@given(ipv4_addresses, st.binary(min_size=2, max_size=2))
def test_scapy_computes_the_checksum_of_a_template_s_header(client: bytes, port: bytes) -> None:
    header = HeaderTemplate(6, b"\x0a\0\1\x0a", 443, "vpce-0123456789abcdef0").header_for(client, port)
    assert header[31:35] == sctp.crc32c(header[:31] + bytes(4) + header[35:]).to_bytes(4, "little")
