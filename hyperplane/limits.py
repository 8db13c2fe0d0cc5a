"""Every bound of the system in one place, with the relations between them asserted.

Nothing in the product grows without a bound from this file. A figure that is AWS's says
so; all others are our choice, and the line says because of what.
"""

# --- identity -----------------------------------------------------------------------------

ENI_NUMBER_MAX = 0xFFFF
"""ENIs are numbered per zone. The number is the routing mark's low 16 bits."""

NODES_PER_ZONE_MAX = 32
"""Nodes of a zone. A shard travels as a 32 bit set, and queue numbers are dealt in blocks of this size."""

GENERATIONS_MAX = 1024
"""Generations of queue numbers before they wrap; NFQUEUE numbers are 16 bits wide."""

# --- flows --------------------------------------------------------------------------------

FLOWS_PER_NODE_MAX = 1 << 20
"""Flows one node holds. Beyond it new flows are refused, established ones stay (RFC 6888 REQ-11)."""

FLOWS_PER_ENDPOINT_MAX = 1 << 19
"""Flows one endpoint may hold on a node, so that one consumer cannot fill the table (RFC 6888 REQ-4)."""

HALF_OPEN_PER_ENDPOINT_MAX = 1 << 16
"""Flows of one endpoint whose target has not answered. Beyond it the oldest half-open flow makes room."""

TCP_IDLE_TIMEOUT_S = 350
"""AWS, Elastic Load Balancing guide, "Connection idle timeout"; settable 60 to 6,000."""

TCP_IDLE_TIMEOUT_S_MIN = 60
TCP_IDLE_TIMEOUT_S_MAX = 6000

UDP_IDLE_TIMEOUT_S = 120
"""AWS, same page: fixed. RFC 4787 REQ-5 asks for at least 120."""

HALF_OPEN_TIMEOUT_S = 60
"""After the last SYN; where a header is injected after the first, so that it is known how old a SYN-ACK can be. Our
choice, because Linux clients resend at 1, 3, 7, 15 and 31 s."""

CLOSING_TIMEOUT_S = 120
"""After both FINs or a RST, so that a repeated last segment still passes (one MSL, RFC 9293 section 3.4.2)."""

EXPIRED_PER_TICK_MAX = 2000
"""Flows one timer tick may remove, so that expiry never delays packets for long."""

# --- source ports -------------------------------------------------------------------------

SNAT_PORT_MIN = 1024
SNAT_PORTS_PER_TARGET = 55_000
"""AWS: 55,000 simultaneous connections per load balancer address, target and protocol."""

PORT_REST_S = 60
"""A port rests this long before the same target sees it again (AWS: "about 55,000 per minute")."""

PORTS_SWEPT_PER_TICK_MAX = 1000
"""Ports looked at in one tick while sweeping ..."""

POOLS_SWEPT_PER_TICK_MAX = 16
"""... and pools: finding a node's ports in one takes longer than looking at them."""

KNOWN_ROWS_SWEPT_PER_TICK_MAX = 1000
"""Rows of each peer that are looked at for flows that are over. Our choice: a million rows in half a minute."""

FLOWS_PASSED_OVER_MAX = 16_384
"""Flows remembered that a peer has by an endpoint not known here. Our choice: those of a few seconds, for as long as a
node may be behind another in loading a snapshot; 2 MiB."""

PORT_PROBES_MAX = 16
"""Random draws before the pool is searched for a free port from a random place on."""

PORT_SWEEP_INTERVAL_S = 1.0
"""How often a node looks at some of its ports for those that carry no flow (it was killed in between)."""

PORT_PREFERENCES_MAX = 8
"""Of these draws, the first so many look for a port whose replies come back to the same node."""

PORT_POOLS_MAX = 4096
"""Pools of one zone: (load balancer address, target, protocol). 55 kB of shared memory each."""

# --- replication --------------------------------------------------------------------------

JOURNAL_RING_ENTRIES = 1 << 16
"""Changes a reader may fall behind before it has to rebuild from the state area."""

JOURNAL_ROW_BYTES = 80
"""One flow in the state area: whole words, because its first is stored in one piece."""

REPLICATION_BATCH_MAX = 4096
"""Deltas of one peer applied in one go, so that catching up never starves the queue."""

NEWS_BATCH_MAX = 256
NEWS_PER_PACKET_MAX = 8192
"""Changes of one peer taken in before a packet is called unknown: about 50 ms at the worst, well below
SILENCE_MAX_S. What is older than that comes with the next beats."""

CATCH_UP_BATCHES_MAX = 4096
"""Batches a node that starts takes in before it serves: every row of every peer, many times over."""

REFRESH_INTERVAL_S = 1.0
"""The age of a flow that carries packets is told at most this often ..."""

REFRESHES_PER_S_MAX = 20_000
"""... and all flows of a node together at most this often: with more flows the interval grows."""

# --- Proxy Protocol -----------------------------------------------------------------------

HEADER_RESENT_AFTER_S = 1.0
"""A header that took an ACK's place and was not acknowledged is sent again after this, then after twice as long ...
Our choice: TCP's own first retransmission timeout (RFC 6298 section 2.1)."""

HEADER_RESENDS_MAX = 6
"""... this many times, so for 63 s: as long as Linux repeats a SYN-ACK (tcp_synack_retries)."""

HEADERS_RESENT_PER_TICK_MAX = 1000
"""Headers that one timer tick may send again, so that timers never delay packets for long."""

HEADER_SEGMENT_BYTES_MIN = 48
"""A header is never cut into smaller segments, whatever a target says: else one packet of a client's would become a
hundred of ours. Linux takes no smaller segment size either (TCP_MIN_SND_MSS)."""

UNASKED_BYTES_MAX = 1 << 24
"""What a target may send before it acknowledges a header, as far as a node believes that it is this stream's. Our
choice: several windows of most clients, and one number in 256 for a stream that is not this one."""

COOKIE_SPREAD = 7
"""Numbers on either side that a SYN cookie may be good for: Linux adds the segment size's place in a table, which has
four places and once had eight (net/ipv4/syncookies.c, msstab). Our choice: eight."""

WINDOW_BYTES_MAX = 1 << 30
"""The largest window (RFC 7323 section 2.3): no number in use is further behind than this."""

LONG_STREAM_BYTES = 1 << 29
"""From here on nodes know of a stream that it is long. Our choice: a node that learns of a stream only now must see
one of its numbers before WINDOW_BYTES_MAX, and has half a GiB of the stream to do so."""

# --- capture ------------------------------------------------------------------------------

QUEUE_PACKETS_MAX = 8192
"""Packets the kernel holds for one node. Beyond it the kernel drops and counts them."""

QUEUE_SOCKET_BYTES = 32 << 20
PACKETS_PER_WAKE_MAX = 32
"""Packets read before their verdicts are sent together."""

ROUNDS_PER_WAKE_MAX = 16
"""Batches answered before a node's timers get their turn."""

PACKET_BYTES_MAX = 65_535
QUEUED_BYTES_MAX = 65_531
"""The longest packet that can be read from a queue and given back: a netlink attribute's length has 16 bits and
counts its own four bytes (linux/netlink.h). An IP packet of the last four bytes more is refused."""

# --- packets ------------------------------------------------------------------------------

MTU_MIN = 1280
MTU_MAX = 9216
PATH_MTU_MIN = 552
"""A smaller "packet too big" is raised to this: Linux's own floor, against forged ones."""

FRAGMENT_TIMEOUT_S = 30.0
"""How long a datagram's first piece waits for the others. Linux's own (ip-sysctl, ipfrag_time)."""

FRAGMENTS_PER_DATAGRAM_MAX = 128
"""Our choice: 64 KiB over a link of 576 bytes, which RFC 791 calls small, are 119 pieces."""

FRAGMENTED_DATAGRAMS_PER_INTERFACE_MAX = 256
FRAGMENT_BYTES_PER_INTERFACE_MAX = 1 << 20
"""What one interface's incomplete datagrams may hold on a node. Beyond it the oldest of them makes room: a consumer
that floods pieces spoils its own fragmented datagrams and nobody else's."""

FRAGMENT_BYTES_PER_NODE_MAX = 64 << 20
"""What all of them may hold, however many interfaces there are."""

ICMP_ERRORS_PER_S_MAX = 1000
"""ICMP errors and resets that one node sends or passes on per second because of one ENI's packets."""

# --- configuration ------------------------------------------------------------------------

SNAPSHOT_BYTES_MAX = 64 << 20
SNAPSHOT_BEAT_S = 0.1
"""Nodes read the whole snapshot this often, changed or not."""

LAB_FILE_BEAT_S = 0.5
"""How often the control process looks whether the lab file has changed."""

SECURITY_GROUP_RULES_MAX = 1000
"""AWS: rules per group times groups per interface may not exceed 1,000."""

SECURITY_GROUPS_PER_INTERFACE_MAX = 16
"""AWS: 5, on request up to 16."""

TARGETS_PER_GROUP_MAX = 1000
ENDPOINTS_PER_VPC_MAX = 50
"""AWS PrivateLink quotas."""

LISTENERS_PER_LOAD_BALANCER_MAX = 50
"""AWS, Network Load Balancer quotas."""

NETWORKS_PER_VPC_MAX = 10
"""AWS, Amazon VPC quotas: 5 IPv4 and 5 IPv6 CIDR blocks."""

ZONES_MAX = 16
"""Our choice: AWS's largest region has 6."""

# --- supervision --------------------------------------------------------------------------

NODE_BEAT_S = 0.025
"""A node's rhythm: heartbeat, peers' deltas, timers."""

SUPERVISOR_BEAT_S = 0.05
SILENCE_MAX_S = 0.4
"""A node silent for this long through its own fault is fenced (killed) and replaced. Our choice: sixteen beats,
and still well under the second that a hang may stall a connection."""

HEARTBEAT_AGE_MAX_S = 2.0
"""A node whose last heartbeat is older is shown as unwell. On a machine with too much to do hearts are late."""

STARTING_MAX_S = 60.0
"""How long a node may take in its peers' flows before it serves."""

STEERING_CHECK_S = 0.5
"""How often the capture rules are compared with what they should be, besides when the kernel reports a change."""

RESTARTS_PER_MINUTE_MAX = 120
"""Restarts of one node before its supervisor waits between them."""

DRAIN_TIMEOUT_S = 5.0
"""How long an old generation may take to answer what it still holds."""

RUNTIME_BYTES_MAX = 4 << 30
"""Size of the memory that `lab up` mounts for journals, pages and logs. Our choice: two generations of the default
lab, eight nodes with a full table each, take 1 GiB. Memory is taken only as it is written."""

LOG_BYTES_MAX = 8 << 20
"""A log that is longer is cut by the control process at its next beat; its end, this long, is kept beside it."""

# --- relations ----------------------------------------------------------------------------

assert SNAT_PORT_MIN + SNAT_PORTS_PER_TARGET <= 65_536, "a port has 16 bits"
assert CLOSING_TIMEOUT_S >= PORT_REST_S, "a port must not come back before its flow is forgotten"
assert REFRESH_INTERVAL_S * 8 < TCP_IDLE_TIMEOUT_S_MIN, "refreshes must be far denser than expiry"
assert NEWS_PER_PACKET_MAX < JOURNAL_RING_ENTRIES, "a packet must not wait for a whole ring"
assert CATCH_UP_BATCHES_MAX * REPLICATION_BATCH_MAX > FLOWS_PER_NODE_MAX * 8, "a starting node takes in everything"
assert PORT_PREFERENCES_MAX < PORT_PROBES_MAX, "a preference must not use up all draws"
assert GENERATIONS_MAX * NODES_PER_ZONE_MAX <= 65_536, "queue numbers have 16 bits"
assert min(TCP_IDLE_TIMEOUT_S_MIN, PORT_REST_S) > FLOWS_PER_NODE_MAX / REFRESHES_PER_S_MAX, "ages travel in time"
assert JOURNAL_ROW_BYTES % 8 == 0, "a row's word must be aligned"
assert PORT_REST_S + CLOSING_TIMEOUT_S >= 120, "no cookie of Linux's outlives the rest of a port whose flow made way"
assert LONG_STREAM_BYTES * 2 <= WINDOW_BYTES_MAX, "who knows nothing of a stream can learn that it is long"
assert HEADER_RESENT_AFTER_S * (2**HEADER_RESENDS_MAX - 1) > HALF_OPEN_TIMEOUT_S, "a header outlasts a half-open flow"
assert FLOWS_PER_NODE_MAX * JOURNAL_ROW_BYTES <= 1 << 30, "a journal stays mappable"
assert HALF_OPEN_PER_ENDPOINT_MAX < FLOWS_PER_ENDPOINT_MAX <= FLOWS_PER_NODE_MAX
assert PACKET_BYTES_MAX < FRAGMENT_BYTES_PER_INTERFACE_MAX <= FRAGMENT_BYTES_PER_NODE_MAX
assert NODE_BEAT_S * 8 < SILENCE_MAX_S, "a heartbeat may be late without a node being killed"
