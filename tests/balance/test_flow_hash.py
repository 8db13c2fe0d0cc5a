"""The flow hash: pinned, keyed, even."""

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperplane.balance.flow_hash import HASH_BITS, FlowHasher

KEY = bytes(range(16))


@pytest.mark.parametrize(
    ("key", "data", "expected"),
    [
        (KEY, b"", 0x3BC453B79112D82D),
        (KEY, bytes.fromhex("0a000132c7380a00010a01bb06"), 0xC788A394F91A0130),
        (bytes(16), bytes.fromhex("0a000132c7380a00010a01bb06"), 0x2FEBE999D95D5368),
    ],
)
def test_pinned(key: bytes, data: bytes, expected: int) -> None:
    """10.0.1.50:51000 to 10.0.1.10:443 over TCP. A silent change would move every new flow."""
    assert FlowHasher(key).hash(data) == expected


@given(st.binary(min_size=16, max_size=16), st.lists(st.binary(max_size=60), min_size=2, max_size=5))
def test_is_keyed_blake2b_whatever_was_hashed_before(key: bytes, flows: list[bytes]) -> None:
    hasher = FlowHasher(key)
    for flow in flows:
        assert hasher.hash(flow) == int(blake2b(flow, key=key, digest_size=8).hexdigest(), 16)


def test_every_bit_is_even_over_ports() -> None:
    hasher = FlowHasher(KEY)
    hashes = [hasher.hash(port.to_bytes(2, "big")) for port in range(1024, 11_024)]
    for bit in range(HASH_BITS):
        ones = sum(value >> bit & 1 for value in hashes)
        assert abs(ones - 5000) < 250, f"bit {bit}"


def test_a_key_has_sixteen_bytes() -> None:
    with pytest.raises(AssertionError):
        FlowHasher(b"short")
