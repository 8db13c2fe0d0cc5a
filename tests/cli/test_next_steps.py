"""What `lab up` says in the end: lines that can be typed as they are."""

from dataclasses import replace

import pytest

from hyperplane.cli.next_steps import next_steps
from hyperplane.control.compiler import compile_snapshot
from hyperplane.control.resources import Listener, LoadBalancer, TargetGroup, VpcEndpoint
from hyperplane.control.store import Store
from hyperplane.io.lab_file import DEFAULT_LAB, load_lab
from tests.control.labs import lab

URL = "http://127.0.0.1:4566/_hyperplane/health"

DEFAULT = """\
The lab is up. Try, from each consumer (their addresses are the same):
  ip netns exec hp-consumer-a curl -s http://10.0.1.10/
  ip netns exec hp-consumer-a2 curl -s http://10.0.2.10/
  ip netns exec hp-consumer-b curl -s http://10.0.1.10/
  ip netns exec hp-consumer-c curl -s http://10.9.3.10/
  echo hello | ip netns exec hp-consumer-a nc -u -w1 10.0.1.10 53

The target is told who calls: `client` and `endpoint` in its answer come from a Proxy Protocol v2 header.
Without the header it sees the load balancer alone:
  ip netns exec hp-consumer-a curl -s http://10.0.1.10:8081/

Watch the addresses change (in other terminals):
  ip netns exec hp-consumer-a tcpdump -ni any 'tcp port 80'
  ip netns exec hp-fabric-use2-az1 tcpdump -ni any 'tcp'
  ip netns exec hp-target-1 tcpdump -ni any 'tcp port 8080'

Look inside:
  hyperplane lab status; hyperplane nodes; hyperplane flows
  hyperplane trace consumer-a 10.0.1.10
  curl -s http://127.0.0.1:4566/_hyperplane/health
Take it away: hyperplane lab down
"""


def said(store: Store) -> str:
    return "".join(f"{line}\n" for line in next_steps(store, compile_snapshot(store), URL))


@pytest.fixture
def store() -> Store:
    return load_lab(DEFAULT_LAB)


def listeners_only(store: Store, *ports: int) -> Store:
    (balancer,) = store.all(LoadBalancer)
    kept: tuple[Listener, ...] = tuple(item for item in balancer.listeners if item.port in ports)
    return store.put([replace(balancer, listeners=kept)], now=0.0)


def test_of_the_default_lab(store: Store) -> None:
    assert said(store) == DEFAULT


def test_of_a_lab_without_a_header(store: Store) -> None:
    plain = [replace(group, proxy_protocol_v2=False) for group in store.all(TargetGroup)]
    assert "Proxy Protocol" not in said(store.put(plain, now=0.0))


def test_of_a_lab_with_nothing_but_headers(store: Store) -> None:
    text = said(listeners_only(store, 80))
    assert "Proxy Protocol" in text
    assert "Without the header" not in text
    assert "nc -u" not in text


def test_of_a_lab_on_another_port(store: Store) -> None:
    text = said(listeners_only(store, 8081))
    assert "  ip netns exec hp-consumer-b curl -s http://10.0.1.10:8081/\n" in text
    assert "  ip netns exec hp-consumer-a tcpdump -ni any 'tcp port 8081'\n" in text
    assert "  hyperplane trace consumer-a 10.0.1.10 --port 8081\n" in text


def test_of_a_lab_with_other_target_ports() -> None:
    store = lab()
    groups = [
        replace(group, targets=tuple(replace(target, port=9_000) for target in group.targets))
        for group in store.all(TargetGroup)
    ]
    assert "hp-target-1 tcpdump -ni any 'tcp port 9000'" in said(store.put(groups, now=0.0))


def test_of_a_lab_without_an_endpoint(store: Store) -> None:
    text = said(store.remove([endpoint.resource_id for endpoint in store.all(VpcEndpoint)], now=0.0))
    assert "curl -s http://1" in text, "the health page is there"
    assert "trace" not in text
    assert "hp-consumer" not in text
