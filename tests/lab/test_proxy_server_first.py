"""Servers that speak first: SMTP and SSH greet a client that says nothing, if the header follows the handshake.

With AWS's default the header waits for the client's first byte, so such a server waits for the header and the client
for the server. That is so here, too.
"""

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lab.capture import Capture
from tests.lab.ends import door_of, tcp_socket
from tests.lab.laboratory import (
    CONSUMER_A,
    CONSUMERS,
    ENDPOINT_OF,
    LINK,
    PROXY_AT_ONCE_PORT,
    PROXY_PORT,
    TARGET_1,
    Lab,
    until,
)
from tests.lab.ppv2_oracle import payload
from tests.lab.proxy_clients import CLIENT_OF
from tests.lab.proxy_servers import postfix, ssh_behind_haproxy
from tests.lab.strangers import run

pytestmark = pytest.mark.netns

GREETING = b"220 orders.example.com ESMTP Postfix\r\n"


def test_pp_01_smtp_greets_a_silent_client_and_takes_its_mail(lab: Lab, steering: str) -> None:
    """A whole dialogue of each consumer; log and mail name the client's own address."""
    with postfix() as directory, ExitStack() as stack:
        log, inbox = directory / "maillog", directory / "mail" / "inbox"
        for consumer in CONSUMERS:
            client = stack.enter_context(tcp_socket(consumer))
            client.connect(door_of(consumer, PROXY_AT_ONCE_PORT))
            assert client.recv(1000) == GREETING
            seen = f"connect from unknown[{CLIENT_OF[consumer]}]:{client.getsockname()[1]}\n"
            until(lambda seen=seen: seen in log.read_text(), "Postfix logs the client")  # type: ignore[misc]
        for consumer in CONSUMERS:
            url = f"smtp://{ENDPOINT_OF[consumer]}:{PROXY_AT_ONCE_PORT}/{consumer}"
            envelope = ("--mail-from", f"{consumer}@client.example", "--mail-rcpt", "orders@example.com")
            mail = f"From: {consumer}@client.example\r\nSubject: an order\r\n\r\nof {consumer}\r\n"
            run(consumer, "curl", "-sS", "-m", "60", *envelope, "-T", "-", url, text=mail)
        until(lambda: all(f"of {consumer}\n" in _text(inbox) for consumer in CONSUMERS), "all mail is delivered")
        for consumer in CONSUMERS:
            assert f"Received: from {consumer} (unknown [{CLIENT_OF[consumer]}])" in inbox.read_text()


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_pp_01_with_the_default_placement_nobody_greets_before_the_client_speaks(
    lab: Lab, steering: str, tmp_path: Path
) -> None:
    """When all that was under way has arrived the target has no header, so its server knows of no client."""
    with (
        postfix() as directory,
        Capture(tmp_path, TARGET_1, LINK, f"tcp port {PROXY_PORT}") as capture,
        tcp_socket(CONSUMER_A) as client,
    ):
        client.connect(door_of(CONSUMER_A, PROXY_PORT))
        lab.settle()
        assert [payload(packet) for packet in capture.packets() if payload(packet)] == []
        assert "connect from" not in (directory / "maillog").read_text()
        client.sendall(b"EHLO client.example\r\n")
        answer = client.makefile("rb")
        assert answer.readline() == GREETING
        assert answer.readline() == b"250-orders.example.com\r\n"


def test_pp_01_ssh_behind_haproxy_greets_first_and_shows_its_key(lab: Lab, steering: str, tmp_path: Path) -> None:
    """ssh-keyscan says nothing before the server does. A signature over both sides' words ends the exchange of keys."""
    with ssh_behind_haproxy(tmp_path) as (key, log):
        for consumer in CONSUMERS:
            asked = ("-T", "30", "-t", "ed25519", "-p", str(PROXY_AT_ONCE_PORT), ENDPOINT_OF[consumer])
            shown = run(consumer, "ssh-keyscan", *asked).stdout
            assert shown.split(maxsplit=1)[1].strip() == key
            seen = rf"^{CLIENT_OF[consumer]}:\d+ to {ENDPOINT_OF[consumer]}:{PROXY_AT_ONCE_PORT}$"
            until(lambda seen=seen: re.search(seen, log.read_text(), re.MULTILINE) is not None, "HAProxy logs it")  # type: ignore[misc]
