"""The flow table, held by every node of the shard.

Each node tells of what it makes and changes through its own journal, before the packet that
caused it leaves (INV-5), and takes in what the others' journals hold before it calls a packet
unknown. There is no owner and no message: a flow is what all who saw it know together.

What is taken in joins without order (see `flow/entry.py`). Two nodes that made the same flow at
the same moment are settled the same way everywhere: the older flow stays, unless it had already
run out when the younger was made.

A node takes in flows of its own shards only: those whose endpoint or load balancer it serves.
"""

from collections.abc import Callable, Mapping

from hyperplane.flow.entry import BORN_MODULUS, NO_ROW, FlowEntry
from hyperplane.flow.interface import Interface
from hyperplane.flow.journal import Delta, JournalReader, JournalWriter
from hyperplane.flow.ports import PortPools
from hyperplane.flow.table import FlowTable
from hyperplane.limits import (
    REFRESH_INTERVAL_S,
    REFRESHES_PER_S_MAX,
    REPLICATION_BATCH_MAX,
    SETTLE_ROUNDS_MAX,
    SNAT_PORT_MIN,
)


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
        self._peers: dict[str, JournalReader] = {}
        self._adopted: set[str] = set()
        self._met_unknown_eni = False
        self.rows_max = writer.row_count
        self.flows_max = writer.row_count
        self.refresh_before = 0.0
        """A flow last seen before this moment tells its age with its next packet."""

    # --- telling ---------------------------------------------------------------------------

    def tell(self, entry: FlowEntry) -> None:
        """Put `entry` in the journal. To be called before the packet that changed it leaves."""
        self._writer.write(entry)

    def mute(self) -> None:
        """Tell nothing from now on. Only to show what replication is for."""
        self.tell = lambda entry: None  # type: ignore[method-assign]

    def forget(self, entry: FlowEntry, now: float) -> None:
        """Remove a flow that is over; its source port starts to rest if this node took it."""
        self._table.remove(entry)
        self._writer.forget(entry)
        if entry.pool is not None:
            port = int.from_bytes(entry.translated_key[-5 - 2 : -5], "big")
            self._pools.give_back(entry.pool, port, now)
            entry.pool = None

    def has_room(self) -> bool:
        """Whether this node can hold and tell of one more flow."""
        return len(self._table) < self.flows_max and self._writer.has_room()

    def advance(self, now: float) -> None:
        """Start a new refresh interval if the last one is over. The more flows, the longer it is."""
        interval = max(REFRESH_INTERVAL_S, len(self._table) / REFRESHES_PER_S_MAX)
        if now - self.refresh_before >= interval:
            self.refresh_before = now

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

    def resume(self, now: float) -> int:
        """Take in what this node's own journal held when its last life ended. Returns the flows found."""
        found = 0
        for delta in list(self._writer.own_deltas()):
            entry = self._apply(delta, now)
            if entry is not None and entry.row == NO_ROW:
                entry.row = delta.row
                found += 1
            elif entry is None:
                self._writer.forget_row(delta.row)
        return found

    def take_in(self, now: float, at_most: int = REPLICATION_BATCH_MAX) -> bool:
        """Apply what the peers' journals hold, `at_most` rows of each. True if there was anything to read."""
        any_read = False
        for name, reader in self._peers.items():
            if not reader.behind:
                continue
            any_read = True
            adopt = name in self._adopted
            for delta in reader.read(at_most):
                entry = self._apply(delta, now)
                if adopt and entry is not None:
                    self._writer.write(entry)
        return any_read

    def settle(self, now: float) -> None:
        """Take in all that has been told so far, however much it is; a bound keeps a steady talker from holding us."""
        for _ in range(SETTLE_ROUNDS_MAX):
            if not self.take_in(now):
                return

    def caught_up(self) -> bool:
        """Whether nothing is left to read."""
        return not any(reader.behind for reader in self._peers.values())

    def interfaces_changed(self) -> None:
        """A snapshot was loaded: flows of ENIs that were unknown before can be taken in now."""
        if self._met_unknown_eni:
            self._met_unknown_eni = False
            for reader in self._peers.values():
                reader.rebuild()

    def _apply(self, delta: Delta, now: float) -> FlowEntry | None:
        """Join one delta with what is known. Returns the entry, or None if it is not held here."""
        endpoint = self._interfaces.get(delta.endpoint)
        balancer = self._interfaces.get(delta.load_balancer)
        if endpoint is None or balancer is None or not endpoint.address or not balancer.address:
            self._met_unknown_eni = True
            return None
        if self._node not in endpoint.shard and self._node not in balancer.shard:
            return None
        protocol = delta.protocol
        original_key = (
            delta.client + endpoint.address + delta.client_port + delta.service_port + endpoint.suffixes[protocol]
        )
        translated_key = (
            balancer.address + delta.target + delta.snat_port + delta.target_port + balancer.suffixes[protocol]
        )
        entry = self._table.original.get(original_key)
        if entry is not None and entry.translated_key == translated_key:
            if entry.join(delta.epoch, delta.state, delta.seen_at, delta.scales):
                self._table.state_changed(entry)
            return entry
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
        protocol = delta.protocol
        service = endpoint.service(protocol, int.from_bytes(delta.service_port, "big"))
        entry = FlowEntry(original_key, translated_key, endpoint, balancer, service, delta.seen_at)
        entry.born_ms = delta.born_ms
        entry.epoch, entry.scales = delta.epoch, delta.scales
        entry.enter(delta.state)
        if entry.expires_at() < now:
            return None
        for rival in (self._table.original.get(original_key), self._table.translated.get(translated_key)):
            if rival is not None and rival.state >= 0:
                if not _gives_way(rival, entry):
                    return None
                self.forget(rival, now)
        if len(self._table) >= self.flows_max:
            self._on_loss("replica_full")
            return None
        self._table.insert(entry)
        self._reclaim(entry, delta)
        return entry

    def _reclaim(self, entry: FlowEntry, delta: Delta) -> None:
        """If the port of this flow was taken by this node in an earlier life, it is this node's to give back."""
        pool = self._pools.pool(entry.balancer, delta.target, int.from_bytes(delta.target_port, "big"), delta.protocol)
        if pool is not None and pool.claims.is_mine(int.from_bytes(delta.snat_port, "big") - SNAT_PORT_MIN):
            entry.pool = pool


def _gives_way(standing: FlowEntry, comer: FlowEntry) -> bool:
    """Whether `standing` must go so that `comer` can be held. The same answer on every node.

    The older flow stays, unless it was over before the younger was made: then the younger did not
    know it any more, and nor should we.
    """
    comer_is_older = (standing.born_ms - comer.born_ms) % BORN_MODULUS < BORN_MODULUS // 2
    if standing.born_ms == comer.born_ms:
        comer_is_older = comer.translated_key < standing.translated_key
    older, younger = (comer, standing) if comer_is_older else (standing, comer)
    over = (younger.born_ms - int(older.expires_at() * 1000)) % BORN_MODULUS < BORN_MODULUS // 2
    return comer_is_older is not over
