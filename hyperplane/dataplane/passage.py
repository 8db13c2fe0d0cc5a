"""One packet on its way through the stages: what is known of it so far.

A node has one passage and uses it for every packet; a stage fills in what the later ones need.
"""

from hyperplane.dataplane.verdict import Outgoing
from hyperplane.flow.entry import FlowEntry
from hyperplane.flow.interface import Interface
from hyperplane.flow.key import Direction
from hyperplane.wire.icmp import IcmpError, QuotedPacket
from hyperplane.wire.packet import ChecksumState, Packet
from hyperplane.wire.tcp_options import OptionArea


class Passage:
    """The packet, then what each stage found: its interface, direction and key, its flow."""

    __slots__ = (
        "added_bytes",
        "buffer",
        "checksum_state",
        "direction",
        "entry",
        "error",
        "interface",
        "interface_number",
        "key",
        "leading",
        "leads",
        "length",
        "now",
        "options",
        "packet",
        "quoted",
        "start",
    )

    buffer: bytearray
    start: int
    length: int
    checksum_state: ChecksumState
    interface_number: int
    now: float
    options: OptionArea
    """Of a TCP segment; empty if it has only the timestamp that all segments of a connection have."""
    interface: Interface
    direction: Direction
    key: bytes
    """In the orientation of the original direction, also for replies."""
    entry: FlowEntry | None
    error: IcmpError | None
    """Set when the packet is an ICMP error about a packet of a flow ..."""
    quoted: QuotedPacket | None
    """... and this is that packet."""

    leads: bool
    """Of flows whose targets get headers: whether the two below say anything; for nearly all packets they do not."""
    added_bytes: int
    """By how much the packet has grown ..."""
    leading: tuple[Outgoing, ...]
    """... and what is to be sent before it."""

    def __init__(self) -> None:
        self.packet = Packet()

    def may_lead(self) -> None:
        """The packet may grow, or others go before it: neither has happened so far."""
        self.leads = True
        self.added_bytes = 0
        self.leading = ()
