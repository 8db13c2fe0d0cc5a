"""What the machine has: rights, memory, programs, Python packages, room, and what stands in the way."""

import errno
import importlib
import os
import resource
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from hyperplane.cli.doctor.finding import Absent, Probe
from hyperplane.cli.options import API_ADDRESS, API_PORT
from hyperplane.control.compiler import compile_snapshot
from hyperplane.errors import ConfigurationError
from hyperplane.flow.journal import journal_bytes
from hyperplane.io.ground import ground
from hyperplane.io.lab_file import load_lab
from hyperplane.io.lab_record import lab_record
from hyperplane.io.privilege import NODE_USER, node_user_ids
from hyperplane.io.runtime import is_memory, mount_memory, unmount_memory
from hyperplane.limits import FLOWS_PER_NODE_MAX, JOURNAL_RING_ENTRIES, PORT_POOLS_MAX
from netns.namespace import list_names

_GIGABYTE = 1 << 30
_CORES_ENOUGH = 2
_FILES_BESIDES_POOLS = 64
_NAMES_TOLD_MAX = 6


def _root() -> str:
    if os.geteuid() != 0:
        raise Absent(f"this is user {os.geteuid()}")
    return "yes"


def _node_user() -> str:
    try:
        uid, _ = node_user_ids()
    except KeyError:
        raise Absent(f"there is no user {NODE_USER}") from None
    return f"{NODE_USER}, {uid}"


def _memory_files(runtime: Path) -> Callable[[], str]:
    def look() -> str:
        if runtime.exists() and is_memory(runtime):
            return f"{runtime} is in memory"
        with tempfile.TemporaryDirectory(prefix="hp-doctor-") as place:
            mounted = mount_memory(Path(place))
            if mounted:
                unmount_memory(Path(place))
        return "one can be mounted"

    return look


def _memory() -> str:
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(lines["MemAvailable"].split()[0]) * 1024
    full = journal_bytes(FLOWS_PER_NODE_MAX, JOURNAL_RING_ENTRIES)
    if available < _GIGABYTE:
        raise Absent(f"{available / _GIGABYTE:.1f} GB are free")
    return f"{available / _GIGABYTE:.1f} GB free; a full journal of a node has {full >> 20} MB"


def _cores() -> str:
    count = len(os.sched_getaffinity(0))
    if count < _CORES_ENOUGH:
        raise Absent(f"{count} core")
    return f"{count} cores"


def _open_files() -> str:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = PORT_POOLS_MAX + _FILES_BESIDES_POOLS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        raise Absent(f"a process may open {soft} files, {wanted} would serve every case")
    return f"a process may open {'any number of' if soft == resource.RLIM_INFINITY else soft} files"


def _tool(*names: str) -> Callable[[], str]:
    """All of these programs."""

    def look() -> str:
        missing = [name for name in names if shutil.which(name) is None]
        if missing:
            raise Absent(f"not installed: {', '.join(missing)}")
        return ", ".join(shutil.which(name) or name for name in names)

    return look


def _any_tool(*names: str) -> Callable[[], str]:
    """One of these programs."""

    def look() -> str:
        found = next((path for name in names if (path := shutil.which(name))), None)
        if found is None:
            raise Absent(f"not installed: {' nor '.join(names)}")
        return found

    return look


def _package(name: str) -> Callable[[], str]:
    def look() -> str:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            raise Absent(str(error)) from None
        version = getattr(module, "__version__", "")
        return f"imported{f', {version}' if isinstance(version, str) and version else ''}"

    return look


def _api_port(runtime: Path) -> Callable[[], str]:
    def look() -> str:
        if lab_record(runtime).exists():
            return f"{API_ADDRESS}:{API_PORT} is the lab's that is up"
        with socket.socket() as asked:
            asked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                asked.bind((API_ADDRESS, API_PORT))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise Absent(f"{API_ADDRESS}:{API_PORT} is somebody else's") from None
                raise
        return f"{API_ADDRESS}:{API_PORT} is free"

    return look


def _leftovers(runtime: Path) -> Callable[[], str]:
    def look() -> str:
        ours = _names_of_the_lab(runtime)
        strangers = [name for name in list_names() if name not in ours]
        if strangers:
            told = ", ".join(strangers[:_NAMES_TOLD_MAX]) + (", ..." if len(strangers) > _NAMES_TOLD_MAX else "")
            raise Absent(f"{len(strangers)} namespaces that no lab in {runtime} knows: {told}")
        return f"none beside the {len(ours)} namespaces of the lab" if ours else "none"

    return look


def _names_of_the_lab(runtime: Path) -> set[str]:
    try:
        store = load_lab(Path(lab_record(runtime).read_text().strip()))
    except (FileNotFoundError, ConfigurationError):
        return set()
    return {space.name for space in ground(store, compile_snapshot(store)).namespaces}


_PACKAGES = (
    ("netfilterqueue", "no packet reaches a node", "netfilterqueue (needs libnetfilter-queue-dev)", True),
    ("uvloop", "nodes do not start", "uvloop", True),
    ("pyroute2", "no lab can be built", "pyroute2", True),
    ("yaml", "lab files cannot be read", "PyYAML", True),
    ("scapy", "`trace` cannot read packets; all else works", "'hyperplane[trace]'", False),
)
_CONVENIENCES = (
    ("curl, nc", _tool("curl", "nc"), "the printed next steps use them", "curl netcat-openbsd"),
    ("tcpdump", _tool("tcpdump"), "`capture --filter` cannot compile filters", "tcpdump"),
    ("wireshark or tshark", _any_tool("wireshark", "tshark"), "nobody reads `capture --live`", "wireshark"),
    ("dot", _tool("dot"), "`lab graph --format dot` is text only; svg needs nothing", "graphviz"),
    (
        "for the benchmark",
        _tool("iperf3", "wrk", "nginx", "haproxy", "nft"),
        "`make bench` cannot run",
        "iperf3 wrk nginx-light haproxy nftables",
    ),
)
_ROOM = (
    ("free memory", _memory, "many flows will not fit", "more memory, or fewer flows_per_node_max"),
    ("cores", _cores, "clients, nodes and targets share one: slow, but it works", "a second core"),
    (
        "open files",
        _open_files,
        "a node serves fewer pairs of load balancer and target than it could",
        f"ulimit -n {PORT_POOLS_MAX + _FILES_BESIDES_POOLS}",
    ),
)


def probes(runtime: Path) -> Iterator[Probe]:
    """All of them, for a lab whose files are below `runtime`."""
    yield Probe("root", _root, "no namespaces, links and rules can be made", "run it with sudo", as_root=False)
    user = f"a user named {NODE_USER}"
    yield Probe("user of the nodes", _node_user, "nodes cannot give up root, so they do not start", user, as_root=False)
    yield Probe("memory file system", _memory_files(runtime), "journals would be on a disk", "the right to mount tmpfs")
    for name, look, follows, helps in _ROOM:
        yield Probe(name, look, follows, helps, required=False, as_root=False)
    install = "apt-get install"
    tables = _tool("iptables-restore", "iptables-save", "ip6tables-restore", "ip6tables-save")
    yield Probe("ip", _tool("ip"), "namespaces cannot be made", f"{install} iproute2", as_root=False)
    yield Probe("iptables", tables, "packets cannot be steered", f"{install} iptables", as_root=False)
    for name, follows, helps, required in _PACKAGES:
        yield Probe(f"Python: {name}", _package(name), follows, f"pip install {helps}", required, as_root=False)
    yield from _conflicts(runtime)
    for name, look, follows, package in _CONVENIENCES:
        yield Probe(name, look, follows, f"{install} {package}", required=False, as_root=False)


def _conflicts(runtime: Path) -> Iterator[Probe]:
    yield Probe(
        "API port",
        _api_port(runtime),
        "`hyperplane control` cannot listen",
        "set HYPERPLANE_API=127.0.0.1:PORT",
        as_root=False,
    )
    yield Probe(
        "leftovers",
        _leftovers(runtime),
        "they belong to another lab or to one that crashed, and may have a name that yours wants",
        "hyperplane lab down --all removes every namespace whose name starts with hp-",
        required=False,
        as_root=False,
    )
