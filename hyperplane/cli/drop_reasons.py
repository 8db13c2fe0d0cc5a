"""What each drop reason means to whoever looks for a lost packet: a sentence, and where to look next."""

from hyperplane.dataplane.verdict import DropReason

MEANINGS: dict[DropReason, str] = {
    DropReason.TRUNCATED: "the packet ends before its headers do",
    DropReason.BAD_VERSION: "neither IPv4 nor IPv6",
    DropReason.BAD_LENGTH: "a length in the headers contradicts the packet's own",
    DropReason.BAD_CHECKSUM: "a wrong checksum: the packet was damaged on its way here",
    DropReason.BAD_TCP_FLAGS: "TCP flags that no sender sets together",
    DropReason.BAD_TCP_OPTIONS: "TCP options that cannot be read",
    DropReason.IP_OPTIONS: "IP options are not carried",
    DropReason.FRAGMENT: "a piece of a datagram that does not fit the others: overlapping, or behind the end",
    DropReason.UNSUPPORTED_PROTOCOL: "only TCP, UDP and ICMP errors are carried",
    DropReason.BAD_ICMP: "an ICMP message that is no error about a flow; an endpoint does not answer ping",
    DropReason.UNKNOWN_INTERFACE: "came in by an interface that the snapshot does not know",
    DropReason.FOREIGN_SOURCE: "the source is no address of the endpoint's own VPC",
    DropReason.NOT_OUR_ADDRESS: "sent to an address that is not the interface's own",
    DropReason.NOT_AVAILABLE: "the endpoint is not accepted, was rejected, or its service has no node in this zone",
    DropReason.SECURITY_GROUP: "no inbound rule of the endpoint's security groups allows it",
    DropReason.NO_LISTENER: "the load balancer has no listener on this protocol and port",
    DropReason.NO_TARGET: "the listener's target group has no target for this zone",
    DropReason.NO_FLOW: "belongs to no flow: it ended, or never began with a SYN",
    DropReason.SYN_FROM_TARGET: "the provider tried to open a connection; the road goes one way",
    DropReason.RST_OUT_OF_WINDOW: "a reset that its receiver could not have accepted: forged or very old",
    DropReason.ICMP_OUT_OF_WINDOW: "an ICMP error about something that was never sent",
    DropReason.SIGNED_SEGMENT: "TCP MD5 or TCP-AO covers the addresses, so it cannot be translated",
    DropReason.FLOW_TABLE_FULL: "the node holds as many flows as it may",
    DropReason.ENDPOINT_FLOWS_FULL: "the endpoint holds as many flows as one endpoint may",
    DropReason.PORT_ALLOCATION: "all 55,000 source ports towards the target are in use",
    DropReason.RATE_LIMIT: "more resets and ICMP errors per second than a node sends",
    DropReason.CATCHING_UP: "the node had not read all that its peers told it; the sender tries again",
    DropReason.TIME_EXCEEDED: "its time to live ended here; the sender was told",
    DropReason.TOO_BIG: "larger than the way out and not to be cut; the sender was told",
    DropReason.TOO_LONG: "a datagram of more than 65,531 bytes, header and all: the kernel's queue cannot give it back",
    DropReason.HEADER_DOES_NOT_FIT: "with its Proxy Protocol header the datagram is too long to be sent on",
    DropReason.BEFORE_FIRST_BYTE: "a client's segment before its first byte: it might pass the Proxy Protocol header",
    DropReason.STRAY_SYN_ACK: "the target's answer to another SYN, or another answer: very late, or it was restarted",
    DropReason.NOT_ANSWERED: "a segment of a client's whose SYN the target has not answered: very late, or forged",
    DropReason.ANOTHER_SYN: "a SYN inside a stream whose target gets a header; answered with a challenge",
}

_PREFIX = "dropped_"


def dropped_for(counter: str) -> DropReason | None:
    """The drop reason that a counter counts; None for the other counters."""
    if not counter.startswith(_PREFIX):
        return None
    return DropReason(counter.removeprefix(_PREFIX))


def meaning(counter: str) -> str:
    """What a counter's drop reason means; empty for counters that count no drops."""
    reason = dropped_for(counter)
    return MEANINGS[reason] if reason else ""
