"""The lab as a user has it: brought up and down by the command line, looked at through what it shows to anybody.

The tests' lab is the packaged one and more: its lab file with four things added, so that strangers can stand in as
targets and as bystanders while everything of the packaged lab stays as it is:

- a target group of one address, `STAND_IN`, on which a test may start any server, for TCP and for UDP;
- listeners to it on port `STAND_IN_PORT`, and on `IMPATIENT_PORT` with the shortest idle timeout there is;
- listeners to it with a Proxy Protocol v2 header, to the same port: `PLACEMENTS`;
- `hp-neighbour` beside consumer-a, and `hp-bystander` beside target-1, which is no target.
"""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from hyperplane.io.lab_file import DEFAULT_LAB
from hyperplane.io.lab_record import lab_record
from hyperplane.io.runtime import zone_files
from hyperplane.io.status import StatusPage, Word
from netns.namespace import inside

ROOT = Path(__file__).parents[2]
RUNTIME = Path("/run/hyperplane")
LAB_FILE = "lab-of-the-tests.yml"
"""A lab that is up with a file of this name is ours."""
ZONE_IDS = ("use2-az1", "use2-az2")

CONSUMER_A, CONSUMER_A2, CONSUMER_B, CONSUMER_C = "hp-consumer-a", "hp-consumer-a2", "hp-consumer-b", "hp-consumer-c"
CONSUMERS = (CONSUMER_A, CONSUMER_A2, CONSUMER_B, CONSUMER_C)
OUTSIDER = "hp-outsider"
NEIGHBOUR, BYSTANDER = "hp-neighbour", "hp-bystander"
TARGET_1, TARGET_2 = "hp-target-1", "hp-target-2"
FABRIC_1, FABRIC_2 = "hp-fabric-use2-az1", "hp-fabric-use2-az2"
PROVIDER_ROUTER, CONSUMER_ROUTER = "hp-vpc-provider", "hp-vpc-consumer-a"
LINK = "hp-eth0"
"""The one link of an instance."""

CLIENT = "10.0.1.50"
ENDPOINT = "10.0.1.10"
"""Of consumer a and of consumer b."""
ENDPOINT_2 = "10.0.2.10"
ENDPOINT_C = "10.9.3.10"
ENDPOINT_OF = {CONSUMER_A: ENDPOINT, CONSUMER_A2: ENDPOINT_2, CONSUMER_B: ENDPOINT, CONSUMER_C: ENDPOINT_C}
BALANCER, BALANCER_2 = "10.9.0.7", "10.9.1.7"
TARGET_ADDRESS = "10.9.3.20"
TARGET_PORT, ECHO_PORT = 8080, 8053
PLAIN_PORT, PLAIN_TARGET_PORT = 8081, 8081
"""The listener without Proxy Protocol v2, and where it leads."""
STAND_IN, STAND_IN_PORT, IMPATIENT_PORT = "10.9.3.30", 9000, 9060
PROXY_PORT, PROXY_AT_ONCE_PORT = 9100, 9101
HEADER_PLACEMENT = "proxy_protocol_v2.client_to_server.header_placement"
PLACEMENTS = {PROXY_PORT: "on_first_ack_with_payload", PROXY_AT_ONCE_PORT: "on_first_ack"}
"""Listeners to the stand-in at the same port, with a Proxy Protocol v2 header, placed so."""
NEIGHBOUR_ADDRESS, BYSTANDER_ADDRESS = "10.0.1.60", "10.9.3.40"

HANG_GUARD_S = 30.0
"""Ends a test that would wait for ever. No test's result depends on it."""

NAMED_PORTS = {"hash": 51_000, "spray": 51_001}
"""Client ports of the two ways of steering: a port stays in use for a minute after its connection."""

BY_TIME = {"flows_expired", "ports_swept", "datagrams_incomplete"}
"""Counters that move by themselves, for what earlier tests have left."""

Document = dict[str, Any]


def packaged_lab() -> Document:
    """The packaged lab file as plain values."""
    document: Document = yaml.safe_load(DEFAULT_LAB.read_text())
    return document


def tests_lab() -> Document:
    """The packaged lab with the tests' additions."""
    document = packaged_lab()
    vpcs = {vpc["name"]: vpc for vpc in document["vpcs"]}
    for name in ("consumer-a", "consumer-b", "consumer-c"):
        group = vpcs[name]["security_groups"][0]
        rule = {"ports": "9000-9199", "source": vpcs[name]["cidr"]}
        group["inbound"] = [*group["inbound"], *({"protocol": protocol, **rule} for protocol in ("tcp", "udp"))]
    vpcs["consumer-a"]["instances"].append({"name": "neighbour", "subnet": "az1", "address": NEIGHBOUR_ADDRESS})
    vpcs["provider"]["instances"].append({"name": "bystander", "subnet": "target-az1", "address": BYSTANDER_ADDRESS})
    balancer = document["load_balancers"][0]
    for protocol in ("TCP", "UDP"):
        group = {"name": f"stand-in-{protocol.lower()}", "vpc": "provider", "protocol": protocol, "cross_zone": True}
        document["target_groups"].append({**group, "port": STAND_IN_PORT, "targets": [{"address": STAND_IN}]})
        listener = {"protocol": protocol, "port": STAND_IN_PORT, "target_group": group["name"]}
        balancer["listeners"].append(listener)
    impatient = {"protocol": "TCP", "port": IMPATIENT_PORT, "target_group": "stand-in-tcp", "idle_timeout_s": 60}
    balancer["listeners"].append(impatient)
    for port, placement in PLACEMENTS.items():
        add_header_listener(document, "TCP", port, **{HEADER_PLACEMENT: placement})
    return document


def add_header_listener(document: Document, protocol: str, port: int, **attributes: str) -> None:
    """A listener to the stand-in at the same port, where a Proxy Protocol v2 header comes."""
    group = {"name": f"proxy-{port}", "vpc": "provider", "protocol": protocol, "cross_zone": True, "port": port}
    switched_on = {"proxy_protocol_v2.enabled": True, **attributes}
    document["target_groups"].append({**group, "targets": [{"address": STAND_IN}], "attributes": switched_on})
    listener = {"protocol": protocol, "port": port, "target_group": group["name"]}
    document["load_balancers"][0]["listeners"].append(listener)


def somebodys_lab(runtime: Path, namespaces: Iterable[str]) -> str | None:
    """What stands where the tests' lab would be built, if it is not the tests' own."""
    record = lab_record(runtime)
    if record.exists():
        path = Path(record.read_text().strip())
        return None if path.name == LAB_FILE else f"the lab of {path}"
    taken = sorted({*CONSUMERS, TARGET_1} & set(namespaces))
    return f"namespace {taken[0]}" if taken else None


def until(condition: Callable[[], bool], what: str, timeout_s: float = HANG_GUARD_S) -> None:
    """Look until `condition` holds. Fails the test, saying `what` did not come about."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"it never came about that {what}"
        time.sleep(0.01)


def hyperplane(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, from the checkout."""
    return subprocess.run(
        [sys.executable, "-m", "hyperplane", *arguments],
        cwd=ROOT,
        env={**os.environ, "HYPERPLANE_RUNTIME": str(RUNTIME), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def steering_of(zone_id: str) -> str:
    """How a fabric steers packets, by the rules in force: fragments are hashed either way, only the rest is sprayed."""
    with inside(f"hp-fabric-{zone_id}"):
        rules = subprocess.run(["iptables-save", "-t", "mangle"], capture_output=True, text=True, check=True).stdout
    assert "NFQUEUE" in rules
    return "spray" if "statistic" in rules else "hash"


class Lab:
    """One lab file, up."""

    def __init__(self, file: Path, document: Document) -> None:
        self.file = file
        self.document = document

    def write(self) -> None:
        """Write the lab file; the control process of a running lab follows it."""
        self.file.write_text(yaml.safe_dump(self.document, sort_keys=False))

    def up(self) -> str:
        """`hyperplane lab up`. Returns what it said on standard error."""
        done = hyperplane("lab", "up", "--lab", str(self.file))
        assert done.returncode == 0, done.stderr
        return done.stderr

    def down(self) -> str:
        done = hyperplane("lab", "down")
        assert done.returncode == 0, done.stderr
        return done.stderr

    def steer(self, mode: str) -> None:
        """Change the steering of the running lab, and wait until every fabric's rules are so."""
        if self.document["fabric"]["steering"] == mode:
            return
        self.document["fabric"]["steering"] = mode
        self.write()
        self.up()
        for zone_id in ZONE_IDS:
            until(lambda zone_id=zone_id: steering_of(zone_id) == mode, f"{zone_id} steers by {mode}")  # type: ignore[misc]

    # --- what the nodes show -------------------------------------------------------------------

    def pages(self, zone_id: str) -> list[StatusPage]:
        files = zone_files(RUNTIME, zone_id)
        found = sorted(files.generation_directory(files.generation()).glob("status-*"))
        return [StatusPage(path) for path in found]

    def node_counters(self, zone_id: str = ZONE_IDS[0]) -> list[Counter[str]]:
        """Counters of each node of a zone, by node number."""
        counters = []
        for page in self.pages(zone_id):
            counters.append(Counter(page.counters()))
            page.close()
        return counters

    def counters(self) -> Counter[str]:
        """Sum over all nodes of all zones, once everything has settled and nothing moves any more.

        An end of a connection may acknowledge a moment after the test has got its bytes.
        """
        earlier, found = self._settled(), self._settled()
        while found != earlier:
            earlier, found = found, self._settled()
        return found

    def _settled(self) -> Counter[str]:
        self.settle()
        return self.shown()

    def shown(self) -> Counter[str]:
        """The same as the nodes show it now; they do so in a rhythm."""
        return sum((counter for zone_id in ZONE_IDS for counter in self.node_counters(zone_id)), Counter[str]())

    def settle(self) -> None:
        """Wait until no packet waits for a node, and every node has shown its counters since."""
        until(lambda: not any(self._waiting(zone_id) for zone_id in ZONE_IDS), "all queues are empty")
        pages = [page for zone_id in ZONE_IDS for page in self.pages(zone_id)]
        for _ in range(2):  # the first new heartbeat begins a beat, the second ends it
            beats = [(page, page.get(Word.HEARTBEAT_MS)) for page in pages]
            until(
                lambda beats=beats: all(page.get(Word.HEARTBEAT_MS) != seen for page, seen in beats),  # type: ignore[misc]
                "all nodes' hearts beat",
            )
        for page in pages:
            page.close()

    def overflowed(self) -> int:
        """Packets that came faster than the nodes read and found their queue or its socket full, ever."""
        return sum(self._queues(zone_id, column) for zone_id in ZONE_IDS for column in (5, 6))

    def _waiting(self, zone_id: str) -> int:
        """Packets in a zone's queues that are not answered yet."""
        return self._queues(zone_id, 2)

    def _queues(self, zone_id: str, column: int) -> int:
        """Sum of a column in the kernel's own list of queues (net/netfilter/nfnetlink_queue.c, seq_show)."""
        with inside(f"hp-fabric-{zone_id}"):
            lines = Path("/proc/thread-self/net/netfilter/nfnetlink_queue").read_text().splitlines()
        return sum(int(line.split()[column]) for line in lines)

    def moved_since(self, before: Counter[str]) -> dict[str, int]:
        """What was counted since `before`, once everything has settled; not what time alone counts."""
        after = self.counters()
        names = (after | before).keys() - BY_TIME
        return {name: after[name] - before[name] for name in names if after[name] != before[name]}

    def expect(self, before: Counter[str], **moved: int) -> None:
        """Wait until exactly these counters have moved by so much since `before`, and no other."""
        deadline = time.monotonic() + HANG_GUARD_S
        while (found := self.moved_since(before)) != moved:
            assert time.monotonic() < deadline, f"{moved} should have been counted, not {found}"

    def flow_keepers(self, zone_id: str) -> Iterator[int]:
        """Flows held, by node."""
        for page in self.pages(zone_id):
            yield page.get(Word.FLOWS)
            page.close()
