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


def jhash_3words(first: int, second: int, third: int, seed: int) -> int:
    """The kernel's jhash of three 32 bit words: seven rounds of "exclusive or, then subtract a rotated word".

    A rotation is written out as `value << by | value >> 32 - by`, because this runs for every source port drawn.
    """
    offset = _INITIAL + seed
    a, b, c = first + offset & _MASK, second + offset & _MASK, third + offset & _MASK
    c = (c ^ b) - (b << 14 | b >> 18) & _MASK
    a = (a ^ c) - (c << 11 | c >> 21) & _MASK
    b = (b ^ a) - (a << 25 | a >> 7) & _MASK
    c = (c ^ b) - (b << 16 | b >> 16) & _MASK
    a = (a ^ c) - (c << 4 | c >> 28) & _MASK
    b = (b ^ a) - (a << 14 | a >> 18) & _MASK
    return (c ^ b) - (b << 24 | b >> 8) & _MASK


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
