"""What a target must be told of each consumer: known from the lab's plan and from what the lab shows to its user."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from functools import cache

from hyperplane.io.status import Word
from tests.lab.ends import Pair, listening, tcp_socket
from tests.lab.laboratory import (
    CLIENT,
    CONSUMER_A,
    CONSUMER_A2,
    CONSUMER_B,
    CONSUMER_C,
    ENDPOINT_OF,
    ZONE_IDS,
    Lab,
    add_header_listener,
    hyperplane,
    until,
)
from tests.lab.ppv2_oracle import header

CLIENT_OF = {CONSUMER_A: CLIENT, CONSUMER_A2: "10.0.2.50", CONSUMER_B: CLIENT, CONSUMER_C: "10.9.3.20"}

HEADER_CLIENT_PORTS = {"hash": 20_100, "spray": 20_200}
"""Client ports that nobody gets by chance. All consumers use the same at the same time."""

PROXY_DATAGRAM_PORT = 9102


@contextmanager
def datagram_headers(lab: Lab) -> Iterator[None]:
    """The running lab has a UDP listener with the header on `PROXY_DATAGRAM_PORT`, for as long as the block lasts.

    Not for always: an endpoint with such a listener gets no UDP super-packets, and other tests are about those.
    """
    lasting = deepcopy(lab.document)
    add_header_listener(lab.document, "UDP", PROXY_DATAGRAM_PORT)
    _follow(lab)
    try:
        yield
    finally:
        for part in ("target_groups", "load_balancers"):  # the steering may have changed meanwhile
            lab.document[part] = lasting[part]
        _follow(lab)


def _follow(lab: Lab) -> None:
    """`lab up` with the file as it is now, until every node goes by it."""
    pages = [page for zone_id in ZONE_IDS for page in lab.pages(zone_id)]
    before = max(page.get(Word.SNAPSHOT_VERSION) for page in pages)
    lab.write()
    lab.up()
    until(lambda: all(page.get(Word.SNAPSHOT_VERSION) > before for page in pages), "all nodes have the new snapshot")
    for page in pages:
        page.close()


@cache
def endpoint_id(consumer: str) -> str:
    """The id of a consumer's endpoint, as its user learns it. A lab of the same names has the same ids."""
    done = hyperplane("trace", consumer.removeprefix("hp-"), ENDPOINT_OF[consumer], "--json")
    assert done.returncode == 0, done.stderr
    found: str = json.loads(done.stdout)["endpoint_id"]
    return found


def header_of(consumer: str, client_port: int, port: int, protocol: str = "tcp") -> bytes:
    """The header that the target must get when this consumer calls its own endpoint."""
    door = (ENDPOINT_OF[consumer], port)
    return header(protocol, (CLIENT_OF[consumer], client_port), door, endpoint_id(consumer))


@contextmanager
def pairs_of_all(port: int, client_port: int) -> Iterator[dict[str, Pair]]:
    """A connection of every consumer, all at once, with the same client port. They end by reset: the port is free."""
    with ExitStack() as stack, listening(port=port) as listener:
        pairs = {}
        for consumer in CLIENT_OF:
            client = tcp_socket(consumer)
            client.bind(("0.0.0.0", client_port))
            pairs[consumer] = Pair(consumer, port, client=client, listener=listener)
            stack.callback(pairs[consumer].reset)
        yield pairs
