"""The clients of one world: who calls, and in what manner."""

from random import Random
from typing import TYPE_CHECKING

from tests.cases import SocketAddress, udp
from tests.nodes import DOOR, DOOR_B
from tests.sim.ends import Call
from tests.sim.header_plan import WITH_PAYLOAD, HeaderPlan
from tests.sim.liars import Liar
from tests.sim.plan import CHAOS_S, pauses_of
from tests.sim.streams import GREETING, Manner, Stream, numbers_of
from tests.sim.targets import StreamServer

if TYPE_CHECKING:
    from tests.sim.world import World

ENDPOINT = ("10.0.1.10", 443)


class Callers:
    """Of one world."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.calls: list[Call] = []
        self.current: dict[tuple[int, SocketAddress], Call] = {}
        """By door and client: the last one."""
        self.streams: dict[tuple[int, SocketAddress, int], Stream] = {}
        """By door, client and initial sequence number."""
        self.liars: dict[tuple[int, SocketAddress], Liar] = {}
        """By door and client."""
        self._numbers = numbers_of(Random(f"numbers {world.seed}"))

    @property
    def are_over(self) -> bool:
        return all(call.is_over for call in self.calls) and all(liar.is_over for liar in self.liars.values())

    def begin_call(self, door: int, client: SocketAddress) -> None:
        """A client calls, unless its last call from this very port is not over yet."""
        headers = self.world.plan.headers
        busy = self.current.get((door, client))
        if busy is not None and not busy.is_over:
            if headers is None or self.world.chance.random() >= headers.abandons:
                return
            assert isinstance(busy, Stream)
            busy.abandon(self.world)
        call = self._call(door, client) if headers is None else self._stream(door, client, headers)
        self.calls.append(call)
        self.current[door, client] = call
        self.world.audit.began(call)
        call.begin(self.world)

    def _call(self, door: int, client: SocketAddress) -> Call:
        chance = self.world.chance
        isn = (chance.randrange(1 << 16) + (len(self.calls) + 1) * 20_000_000) % (1 << 32)
        return Call(len(self.calls), door, client, ENDPOINT, isn, pauses_of(chance), chance.random() < 0.2)

    def _stream(self, door: int, client: SocketAddress, plan: HeaderPlan) -> Stream:
        chance = self.world.chance
        manner = chance.choice((Manner.ASKS, Manner.ASKS, Manner.CLOSES, Manner.RESETS))
        if plan.greets and chance.random() < plan.waits and WITH_PAYLOAD not in plan.placements:
            manner = Manner.WAITS
        stream = Stream(
            len(self.calls), door, client, ENDPOINT, next(self._numbers), pauses_of(chance), chance.random() < 0.2,
            chance=chance,
            manner=manner,
            greeting=GREETING if plan.greets else b"",
            question_bytes=plan.question_bytes,
            stamps=plan.stamps,
            probes_with_data=chance.random() < 0.3,
            resets_barely=chance.random() < 0.5,
            acks_apart=chance.random() < 0.8,
        )  # fmt: skip
        self.streams[door, client, stream.isn] = stream
        return stream

    def speaker(self, user: tuple[int, SocketAddress], isn: int) -> Stream | Liar:
        """Who has sent a SYN with this number."""
        return self.liars.get(user) or self.streams[*user, isn]

    def hearer(self, user: tuple[int, SocketAddress]) -> Call | Liar | None:
        """Who hears what comes to this client now."""
        return self.liars.get(user) or self.current.get(user)

    def answer_to(self, liar: Liar, isn: int) -> int | None:
        """What a liar knows of its target's cookie (`Oracle`): not what a node has dropped, that nobody can know."""
        opened = self.world.audit.headers.flows.standing.get((liar.door, liar.client))
        if opened is None or opened.answer is not None:
            return None
        server = self.world.servers[opened.key[1]]
        assert isinstance(server, StreamServer)
        return server.cookie_for(opened.key[0], isn, self.world.now) + 1

    def talk(self, door: int, client: SocketAddress, number: int) -> None:
        """A datagram, marked with whose it is."""
        mark = b"%d:%d/%d" % (door, client[1], number)
        self.world.from_client(door, udp(client, (ENDPOINT[0], 53), mark))

    def schedule(self) -> None:
        """Everything that they will do."""
        world, plan, chance = self.world, self.world.plan, self.world.chance
        for number in range(plan.calls):
            client = ("10.0.1.50", 40_000 + number // 3)
            for _ in range(chance.randint(1, 3)):
                at = float(chance.choice((1, 20, 40))) if plan.together else chance.uniform(0, CHAOS_S)
                world.at(at, self.begin_call, chance.choice((DOOR, DOOR_B)), client)
        for number in range(plan.headers.liars if plan.headers else 0):
            liars = Random(f"liar {number} {world.seed}")
            user = liars.choice((DOOR, DOOR_B)), ("10.0.1.50", 45_000 + number)
            self.liars[user] = Liar(*user, ENDPOINT, liars, self)
            world.at(liars.uniform(0, CHAOS_S / 2), self.liars[user].begin, world)
        for number in range(plan.talkers):
            for step in range(chance.randint(1, 6)):
                at = chance.uniform(0, CHAOS_S)
                world.at(at, self.talk, chance.choice((DOOR, DOOR_B)), ("10.0.1.50", 50_000 + number), step)
