"""Every name, address and port of the ground, as plain values.

Contenders are numbered from 1. Number n owns 10.77.n.0/24 towards the client and 10.78.n.0/24 towards
the server; .1 is the contender, .2 the other end. The targets have one address that is on no link, so
that it is the same for all and each contender reaches it over its own wire.
"""

from dataclasses import dataclass
from typing import ClassVar

from hyperplane.snapshot import HeaderPlacement
from netns.crossing import interface_name

CLIENT = "hp-bench-client"
SERVER = "hp-bench-server"
CONTENDER_NAMES = ("hyperplane", "routing", "nftables", "haproxy")

TARGET_ADDRESS = "10.79.0.1"
TARGET_COUNT = 32


@dataclass(frozen=True, slots=True)
class Service:
    """One thing that a client can ask for: a port of the contender and the ports of the targets behind it."""

    name: str
    port: int
    target_port_first: int
    target_count: int
    udp: bool = False
    header: HeaderPlacement | None = None
    """Its targets want a Proxy Protocol v2 header; HAProxy knows one placement only."""

    @property
    def target_ports(self) -> range:
        return range(self.target_port_first, self.target_port_first + self.target_count)


HTTP = Service("http", 8000, 8001, TARGET_COUNT)
ECHO = Service("echo", 7000, 7001, 1)
BULK = Service("bulk", 5201, 5202, 1)
"""One target only: the streams of one iperf3 run must meet in one iperf3."""
SINK = Service("sink", 9000, 9001, TARGET_COUNT, udp=True)
SERVICES = (HTTP, ECHO, BULK, SINK)
"""What every contender carries."""

STREAM = Service("stream", 5300, 5301, 1)
"""One bulk stream again, with the server that can also read a header (see `stream`)."""
HTTP_HEADER = Service("http_header", 8100, 8101, TARGET_COUNT, header=HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD)
STREAM_HEADER = Service("stream_header", 5400, 5401, 1, header=HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD)
HTTP_FIRST_ACK = Service("http_first_ack", 8200, 8101, TARGET_COUNT, header=HeaderPlacement.ON_FIRST_ACK)
STREAM_FIRST_ACK = Service("stream_first_ack", 5500, 5401, 1, header=HeaderPlacement.ON_FIRST_ACK)
"""For the target the placements are the same, so both have the same targets."""
HEADER_SERVICES = (STREAM, HTTP_HEADER, STREAM_HEADER, HTTP_FIRST_ACK, STREAM_FIRST_ACK)
"""What the contenders that know the Proxy Protocol carry besides, on the same interfaces at the same time."""


@dataclass(frozen=True, slots=True)
class Middle:
    """One contender's place between client and server."""

    number: int
    name: str

    @property
    def namespace(self) -> str:
        return f"hp-bench-{self.name}"

    @property
    def is_crossing(self) -> bool:
        """Whether packets leave by their mark alone, as in every fabric of this project."""
        return self.name == "hyperplane"

    front_number: ClassVar[int] = 2
    """Numbers of the interfaces of a crossing: the endpoint's, towards the client ..."""
    back_number: ClassVar[int] = 1
    """... and the load balancer's, towards the targets."""

    @property
    def front_link(self) -> str:
        """The middle namespace's link to the client."""
        return interface_name(self.front_number) if self.is_crossing else "hp-client"

    @property
    def back_link(self) -> str:
        """The middle namespace's link to the targets."""
        return interface_name(self.back_number) if self.is_crossing else "hp-server"

    @property
    def client_link(self) -> str:
        """Name of the client namespace's end of the wire."""
        return f"hp-bc{self.number}"

    @property
    def server_link(self) -> str:
        return f"hp-bs{self.number}"

    @property
    def client_network(self) -> str:
        return f"10.77.{self.number}.0/24"

    @property
    def client_address(self) -> str:
        return f"10.77.{self.number}.2"

    @property
    def front_address(self) -> str:
        """The contender's address that the client talks to."""
        return f"10.77.{self.number}.1"

    @property
    def server_network(self) -> str:
        return f"10.78.{self.number}.0/24"

    @property
    def source_address(self) -> str:
        """The contender's own address towards the targets."""
        return f"10.78.{self.number}.1"

    @property
    def server_address(self) -> str:
        """The server's end of the wire: next hop towards the targets."""
        return f"10.78.{self.number}.2"


MIDDLES = {name: Middle(number, name) for number, name in enumerate(CONTENDER_NAMES, 1)}
