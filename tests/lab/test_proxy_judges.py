"""Strangers read the header: HAProxy, nginx, Wireshark and the article's own parser."""

from pathlib import Path

import pytest

from tests.lab.capture import Capture
from tests.lab.ends import door_of, tcp_socket
from tests.lab.laboratory import (
    CONSUMER_A,
    CONSUMERS,
    ENDPOINT_OF,
    LINK,
    PLACEMENTS,
    PROXY_PORT,
    STAND_IN,
    TARGET_1,
    Lab,
    until,
)
from tests.lab.ppv2_oracle import CRC_AT, HEADER_BYTES, ID_AT, PADDING_AT, with_flipped_bit
from tests.lab.proxy_clients import CLIENT_OF, endpoint_id, header_of
from tests.lab.proxy_dissector import as_wireshark_says, wireshark
from tests.lab.proxy_servers import article_parser, haproxy, nginx, nginx_reads_tlvs
from tests.lab.strangers import run

pytestmark = pytest.mark.netns

REQUEST = b"GET / HTTP/1.1\r\nHost: orders.example.com\r\nConnection: close\r\n\r\n"


def curl(consumer: str, port: int) -> tuple[str, str]:
    """Call the consumer's endpoint. Returns the answer, and what the header must say: as `CLIENT_WORDS`."""
    url = f"http://{ENDPOINT_OF[consumer]}:{port}/"
    *answer, client_port = run(consumer, "curl", "-sS", "-m", "30", "-w", "\n%{local_port}", url).stdout.splitlines()
    return "\n".join(answer).strip(), f"{CLIENT_OF[consumer]} {client_port} {ENDPOINT_OF[consumer]} {port}"


@pytest.mark.parametrize("port", PLACEMENTS, ids=PLACEMENTS.values())
def test_pp_43_haproxy_accepts_it(lab: Lab, steering: str, tmp_path: Path, port: int) -> None:
    """With the CRC32C in it, which HAProxy checks: the test below."""
    with haproxy(tmp_path):
        for consumer in CONSUMERS:
            answer, expected = curl(consumer, port)
            assert answer == expected


def haproxys_answer(header: bytes) -> bytes:
    """What HAProxy answers to a request behind this header."""
    with tcp_socket(TARGET_1) as client:
        client.connect((STAND_IN, PROXY_PORT))
        client.sendall(header + REQUEST)
        return client.recv(1 << 16)


def test_pp_43_haproxy_checks_the_crc(lab: Lab, tmp_path: Path) -> None:
    """A judge that would accept anything is none: of the same header with one bit changed it accepts no one."""
    good = header_of(CONSUMER_A, 50_000, PROXY_PORT)
    with haproxy(tmp_path):
        assert haproxys_answer(good).endswith(f"10.0.1.50 50000 10.0.1.10 {PROXY_PORT}\n".encode())
        for at in (16, 20, 24, 26, CRC_AT, CRC_AT + 3, ID_AT, ID_AT + 21, PADDING_AT, HEADER_BYTES - 1):
            with pytest.raises(ConnectionResetError):
                haproxys_answer(with_flipped_bit(good, at))


def test_pp_43_nginx_and_wireshark_agree(lab: Lab, steering: str, tmp_path: Path) -> None:
    """On the same connections, of all consumers with both placements."""
    calls = []
    with nginx(tmp_path) as log, Capture(tmp_path, TARGET_1, LINK, "tcp"):
        for port in PLACEMENTS:
            calls += [(consumer, curl(consumer, port)[1]) for consumer in CONSUMERS]
        until(lambda: len(log.read_text().splitlines()) == len(calls), "nginx has logged them all")
        ids = [f" \\x01{endpoint_id(consumer)}" if nginx_reads_tlvs() else "" for consumer, _ in calls]
        assert log.read_text().splitlines() == [words + found for (_, words), found in zip(calls, ids, strict=True)]
    assert wireshark(tmp_path) == [as_wireshark_says(words, consumer) for consumer, words in calls]


@pytest.mark.parametrize("port", PLACEMENTS, ids=PLACEMENTS.values())
def test_pp_43_the_articles_parser_prints_client_and_endpoint(
    lab: Lab, steering: str, tmp_path: Path, port: int
) -> None:
    with article_parser(tmp_path, port) as output:
        for number, consumer in enumerate(CONSUMERS, start=1):
            with tcp_socket(consumer) as client:
                client.connect(door_of(consumer, port))
                client.sendall(REQUEST)
                until(lambda number=number: len(output.read_text().splitlines()) == number, "a line is there")  # type: ignore[misc]
        assert output.read_text().splitlines() == [
            f"real client {CLIENT_OF[consumer]} via {endpoint_id(consumer)}" for consumer in CONSUMERS
        ]
