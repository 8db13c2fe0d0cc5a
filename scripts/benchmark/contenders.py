"""The contenders, and the seam that they share: start, stop, and where a service is found.

Each of them is set up as its own manual says for this job; none is tuned beyond what all get alike.
"""

import json
from pathlib import Path
from typing import Protocol

from benchmark.layout import (
    CLIENT,
    HEADER_SERVICES,
    MIDDLES,
    SERVER,
    SERVICES,
    TARGET_ADDRESS,
    Middle,
    Service,
)
from benchmark.processes import Process, in_namespace, run
from hyperplane.snapshot import HeaderPlacement

CONNTRACK_TIME_WAIT_S = 15
"""The kernel's default of 120 s would fill its table of 262,144 entries within one round."""


class Contender(Protocol):
    """One way to get a client's packets to 32 targets."""

    @property
    def name(self) -> str: ...

    @property
    def middle(self) -> Middle: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def carries(self, service: Service) -> bool: ...

    def socket_address(self, service: Service) -> tuple[str, int]:
        """Where a client finds the service."""
        ...


class Routing:
    """Plain forwarding: no translation, no balancing. The client talks to a target's own address."""

    def __init__(self) -> None:
        self.name = "routing"
        self.middle = MIDDLES[self.name]

    def start(self) -> None:
        run(["ip", "-n", CLIENT, "route", "add", f"{TARGET_ADDRESS}/32", "via", self.middle.front_address])
        _add_way_back(self.middle)

    def stop(self) -> None:
        """The routes go with their namespaces."""

    def carries(self, service: Service) -> bool:
        return service in SERVICES

    def socket_address(self, service: Service) -> tuple[str, int]:
        """The first target's: nothing here spreads connections, so a client uses one target only."""
        return (TARGET_ADDRESS, service.target_port_first)


class Nftables:
    """The kernel's own NAT: DNAT in turn to the targets, SNAT to the contender's address."""

    def __init__(self) -> None:
        self.name = "nftables"
        self.middle = MIDDLES[self.name]

    def start(self) -> None:
        namespace = self.middle.namespace
        run(in_namespace(namespace, "nft", "-f", "-"), text_in=self.rules())
        # the table of connections exists once a rule asks for it, and so does its sysctl
        setting = f"net.netfilter.nf_conntrack_tcp_timeout_time_wait={CONNTRACK_TIME_WAIT_S}"
        run(in_namespace(namespace, "sysctl", "-q", "-w", setting))

    def rules(self) -> str:
        dnat = "\n".join(self._dnat(service) for service in SERVICES)
        return f"""table ip hp_bench_nat {{
            chain prerouting {{
                type nat hook prerouting priority dstnat
                {dnat}
            }}
            chain postrouting {{
                type nat hook postrouting priority srcnat
                oifname "{self.middle.back_link}" snat to {self.middle.source_address}
            }}
        }}
        """

    def _dnat(self, service: Service) -> str:
        match = f'iifname "{self.middle.front_link}" {"udp" if service.udp else "tcp"} dport {service.port}'
        # a map, because a bare `numgen ... offset` is in host order where the port wants network order
        ports = ", ".join(f"{index} : {service.target_port_first + index}" for index in range(service.target_count))
        return f"{match} dnat to {TARGET_ADDRESS} : numgen inc mod {service.target_count} map {{ {ports} }}"

    def stop(self) -> None:
        """The rules go with their namespace."""

    def carries(self, service: Service) -> bool:
        return service in SERVICES

    def socket_address(self, service: Service) -> tuple[str, int]:
        return (self.middle.front_address, service.port)


class Haproxy:
    """A proxy in TCP mode, two threads, round robin, a fixed source address.

    With the header it sends the checksum too, as this project does (`proxy-v2-options crc32c`, HAProxy 1.9 and later).
    """

    def __init__(self, directory: Path) -> None:
        self.name = "haproxy"
        self.middle = MIDDLES[self.name]
        self._directory = directory
        self._process: Process | None = None

    def start(self) -> None:
        configuration = self._directory / "haproxy.cfg"
        configuration.write_text(self.configuration())
        command = in_namespace(self.middle.namespace, "haproxy", "-db", "-f", str(configuration))
        self._process = Process(command, self._directory / "haproxy.log")
        self._process.wait_for_listeners([service.port for service in self._carried()])

    def configuration(self) -> str:
        proxies = "\n".join(self._proxy(service) for service in self._carried())
        return f"""global
    nbthread 2
    maxconn 8192
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    balance roundrobin
    source {self.middle.source_address}
{proxies}
"""

    def _proxy(self, service: Service) -> str:
        header = " send-proxy-v2 proxy-v2-options crc32c" if service.header else ""
        targets = "\n".join(f"    server t{port} {TARGET_ADDRESS}:{port}{header}" for port in service.target_ports)
        return f"listen {service.name}\n    bind {self.middle.front_address}:{service.port}\n{targets}"

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def carries(self, service: Service) -> bool:
        return not service.udp and service.header is not HeaderPlacement.ON_FIRST_ACK

    def _carried(self) -> list[Service]:
        return [service for service in (*SERVICES, *HEADER_SERVICES) if self.carries(service)]

    def socket_address(self, service: Service) -> tuple[str, int]:
        return (self.middle.front_address, service.port)


def _add_way_back(middle: Middle) -> None:
    """The client's own address arrives at the server, which must know the way back."""
    run(["ip", "-n", SERVER, "route", "add", middle.client_network, "via", middle.source_address])


def link_address(namespace: str, link: str) -> bytes:
    """The MAC address of a link, 6 bytes."""
    found = json.loads(run(["ip", "-n", namespace, "-j", "link", "show", "dev", link]))
    return bytes.fromhex(found[0]["address"].replace(":", ""))
