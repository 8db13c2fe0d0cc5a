"""dnsdist answers by who asks: it takes the endpoint's id from the header over TCP and over UDP."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.capture import Capture
from tests.lab.laboratory import (
    CONSUMER_A,
    CONSUMER_A2,
    CONSUMER_B,
    CONSUMER_C,
    CONSUMERS,
    ENDPOINT_OF,
    LINK,
    PLACEMENTS,
    PROXY_PORT,
    TARGET_1,
    Lab,
)
from tests.lab.proxy_clients import CLIENT_OF, PROXY_DATAGRAM_PORT, datagram_headers, endpoint_id
from tests.lab.proxy_dissector import as_wireshark_says, wireshark
from tests.lab.proxy_servers import dnsdist
from tests.lab.strangers import run

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module", autouse=True)
def headers(lab: Lab) -> Iterator[None]:
    with datagram_headers(lab):
        yield


# Which answer shows that dnsdist has seen which endpoint and which client.
ANSWERS = {CONSUMER_A: "192.0.2.1", CONSUMER_A2: "192.0.2.2", CONSUMER_B: "192.0.2.3", CONSUMER_C: "192.0.2.4"}


def dig(consumer: str, port: int, *options: str) -> str:
    where = ("-p", str(port), f"@{ENDPOINT_OF[consumer]}")
    how = ("+short", "+tries=1", "+time=30", *options)
    return run(consumer, "dig", *where, *how, "who.example.com", "A").stdout.strip()


def test_pp_43_dnsdist_knows_the_endpoint_over_tcp_and_udp(lab: Lab, steering: str, tmp_path: Path) -> None:
    """Each consumer has an answer of its own, which dnsdist gives for one endpoint id and one client address only."""
    known = {answer: (endpoint_id(consumer), CLIENT_OF[consumer]) for consumer, answer in ANSWERS.items()}
    with dnsdist(tmp_path, known):
        for port in PLACEMENTS:
            assert {consumer: dig(consumer, port, "+tcp") for consumer in CONSUMERS} == ANSWERS
        assert {consumer: dig(consumer, PROXY_DATAGRAM_PORT, "+notcp") for consumer in CONSUMERS} == ANSWERS


def test_pp_43_dnsdist_answers_nobody_whom_it_does_not_know(lab: Lab, tmp_path: Path) -> None:
    """The same rules with one digit of each id changed."""
    known = {
        answer: (endpoint_id(consumer)[:-1] + ("0" if endpoint_id(consumer)[-1] != "0" else "1"), CLIENT_OF[consumer])
        for consumer, answer in ANSWERS.items()
    }
    with dnsdist(tmp_path, known):
        for consumer in CONSUMERS:
            assert dig(consumer, PROXY_PORT, "+tcp") == ""
            assert dig(consumer, PROXY_DATAGRAM_PORT, "+notcp") == ""


def test_pp_38_wireshark_reads_the_header_of_datagrams(lab: Lab, steering: str, tmp_path: Path) -> None:
    """Those of dig, which dnsdist has answered."""
    known = {answer: (endpoint_id(consumer), CLIENT_OF[consumer]) for consumer, answer in ANSWERS.items()}
    with dnsdist(tmp_path, known), Capture(tmp_path, TARGET_1, LINK, f"udp dst port {PROXY_DATAGRAM_PORT}"):
        for consumer in CONSUMERS:
            dig(consumer, PROXY_DATAGRAM_PORT, "+notcp")
    lines = wireshark(tmp_path)
    assert len(lines) == len(CONSUMERS)
    for consumer, line in zip(CONSUMERS, lines, strict=True):
        words = " ".join(line.split()[:4])
        client, _, *door = words.split()
        assert (client, *door) == (CLIENT_OF[consumer], ENDPOINT_OF[consumer], str(PROXY_DATAGRAM_PORT))
        assert line == as_wireshark_says(words, consumer, "udp")
