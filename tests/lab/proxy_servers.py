"""Strangers' servers that read Proxy Protocol v2, in the target's namespace, on the ports where the header comes.

Each is started with a configuration of its own in a directory of its own and is ended with the block; nothing of the
machine's is read or touched.
"""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tests.lab.laboratory import PLACEMENTS, STAND_IN, TARGET_1, until
from tests.lab.proxy_clients import PROXY_DATAGRAM_PORT
from tests.lab.strangers import needs, run, running

ARTICLE_PARSER = Path(__file__).parents[2] / "scripts" / "receivers" / "article.mjs"
CLIENT_WORDS = ("client", "client_port", "endpoint", "endpoint_port")
"""What HAProxy and nginx are asked to answer, in this order: all that the fixed part of the header says."""


@contextlib.contextmanager
def server(*command: str, log: Path, ports: Iterable[int] = PLACEMENTS, address: str = STAND_IN) -> Iterator[None]:
    """A program in the target's namespace, once it listens on these TCP ports."""
    with running(TARGET_1, *command, log=log) as process:

        def listens() -> bool:
            assert process.poll() is None, log.read_text()
            there = run(TARGET_1, "ss", "-ltnH").stdout
            return all(f" {address}:{port} " in there for port in ports)

        until(listens, f"{command[0]} listens")
        yield


@contextlib.contextmanager
def open_directory() -> Iterator[Path]:
    """A directory that programs may look into which have given up being root."""
    directory = Path(tempfile.mkdtemp(prefix="hp-", dir="/dev/shm"))
    try:
        directory.chmod(0o755)
        yield directory
    finally:
        until(lambda: _removed(directory), f"nobody writes into {directory} any more")


def _removed(directory: Path) -> bool:
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


def configured(directory: Path, name: str, text: str, ports: Iterable[int] = PLACEMENTS) -> str:
    """Write a configuration, the line with PORT once for each port. Returns its path."""
    lines = []
    for line in text.replace("DIRECTORY", str(directory)).replace("ADDRESS", STAND_IN).splitlines():
        lines += [line.replace("PORT", str(port)) for port in ports] if "PORT" in line else [line]
    path = directory / name
    path.write_text("\n".join(lines) + "\n")
    return str(path)


# --- HTTP -----------------------------------------------------------------------------------------

HAPROXY = """
defaults
  mode http
  timeout client 60s
  timeout connect 60s
  timeout server 60s
frontend judge
  bind ADDRESS:PORT accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst] %[dst_port]\\n"
"""


@contextlib.contextmanager
def haproxy(directory: Path) -> Iterator[None]:
    """HAProxy answers every request with the `CLIENT_WORDS`."""
    path = configured(directory, "haproxy.cfg", HAPROXY)
    with server("haproxy", "-db", "-f", path, log=directory / "haproxy.log"):
        yield


NGINX = """
daemon off; pid DIRECTORY/pid; error_log DIRECTORY/error.log; worker_processes 1; user root;
events { worker_connections 512; }
http {
  client_body_temp_path DIRECTORY/body; proxy_temp_path DIRECTORY/proxy;
  fastcgi_temp_path DIRECTORY/fastcgi; uwsgi_temp_path DIRECTORY/uwsgi; scgi_temp_path DIRECTORY/scgi;
  log_format judged "$proxy_protocol_addr $proxy_protocol_port "
    "$proxy_protocol_server_addr $proxy_protocol_server_portTLV";
  access_log DIRECTORY/access.log judged;
  server {
    listen ADDRESS:PORT proxy_protocol;
    return 204;
  }
}
"""


@contextlib.contextmanager
def nginx(directory: Path) -> Iterator[Path]:
    """nginx answers nothing and logs the `CLIENT_WORDS`, and the TLV of AWS where it can. Yields its access log."""
    tlv = " $proxy_protocol_tlv_0xea" if nginx_reads_tlvs() else ""
    path = configured(directory, "nginx.conf", NGINX.replace("TLV", tlv))
    with server("nginx", "-c", path, "-p", str(directory), log=directory / "nginx.log"):
        yield directory / "access.log"


def nginx_reads_tlvs() -> bool:
    """`$proxy_protocol_tlv_0x..` is there since 1.23.2."""
    needs("nginx")
    told = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr
    return tuple(map(int, told.rpartition("/")[2].split()[0].split("."))) >= (1, 23, 2)


@contextlib.contextmanager
def article_parser(directory: Path, port: int) -> Iterator[Path]:
    """The article's own receiver. Yields what it prints: one line for each client."""
    output = directory / f"article-{port}.log"
    with server("node", str(ARTICLE_PARSER), str(port), STAND_IN, log=output, ports=[port]):
        yield output


# --- DNS ------------------------------------------------------------------------------------------

DNSDIST = """
addLocal("ADDRESS:PORT")
setSecurityPollSuffix("")
setACL({"10.0.0.0/16", "10.9.0.0/16"})
setProxyProtocolACL({"10.9.0.0/23"})
"""
"""Proxy Protocol is asked of the load balancer's subnets. There is no server behind it: rules answer everything."""


@contextlib.contextmanager
def dnsdist(directory: Path, answers: Mapping[str, tuple[str, str]]) -> Iterator[None]:
    """dnsdist answers any question for an A record with one address for each pair of endpoint id and client address."""
    rules = [
        f'addAction(AndRule({{ProxyProtocolValueRule(0xEA, "\\001{endpoint_id}"), makeRule("{client}/32")}}), '
        f'SpoofAction("{answer}"))'
        for answer, (endpoint_id, client) in answers.items()
    ]
    text = "\n".join([DNSDIST, *rules, "addAction(AllRule(), RCodeAction(DNSRCode.REFUSED))"])
    path = configured(directory, "dnsdist.conf", text, [*PLACEMENTS, PROXY_DATAGRAM_PORT])
    with server("dnsdist", "--supervised", "--disable-syslog", "-C", path, log=directory / "dnsdist.log"):
        yield


# --- servers that speak first ---------------------------------------------------------------------

POSTFIX = """
compatibility_level = 3.6
queue_directory = DIRECTORY/queue
data_directory = DIRECTORY/data
maillog_file_prefixes = DIRECTORY
maillog_file = DIRECTORY/maillog
myhostname = orders.example.com
inet_interfaces = ADDRESS
inet_protocols = ipv4
mydestination =
mynetworks =
smtpd_upstream_proxy_protocol = haproxy
smtpd_upstream_proxy_timeout = 300s
smtpd_peername_lookup = no
smtpd_client_port_logging = yes
smtpd_relay_restrictions = reject_unauth_destination
virtual_mailbox_domains = example.com
virtual_mailbox_base = DIRECTORY/mail
virtual_mailbox_maps = static:inbox
virtual_minimum_uid = 1
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
"""

POSTFIX_SERVICES = """
ADDRESS:PORT inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
postlog unix-dgram n - n - 1 postlogd
"""

POSTFIX_QUEUES = (
    "active bounce corrupt defer deferred flush hold incoming maildrop pid private public saved trace".split()
)


@contextlib.contextmanager
def postfix() -> Iterator[Path]:
    """Postfix with one mailbox, `mail/inbox`, and its log in `maillog`. Yields the directory that holds both."""
    needs("postfix")
    daemons = subprocess.run(["postconf", "-dh", "daemon_directory"], capture_output=True, text=True, check=True).stdout
    with open_directory() as directory:
        configured(directory, "main.cf", POSTFIX)
        configured(directory, "master.cf", POSTFIX_SERVICES)
        owners = dict.fromkeys(["data", *(f"queue/{name}" for name in POSTFIX_QUEUES)], "postfix")
        for name, owner in (owners | {"mail": "nobody"}).items():
            (directory / name).mkdir(parents=True)
            shutil.chown(directory / name, owner)
        with server(f"{daemons.strip()}/master", "-c", str(directory), "-d", log=directory / "master.log"):
            yield directory


SSH_PORT = 9122

BEFORE_SSH = """
global
  log stdout format raw local0
defaults
  mode tcp
  log global
  log-format "%ci:%cp to %[dst]:%[dst_port]"
  timeout client 60s
  timeout connect 60s
  timeout server 60s
listen ssh
  bind ADDRESS:PORT accept-proxy
  server ssh 127.0.0.1:SSH
"""


@contextlib.contextmanager
def ssh_behind_haproxy(directory: Path) -> Iterator[tuple[str, Path]]:
    """dropbear, which knows nothing of the header, behind HAProxy. Yields its public host key and HAProxy's log."""
    needs("dropbear", "dropbearkey", "haproxy")
    key, log = directory / "host.key", directory / "haproxy.log"
    made = subprocess.run(
        ["dropbearkey", "-t", "ed25519", "-f", str(key)], capture_output=True, text=True, check=True
    ).stdout
    public = next(line for line in made.splitlines() if line.startswith("ssh-ed25519 "))
    door = f"127.0.0.1:{SSH_PORT}"
    alone = ("dropbear", "-F", "-E", "-s", "-r", str(key), "-P", str(directory / "pid"), "-p", door)
    path = configured(directory, "haproxy.cfg", BEFORE_SSH.replace("SSH", str(SSH_PORT)))
    with (
        server(*alone, log=directory / "dropbear.log", ports=[SSH_PORT], address="127.0.0.1"),
        server("haproxy", "-db", "-f", path, log=log),
    ):
        yield " ".join(public.split()[:2]), log
