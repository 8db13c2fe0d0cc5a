"""The lab: everything of one lab file, built, running, and gone again.

`up` may be run at any time: on nothing, on a whole lab (it changes nothing), on one that was half
built or has crashed (it mends what is missing). `down` leaves nothing behind. Processes are
started and ended by pid, see `processes.py`.
"""

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hyperplane.control.compiler import compile_snapshot
from hyperplane.control.resources import EndpointState, Instance, Subnet, TargetGroup, VpcEndpoint
from hyperplane.control.store import Store
from hyperplane.errors import ConfigurationError
from hyperplane.io import processes
from hyperplane.io.ground import fabric_namespace, ground, instance_namespace
from hyperplane.io.health import health
from hyperplane.io.lab_file import load_lab
from hyperplane.io.processes import ProcessFailed, ProcessFiles
from hyperplane.io.reconcile import Reconciled, reconcile
from hyperplane.io.runtime import mount_memory, unmount_memory, write_atomically
from hyperplane.snapshot import Protocol, Snapshot
from netns import clean as ground_cleaning
from netns.namespace import list_names

Progress = Callable[[str], None]

CONTROL = "control"


@dataclass(frozen=True, slots=True)
class LabUp:
    """What `up` did."""

    reconciled: Reconciled
    started: tuple[str, ...]
    health_url: str


def lab_record(runtime: Path) -> Path:
    """Holds the path of the lab file that is up."""
    return runtime / "lab"


def up(lab: Path, runtime: Path, api: tuple[str, int], say: Progress) -> LabUp:
    """Build and start whatever of the lab is not there yet.

    Raises ConfigurationError naming the place in the file, ProcessFailed with the end of a log,
    KernelError or OSError.
    """
    files = ProcessFiles(runtime)
    if mount_memory(runtime):
        say(f"mounted a memory file system on {runtime}")
    _end_what_has_lost_its_ground(files, say)
    done = reconcile(lab.resolve(), runtime, time.monotonic())
    write_atomically(lab_record(runtime), f"{lab.resolve()}\n".encode())
    if done.changes:
        say(f"built the ground: {len(done.topology.namespaces)} namespaces, {len(done.changes)} changes")
    started = [*_start_targets(done.store, files, say), *_start_fabrics(done.snapshot, files, say)]
    address, port = api
    if not processes.running(files, CONTROL):
        command = _command("control", "--lab", str(lab.resolve()), "--runtime", str(runtime))
        processes.start(files, CONTROL, [*command, "--address", address, "--port", str(port)])
        say(f"started {CONTROL}")
        started.append(CONTROL)
    found = health(runtime)
    if not found.healthy:
        raise ProcessFailed(f"the lab is up but not well; see `hyperplane nodes` and {runtime}/log")
    return LabUp(done, tuple(started), f"http://{address}:{port}/_hyperplane/health")


def down(runtime: Path, everything: bool, say: Progress) -> None:
    """End every process of the lab, remove its namespaces and its files.

    `everything`: also remove all other namespaces and links that carry the prefix.
    """
    files = ProcessFiles(runtime)
    for name in files.names():
        if processes.end(files, name):
            say(f"ended {name}")
    for path in runtime.glob("*/gen-*/process-*"):
        identity = processes.read_identity(path)
        if identity is not None and processes.end_process(identity):
            say(f"ended a node without a supervisor (pid {identity.pid})")
    names = list_names() if everything else _lab_namespaces(runtime)
    for name, pids in ground_cleaning.processes(names).items():
        for pid in pids:
            identity = processes.identity_of(pid)
            if identity is not None and processes.end_process(identity):
                say(f"ended pid {pid}, which lived in {name}")
    removed = _remove_namespaces(names, everything)
    if removed:
        say(f"removed {removed} namespaces")
    if runtime.exists():
        unmounted = unmount_memory(runtime)
        shutil.rmtree(runtime)
        say(f"removed {runtime}" + (" and its memory" if unmounted else ""))


def targets_of(store: Store) -> dict[str, tuple[list[int], list[int]]]:
    """Instance name -> (TCP ports, UDP ports) on which it has to serve as a target."""
    ports: dict[str, tuple[list[int], list[int]]] = {}
    names: dict[tuple[str, object], str] = {}
    for instance in store.all(Instance):
        vpc_id = store.get(Subnet, instance.subnet_id).vpc_id
        names[vpc_id, instance.address] = instance.name
    for group in store.all(TargetGroup):
        for target in group.targets:
            name = names.get((group.vpc_id, target.address))
            if name is not None:
                tcp, udp = ports.setdefault(name, ([], []))
                chosen = tcp if group.protocol is Protocol.TCP else udp
                if target.port not in chosen:
                    chosen.append(target.port)
    return ports


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "hyperplane", *arguments]


def _start_targets(store: Store, files: ProcessFiles, say: Progress) -> list[str]:
    started = []
    namespaces = {instance.name: instance_namespace(instance) for instance in store.all(Instance)}
    for instance, (tcp, udp) in targets_of(store).items():
        name = f"target-{instance}"
        if processes.running(files, name):
            continue
        options = [option for port in tcp for option in ("--tcp", str(port))]
        options += [option for port in udp for option in ("--udp", str(port))]
        processes.start(files, name, _command("target", "--name", instance, *options), namespaces[instance])
        say(f"started {name}")
        started.append(name)
    return started


def _start_fabrics(snapshot: Snapshot, files: ProcessFiles, say: Progress) -> list[str]:
    started = []
    for zone in snapshot.zones:
        name = f"fabric-{zone.zone_id}"
        if processes.running(files, name):
            continue
        place = ("--netns", fabric_namespace(zone.zone_id), "--runtime", str(files.runtime))
        processes.start(files, name, _command("fabric", "--zone", zone.name, *place))
        say(f"started {name}: {zone.node_count} nodes")
        started.append(name)
    return started


def _end_what_has_lost_its_ground(files: ProcessFiles, say: Progress) -> None:
    """A process lives on in a namespace whose name was deleted; in the new one of that name it would be missing."""
    alive = {pid for pids in ground_cleaning.processes(list_names()).values() for pid in pids}
    for name in files.names():
        pid = processes.running(files, name)
        if pid and name.startswith("target-") and pid not in alive:
            processes.end(files, name)
            say(f"ended {name}: its namespace is gone")


def _lab_namespaces(runtime: Path) -> tuple[str, ...]:
    """Names of the namespaces of the lab that is up, as its file says."""
    try:
        store = load_lab(Path(lab_record(runtime).read_text().strip()))
    except (FileNotFoundError, ConfigurationError):
        return ()
    wanted = {space.name for space in ground(store, compile_snapshot(store)).namespaces}
    return tuple(name for name in list_names() if name in wanted)


def _remove_namespaces(names: tuple[str, ...], everything: bool) -> int:
    if everything:
        return len(ground_cleaning.clean().namespaces)
    return sum(len(ground_cleaning.clean(name).namespaces) for name in names)


@dataclass(frozen=True, slots=True)
class Door:
    """One way to try the lab: who calls, what, from where."""

    client: str
    endpoint: str
    address: str
    port: int
    protocol: Protocol


def doors(store: Store, snapshot: Snapshot) -> list[Door]:
    """For every instance next to an available endpoint: the calls a user can make."""
    found = []
    interfaces = {eni.eni_id: eni for zone in snapshot.zones for eni in zone.enis}
    listeners = {item.load_balancer_id: item.listeners for item in snapshot.load_balancers}
    owners = {(eni.zone, eni.number): eni.owner_id for eni in interfaces.values()}
    for endpoint in store.all(VpcEndpoint):
        if endpoint.state is not EndpointState.AVAILABLE:
            continue
        for interface in endpoint.interfaces:
            eni = interfaces[interface.eni_id]
            for instance in store.all(Instance):
                if instance.subnet_id != interface.subnet_id:
                    continue
                found += [
                    Door(instance.name, endpoint.name, str(interface.address), listener.port, listener.protocol)
                    for listener in listeners.get(owners.get((eni.zone, eni.load_balancer_eni), ""), ())
                ]
    return found
