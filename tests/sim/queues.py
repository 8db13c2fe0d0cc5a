"""The kernel's queues, one for each node: what comes while a node reads, or is away, waits there."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from hyperplane.dataplane.counters import Count
from hyperplane.dataplane.engine import Dataplane
from hyperplane.dataplane.verdict import Accept, Drop, Lead, Reply
from tests.nodes import HEADER_BYTES_MAX
from tests.sim.faults import Killed
from tests.sim.zone import Life, SimZone, Waiting

if TYPE_CHECKING:
    from tests.sim.world import World

BEAT_S = 0.025
"""A node reads its peers' journals this often. Here it does so when the next packet comes, which is the same."""


class Queues:
    """Between the network and the nodes of one world."""

    def __init__(self, world: "World") -> None:
        self.world = world

    def hand_to(self, index: int, eni: int, packet: bytes) -> None:
        """Into a node's queue. It reads at once, or what has come together a moment later."""
        world = self.world
        life = world.lives[index]
        life.waiting.append((eni, packet, False))
        if not world.plan.batch_s:
            self.answer(index, world.zone)
        elif len(life.waiting) == 1:
            world.at(world.now + world.chance.random() * world.plan.batch_s, self.answer, index, world.zone)

    def answer(self, index: int, zone: SimZone) -> None:
        """All packets of the queue, read together: their verdicts are given together too, after the last one.

        A node that is killed meanwhile has given none, so all are handed out again, but that of which one died before.
        """
        world = self.world
        life = world.lives[index] if zone is world.zone else Life()
        while life.waiting and life.up and not life.busy:
            life.busy = True
            dataplane = zone.nodes[index].dataplane
            batch, life.waiting = life.waiting, []
            leaving: list[Callable[[], None]] = []
            try:
                if world.now - life.read_at >= BEAT_S and world.now >= life.stale_until:
                    life.read_at = world.now
                    dataplane.receive_deltas(world.now)
                dataplane.begin_batch(world.now)
                for eni, packet, _ in batch:
                    leaving.append(self._decide(index, dataplane, eni, packet))
            except Killed:
                if world.plan.headers is not None:
                    world.audit.headers.flows.died_with(*batch[len(leaving)][:2])
                world.die(index, _handed_out_again(batch, len(leaving)))
                return
            life.busy = False
            for leave in leaving:
                leave()

    def _decide(self, index: int, dataplane: Dataplane, eni: int, packet: bytes) -> Callable[[], None]:
        """The verdict, as what it does once it is given."""
        world = self.world
        buffer = bytearray(packet) + bytes(HEADER_BYTES_MAX)
        counters = dataplane.counters.values
        flows_made, reopened = counters[Count.FLOWS_NEW], counters[Count.FLOWS_REOPENED]
        verdict = dataplane.receive_packet(buffer, 0, len(packet), world.audit.FINISHED, eni, world.now)
        out = bytes(buffer[: dataplane.packet_length])
        is_first = counters[Count.FLOWS_NEW] > flows_made
        if world.plan.headers is None:
            pass
        elif isinstance(verdict, Accept | Lead):
            is_new = is_first or counters[Count.FLOWS_REOPENED] > reopened
            world.audit.headers.flows.decided(index, eni, packet, out, is_new)
        elif isinstance(verdict, Drop):
            world.audit.headers.flows.dropped(eni, packet, verdict.reason)
        if isinstance(verdict, Lead):
            world.send(index, verdict.packets)

        def leave() -> None:
            if isinstance(verdict, Accept | Lead):
                world.audit.accepted(index, eni, packet, verdict.eni_number, out, is_first)
                world.travel(out, lambda copy: world.deliver(verdict.eni_number, copy))
            elif isinstance(verdict, Reply):
                world.audit.replied(eni, verdict)
                world.travel(verdict.packet, lambda copy: world.deliver(eni, copy))

        return leave


def _handed_out_again(batch: list[Waiting], place: int) -> list[Waiting]:
    """What a dead node had read: all of it, but the packet at `place` only if nobody has died of it before."""
    eni, packet, died_before = batch[place]
    return [*batch[:place], *([] if died_before else [(eni, packet, True)]), *batch[place + 1 :]]
