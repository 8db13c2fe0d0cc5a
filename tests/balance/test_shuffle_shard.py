"""Shards: pinned, evenly spread, still under change, and as isolated as the arithmetic says."""

from collections import Counter
from fractions import Fraction
from hashlib import blake2b
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperplane.balance.shuffle_shard import overlap_shares, shard_count, shuffle_shard

IDS = [f"vpce-{number:017x}" for number in range(10_000)]


def naive_shard(seed: int, zone_id: str, resource_id: str, node_count: int, shard_size: int) -> tuple[int, ...]:
    """Second opinion: take the best node that is left, again and again; each score hashed in one piece."""

    def score(node: int) -> int:
        text = zone_id.encode() + b"\0" + resource_id.encode() + b"\0" + bytes([node >> 8, node & 0xFF])
        return int(blake2b(text, digest_size=8, key=bytes.fromhex(f"{seed:016x}")).hexdigest(), 16)

    left = list(range(node_count))
    shard = []
    for _ in range(shard_size):
        best = max(left, key=score)
        left.remove(best)
        shard.append(best)
    return tuple(sorted(shard))


@pytest.mark.parametrize(
    ("seed", "zone_id", "resource_id", "node_count", "shard_size", "shard"),
    [
        (1, "use2-az1", "vpce-0123456789abcdef0", 4, 2, (1, 2)),
        (1, "use2-az2", "vpce-0123456789abcdef0", 4, 2, (0, 1)),
        (2, "use2-az1", "vpce-0123456789abcdef0", 4, 2, (0, 1)),
        (1, "use2-az1", "vpce-0123456789abcdef0", 8, 3, (1, 5, 6)),
        (1, "use2-az1", "net/orders/0123456789abcdef", 4, 2, (1, 3)),
        (1, "use2-az1", "net/orders/0123456789abcdef", 32, 4, (6, 23, 26, 27)),
        (0, "use2-az1", "", 1, 1, (0,)),
        ((1 << 64) - 1, "use2-az1", "vpce-0123456789abcdef0", 16, 4, (1, 7, 11, 13)),
    ],
)
def test_pinned(
    seed: int, zone_id: str, resource_id: str, node_count: int, shard_size: int, shard: tuple[int, ...]
) -> None:
    """A change of the hash would move every tenant in one go: it must not happen unseen."""
    assert shuffle_shard(seed, zone_id, resource_id, node_count, shard_size) == shard


@st.composite
def sizes(draw: st.DrawFn) -> tuple[int, int]:
    node_count = draw(st.integers(1, 32))
    return node_count, draw(st.integers(1, node_count))


@given(st.integers(0, (1 << 64) - 1), st.text(max_size=10), st.text(max_size=30), sizes())
def test_agrees_with_the_naive_one(seed: int, zone_id: str, resource_id: str, size: tuple[int, int]) -> None:
    shard = shuffle_shard(seed, zone_id, resource_id, *size)
    assert shard == naive_shard(seed, zone_id, resource_id, *size)
    assert len(set(shard)) == size[1]
    assert list(shard) == sorted(shard)
    assert set(shard) <= set(range(size[0]))


def chi_square(counts: Counter[tuple[int, ...]], cells: int) -> float:
    expected = counts.total() / cells
    return sum((count - expected) ** 2 / expected for count in counts.values()) + (cells - len(counts)) * expected


@pytest.mark.parametrize(("node_count", "shard_size", "limit"), [(4, 2, 20.5), (8, 2, 55.5), (8, 4, 111.1)])
def test_spread_evenly_over_all_shards(node_count: int, shard_size: int, limit: float) -> None:
    """10,000 resources; the limit is chi-square's for a chance of 1 in 1,000 (5, 27 and 69 degrees of freedom)."""
    counts = Counter(shuffle_shard(1, "use2-az1", resource_id, node_count, shard_size) for resource_id in IDS)
    assert len(counts) == shard_count(node_count, shard_size)
    assert chi_square(counts, shard_count(node_count, shard_size)) < limit


def test_zones_are_independent() -> None:
    """Of 10,000 resources about 1 in 6 has the same nodes in both zones, as chance wants it."""
    same = sum(shuffle_shard(1, "use2-az1", i, 4, 2) == shuffle_shard(1, "use2-az2", i, 4, 2) for i in IDS)
    assert 0.15 < same / len(IDS) < 0.185


def test_another_node_replaces_one_node_or_none() -> None:
    moved = 0
    for resource_id in IDS:
        before = shuffle_shard(1, "use2-az1", resource_id, 8, 2)
        after = shuffle_shard(1, "use2-az1", resource_id, 9, 2)
        if before != after:
            moved += 1
            assert 8 in after
            assert len(set(before) & set(after)) == 1
    assert 0.20 < moved / len(IDS) < 0.245  # 2 of 9


def test_a_node_less_moves_only_its_own() -> None:
    for resource_id in IDS[:2000]:
        before = shuffle_shard(1, "use2-az1", resource_id, 8, 3)
        after = shuffle_shard(1, "use2-az1", resource_id, 7, 3)
        assert set(before) - {7} <= set(after)


@pytest.mark.parametrize(
    ("node_count", "shard_size", "count", "shares_percent"),
    [
        (8, 2, 28, ["53.6", "42.9", "3.6"]),
        (8, 3, 56, ["17.9", "53.6", "26.8", "1.8"]),
        (8, 4, 70, ["1.4", "22.9", "51.4", "22.9", "1.4"]),
        (6, 3, 20, ["5.0", "45.0", "45.0", "5.0"]),
        (16, 4, 1820, ["27.2", "48.4", "21.8", "2.6", "0.1"]),
        (2048, 4, 730_862_190_080, ["99.2", "0.8", "0.0", "0.0", "0.0"]),
    ],
)
def test_overlap_table(node_count: int, shard_size: int, count: int, shares_percent: list[str]) -> None:
    """The published figures: 28 combinations of 8 and 2, 730 billion of 2,048 and 4 (AWS)."""
    shares = overlap_shares(node_count, shard_size)
    assert shard_count(node_count, shard_size) == count
    assert [f"{float(share) * 100:.1f}" for share in shares] == shares_percent
    assert sum(shares) == 1
    assert shares[-1] == Fraction(1, count)


@pytest.mark.parametrize(("node_count", "shard_size"), [(4, 2), (8, 2), (8, 3), (8, 4), (6, 3), (5, 4), (3, 3)])
def test_overlap_by_counting(node_count: int, shard_size: int) -> None:
    """Second opinion: count over all shards there are."""
    mine = set(range(shard_size))
    all_shards = list(combinations(range(node_count), shard_size))
    shared = Counter(len(mine & set(shard)) for shard in all_shards)
    expected = tuple(Fraction(shared[k], len(all_shards)) for k in range(shard_size + 1))
    assert overlap_shares(node_count, shard_size) == expected


def test_the_real_shards_keep_the_arithmetic() -> None:
    """10,000 real shards against one of them: each share within a percentage point of the table's."""
    mine = set(shuffle_shard(1, "use2-az1", "net/orders/1", 8, 2))
    shared = Counter(len(mine & set(shuffle_shard(1, "use2-az1", resource_id, 8, 2))) for resource_id in IDS)
    for k, share in enumerate(overlap_shares(8, 2)):
        assert abs(shared[k] / len(IDS) - share) < 0.01
