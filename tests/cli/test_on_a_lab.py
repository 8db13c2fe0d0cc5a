"""The commands on a living lab of their own: what they say is held against what strangers saw.

    cli-a  10.1.0.0/16   endpoint 10.1.1.10  --  cli-orders 10.8.0.7  --  cli-t1 10.8.3.20

Ports: 80 is served. 70 and 71 have listeners, but the target's own firewall refuses the one and is silent on the
other. 79 may pass the security group and has no listener. 99 may not pass.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether
from scapy.utils import RawPcapNgReader

from tests.conftest import why_no_namespaces

pytestmark = pytest.mark.netns

CLIENT, ENDPOINT, BALANCER, TARGET = "10.1.1.50", "10.1.1.10", "10.8.0.7", "10.8.3.20"
HANG_GUARD_S = 60.0
FABRIC = "hp-fabric-cli-az1"

LAB = f"""
region: us-east-2
zones: [{{name: us-east-2a, id: cli-az1}}]
fabric: {{nodes_per_zone: 3, shard_size: 2, seed: 1}}
vpcs:
  - name: cli-a
    account: 111111111111
    cidr: 10.1.0.0/16
    subnets: [{{name: az1, zone: us-east-2a, cidr: 10.1.1.0/24}}]
    instances: [{{name: cli-a, subnet: az1, address: {CLIENT}}}]
    security_groups:
      - name: door
        inbound:
          - {{protocol: tcp, ports: 70-80, source: 10.1.0.0/16}}
          - {{protocol: udp, ports: 53, source: 10.1.0.0/16}}
  - name: cli-p
    account: 999999999999
    cidr: 10.8.0.0/16
    subnets:
      - {{name: nlb, zone: us-east-2a, cidr: 10.8.0.0/24}}
      - {{name: targets, zone: us-east-2a, cidr: 10.8.3.0/24}}
    instances: [{{name: cli-t1, subnet: targets, address: {TARGET}}}]
target_groups:
  - {{name: cli-tcp, vpc: cli-p, protocol: TCP, port: 8080, targets: [{{instance: cli-t1}}]}}
  - {{name: cli-udp, vpc: cli-p, protocol: UDP, port: 8053, targets: [{{instance: cli-t1}}]}}
  - {{name: cli-refused, vpc: cli-p, protocol: TCP, port: 7070, targets: [{{address: {TARGET}}}]}}
  - {{name: cli-silent, vpc: cli-p, protocol: TCP, port: 7071, targets: [{{address: {TARGET}}}]}}
load_balancers:
  - name: cli-orders
    vpc: cli-p
    subnets: [{{subnet: nlb, address: {BALANCER}}}]
    listeners:
      - {{protocol: TCP, port: 80, target_group: cli-tcp}}
      - {{protocol: UDP, port: 53, target_group: cli-udp}}
      - {{protocol: TCP, port: 70, target_group: cli-refused}}
      - {{protocol: TCP, port: 71, target_group: cli-silent}}
endpoint_services:
  - {{name: cli-orders, load_balancers: [cli-orders], acceptance_required: false, allowed_principals: ["*"]}}
endpoints:
  - name: cli-door
    vpc: cli-a
    service: cli-orders
    security_groups: [door]
    subnets: [{{subnet: az1, address: {ENDPOINT}}}]
"""


class LivingLab:
    """One lab, and the command run against it as a user runs it."""

    def __init__(self, runtime: Path, file: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            api = f"127.0.0.1:{free.getsockname()[1]}"
        self.environment = os.environ | {"HYPERPLANE_RUNTIME": str(runtime), "HYPERPLANE_API": api}
        self.file = file

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "hyperplane", *words]

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*words),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG_GUARD_S,
        )

    def json(self, *words: str, status: int = 0) -> Any:
        """The answer for programs of a command that ends with `status`."""
        done = self.run(*words, "--json")
        assert done.returncode == status, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivingLab]:
    if reason := why_no_namespaces():
        pytest.skip(reason)
    file = tmp_path_factory.mktemp("cli") / "lab.yml"
    file.write_text(LAB)
    lab = LivingLab(Path(f"/run/hp-cli-{os.getpid()}"), file)
    done = lab.run("lab", "up", "--lab", str(file))
    try:
        assert done.returncode == 0, done.stderr
        yield lab
    finally:
        assert lab.run("lab", "down").returncode == 0


def inside(name: str, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["ip", "netns", "exec", f"hp-{name}", *words], capture_output=True, text=True, check=True)


def address(end: dict[str, Any]) -> str:
    return f"{end['address']}:{end['port']}"


def ends(hop: dict[str, Any], direction: str = "original") -> tuple[str, str]:
    return address(hop[direction]["source"]), address(hop[direction]["destination"])


def test_a_trace_shows_the_addresses_of_every_hop(lab: LivingLab) -> None:
    trace = lab.json("trace", "cli-a", ENDPOINT)
    port = trace["call"]["client_port"]
    seen_by_target = json.loads(trace["call"]["answer"].partition("\r\n\r\n")[2])
    client, nat = f"{CLIENT}:{port}", f"{BALANCER}:{seen_by_target['peer_port']}"
    assert seen_by_target["peer"] == BALANCER
    assert [hop["place"]["hop"] for hop in trace["hops"]] == ["client", "endpoint", "nlb", "router", "target"]
    near, far = (client, f"{ENDPOINT}:80"), (nat, f"{TARGET}:8080")
    assert [ends(hop) for hop in trace["hops"]] == [near, near, far, far, far]
    assert [ends(hop, "reply") for hop in trace["hops"]] == [near[::-1], near[::-1], far[::-1], far[::-1], far[::-1]]
    assert [hop["original"]["ttl"] for hop in trace["hops"]] == [64, 64, 63, 62, 62]
    assert len({hop["original"]["packets"] for hop in trace["hops"]}) == 1
    times = [hop["original"]["first_at_s"] for hop in trace["hops"]]
    assert times == sorted(times) and times[0] == 0
    assert [hop["original"]["flags"][0] for hop in trace["hops"]] == ["S"] * 5


def test_a_trace_says_who_took_the_call_and_why(lab: LivingLab) -> None:
    trace = lab.json("trace", "cli-a", "cli-door")
    snapshot = json.loads((Path(lab.environment["HYPERPLANE_RUNTIME"]) / "snapshot").read_text())
    shards = {eni["kind"]: set(eni["shard"]) for eni in _enis(snapshot)}
    handling = trace["handling"]
    assert handling["original_node"] in shards["endpoint"]
    assert handling["reply_node"] in shards["load_balancer"]
    assert set(handling["held_by"]) == shards["endpoint"] | shards["load_balancer"]
    nodes = {node["node"]: node for node in lab.json("nodes")}
    assert handling["original_queue"] == nodes[handling["original_node"]]["queue"]
    assert handling["reply_queue"] == nodes[handling["reply_node"]]["queue"]
    moved = {(item["node"], item["counter"]): item["by"] for item in trace["moved"]}
    hops = {hop["place"]["hop"]: hop for hop in trace["hops"]}
    assert moved[handling["original_node"], "packets_original"] == hops["endpoint"]["original"]["packets"]
    assert moved[handling["original_node"], "flows_new"] == 1
    assert moved[handling["reply_node"], "packets_reply"] == hops["nlb"]["reply"]["packets"]
    assert trace["target"] == f"cli-t1 {TARGET}:8080"
    assert trace["security_rule"] == {
        "groups": ["door"], "protocol": "tcp", "ports": "70-80", "source": "10.1.0.0/16",
    }  # fmt: skip
    assert trace["listener"]["target_group"] == "cli-tcp"
    assert trace["source_port"]["claimed_by"] == handling["original_node"]
    assert trace["flow"]["state"] == "CLOSED"
    assert trace["last_seen"] is None


def _enis(value: Any) -> Iterator[dict[str, Any]]:
    """Every ENI of the snapshot's JSON, wherever it stands."""
    if isinstance(value, dict):
        if "shard" in value and "kind" in value:
            yield value
        for item in value.values():
            yield from _enis(item)
    elif isinstance(value, list):
        for item in value:
            yield from _enis(item)


def test_a_datagram_is_traced(lab: LivingLab) -> None:
    trace = lab.json("trace", "cli-a", ENDPOINT, "--udp")
    assert [hop["original"]["packets"] for hop in trace["hops"]] == [1] * 5
    assert [hop["reply"]["packets"] for hop in trace["hops"]] == [1] * 5
    assert trace["call"]["answer"].startswith("hyperplane trace ")
    assert (trace["flow"]["state"], trace["target"]) == ("ANSWERED", f"cli-t1 {TARGET}:8053")


@pytest.mark.parametrize(("port", "counter"), [("99", "dropped_security_group"), ("79", "dropped_no_listener")])
def test_a_dropped_call_is_explained_by_its_counter(lab: LivingLab, port: str, counter: str) -> None:
    trace = lab.json("trace", "cli-a", ENDPOINT, "--port", port, "--timeout", "0.5", status=1)
    assert (trace["last_seen"]["hop"], trace["last_seen"]["missing"]) == ("endpoint", "nlb")
    (drop,) = [item for item in trace["moved"] if item["counter"].startswith("dropped_")]
    assert (drop["counter"], drop["by"]) == (counter, trace["hops"][0]["original"]["packets"])
    assert (trace["handling"], trace["flow"]) == (None, None)
    assert (trace["security_rule"] is None) == (counter == "dropped_security_group")


def test_a_target_that_refuses_is_told_from_a_fabric_that_does(lab: LivingLab) -> None:
    refuse = ("-j", "REJECT", "--reject-with", "tcp-reset")
    inside("cli-t1", "iptables", "-I", "INPUT", "-p", "tcp", "--dport", "7070", *refuse)
    trace = lab.json("trace", "cli-a", ENDPOINT, "--port", "70", status=1)
    assert trace["call"]["problem"] == "connection refused"
    assert trace["last_seen"]["hop"] == "client"
    assert "target itself ended it (a reset)" in trace["last_seen"]["says"]
    assert trace["flow"]["state"] == "RESET"


def test_a_silent_target_is_found(lab: LivingLab) -> None:
    inside("cli-t1", "iptables", "-I", "INPUT", "-p", "tcp", "--dport", "7071", "-j", "DROP")
    trace = lab.json("trace", "cli-a", ENDPOINT, "--port", "71", "--timeout", "0.5", status=1)
    assert (trace["last_seen"]["hop"], trace["last_seen"]["missing"]) == ("target", None)
    assert trace["flow"]["state"] == "SYN_SENT"


def test_a_broken_wire_beyond_the_fabric_is_found(lab: LivingLab) -> None:
    """A target's link that is down: the router asks for its address in vain, so nothing leaves its port."""
    inside("cli-t1", "ip", "link", "set", "hp-eth0", "down")
    try:
        trace = lab.json("trace", "cli-a", ENDPOINT, "--timeout", "0.5", status=1)
    finally:
        assert lab.run("lab", "up", "--lab", str(lab.file)).returncode == 0
    assert (trace["last_seen"]["hop"], trace["last_seen"]["missing"]) == ("nlb", "router")
    assert lab.run("trace", "cli-a", ENDPOINT).returncode == 0


def test_people_read_the_same(lab: LivingLab) -> None:
    done = lab.run("trace", "cli-a", ENDPOINT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "cli-a to cli-door" in done.stdout
    assert "connected in " in done.stdout and "HTTP/1.1 200 OK" in done.stdout
    assert done.stdout.count("hp-cli-t1/hp-eth0") == 2


def test_flows_tell_what_curl_did(lab: LivingLab) -> None:
    before = {flow["client"]["port"] for flow in lab.json("flows")}
    answer = json.loads(inside("cli-a", "curl", "-s", f"http://{ENDPOINT}/").stdout)
    (flow,) = [flow for flow in lab.json("flows") if flow["client"]["port"] not in before]
    assert (flow["load_balancer"], flow["target"]["address"]) == (
        {"address": answer["peer"], "port": answer["peer_port"]},
        TARGET,
    )
    assert (flow["zone"], flow["protocol"], flow["endpoint"]) == (
        "us-east-2a",
        "tcp",
        {"address": ENDPOINT, "port": 80},
    )


def test_nodes_count_what_curl_did(lab: LivingLab) -> None:
    inside("cli-a", "curl", "-s", f"http://{ENDPOINT}/")
    nodes = lab.json("nodes")
    assert [(node["node"], node["state"]) for node in nodes] == [(0, "serving"), (1, "serving"), (2, "serving")]
    with_queues = [node for node in nodes if node["kernel_queue"]]
    assert [node["kernel_queue"]["number"] for node in with_queues] == [node["queue"] for node in nodes]
    assert sum(node["counters"].get("flows_new", 0) for node in nodes) >= 1


def test_a_dead_fabric_is_still_shown(lab: LivingLab) -> None:
    """Nothing is asked of any process, so stopped ones do not matter."""
    pids = [node["pid"] for node in lab.json("nodes")]
    records = Path(lab.environment["HYPERPLANE_RUNTIME"]).glob("*/gen-*/supervisor")
    supervisors = [int(path.read_text().split()[0]) for path in records]
    for pid in (*supervisors, *pids):
        os.kill(pid, signal.SIGSTOP)
    try:
        assert [node["pid"] for node in lab.json("nodes")] == pids
        assert isinstance(lab.json("flows"), list)
    finally:
        for pid in (*pids, *supervisors):
            os.kill(pid, signal.SIGCONT)
    assert lab.run("trace", "cli-a", ENDPOINT).returncode == 0


def addresses_in(path: Path) -> set[tuple[str, str]]:
    with path.open("rb") as file:
        packets = [Ether(data) for data, _ in RawPcapNgReader(file)]
    return {(packet[IP].src, packet[IP].dst) for packet in packets if IP in packet}


NEAR, FAR = {(CLIENT, ENDPOINT), (ENDPOINT, CLIENT)}, {(BALANCER, TARGET), (TARGET, BALANCER)}


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed")
def test_a_capture_holds_each_hop_with_its_own_addresses(lab: LivingLab, tmp_path: Path) -> None:
    command = lab.command("capture", "-w", str(tmp_path), "--filter", "tcp", "--count", "20", "--json")
    with subprocess.Popen(
        command, env=lab.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None and process.stdout is not None
        assert "listening at 5 interfaces" in process.stderr.readline()
        inside("cli-a", "curl", "-s", f"http://{ENDPOINT}/")
        recorded = json.loads(process.stdout.read())
    assert process.returncode == 0
    assert sum(item["packets"] for item in recorded) == 20
    seen = {path.stem: addresses_in(path) for path in sorted(tmp_path.iterdir())}
    assert seen == {
        "1-client": NEAR,
        "2-endpoint": NEAR,
        "3-nlb": FAR,
        "4-router": FAR,
        "5-target": FAR,
    }


def test_a_live_capture_is_one_stream_that_ends_with_its_reader(lab: LivingLab, tmp_path: Path) -> None:
    command = lab.command("capture", "--live", "--hop", "client", "--hop", "target")
    with subprocess.Popen(command, env=lab.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None and process.stdout is not None
        assert b"listening at 2 interfaces" in process.stderr.readline()
        inside("cli-a", "curl", "-s", f"http://{ENDPOINT}/")
        reader = RawPcapNgReader(process.stdout)
        seen: set[tuple[str, str]] = set()
        while not seen >= NEAR | FAR:
            data, _ = next(reader)
            packet = Ether(data)
            if IP in packet:
                seen.add((packet[IP].src, packet[IP].dst))
        process.stdout.close()
        assert process.wait(HANG_GUARD_S) == 0
        assert process.stderr.read() == b""
