"""Shuffle sharding: each resource is served by its own few of a zone's nodes.

A failing resource (a flood, a poison packet) can take down its own nodes at most. Two resources seldom
have the same set: with 8 nodes and shards of 2, only 1 resource in 28 shares both nodes with it.
The exact shares are `overlap_shares`. Source of the idea: AWS Builders' Library, "Workload isolation
using shuffle-sharding".

Our choice of method is rendezvous hashing (highest random weight; Thaler and Ravishankar 1998): every
(resource, node) pair has a pseudo-random score, the nodes with the highest scores are the shard.
Because of what it keeps still:

- It needs no memory. The same seed, zone and resource give the same nodes, on any machine, for ever.
- Another resource coming or going changes nothing.
- Another node takes the place of at most one node of a shard, and only where it scores higher: a share
  of `shard_size / node_count` of all shards. Taking the last node away changes only the shards it was in.

The scores are independent for each zone, so an endpoint's two interfaces share no fate. Node numbers
ascend from 0. Scores that are equal (2 in 2^64) are ordered by node number.
"""

from fractions import Fraction
from hashlib import blake2b
from math import comb

from hyperplane import limits

SEED_BITS = 64


def shuffle_shard(seed: int, zone_id: str, resource_id: str, node_count: int, shard_size: int) -> tuple[int, ...]:
    """The nodes that serve a resource, ascending. A seed of up to 64 bits deals all shards anew."""
    assert 1 <= shard_size <= node_count <= limits.NODES_PER_ZONE_MAX, "a shard is nodes of the zone"
    key = seed.to_bytes(SEED_BITS // 8, "big")
    resource = blake2b(f"{zone_id}\0{resource_id}\0".encode(), digest_size=8, key=key)
    scores = []
    for node in range(node_count):
        pair = resource.copy()
        pair.update(node.to_bytes(2, "big"))
        scores.append((pair.digest(), node))
    return tuple(sorted(node for _, node in sorted(scores, reverse=True)[:shard_size]))


def shard_count(node_count: int, shard_size: int) -> int:
    """How many different shards there are."""
    return comb(node_count, shard_size)


def overlap_shares(node_count: int, shard_size: int) -> tuple[Fraction, ...]:
    """Of all other resources, the exact share that has k nodes in common with one resource, for k = 0..shard_size.

    The hypergeometric distribution; the last figure is who goes down when one resource's nodes all die.
    """
    return tuple(
        Fraction(comb(shard_size, shared) * comb(node_count - shard_size, shard_size - shared))
        / shard_count(node_count, shard_size)
        for shared in range(shard_size + 1)
    )
