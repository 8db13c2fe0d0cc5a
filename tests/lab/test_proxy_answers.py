"""The lab's own target says who called: JSON with the client and the endpoint, and neither where there is no header."""

import json
from contextlib import ExitStack
from typing import Any

import pytest

from tests.lab.ends import door_of, receive_all, tcp_socket
from tests.lab.laboratory import CONSUMERS, ENDPOINT_OF, PLAIN_PORT, Lab
from tests.lab.proxy_clients import CLIENT_OF, HEADER_CLIENT_PORTS, endpoint_id
from tests.lab.strangers import run

pytestmark = pytest.mark.netns


def named(answer: dict[str, Any]) -> tuple[Any, ...]:
    return answer["client"], answer["client_port"], answer["endpoint"]


@pytest.mark.parametrize("port", [80, 443])
def test_pp_43_each_consumer_is_named(lab: Lab, steering: str, port: int) -> None:
    for consumer in CONSUMERS:
        url = f"http://{ENDPOINT_OF[consumer]}:{port}/"
        told = run(consumer, "curl", "-sS", "-m", "30", "-w", "%{local_port}", url).stdout
        answer, client_port = told.splitlines()
        assert named(json.loads(answer)) == (CLIENT_OF[consumer], int(client_port), endpoint_id(consumer))


def test_pp_43_at_once_from_one_client_port(lab: Lab, steering: str) -> None:
    """Consumers a and b have the same addresses and ports at the same moment: the endpoint's id tells them apart."""
    client_port = HEADER_CLIENT_PORTS[steering] + 30
    with ExitStack() as stack:
        clients = {}
        for consumer in CONSUMERS:
            clients[consumer] = client = stack.enter_context(tcp_socket(consumer))
            client.bind(("0.0.0.0", client_port))
            client.connect(door_of(consumer, 80))
        for client in clients.values():
            client.sendall(b"GET / HTTP/1.1\r\nHost: orders.example.com\r\nConnection: close\r\n\r\n")
        for consumer, client in clients.items():
            answer = json.loads(receive_all(client).partition(b"\r\n\r\n")[2])
            assert named(answer) == (CLIENT_OF[consumer], client_port, endpoint_id(consumer))


def test_without_a_header_nobody_is_named(lab: Lab, steering: str) -> None:
    for consumer in CONSUMERS:
        answer = json.loads(run(consumer, "curl", "-sS", f"http://{ENDPOINT_OF[consumer]}:{PLAIN_PORT}/").stdout)
        assert answer.keys() == {"target", "peer", "peer_port", "path"}
