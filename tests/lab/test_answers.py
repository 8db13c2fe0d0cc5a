"""Overlapping networks reach one service: every answer comes, from the right place, to whoever asked."""

import contextlib
import json
import select
import socket
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.lab.ends import receive_all, tcp_socket, udp_socket
from tests.lab.laboratory import (
    BALANCER,
    BALANCER_2,
    CONSUMER_A,
    CONSUMER_A2,
    CONSUMER_B,
    CONSUMER_C,
    ENDPOINT,
    ENDPOINT_2,
    ENDPOINT_C,
    ENDPOINT_OF,
    HANG_GUARD_S,
    OUTSIDER,
    PLAIN_PORT,
    Lab,
)
from tests.lab.strangers import run, running

pytestmark = pytest.mark.netns

DOORS = [
    (CONSUMER_A, ENDPOINT, BALANCER, "target-1"),
    (CONSUMER_B, ENDPOINT, BALANCER, "target-1"),
    (CONSUMER_C, ENDPOINT_C, BALANCER, "target-1"),
    (CONSUMER_A2, ENDPOINT_2, BALANCER_2, "target-2"),
    (CONSUMER_A2, ENDPOINT, BALANCER, "target-1"),
    (CONSUMER_A, ENDPOINT_2, BALANCER_2, "target-2"),
]
"""Who asks whom: a target of the endpoint's zone answers, and sees that zone's balancer."""

OVERLAPPING = (CONSUMER_A, CONSUMER_B, CONSUMER_C)
"""Two have the same address, the third has a target's."""
FIRST_PORT, PORTS = 20_000, 200


def answer_to(consumer: str, url: str) -> Any:
    """What curl gets."""
    return json.loads(run(consumer, "curl", "-sS", "-m", "30", url).stdout)


@pytest.mark.parametrize("port", [80, 443, PLAIN_PORT])
@pytest.mark.parametrize(("consumer", "endpoint", "balancer", "target"), DOORS)
def test_curl_gets_json(
    lab: Lab, steering: str, consumer: str, endpoint: str, balancer: str, target: str, port: int
) -> None:
    answer = answer_to(consumer, f"http://{endpoint}:{port}/{consumer}")
    assert (answer["target"], answer["peer"], answer["path"]) == (target, balancer, f"/{consumer}")


@pytest.mark.parametrize(("consumer", "endpoint", "balancer", "target"), DOORS)
def test_a_datagram_is_echoed(
    lab: Lab, steering: str, consumer: str, endpoint: str, balancer: str, target: str
) -> None:
    with udp_socket(consumer) as client:
        client.connect((endpoint, 53))
        client.send(f"{consumer} asks".encode())
        assert client.recv(100) == f"{consumer} asks".encode()


def test_socat_hears_its_echo(lab: Lab) -> None:
    done = run(CONSUMER_A, "socat", "-t", "5", "-,ignoreeof", f"UDP:{ENDPOINT}:53,readbytes=6", text="hello\n")
    assert done.stdout == "hello\n"


def test_equal_source_ports_at_once_and_no_answer_is_mixed_up(lab: Lab, steering: str) -> None:
    """Six hundred connections in one moment, each tuple three times in the world."""
    callers = {}
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        for consumer in OVERLAPPING:
            caller = callers[consumer, port] = tcp_socket(consumer)
            caller.bind(("0.0.0.0", port))
            caller.setblocking(False)
            caller.connect_ex((ENDPOINT_OF[consumer], 80))
    for (consumer, port), caller in callers.items():
        caller.settimeout(HANG_GUARD_S)
        caller.sendall(f"GET /{consumer}/{port} HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n\r\n".encode())
    seen = set()
    for (consumer, port), caller in callers.items():
        with caller:
            answer = json.loads(receive_all(caller).partition(b"\r\n\r\n")[2])
        assert answer["path"] == f"/{consumer}/{port}"
        assert answer["peer"] == BALANCER
        seen.add((answer["target"], answer["peer_port"]))
    assert len(seen) == len(callers), "two connections to one target had one source port"


def test_equal_source_ports_of_datagrams(lab: Lab, steering: str) -> None:
    callers: dict[tuple[str, int], socket.socket] = {}
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        for consumer in OVERLAPPING:
            caller = callers[consumer, port] = udp_socket(consumer, port=port)
            caller.connect((ENDPOINT_OF[consumer], 53))
            caller.send(f"{consumer}/{port}".encode())
    for (consumer, port), caller in callers.items():
        with caller:
            # The echo has one small buffer for six hundred at once; a datagram that it lost is asked again.
            while not select.select([caller], [], [], 1)[0]:
                caller.send(f"{consumer}/{port}".encode())
            assert caller.recv(100) == f"{consumer}/{port}".encode()


def test_curls_at_once(lab: Lab, steering: str, tmp_path: Path) -> None:
    """The same with curl's own connections, all consumers together, 50 at a time, from one narrow range of ports."""
    many = ("curl", "-sS", "-m", "60", "-Z", "--parallel-max", "50", "--local-port", "30000-30999")
    with contextlib.ExitStack() as stack:
        curls = []
        for consumer in OVERLAPPING:
            output, log = (tmp_path / f"{consumer}.{suffix}" for suffix in ("json", "log"))
            pages = f"http://{ENDPOINT_OF[consumer]}/{consumer}/[1-200]"
            curls.append((stack.enter_context(running(consumer, *many, pages, output=output, log=log)), log))
        for curl, log in curls:
            assert curl.wait(2 * HANG_GUARD_S) == 0, log.read_text()
    for consumer in OVERLAPPING:
        answers = [json.loads(line) for line in (tmp_path / f"{consumer}.json").read_text().splitlines()]
        assert sorted(answer["path"] for answer in answers) == sorted(f"/{consumer}/{n}" for n in range(1, 201))
        assert {answer["peer"] for answer in answers} == {BALANCER}


def test_the_outsider_gets_nothing(lab: Lab) -> None:
    """It has the consumers' address, but no endpoint: nobody answers, and nothing reaches a node."""
    lab.settle()
    before = lab.counters()
    for address in (ENDPOINT, BALANCER, ENDPOINT_C):
        done = run(OUTSIDER, "curl", "-sS", "-m", "1", f"http://{address}/", expect=None)
        assert done.returncode in (7, 28), done.stderr  # could not connect, or heard nothing
    assert lab.moved_since(before) == {}


def test_the_health_page_is_well(lab: Lab) -> None:
    with urlopen("http://127.0.0.1:4566/_hyperplane/health", timeout=HANG_GUARD_S) as page:
        health = json.load(page)
    assert (health["status"], health["lab_problem"]) == ("ok", None)
    assert [len(zone["nodes"]) for zone in health["zones"]] == [4, 4]
