"""The world of one seed: nodes, ends, a network between them, a clock that jumps, and everything that goes wrong.

Events wait in a heap. A packet goes to the node that steering chooses; what leaves a node is judged (`audit.py`)
and travels on to a target or a client, sometimes twice, late or not at all. A node that is killed is restarted a
moment later over the memory that it left; the packet that it had in hand is handed out once more, as the kernel's
queue does.
"""

import heapq
from collections.abc import Callable, Sequence
from random import Random
from zlib import crc32

from hyperplane.dataplane.verdict import Outgoing
from tests.cases import UDP, SocketAddress, udp
from tests.dissection import Seen, dissect
from tests.nodes import EXIT
from tests.sim.audit import Audit
from tests.sim.callers import Callers
from tests.sim.configuration import TARGETS, Configuration
from tests.sim.ends import Call, Server, Violation
from tests.sim.faults import Killed
from tests.sim.plan import CHAOS_S, Plan, plan_of
from tests.sim.queues import Queues
from tests.sim.tables import nodes_agree, nothing_is_left
from tests.sim.targets import PATIENCE_S, StreamServer
from tests.sim.zone import NEVER, Life, SimZone, Waiting

TICK_S = (0.5, 4.0)
RETURN_S = (0.005, 0.4)
MOVES_MAX = 100_000
"""Things that happen in one world: ten times as many as in any that ends."""


class World:
    """One run."""

    def __init__(self, seed: int, plan: Plan | None = None) -> None:
        self.seed = seed
        self.plan = plan or plan_of(seed)
        self.chance = Random(seed ^ 0x5EED)
        self.now = 0.0
        self.sleeping_until = 0.0
        self.depth = 0
        self.healed = False
        self._heap: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = self.moves = 0
        self.configuration = Configuration(self)
        self.zone: SimZone = SimZone(self, self.configuration.snapshot(self.plan.node_count), self.plan.node_count)
        self.lives = [Life() for _ in range(self.plan.node_count)]
        self.callers = Callers(self)
        self.audit = Audit(self)
        self.servers = {(address, 8080): self._server((address, 8080)) for address in TARGETS}
        self.restarted_at = dict.fromkeys(self.servers, -1.0)
        """When each target last forgot its connections."""
        self.queues = Queues(self)
        for index in range(self.plan.node_count):
            self.zone.node(index)

    # --- time ------------------------------------------------------------------------------------

    def at(self, moment: float, action: Callable[..., None], *arguments: object) -> None:
        self._order += 1
        heapq.heappush(self._heap, (moment, self._order, action, arguments))

    def run_until(self, end: float) -> None:
        while self._heap and self._heap[0][0] <= end:
            moment, _, action, arguments = heapq.heappop(self._heap)
            self.moves += 1
            if self.moves > MOVES_MAX:
                raise Violation("INV-12: the ends never come to rest")
            self.now = max(self.now, moment)
            action(*arguments)
        self.now = max(self.now, end)

    def wake(self, delay_s: float, call: Call) -> None:
        """A caller's timer. A client that sleeps hears it when it wakes up."""
        self.at(self.now + delay_s, self._wake, call, call.wakes)

    def _wake(self, call: Call, number: int) -> None:
        if call.wakes != number:
            return
        if self.now < self.sleeping_until:
            self.at(self.sleeping_until, self._wake, call, number)
        else:
            call.on_wake(self)

    def tick(self, index: int, zone: SimZone) -> None:
        """A node's own rhythm."""
        if zone is not self.zone:
            return
        life = self.lives[index]
        if life.up and not life.busy:
            plane = zone.nodes[index].dataplane
            life.busy = True
            try:
                if self.now >= life.stale_until:
                    plane.receive_deltas(self.now)
                plane.handle_timeout(self.now)
                self.send(index, plane.packets_to_send())
            except Killed:
                self.die(index)
            else:
                life.busy = False
                self.queues.answer(index, zone)
        self.at(self.now + self.chance.uniform(*TICK_S), self.tick, index, zone)

    # --- the network -----------------------------------------------------------------------------

    def from_client(self, door: int, packet: bytes) -> None:
        self.travel(packet, lambda copy: self.arrive(door, copy))

    def from_target(self, packet: bytes) -> None:
        self.travel(packet, lambda copy: self.arrive(EXIT, copy))

    def send(self, index: int, packets: Sequence[Outgoing]) -> None:
        """What a node makes itself leaves at once, before the verdicts of what it has in hand."""
        for outgoing in packets:
            self.audit.headers.sent(index, outgoing)
            self.travel(outgoing.packet, lambda copy, eni=outgoing.eni_number: self.deliver(eni, copy))  # type: ignore[misc]
            self.at_point(index)

    def travel(self, packet: bytes, arrive: Callable[[bytes], None]) -> None:
        """Over a link that loses, doubles, damages and delays."""
        plan, chance = self.plan, self.chance
        copies = 1
        if not self.healed:
            if chance.random() < plan.loss:
                return
            copies += chance.random() < plan.duplication
        for _ in range(copies):
            damage = not self.healed and chance.random() < plan.corruption
            delay_s = 0.0005 + chance.random() * (0.002 if self.healed else plan.jitter_s)
            self.at(self.now + delay_s, self._arrives, arrive, self._damaged(packet) if damage else packet)

    def _arrives(self, arrive: Callable[[bytes], None], packet: bytes) -> None:
        arrive(packet)

    def _damaged(self, packet: bytes) -> bytes:
        """One bit behind the IP header turned over: every such error shows in the checksum."""
        bit = self.chance.randrange(160, len(packet) * 8)
        damaged = bytearray(packet)
        damaged[bit // 8] ^= 0x80 >> bit % 8
        self.audit.damaged.add(bytes(damaged))
        return bytes(damaged)

    def arrive(self, eni: int, packet: bytes) -> None:
        """Steering: to one node of the ENI's shard."""
        (zone,) = self.zone.snapshot.zones
        shard = next((it.shard for it in zone.enis if it.number == eni), None)
        if shard is None:
            return
        place = self.chance.randrange(len(shard)) if self.plan.spray else crc32(packet[12:24]) % len(shard)
        self.queues.hand_to(shard[place], eni, packet)

    def deliver(self, eni: int, packet: bytes) -> None:
        """To the end that the packet is for; a damaged one does not get past its checksum."""
        if packet in self.audit.damaged:
            return
        seen = dissect(packet)
        if eni == EXIT:
            self._deliver_to_target(seen)
        elif seen.protocol == UDP:
            self.audit.datagram_delivered(eni, seen)
        elif self.now >= self.sleeping_until:
            hearer = self.callers.hearer((eni, seen.destination))
            if hearer is not None:
                hearer.on_segment(self, seen)

    def _deliver_to_target(self, seen: Seen) -> None:
        if seen.protocol == UDP:
            header = self.audit.headers.flows.of_datagrams.get((seen.source, seen.destination), b"")
            if not seen.payload.startswith(header):
                raise Violation(f"INV-2: a datagram without its header: {seen.payload!r}")
            self.from_target(udp(seen.destination, seen.source, b">" + seen.payload[len(header) :]))
        elif seen.destination in self.servers:
            self.servers[seen.destination].on_segment(self, seen)

    # --- nodes die and return ---------------------------------------------------------------------

    def at_point(self, index: int) -> None:
        """A node is between two steps."""
        life = self.lives[index]
        if life.doom == 0:
            life.doom = NEVER
            raise Killed
        if life.doom > 0:
            life.doom -= 1
        if self.depth == 0 and life.busy and self.chance.random() < self.plan.overtaking and not self.healed:
            self._overtake()

    def _overtake(self) -> None:
        """The next packet on its way arrives now, at another node."""
        if self._heap and self._heap[0][2] == self._arrives and self._heap[0][0] < self.now + 0.01:
            _, _, action, arguments = heapq.heappop(self._heap)
            self.depth += 1
            action(*arguments)
            self.depth -= 1

    def doom(self, index: int, points: int) -> None:
        self.lives[index % len(self.lives)].doom = points

    def die(self, index: int, in_hand: Sequence[Waiting] = ()) -> None:
        life = self.lives[index]
        life.up, life.busy, life.doom = False, False, NEVER
        self.audit.restarted_at = self.now
        life.waiting = [*in_hand, *life.waiting]
        self.at(self.now + self.chance.uniform(*RETURN_S), self.revive, index, self.zone)

    def revive(self, index: int, zone: SimZone) -> None:
        if zone is not self.zone:
            return
        self.configuration.void_what_is_removed()
        try:
            zone.restart(index, self.now)
            zone.nodes[index].dataplane.settle(self.now)
        except Killed:
            self.die(index)
            return
        self.lives[index].up = True
        self.queues.answer(index, zone)

    def next_generation(self, node_count: int) -> None:
        """New nodes adopt what the old ones hold; the old ones answer what they still have, and end."""
        old = self.zone
        for life in self.lives:
            life.doom = NEVER
        self.configuration.void_what_is_removed()
        waiting = [packet for life in self.lives for packet in life.waiting]
        self.zone = old  # while the new nodes start
        self.lives = [Life() for _ in range(node_count)]
        young = old.next_generation(self.configuration.snapshot(node_count), node_count, self.now)
        assert isinstance(young, SimZone)
        self.zone = young
        self.audit.new_generation()
        for index in range(node_count):
            self.at(self.now + self.chance.uniform(*TICK_S), self.tick, index, young)
        self.at(self.now + self.chance.uniform(0.01, 5), self._end_older, young)
        for eni, packet, _ in waiting:
            self.arrive(eni, packet)

    def _end_older(self, zone: SimZone) -> None:
        if zone is not self.zone:
            return
        zone.older = []
        for index, node in zone.nodes.items():
            if not self.lives[index].up:
                continue  # its next life does not know the old journals any more; its own has what it adopted
            try:
                node.dataplane.settle(self.now)
                zone.connect(index, node.dataplane)
            except Killed:
                self.die(index)

    # --- a whole run -----------------------------------------------------------------------------

    def on_cut_off(self, call: Call) -> None:
        self.audit.cut_off(call)

    def on_late_greeting(self, call: Call) -> None:
        self.audit.greeted_late(call)

    def _server(self, address: SocketAddress) -> Server:
        headers = self.plan.headers
        if headers is None:
            return Server(address, self.plan.late_s)
        flows, chance = self.audit.headers.flows, Random(f"{address} {self.seed}")
        return StreamServer(address, self.plan.late_s, plan=headers, flows=flows, chance=chance)

    def _restart_target(self, address: SocketAddress) -> None:
        server = self.servers[address]
        assert isinstance(server, StreamServer)
        server.restart()
        self.restarted_at[address] = self.now

    def schedule(self) -> None:
        plan, chance = self.plan, self.chance
        for index in range(plan.node_count):
            self.at(chance.uniform(*TICK_S), self.tick, index, self.zone)
        self.callers.schedule()
        for at, index, points in plan.kills:
            self.at(at, self.doom, index, points)
        for at, index, seconds in plan.stale:
            self.at(at, self._be_stale, index, at + seconds)
        for at, what, seconds in plan.reloads:
            self.at(at, self.configuration.change, what, seconds)
        for at, seconds in plan.sleeps:
            self.at(at, self._sleep, seconds)
        for at, node_count in plan.generations:
            self.at(at, self.next_generation, node_count)
        if plan.headers is not None:
            for at, placement in plan.headers.toggles:
                self.at(at, self.configuration.toggle, placement)
            for at in plan.headers.restarts:
                self.at(at, self._restart_target, chance.choice(list(self.servers)))
        if plan.upgrade is not None:
            self.at(plan.upgrade[0], self.next_generation, plan.upgrade[1])
        self.at(CHAOS_S, self._heal)

    def _be_stale(self, index: int, until: float) -> None:
        self.lives[index % len(self.lives)].stale_until = until

    def _sleep(self, seconds: float) -> None:
        self.sleeping_until = self.now + seconds

    def _heal(self) -> None:
        self.healed = True
        for life in self.lives:
            life.doom, life.stale_until = NEVER, 0.0

    def run(self) -> None:
        """The whole seed. Raises `Violation`."""
        self.schedule()
        self.run_until(CHAOS_S + 30.0)
        nodes_agree(self)
        patience_s = 900.0 + max((seconds for _, seconds in self.plan.sleeps), default=0.0)
        while self.now < CHAOS_S + patience_s and not self.callers.are_over:
            self.run_until(self.now + 20.0)
        for call in self.callers.calls:
            if not call.is_over and not self.audit.is_excused(call):
                raise Violation(f"call {call.number} is still {call.phase} at {self.now:.0f} s")
        nodes_agree(self)
        if self.callers.liars:
            self.run_until(self.now + PATIENCE_S)
        self.run_until(self.now + 350.0 + 120.0 + 2 * 60.0 + 20.0)
        nothing_is_left(self)
