"""The lab: everything of one lab file, built, running, and gone again.

`up` may be run at any time: on nothing, on a whole lab (it changes nothing), on one that was half
built or has crashed (it mends what is missing). `down` leaves nothing behind. Processes are
started and ended by pid, see `processes.py`.
"""

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hyperplane.control.compiler import compile_snapshot
from hyperplane.control.resources import Instance, Subnet, TargetGroup
from hyperplane.control.store import Store
from hyperplane.errors import ConfigurationError
from hyperplane.io import processes
from hyperplane.io.ground import fabric_namespace, ground, instance_namespace
from hyperplane.io.health import health
from hyperplane.io.lab_file import load_lab
from hyperplane.io.lab_record import built_namespaces, forget_namespaces, holds_a_lab, lab_lock, lab_record
from hyperplane.io.processes import ProcessFailed, ProcessFiles
from hyperplane.io.reconcile import Reconciled, reconcile
from hyperplane.io.runtime import (
    is_memory,
    is_own_memory,
    mount_memory,
    snapshot_file,
    unmount_memory,
    write_atomically,
)
from hyperplane.limits import SUPERVISOR_BEAT_S
from hyperplane.snapshot import Protocol, Snapshot
from netns import clean as ground_cleaning
from netns.namespace import list_names

Progress = Callable[[str], None]

CONTROL, FABRIC, TARGET = "control", "fabric-", "target-"
"""Names of processes; the last two are followed by zone id and instance."""

_WELL_TIMEOUT_S = 15.0
"""How long `up` waits for nodes that were just told of a change, or died just now."""


@dataclass(frozen=True, slots=True)
class LabUp:
    """What `up` did."""

    reconciled: Reconciled
    started: tuple[str, ...]
    health_url: str


def up(lab: Path, runtime: Path, api: tuple[str, int], say: Progress) -> LabUp:
    """Build and start whatever of the lab is not there yet; end and remove what an earlier lab file asked for.

    Raises ConfigurationError naming the place in the file, ProcessFailed with the end of a log,
    KernelError or OSError.
    """
    lab, runtime = lab.resolve(), runtime.resolve()
    store = load_lab(lab)
    compile_snapshot(store)  # what is wrong with the file is said before anything is touched
    with lab_lock(runtime):
        _prepare(runtime, say)
        return _up(lab, runtime, api, say)


def _up(lab: Path, runtime: Path, api: tuple[str, int], say: Progress) -> LabUp:
    files = ProcessFiles(runtime)
    control = _control(lab, runtime, api)
    if _runs_otherwise(files, control):
        processes.end(files, control.name)  # before it takes the old lab file's side
        say(f"ended {control.name}, which followed another lab file or address")
    _end_what_has_lost_its_ground(files, say)
    built_before = built_namespaces(runtime)
    write_atomically(lab_record(runtime), f"{lab}\n".encode())
    done = reconcile(lab, runtime, time.monotonic())
    if done.changes:
        say(f"built the ground: {len(done.topology.namespaces)} namespaces, {len(done.changes)} changes")
    wanted = [*_targets(done.store), *_fabrics(done.snapshot, runtime), control]
    _end_unwanted(files, wanted, say)
    unwanted = built_before - {space.name for space in done.topology.namespaces}
    if removed := _remove(unwanted, say):
        say(f"removed {removed} namespaces that this lab does not have")
    forget_namespaces(runtime, unwanted)
    started = tuple(item.name for item in wanted if _start(files, item, say))
    if not _is_well(runtime):
        raise ProcessFailed(f"the lab is up but not well; see `hyperplane nodes` and {runtime}/log")
    address, port = api
    return LabUp(done, started, f"http://{address}:{port}/_hyperplane/health")


def _prepare(runtime: Path, say: Progress) -> None:
    """The runtime directory is our own memory. One that already holds a lab in memory stays: a mount would hide it."""
    if is_own_memory(runtime):
        return
    if runtime.exists() and any(runtime.iterdir()):
        if is_memory(runtime) and snapshot_file(runtime).exists():
            return
        raise ConfigurationError(str(runtime), "is not empty and holds no lab; a runtime directory is ours alone")
    mount_memory(runtime)
    say(f"mounted a memory file system on {runtime}")


def _is_well(runtime: Path) -> bool:
    """Whether all becomes well. Nodes show themselves in shared memory, which has no event: looked at in a rhythm."""
    rhythm = threading.Event()
    give_up_at = time.monotonic() + _WELL_TIMEOUT_S
    while not health(runtime).healthy:
        if time.monotonic() > give_up_at:
            return False
        rhythm.wait(SUPERVISOR_BEAT_S)
    return True


def down(runtime: Path, everything: bool, say: Progress) -> None:
    """End every process of the lab, remove its namespaces and its files.

    `everything`: also remove all other namespaces and links that carry the prefix.
    Raises ConfigurationError for a directory that holds no lab; nothing is touched then.
    """
    runtime = runtime.resolve()
    with lab_lock(runtime):
        ours = runtime.exists() and holds_a_lab(runtime)
        if runtime.exists() and not ours and not everything:
            raise ConfigurationError(str(runtime), "holds no lab, so it is not removed")
        if ours:
            _end_processes(runtime, say)
        names = set(list_names()) if everything else _lab_namespaces(runtime)
        removed = _remove(names, say)
        if everything:
            ground_cleaning.clean()
        if removed:
            say(f"removed {removed} namespaces")
        if ours:
            _remove_files(runtime, say)


def _end_processes(runtime: Path, say: Progress) -> None:
    files = ProcessFiles(runtime)
    for name in files.names():
        if processes.end(files, name):
            say(f"ended {name}")
    _end_orphans(runtime, "*", say)


def _end_orphans(runtime: Path, zone_id: str, say: Progress) -> None:
    """Nodes whose fabric was killed serve on; it has left who they are."""
    for path in runtime.glob(f"{zone_id}/gen-*/process-*"):
        identity = processes.read_identity(path)
        if identity is not None and processes.end_process(identity):
            say(f"ended a node without a supervisor (pid {identity.pid})")


def _remove(names: set[str], say: Progress) -> int:
    """Remove those of the namespaces that exist, and end who lives in them. Returns how many there were."""
    found = [name for name in list_names() if name in names]
    for name, pids in ground_cleaning.processes(found).items():
        for pid in pids:
            identity = processes.identity_of(pid)
            if identity is not None and processes.end_process(identity):
                say(f"ended pid {pid}, which lived in {name}")
    ground_cleaning.remove_namespaces(found)
    return len(found)


def _remove_files(runtime: Path, say: Progress) -> None:
    unmounted = unmount_memory(runtime)
    if unmounted:
        runtime.rmdir()  # `lab up` mounts on empty directories only
    else:
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


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A process that the lab needs: `python -m hyperplane` with these arguments."""

    name: str
    arguments: tuple[str, ...]
    namespace: str | None = None
    what: str = ""
    """More to be said of it."""


def _targets(store: Store) -> Iterator[_Wanted]:
    namespaces = {instance.name: instance_namespace(instance) for instance in store.all(Instance)}
    for instance, (tcp, udp) in targets_of(store).items():
        options = [option for port in tcp for option in ("--tcp", str(port))]
        options += [option for port in udp for option in ("--udp", str(port))]
        yield _Wanted(f"{TARGET}{instance}", ("target", "--name", instance, *options), namespaces[instance])


def _fabrics(snapshot: Snapshot, runtime: Path) -> Iterator[_Wanted]:
    for zone in snapshot.zones:
        place = ("--netns", fabric_namespace(zone.zone_id), "--runtime", str(runtime))
        yield _Wanted(
            f"{FABRIC}{zone.zone_id}", ("fabric", "--zone", zone.name, *place), what=f": {zone.node_count} nodes"
        )


def _control(lab: Path, runtime: Path, api: tuple[str, int]) -> _Wanted:
    address, port = api
    place = ("--address", address, "--port", str(port))
    return _Wanted(CONTROL, ("control", "--lab", str(lab), "--runtime", str(runtime), *place))


def _start(files: ProcessFiles, wanted: _Wanted, say: Progress) -> bool:
    """Start it unless it runs. A fabric that runs otherwise is not ended: the next one takes over from it."""
    if processes.running(files, wanted.name) and not _runs_otherwise(files, wanted):
        return False
    processes.start(files, wanted.name, [sys.executable, "-m", "hyperplane", *wanted.arguments], wanted.namespace)
    say(f"started {wanted.name}{wanted.what}")
    return True


def _runs_otherwise(files: ProcessFiles, wanted: _Wanted) -> bool:
    """Whether one of our commands runs under this name with other arguments. A stand-in's command is not ours."""
    running = processes.arguments(processes.running(files, wanted.name))
    ours = running[1:3] == ("-m", "hyperplane")
    return ours and running[3:] != wanted.arguments


def _end_unwanted(files: ProcessFiles, wanted: Iterable[_Wanted], say: Progress) -> None:
    """End what this lab does not have, and targets that serve other ports."""
    known = {item.name: item for item in wanted}
    for name in files.names():
        unknown = name not in known
        if unknown or (name.startswith(TARGET) and _runs_otherwise(files, known[name])):
            processes.end(files, name)
            say(f"ended {name}, which this lab does not have" if unknown else f"ended {name}, to serve other ports")
        if unknown and name.startswith(FABRIC):
            zone_id = name.removeprefix(FABRIC)
            _end_orphans(files.runtime, zone_id, say)
            shutil.rmtree(files.runtime / zone_id, ignore_errors=True)


def _end_what_has_lost_its_ground(files: ProcessFiles, say: Progress) -> None:
    """A process lives on in a namespace whose name was deleted; in the new one of that name it would be missing."""
    alive = {pid for pids in ground_cleaning.processes(list_names()).values() for pid in pids}
    for name in files.names():
        pid = processes.running(files, name)
        inside = _pids_inside(files.runtime, name, pid)
        if pid and inside and not inside & alive:
            processes.end(files, name)
            say(f"ended {name}: its namespace is gone")


def _pids_inside(runtime: Path, name: str, pid: int) -> set[int]:
    """Which processes show where a process of the lab has its ground; control has none."""
    if name.startswith(TARGET):
        return {pid}
    identities = (
        processes.read_identity(path) for path in runtime.glob(f"{name.removeprefix(FABRIC)}/gen-*/process-*")
    )
    return {identity.pid for identity in identities if identity is not None and identity.is_alive()}


def _lab_namespaces(runtime: Path) -> set[str]:
    """Namespaces of the lab that is up: as noted; of a lab without notes, as its file says."""
    if names := built_namespaces(runtime):
        return names
    try:
        store = load_lab(Path(lab_record(runtime).read_text().strip()))
    except (FileNotFoundError, ConfigurationError):
        return set()
    return {space.name for space in ground(store, compile_snapshot(store)).namespaces}
