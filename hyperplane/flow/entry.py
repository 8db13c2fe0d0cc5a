"""One flow as a node remembers it.

The translation (both keys, the two sums) is fixed for the flow's life
(INV-4: whoever forwards agrees). What moves is small: the tracker's state, the moment a packet was
last seen, the two window scales. Those join without order: states are OR-ed, the newest moment
wins (`join`). Only a conversation that begins again, or goes on after a reset, starts over: it has
a higher epoch, and a higher epoch wins whole.

A node may hold a million of these, so an entry has slots, shares what it can and stays below
600 bytes with both its places in the table.
"""

from hyperplane.flow.injector import Injection
from hyperplane.flow.interface import Interface, Service
from hyperplane.flow.key import SUFFIX_BYTES
from hyperplane.flow.tcp_state import TIMERS, State, Timer
from hyperplane.nat.port_pool import PortPool
from hyperplane.nat.rewrite import address_delta, transport_delta
from hyperplane.snapshot import HeaderPlacement
from hyperplane.wire.checksum import MODULUS
from hyperplane.wire.packet import TCP, UDP

EPOCHS = 256
BORN_MODULUS = 1 << 32
NO_ROW = -1
GONE = -1
_PORTS_BYTES = 4

STATE_BITS = 5
STATE_MASK = (1 << STATE_BITS) - 1
"""What is told of a flow's state: a `State`, and above it the marks of its header (`flow/injector.py`)."""

_SUMS = tuple(range(MODULUS))
"""Every sum as one object that all flows share: 32 bytes less for each flow."""

_TIMER_OF: list[Timer | None] = [None] * 32
for _state, _timer in TIMERS.items():
    _TIMER_OF[_state] = _timer


class Bucket:
    """Entries that the table will look at when this second of the monotonic clock begins."""

    __slots__ = ("second", "waiting")

    def __init__(self, second: int) -> None:
        self.second = second
        self.waiting: list[FlowEntry] = []


class FlowEntry:
    """One tracked conversation: two keys, one translation each way, and what has happened so far."""

    __slots__ = (
        "addresses",
        "balancer",
        "born_ms",
        "bucket",
        "carries",
        "endpoint",
        "epoch",
        "idle_timeout_s",
        "injection",
        "original_key",
        "pool",
        "row",
        "scales",
        "seen_at",
        "sequence_original",
        "sequence_reply",
        "state",
        "timeout_s",
        "translated_key",
        "transport",
    )

    original_key: bytes
    translated_key: bytes
    addresses: int
    """Growth of the address sum in the original direction; the reply's is its negative."""
    transport: int
    """The same for addresses and ports."""
    endpoint: Interface
    balancer: Interface
    """The load balancer's ENI, by which the flow leaves for its target."""
    idle_timeout_s: float
    """Of its listener when the flow was made."""
    injection: Injection | None
    """The Proxy Protocol header that the target gets; None: it gets none. Fixed for the flow's life."""
    pool: PortPool | None
    """Where the source port came from, if this node took it; it goes back there."""
    born_ms: int
    """When the flow was made, monotonic milliseconds modulo 2**32: settles which of two rivals on one tuple stays."""
    state: int
    """A `State`, or GONE once the entry has left the table."""
    epoch: int
    seen_at: float
    """Monotonic seconds of the last packet that counts."""
    timeout_s: float
    sequence_original: int
    """Sequence number of the last segment seen each way; -1 while that says nothing: before the first, after a SYN."""
    sequence_reply: int
    scales: int
    """Window scale of client (high four bits) and target (low four bits), each plus one; 0 is not known."""
    bucket: Bucket | None
    """Where the entry waits for the table's next look at it."""
    carries: bool
    """Whether packets have passed here of which the peers will be told with the flow's age. If not, they know."""
    row: int
    """Row of this node's journal that tells of this flow, or NO_ROW."""

    def __init__(
        self,
        original_key: bytes,
        translated_key: bytes,
        endpoint: Interface,
        balancer: Interface,
        service: Service,
        now: float,
    ) -> None:
        self.original_key = original_key
        self.translated_key = translated_key
        original, translated = original_key[:-SUFFIX_BYTES], translated_key[:-SUFFIX_BYTES]
        self.addresses = _SUMS[address_delta(original, translated)]
        self.transport = _SUMS[transport_delta(original, translated)]
        self.endpoint = endpoint
        self.balancer = balancer
        self.idle_timeout_s = service.idle_timeout_s
        self.injection = None
        self.pool = None
        self.epoch = 0
        self.born_ms = int(now * 1000) % BORN_MODULUS
        self.seen_at = now
        self.sequence_original = self.sequence_reply = -1
        self.scales = 0
        self.bucket = None
        self.carries = False
        self.row = NO_ROW
        self.state = State.SYN_SENT
        self.timeout_s = 0.0
        self.enter(State.SYN_SENT)

    @property
    def protocol(self) -> int:
        return self.original_key[-1]

    @property
    def told_state(self) -> int:
        """State and marks, as peers are told of them."""
        injection = self.injection
        return self.state if injection is None else self.state | injection.marks << STATE_BITS

    def get_header(self, placement: HeaderPlacement, first: int) -> None:
        """From now on the target gets a header. `first`: sequence number of the client's first byte, 0 for UDP."""
        self.injection = Injection(placement, first, self.endpoint.header_bytes, self.original_key[-1] == TCP)

    def proxy_header(self) -> bytes:
        """The flow's header. The same on every node: it follows from the original key and the endpoint."""
        key = self.original_key
        width = (len(key) - SUFFIX_BYTES - _PORTS_BYTES) // 2
        ports = 2 * width
        template = self.endpoint.header_template(key[-1], key[ports + 2 : ports + 4])
        return template.header_for(key[:width], key[ports : ports + 2])

    def enter(self, state: int) -> None:
        """Go to `state` and under the timer that belongs to it."""
        self.state = state
        timers = self.endpoint.timers
        if self.original_key[-1] == UDP:
            self.timeout_s = timers.udp_idle_s
            return
        timer = _TIMER_OF[state]
        if timer is Timer.IDLE:
            self.timeout_s = self.idle_timeout_s
        elif timer is Timer.HALF_OPEN:
            self.timeout_s = timers.half_open_s
        else:
            assert timer is Timer.CLOSING
            self.timeout_s = timers.closing_s

    def revive(self, state: int) -> None:
        """Go back to `state`: what was known beyond it does not count any more, here or at any other node."""
        self.epoch = (self.epoch + 1) % EPOCHS
        self.enter(state)

    def reopen(self) -> None:
        """A new conversation on the same tuple and the same translation."""
        self.revive(State.SYN_SENT)
        self.sequence_original = self.sequence_reply = -1
        self.scales = 0

    def succeed(self, other: "FlowEntry") -> None:
        """This flow takes the place of `other` on every node, also if both were made within one millisecond."""
        if (self.born_ms - other.born_ms - 1) % BORN_MODULUS >= BORN_MODULUS // 2 - 1:
            self.born_ms = (other.born_ms + 1) % BORN_MODULUS

    def join(self, epoch: int, told_state: int, seen_at: float, scales: int, offer: int) -> bool:
        """Take in what another node knows. Commutative and idempotent. True if the state changed."""
        if seen_at > self.seen_at:
            self.seen_at = seen_at
        state = told_state & STATE_MASK
        injection = self.injection
        if injection is not None and told_state >> STATE_BITS & ~injection.marks:
            injection.join_marks(told_state >> STATE_BITS, offer)
        ahead = (epoch - self.epoch) % EPOCHS
        if ahead == 0:
            self.scales |= scales
            joined = self.state | state
            if joined == self.state:
                return False
            self.enter(joined)
            return True
        if ahead < EPOCHS // 2:
            self.epoch = epoch
            self.sequence_original = self.sequence_reply = -1
            self.scales = scales
            self.enter(state)
            return True
        return False

    def expires_at(self) -> float:
        """When the flow ends if nothing more is seen."""
        return self.seen_at + self.timeout_s
