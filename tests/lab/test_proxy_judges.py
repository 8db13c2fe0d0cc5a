"""Strangers read the header: HAProxy, nginx, Wireshark, dnsdist and the article's own parser."""

from pathlib import Path

import pytest

from tests.lab.capture import Capture
from tests.lab.ends import door_of, tcp_socket
from tests.lab.laboratory import (
    CONSUMER_A,
    CONSUMER_A2,
    CONSUMER_B,
    CONSUMER_C,
    CONSUMERS,
    ENDPOINT_OF,
    LINK,
    PLACEMENTS,
    PROXY_DATAGRAM_PORT,
    PROXY_PORT,
    STAND_IN,
    TARGET_1,
    Lab,
    until,
)
from tests.lab.ppv2_oracle import CRC_AT, HEADER_BYTES, ID_AT, PADDING_AT, with_flipped_bit
from tests.lab.proxy_clients import CLIENT_OF, endpoint_id, header_of
from tests.lab.proxy_servers import article_parser, dnsdist, haproxy, nginx, nginx_reads_tlvs
from tests.lab.strangers import needs, run

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


def wireshark(directory: Path) -> list[str]:
    """What Wireshark reads in the headers of a capture: the `CLIENT_WORDS`, then types and values of the TLVs.

    Each once: until a target has acknowledged its header, it may get it again.
    """
    needs("tshark")
    (file,) = directory.glob("*.pcap")
    fields = "src.ipv4 srcport dst.ipv4 dstport v2.tlv.type v2.tlv.value".split()
    shown = [word for field in fields for word in ("-e", f"proxy.{field}")]
    # The load balancer's port may be one that belongs to some other protocol.
    guess = ("-o", "tcp.try_heuristic_first:TRUE", "-o", "udp.try_heuristic_first:TRUE")
    chosen = ("-Y", "proxy", "-T", "fields", "-E", "separator=/s", *shown)
    lines = run(TARGET_1, "tshark", "-r", str(file), *guess, *chosen).stdout.splitlines()
    return list(dict.fromkeys(lines))


def as_wireshark_says(words: str, consumer: str, protocol: str = "tcp") -> str:
    _, client_port, _, port = words.split()
    crc = header_of(consumer, int(client_port), int(port), protocol)[CRC_AT : CRC_AT + 4].hex()
    value = b"\x01" + endpoint_id(consumer).encode()
    return f"{words} 0x03,0xea,0x04 {crc},{value.hex()},{bytes(36).hex()}"


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
