"""What the packet plane answers: send it on, drop it for a reason, or send something back.

A drop is not an error. It is a value with a reason, and each reason has a counter of its own
(`counters.py`), so that every packet that did not arrive can be explained.
"""

from enum import Enum
from typing import NamedTuple

from hyperplane.errors import Malformation


class DropReason(Enum):
    """Why a packet was not sent on."""

    # the peer's bytes (see Malformation)
    TRUNCATED = "truncated"
    BAD_VERSION = "bad_version"
    BAD_LENGTH = "bad_length"
    BAD_CHECKSUM = "bad_checksum"
    BAD_TCP_FLAGS = "bad_tcp_flags"
    BAD_TCP_OPTIONS = "bad_tcp_options"
    IP_OPTIONS = "ip_options"
    FRAGMENT = "fragment"
    UNSUPPORTED_PROTOCOL = "unsupported_protocol"
    BAD_ICMP = "bad_icmp"
    # where it came from and where it wants to go
    UNKNOWN_INTERFACE = "unknown_interface"
    FOREIGN_SOURCE = "foreign_source"
    """Not an address of the VPC, or one that no host may have: spoofed, martian, or our own."""
    NOT_OUR_ADDRESS = "not_our_address"
    NOT_AVAILABLE = "not_available"
    """The endpoint is not accepted, was rejected, or is gone."""
    SECURITY_GROUP = "security_group"
    NO_LISTENER = "no_listener"
    NO_TARGET = "no_target"
    # no such flow
    NO_FLOW = "no_flow"
    CATCHING_UP = "catching_up"
    """Unknown, but so much was told at once that this node has not read it all, or it is of a flow by an endpoint that
    has not come to this node yet: its sender will try again."""
    SYN_FROM_TARGET = "syn_from_target"
    """The one-way property: a target never opens a connection."""
    # what a flow may not do
    RST_OUT_OF_WINDOW = "rst_out_of_window"
    ICMP_OUT_OF_WINDOW = "icmp_out_of_window"
    SIGNED_SEGMENT = "signed_segment"
    """TCP MD5 or TCP-AO: the signature covers the addresses, so it cannot survive a translation."""
    # no room
    FLOW_TABLE_FULL = "flow_table_full"
    ENDPOINT_FLOWS_FULL = "endpoint_flows_full"
    PORT_ALLOCATION = "port_allocation"
    RATE_LIMIT = "rate_limit"
    # answered instead
    TIME_EXCEEDED = "time_exceeded"
    TOO_BIG = "too_big"
    # last, for the order is the layout of every node's page (also a Malformation)
    TOO_LONG = "too_long"
    """Pieces that make a datagram longer than a queue can give back."""
    HEADER_DOES_NOT_FIT = "header_does_not_fit"
    """A datagram that the Proxy Protocol header makes too long, or a super-packet: only the kernel can cut it, and
    every piece would need a header."""
    BEFORE_FIRST_BYTE = "before_first_byte"
    """Where the target gets a header: a client's segment that starts before its first byte. The target might take that
    for the beginning of the stream, and get no header."""
    STRAY_SYN_ACK = "stray_syn_ack"
    """Where the target gets a header: an answer to another SYN than this flow's, or another answer. Very late, or of a
    target that has forgotten the first."""
    NOT_ANSWERED = "not_answered"
    """Where the target gets a header: a client's segment before the target has answered its SYN. Late, or forged."""
    ANOTHER_SYN = "another_syn"
    """Where the target gets a header, or would get one now: a SYN inside a stream. It is answered with a challenge."""


class Accept(NamedTuple):
    """Send the packet on, as it now stands in the buffer, by the ENI with this number."""

    eni_number: int


class Outgoing(NamedTuple):
    """A packet of our own, and the number of the ENI that it is sent by."""

    packet: bytes
    eni_number: int


class Lead(NamedTuple):
    """Send `packets` first, then this one as it now stands in the buffer, `added_bytes` longer than it came."""

    eni_number: int
    packets: tuple[Outgoing, ...]
    added_bytes: int


class Drop(NamedTuple):
    """Let the packet disappear."""

    reason: DropReason


class Hold(NamedTuple):
    """Let the packet disappear: the plane keeps its bytes until the rest of its datagram has come."""


HELD = Hold()


class Reply(NamedTuple):
    """Let the packet disappear and send `packet` back, by the ENI with this number."""

    reason: DropReason
    packet: bytes
    eni_number: int


Verdict = Accept | Lead | Drop | Hold | Reply

DROPS: dict[DropReason, Drop] = {reason: Drop(reason) for reason in DropReason}
MALFORMED: dict[Malformation, Drop] = {fault: DROPS[DropReason(fault.value)] for fault in Malformation}
