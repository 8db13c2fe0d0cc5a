"""What the nodes of a world hold in the end: the same, within bounds, and at last nothing.

INV-1   no two flows have one source tuple, over all tables at once
INV-11  after everything is taken in, all holders' tables are equal
"""

from typing import TYPE_CHECKING

from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.journal import JournalReader
from hyperplane.flow.key import SUFFIX_BYTES, parts_of
from tests.nodes import EXIT
from tests.sim.audit import REST_S, SLACK_S
from tests.sim.ends import Violation

if TYPE_CHECKING:
    from tests.sim.world import World


def nodes_agree(world: "World") -> None:
    """INV-11, and INV-1 over all tables at once."""
    for _ in range(3):
        world.run_until(world.now + 4.5)
    nodes = world.zone.nodes
    for node in nodes.values():
        node.dataplane.settle(world.now)
    flows: dict[bytes, tuple[object, ...]] = {}
    sources: dict[bytes, bytes] = {}
    for index, node in nodes.items():
        for entry in node.dataplane.plane.table:
            if entry.expires_at() < world.now + SLACK_S or entry.born_ms <= world.audit.void_before * 1000:
                continue
            if flows.setdefault(entry.original_key, _facts(entry)) != _facts(entry):
                raise Violation(f"INV-11: node {index} has {_facts(entry)}, another {flows[entry.original_key]}")
            if sources.setdefault(entry.translated_key, entry.original_key) != entry.original_key:
                raise Violation(f"INV-1: two flows have {_facts(entry)[1]}")
    for index, node in nodes.items():
        serving = [it for it in node.dataplane.plane.interfaces.values() if index in it.shard]
        held = node.dataplane.plane.table.original.keys()
        for key in flows.keys() - held:
            number = int.from_bytes(key[-SUFFIX_BYTES:-1], "big")
            if any(it.number in (number, EXIT) for it in serving):
                raise Violation(f"INV-11: node {index} does not hold {parts_of(key[:-SUFFIX_BYTES])}")


def nothing_is_left(world: "World") -> None:
    """After all flows have ended and rested: no flow, no row, no port."""
    for index, node in world.zone.nodes.items():
        plane = node.dataplane.plane
        for key in world.zone.pools:
            plane.pools.pool(plane.interfaces[key.eni_number], key.target, key.target_port, key.protocol)
        if len(plane.table):
            raise Violation(f"node {index} still holds {len(plane.table)} flows")
    world.run_until(world.now + REST_S + 40.0)
    for key, taken in world.zone.pools.items():
        if any(taken):
            raise Violation(f"{len(taken) - taken.count(0)} ports of {key} are never given back")
    for journal in world.zone.journals:
        reader = JournalReader(memoryview(journal))
        if any(reader.delta(row) for row in range(reader.row_count)):
            raise Violation("a journal tells of a flow that is over")


def _facts(entry: FlowEntry) -> tuple[object, ...]:
    """What all holders must know alike. Ages are kept in whole milliseconds."""
    injection = entry.injection
    header = None if injection is None else (injection.placement, injection.first, injection.offer)
    return entry.original_key, entry.translated_key, entry.born_ms, entry.epoch, entry.state, entry.scales, header
