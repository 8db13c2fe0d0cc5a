"""Strangers' servers stand in as the target: iperf3, nginx, openssl. Their clients are curl and iperf3."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.ends import wrong_sums
from tests.lab.laboratory import (
    CONSUMER_A,
    CONSUMER_B,
    CONSUMER_C,
    ENDPOINT,
    ENDPOINT_OF,
    STAND_IN,
    STAND_IN_PORT,
    TARGET_1,
    Lab,
    until,
)
from tests.lab.strangers import run, running

pytestmark = pytest.mark.netns

MEGABYTE = 1 << 20


@pytest.mark.parametrize("reverse", [(), ("-R",)], ids=["up", "down"])
def test_iperf3_with_eight_streams(lab: Lab, steering: str, reverse: tuple[str, ...]) -> None:
    before = wrong_sums()
    with running(TARGET_1, "iperf3", "-s", "-1", "-B", STAND_IN, "-p", str(STAND_IN_PORT)):
        until(lambda: f"{STAND_IN}:{STAND_IN_PORT}" in run(TARGET_1, "ss", "-ltn").stdout, "iperf3 listens")
        many = ("-P", "8", "-n", str(32 * MEGABYTE), "-J", *reverse)
        done = run(CONSUMER_A, "iperf3", "-c", ENDPOINT, "-p", str(STAND_IN_PORT), *many)
    end = json.loads(done.stdout)["end"]
    assert len(end["streams"]) == 8
    assert all(stream["receiver"]["bytes"] > 0 for stream in end["streams"])
    # It ends when so much is handed to the sockets; what is in their buffers then, iperf3 does not wait for.
    assert end["sum_sent"]["bytes"] >= 32 * MEGABYTE
    assert wrong_sums() == before


NGINX = """
daemon off; pid {directory}/pid; error_log {directory}/error.log; worker_processes 1; user root;
events {{ worker_connections 512; }}
http {{
  access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  sendfile on; tcp_nopush on;
  server {{ listen {address}:{port} reuseport; root {directory}/root; dav_methods PUT; client_max_body_size 100m; }}
}}
"""


@pytest.fixture
def nginx(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """nginx stands in as the target. Yields the directory that it serves and takes files for."""
    root = tmp_path / "root"
    root.mkdir()
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(NGINX.format(directory=tmp_path, address=STAND_IN, port=STAND_IN_PORT))
    with running(TARGET_1, "nginx", "-c", str(configuration), "-p", str(tmp_path), log=tmp_path / "nginx.log"):
        until(lambda: f"{STAND_IN}:{STAND_IN_PORT}" in run(TARGET_1, "ss", "-ltn").stdout, "nginx listens")
        yield root


def test_curl_from_nginx_and_back_by_three_consumers_at_once(
    lab: Lab, steering: str, nginx: Path, tmp_path: Path
) -> None:
    """sendfile, keep-alive, PUT: each consumer gets the file that is its own, and leaves one of its own."""
    before = wrong_sums()
    processes = []
    with contextlib.ExitStack() as stack:
        for number, consumer in enumerate((CONSUMER_A, CONSUMER_B, CONSUMER_C)):
            content = hashlib.sha256(consumer.encode()).digest() * (256 * 1024)  # 8 MiB
            (nginx / f"{consumer}.bin").write_bytes(content)
            (tmp_path / f"put-{number}").write_bytes(content[::-1])
            url = f"http://{ENDPOINT_OF[consumer]}:{STAND_IN_PORT}"
            every = ("-sS", "--fail", "-m", "60")
            get = ("-o", str(tmp_path / f"got-{number}"), f"{url}/{consumer}.bin")
            put = ("-T", str(tmp_path / f"put-{number}"), f"{url}/{consumer}.up")
            command = ("curl", *every, *get, "--next", *every, *put)
            log = tmp_path / f"curl-{number}.log"
            processes.append((consumer, number, log, stack.enter_context(running(consumer, *command, log=log))))
        for _, _, log, process in processes:
            assert process.wait(60) == 0, log.read_text()
    for consumer, number, _, _ in processes:
        assert (tmp_path / f"got-{number}").read_bytes() == (nginx / f"{consumer}.bin").read_bytes()
        assert (tmp_path / f"put-{number}").read_bytes() == (nginx / f"{consumer}.up").read_bytes()
    assert wrong_sums() == before


def test_tls_by_openssl(lab: Lab, steering: str, tmp_path: Path) -> None:
    """A record with one wrong byte would not decrypt."""
    key, certificate, page = tmp_path / "key.pem", tmp_path / "cert.pem", tmp_path / "page"
    made = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=orders.example.com".split()
    run(TARGET_1, "openssl", "req", "-x509", *made, "-keyout", str(key), "-out", str(certificate))
    page.write_bytes(bytes(range(256)) * 8192)
    served = ("s_server", "-WWW", "-accept", f"{STAND_IN}:{STAND_IN_PORT}", "-key", str(key), "-cert", str(certificate))
    with contextlib.chdir(tmp_path), running(TARGET_1, "openssl", *served, "-quiet"):
        until(lambda: f"{STAND_IN}:{STAND_IN_PORT}" in run(TARGET_1, "ss", "-ltn").stdout, "openssl listens")
        url = f"https://orders.example.com:{STAND_IN_PORT}/page"
        asked = ("--cacert", str(certificate), "--resolve", f"orders.example.com:{STAND_IN_PORT}:{ENDPOINT}")
        run(CONSUMER_A, "curl", "-sS", "--fail", "-m", "60", "--http1.0", *asked, "-o", str(tmp_path / "got"), url)
    assert (tmp_path / "got").read_bytes() == page.read_bytes()
