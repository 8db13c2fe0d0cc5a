"""Which of n queues the kernel will give a packet to: iptables' HMARK, computed again.

    place = (jhash_3words(lower address, higher address, ports, seed) * n) >> 32

with the ports as one word, the higher one first (linux: net/netfilter/xt_HMARK.c, include/linux/jhash.h,
Bob Jenkins' lookup3). The hash is the same in both directions of a tuple; but a flow has two tuples, one on each
side of the translation, and only the source port is ours to choose.

A node that makes a flow prefers a port whose replies come back to itself. Then one node sees the whole
conversation: it need not ask its peers' journals in the middle of a handshake, and wakes up half as often.
It is a preference and no more: any node forwards any flow, and a wrong guess costs time, not packets.
"""

_MASK = 0xFFFFFFFF
_INITIAL = 0xDEADBEEF + (3 << 2)
_IPV4_BYTES = 4


def _rotated(value: int, by: int) -> int:
    return (value << by | value >> 32 - by) & _MASK


def jhash_3words(first: int, second: int, third: int, seed: int) -> int:
    """The kernel's jhash of three 32 bit words."""
    offset = _INITIAL + seed
    a, b, c = first + offset & _MASK, second + offset & _MASK, third + offset & _MASK
    c = (c ^ b) - _rotated(b, 14) & _MASK
    a = (a ^ c) - _rotated(c, 11) & _MASK
    b = (b ^ a) - _rotated(a, 25) & _MASK
    c = (c ^ b) - _rotated(b, 16) & _MASK
    a = (a ^ c) - _rotated(c, 4) & _MASK
    b = (b ^ a) - _rotated(a, 14) & _MASK
    return (c ^ b) - _rotated(b, 24) & _MASK


class ReplySteering:
    """Where the replies of flows towards one target will be steered, by the source port of the flow."""

    __slots__ = ("_high", "_low", "_place", "_places", "_seed", "_target_port")

    def __init__(self, address: bytes, target: bytes, target_port: int, seed: int, place: int, places: int) -> None:
        """`address`: of the load balancer. `place`: of this node among the `places` of the load balancer's shard."""
        assert len(address) == len(target) == _IPV4_BYTES, "HMARK hashes IPv6 addresses in another way"
        self._low, self._high = sorted((int.from_bytes(address, "big"), int.from_bytes(target, "big")))
        self._target_port = target_port
        self._seed = seed
        self._place, self._places = place, places

    def comes_back(self, port: int) -> bool:
        """Whether replies to `port` come to this node."""
        other = self._target_port
        ports = port << 16 | other if port > other else other << 16 | port
        return jhash_3words(self._low, self._high, ports, self._seed) * self._places >> 32 == self._place
