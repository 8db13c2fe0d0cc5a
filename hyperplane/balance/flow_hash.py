"""The keyed hash of a flow: the one number that the choice of a target rests on.

Keyed, so that a client who knows this code still cannot pick source ports that all fall on one target
(the same reason for which Python and Linux key their hash tables). All nodes of a zone use one key:
should two nodes see the same first packet, they choose the same target.

BLAKE2b (RFC 7693) with a key and 8 bytes of output, read as a big-endian number. What is hashed is
the caller's choice; AWS hashes protocol, addresses, ports and, for TCP, the sequence number
(Network Load Balancer guide, "Routing algorithm").
"""

from hashlib import blake2b

KEY_BYTES = 16
HASH_BITS = 64


class FlowHasher:
    """Hashes bytes under one key. Cheaper than a plain call: the keyed state is made once and copied."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        assert len(key) == KEY_BYTES, f"a key has {KEY_BYTES} bytes"
        self._keyed = blake2b(key=key, digest_size=HASH_BITS // 8)

    def hash(self, data: bytes) -> int:
        """A number of 64 bits, for any length of data."""
        state = self._keyed.copy()
        state.update(data)
        return int.from_bytes(state.digest(), "big")
