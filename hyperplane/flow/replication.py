"""The flow table, held by every node of the shard.

Each node tells of what it makes and changes through its own journal, before the packet that
caused it leaves (INV-5), and takes in what the others' journals hold before it calls a packet
unknown. There is no owner and no message: a flow is what all who saw it know together.

What is taken in joins without order (see `flow/entry.py`). Of two flows that want one key the
younger stays: whoever made it knew no other any more, or both were made at the same moment. What
decides is fixed for a flow's life, so it is settled the same way everywhere.

A node takes in flows of its own shards only: those whose endpoint or load balancer it serves. But
what a journal of an older generation holds is adopted whatever the shards are now: told again, and
its source port given back, by the node that adopts it.
"""

from collections.abc import Callable, Iterator, Mapping

from hyperplane.flow.entry import BORN_MODULUS, GONE, NO_ROW, STATE_BITS, FlowEntry
from hyperplane.flow.injector import PLACEMENTS
from hyperplane.flow.interface import Interface
from hyperplane.flow.journal import Delta, JournalReader, JournalWriter
from hyperplane.flow.passed_over import PassedOver
from hyperplane.flow.ports import PortPools
from hyperplane.flow.table import FlowTable
from hyperplane.limits import (
    CATCH_UP_BATCHES_MAX,
    CLOSING_TIMEOUT_S,
    KNOWN_ROWS_SWEPT_PER_TICK_MAX,
    NEWS_BATCH_MAX,
    NEWS_PER_PACKET_MAX,
    REFRESH_INTERVAL_S,
    REFRESHES_PER_S_MAX,
    REPLICATION_BATCH_MAX,
    SNAT_PORT_MIN,
)
from hyperplane.wire.packet import TCP


class Replication:
    """One node's side of the shared table."""

    def __init__(
        self,
        node: int,
        table: FlowTable,
        interfaces: Mapping[int, Interface],
        pools: PortPools,
        writer: JournalWriter,
        on_loss: Callable[[str], None],
    ) -> None:
        self._node = node
        self._table = table
        self._interfaces = interfaces
        self._pools = pools
        self._writer = writer
        self._on_loss = on_loss
        self._joined = self._state_joined
        self._peers: dict[str, JournalReader] = {}
        self._adopted: set[str] = set()
        self.passed_over = PassedOver()
        self._places: dict[tuple[int, bytes], bool] = {}
        self._walked_at = -1.0
        self._batch_at = -1.0
        self.informed_at = -1.0
        """The `now` of the batch before which all that the peers have told was taken in."""
        self._carrying: list[FlowEntry] = []
        self._to_tell: list[FlowEntry] = []
        self._interval_s = REFRESH_INTERVAL_S
        self._interval_began_at = 0.0
        self._advanced_at = 0.0
        self.rows_max = writer.row_count
        self.flows_max = writer.row_count

    # --- telling ---------------------------------------------------------------------------

    def tell(self, entry: FlowEntry) -> None:
        """Put `entry` in the journal. To be called before the packet that changed it leaves."""
        self._writer.write(entry)

    def mute(self) -> None:
        """Tell nothing from now on. Only to show what replication is for."""
        self.tell = lambda entry: None  # type: ignore[method-assign]

    def forget(self, entry: FlowEntry, now: float) -> None:
        """Remove a flow that is over; its source port starts to rest if this node took it.

        If a TCP flow ends before its time, the port rests longer, as if the flow had been closed now: the target may
        have something of it still, or have given out a SYN cookie, that would take another stream for its own.
        """
        self._table.remove(entry)
        self._let_go(entry, now)

    def replace(self, standing: FlowEntry, comer: FlowEntry, now: float) -> None:
        """`comer` takes the place of `standing`, which has left the table. It is told of before the other's row goes,
        if there is a row to spare: a node that is killed in between takes neither with it."""
        if not self._writer.has_room():
            self._writer.forget(standing)
        self._table.insert(comer)
        self.tell(comer)
        self._let_go(standing, now)

    def _let_go(self, entry: FlowEntry, now: float) -> None:
        """Of what has left the table."""
        self._writer.forget(entry)
        pool = entry.pool
        if pool is not None:
            key = entry.translated_key
            early_s = entry.seen_at + entry.timeout_s - now if key[-1] == TCP else 0.0
            over_at = now + min(early_s, CLOSING_TIMEOUT_S) if early_s > 0 else now
            self._pools.give_back(pool, int.from_bytes(key[-5 - 2 : -5], "big"), over_at)
            entry.pool = None

    def has_room(self) -> bool:
        """Whether this node can hold and tell of one more flow."""
        return len(self._table) < self.flows_max and self._writer.has_room()

    def refresh(self, entry: FlowEntry, now: float) -> None:
        """`entry` carries a packet now, and the peers know all of its age so far.

        After a silence they are told at once, so that a node that is killed takes no more than one interval
        with it. Else they are told when the interval is over: so the last packet of a flow is told of though
        none follows.
        """
        silence_s = now - entry.seen_at
        entry.seen_at = now
        if silence_s >= self._interval_s:
            self.tell(entry)
        elif silence_s > 0:
            entry.carries = True
            self._carrying.append(entry)

    def advance(self, now: float) -> None:
        """Tell ages, as many as the rate allows; then start a new interval if the last one is over.

        And let go of some of what is remembered of the peers' rows and is over.
        """
        for reader in self._peers.values():
            reader.known.sweep(KNOWN_ROWS_SWEPT_PER_TICK_MAX)
        allowed = int(min(now - self._advanced_at, REFRESH_INTERVAL_S) * REFRESHES_PER_S_MAX)
        self._advanced_at = now
        to_tell = self._to_tell
        while to_tell and allowed > 0:
            entry = to_tell.pop()
            entry.carries = False
            if entry.state != GONE:
                self.tell(entry)
                allowed -= 1
        self._interval_s = max(REFRESH_INTERVAL_S, len(self._table) / REFRESHES_PER_S_MAX)
        if not to_tell and now - self._interval_began_at >= REFRESH_INTERVAL_S:
            self._interval_began_at = now
            self._to_tell, self._carrying = self._carrying, to_tell

    # --- taking in -------------------------------------------------------------------------

    def set_peers(self, peers: Mapping[str, JournalReader], adopted: frozenset[str] = frozenset()) -> None:
        """From now on read these journals, by name.

        Those in `adopted` belong to writers that are going away: what they hold is told again here.
        """
        for name in self._peers.keys() - peers.keys():
            self._peers.pop(name).release()
        for name, reader in peers.items():
            self._peers.setdefault(name, reader)
        self._adopted = set(adopted)

    @property
    def peers(self) -> Mapping[str, JournalReader]:
        """The journals that are read now, by name."""
        return self._peers

    def resume(self, now: float) -> Iterator[int]:
        """Take in what this node's own journal held when its last life ended, in steps: yields the flows found so far.

        To be called once a snapshot is loaded: a row whose ENI is not in it tells of a flow that is void.
        """
        found = 0
        for delta in self._writer.own_deltas():
            entry = self._apply(delta, now, adopt=True)
            if entry is not None and entry.row == NO_ROW:
                entry.row = delta.row
                found += 1
            else:
                self._writer.forget_row(delta.row)
            if found % REPLICATION_BATCH_MAX == 0:
                yield found
        yield found

    def take_in(self, now: float, at_most: int = REPLICATION_BATCH_MAX) -> bool:
        """Apply what the peers' journals hold, `at_most` rows of each. True if there was anything to read."""
        any_read = False
        for name, reader in self._peers.items():
            if not reader.behind:
                continue
            any_read = True
            adopt = name in self._adopted
            self._apply_all(reader, reader.read(at_most, None if adopt else self._joined), now, adopt)
        return any_read

    def _apply_all(self, reader: JournalReader, deltas: list[Delta], now: float, adopt: bool) -> None:
        for delta in deltas:
            entry = self._apply(delta, now, adopt)
            if entry is None:
                continue
            if adopt:
                self._adopt(entry, delta)
            else:
                reader.known.remember(delta.row, delta.tag, entry)

    def _state_joined(self, entry: FlowEntry, told: int) -> None:
        """A peer told of the state `told`, and that has changed ours.

        If neither its row nor ours says what the two together know, ours shall from now on: the two halves of a
        handshake are half open each, and who reads them later must not take an established flow for one that is over.
        """
        self._table.state_changed(entry)
        if entry.state != told and entry.row != NO_ROW:
            self.tell(entry)

    def _adopt(self, entry: FlowEntry, delta: Delta) -> None:
        """Tell of the flow in the place of a writer that is going away, and answer for its port."""
        self._writer.write(entry)
        if entry.pool is None:
            self._own_port(entry, delta, take_over=True)

    def take_in_news(self, now: float) -> bool:
        """Take in what has been told since the last time, before a packet is called unknown.

        A steady talker cannot hold us: the rows are bounded. False if that was not all that is known: what
        is unknown now may be known to a peer.
        """
        news_read = True
        for name, reader in self._peers.items():
            adopt = name in self._adopted
            told = reader.told  # what is told while we read is of packets that are on their way as well
            left = NEWS_PER_PACKET_MAX
            while reader.position < told and left > 0:
                left -= NEWS_BATCH_MAX
                deltas = reader.read_news(NEWS_BATCH_MAX, None if adopt else self._joined)
                if deltas:
                    self._apply_all(reader, deltas, now, adopt)
            news_read = news_read and reader.position >= told
        walked = self._walk_on(now) if any(reader.walks for reader in self._peers.values()) else True
        return news_read and walked

    def begin_batch(self, now: float) -> None:
        """Packets were read together, just now: `inform_batch` needs to read the peers' news once for all of them."""
        self._batch_at = now
        self.informed_at = now
        for reader in self._peers.values():
            if reader.behind:
                self.informed_at = -1.0

    def inform_batch(self, now: float) -> bool:
        """`take_in_news`, but once is enough for packets that were read together and carry the batch's `now`.

        Whatever made a peer's packet leave was told before it left (INV-5), so before its answer was read. What
        is told later is of packets that are on their way at the same time as these; no order holds between them.
        """
        if self.informed_at == now:
            return True
        all_read = self.take_in_news(now)
        if all_read and self._batch_at == now:
            self.informed_at = now
        return all_read

    def _walk_on(self, now: float) -> bool:
        """Walks over state areas may hold what is sought: go on with them, once for all packets of a moment.

        True if they have come to their end.
        """
        if now != self._walked_at:
            self._walked_at = now
            self.take_in(now)
        return not any(reader.walks for reader in self._peers.values())

    def catch_up(self, now: float, between: Callable[[], None]) -> None:
        """Take in all that has been told so far, however much it is. `between` is called after every batch.

        Ends although peers go on telling: reading is faster, and the batches are bounded.
        """
        for _ in range(CATCH_UP_BATCHES_MAX):
            if not self.take_in(now):
                return
            between()

    def caught_up(self) -> bool:
        """Whether nothing is left to read."""
        return not any(reader.behind for reader in self._peers.values())

    def interfaces_changed(self) -> None:
        """A snapshot was loaded: flows that were passed over can be taken in if an ENI is new, or newly ours."""
        places = {
            (number, interface.address): self._node in interface.shard
            for number, interface in self._interfaces.items()
            if interface.address
        }
        came = self.passed_over.unknown and places.keys() - self._places.keys()
        ours = self.passed_over.foreign and any(
            mine and not self._places.get(place, mine) for place, mine in places.items()
        )
        if came or ours:
            self.passed_over.clear()
            for reader in self._peers.values():
                reader.rebuild()
        self._places = places

    def _apply(self, delta: Delta, now: float, adopt: bool = False) -> FlowEntry | None:
        """Join one delta with what is known. Returns the entry, or None if it is not held here."""
        endpoint = self._interfaces.get(delta.endpoint)
        balancer = self._interfaces.get(delta.load_balancer)
        if balancer is None or not balancer.address:
            self.passed_over.unknown = True
            return None
        protocol = delta.protocol
        translated_key = (
            balancer.address + delta.target + delta.snat_port + delta.target_port + balancer.suffixes[protocol]
        )
        if endpoint is None or not endpoint.address:
            self.passed_over.add(translated_key)
            return None
        original_key = (
            delta.client + endpoint.address + delta.client_port + delta.service_port + endpoint.suffixes[protocol]
        )
        entry = self._table.original.get(original_key)
        if entry is not None and entry.translated_key == translated_key and entry.born_ms == delta.born_ms:
            if entry.join(delta.epoch, delta.told_state, delta.seen_at, delta.scales, delta.offer):
                self._state_joined(entry, delta.state)
            return entry
        if not adopt and self._node not in endpoint.shard and self._node not in balancer.shard:
            self.passed_over.foreign = True
            return None
        return self._learn(delta, original_key, translated_key, endpoint, balancer, now)

    def _learn(
        self,
        delta: Delta,
        original_key: bytes,
        translated_key: bytes,
        endpoint: Interface,
        balancer: Interface,
        now: float,
    ) -> FlowEntry | None:
        """A flow that is new here, once its rivals for either key have given way."""
        service = endpoint.service(delta.protocol, int.from_bytes(delta.service_port, "big"))
        entry = FlowEntry(original_key, translated_key, endpoint, balancer, service, delta.seen_at)
        entry.born_ms = delta.born_ms
        entry.epoch, entry.scales = delta.epoch, delta.scales
        placement = PLACEMENTS[delta.placement]
        if placement is not None:
            entry.get_header(placement, delta.first)
            assert entry.injection is not None
            entry.injection.join_marks(delta.told_state >> STATE_BITS, delta.offer)
        entry.enter(delta.state)
        if entry.expires_at() < now:
            return None
        by_client, by_port = self._table.original.get(original_key), self._table.translated.get(translated_key)
        if by_client is not None and not _is_younger(entry, by_client):
            return None
        if by_port is not None and not _is_younger(entry, by_port):
            return None
        if by_client is not None:
            self.forget(by_client, now)
        if by_port is not None and by_port.state != GONE:
            self.forget(by_port, now)
        if len(self._table) >= self.flows_max:
            self._on_loss("replica_full")
            return None
        self._table.insert(entry)
        self._own_port(entry, delta)
        return entry

    def _own_port(self, entry: FlowEntry, delta: Delta, take_over: bool = False) -> None:
        """If the port of this flow was taken by this node in an earlier life, it is this node's to give back."""
        pool = self._pools.pool(entry.balancer, delta.target, int.from_bytes(delta.target_port, "big"), delta.protocol)
        if pool is None:
            return
        port = int.from_bytes(delta.snat_port, "big")
        if take_over:
            pool.claims.take_over(port - SNAT_PORT_MIN)
        if pool.claims.is_mine(port - SNAT_PORT_MIN):
            entry.pool = pool
            self._pools.is_in_use(pool, port)


def _is_younger(comer: FlowEntry, standing: FlowEntry) -> bool:
    """Whether `standing` gives way to `comer`. The same answer on every node, at any time."""
    age_ms = (comer.born_ms - standing.born_ms) % BORN_MODULUS
    if age_ms == 0:
        return (comer.translated_key, comer.original_key) > (standing.translated_key, standing.original_key)
    return age_ms < BORN_MODULUS // 2
