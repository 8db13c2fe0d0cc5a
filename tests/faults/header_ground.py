"""What the tests of injected headers do to the kernels at both ends, and ask of them."""

import itertools
import socket
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netns.namespace import inside

LINK = "hp-eth0"
"""The one link of an instance."""

SIGNATURE = ("-p", "tcp", "-m", "string", "--algo", "bm", "--from", "40", "--to", "80")
HEADER = (*SIGNATURE, "--hex-string", "|0d0a0d0a000d0a515549540a|")
"""Matches segments that begin with a Proxy Protocol v2 header, with TCP options and without."""

SEGMENT = ("-p", "tcp", "!", "--syn", "-m", "length", "--length", "53:")
"""Matches what carries data, where time stamps are the only options."""

_FEATURES = ("tx", "sg", "tso", "gso", "gro")
"""In the order in which each may be turned on again."""

ESTABLISHED, SYN_RECEIVED, TIME_WAIT, LISTEN = "01", "03", "06", "0A"
"""net/tcp_states.h"""

SETTINGS = Path("/proc/sys/net/ipv4")

_names = itertools.count()


def first_of_each(count: int) -> tuple[str, ...]:
    """Matches the first `count` packets of every connection, by its source port."""
    rate = ("--hashlimit-upto", "1/hour", "--hashlimit-burst", str(count), "--hashlimit-htable-expire", "3600000")
    mode = ("--hashlimit-mode", "srcip,srcport,dstport", "--hashlimit-name", f"hp{next(_names)}")
    return ("-m", "hashlimit", *mode, *rate)


@contextmanager
def rule(namespace: str, chain: str, *what: str, table: str = "filter") -> Iterator[None]:
    """An iptables rule at the head of a chain."""
    run(namespace, "iptables", "-w", "-t", table, "-I", chain, *what)
    try:
        yield
    finally:
        run(namespace, "iptables", "-w", "-t", table, "-D", chain, *what)


@contextmanager
def without_offloads(*namespaces: str, features: tuple[str, ...] = _FEATURES) -> Iterator[None]:
    """No super-packets, and checksums as they will be on the wire."""
    for namespace in namespaces:
        run(namespace, "ethtool", "-K", LINK, *(word for feature in features for word in (feature, "off")))
    try:
        yield
    finally:
        for namespace in namespaces:
            run(namespace, "ethtool", "-K", LINK, *(word for feature in _FEATURES for word in (feature, "on")))


def has_sysctl(name: str) -> bool:
    return (SETTINGS / name).exists()


@contextmanager
def sysctl(namespace: str, name: str, value: int) -> Iterator[None]:
    """A setting under net.ipv4."""
    path = SETTINGS / name
    with inside(namespace):
        before = path.read_text()
        path.write_text(f"{value}\n")
    try:
        yield
    finally:
        with inside(namespace):
            path.write_text(before)


def counters(*namespaces: str) -> Counter[str]:
    """What these kernels' TCP has counted: `TcpExt...` and `Tcp...`, as nstat names them."""
    total: Counter[str] = Counter()
    for namespace in namespaces:
        with inside(namespace):
            texts = [Path("/proc/thread-self/net", name).read_text() for name in ("netstat", "snmp")]
        lines = "".join(texts).splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            group, *columns = names.split()
            for column, value in zip(columns, values.split()[1:], strict=True):
                total[group.removesuffix(":") + column] += int(value)
    return total


def connections(namespace: str, port: int) -> list[str]:
    """The states of all connections of a local TCP port, as /proc/net/tcp has them; no listener, no time wait."""
    with inside(namespace):
        lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
    states = (line.split()[3] for line in lines if int(line.split()[1].rpartition(":")[2], 16) == port)
    return [state for state in states if state not in (LISTEN, TIME_WAIT)]


def close_with_reset(connection: socket.socket) -> None:
    """SO_LINGER with no time: a RST instead of a FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def run(namespace: str, *command: str) -> str:
    """A command in a namespace. Returns what it printed."""
    with inside(namespace):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout
