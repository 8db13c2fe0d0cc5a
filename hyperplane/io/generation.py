"""The files of one generation: they appear whole, and they go whole.

A fabric may be killed while it makes journals. Half a journal under a generation's name would stop every
later start, so all files are made in a folder with a scratch name. It gets the generation's name
when they are complete, and loses it before the first of them is removed.

The folder stays root's, and so do the files in it that name processes, because root sends signals to whom
they name. Nodes own their journal and their page, and can neither add a file here nor replace one.

One fabric of a zone starts at a time, and nobody writes rules while another does. The locks are record
locks (fcntl(2)): nodes, which are forked meanwhile, do not inherit them, and they end with their process.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from hyperplane.errors import ConfigurationError
from hyperplane.flow.journal import format_journal, journal_bytes
from hyperplane.io.processes import own_identity, write_identity
from hyperplane.io.runtime import ZoneFiles, map_file
from hyperplane.io.status import PAGE_BYTES, StatusPage
from hyperplane.limits import JOURNAL_RING_ENTRIES

Owner = tuple[int, int]
"""uid and gid."""


@contextlib.contextmanager
def start_lock(files: ZoneFiles) -> Iterator[None]:
    """Held by the fabric that starts. Waits for another that does."""
    with _locked(files.directory / "start.lock"):
        yield


@contextlib.contextmanager
def rules_lock(files: ZoneFiles) -> Iterator[None]:
    """Held while rules are written: whether a newer generation has taken over does not change within."""
    with _locked(files.directory / "rules.lock"):
        yield


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def make_zone(files: ZoneFiles, owner: Owner) -> None:
    """The folders that outlive a generation: the zone's, and its ports', which alone is the nodes' own."""
    files.directory.mkdir(parents=True, exist_ok=True)
    files.directory.chmod(0o755)
    files.ports.mkdir(exist_ok=True)
    os.chown(files.ports, *owner)


def make_generation(files: ZoneFiles, generation: int, node_count: int, rows: int, owner: Owner) -> None:
    """Journals of `rows` flows and pages for every node. The caller holds the start lock.

    Raises ConfigurationError when the memory is too small for them; OSError, also when the generation is there.
    """
    clear_scratch(files)
    _check_space(files, node_count * (journal_bytes(rows, JOURNAL_RING_ENTRIES) + PAGE_BYTES))
    scratch = _scratch(files, generation)
    scratch.mkdir(mode=0o755)
    scratch.chmod(0o755)
    for node in range(node_count):
        _make_journal(scratch / files.journal(generation, node).name, rows, owner)
        page = scratch / files.status(generation, node).name
        _make_file(page, PAGE_BYTES, 0o644, owner)
        StatusPage(page, writable=True).close()
    write_identity(scratch / files.supervisor(generation).name, own_identity())
    scratch.rename(files.generation_directory(generation))  # the kernel replaces no folder that holds something


def remove_generation(files: ZoneFiles, generation: int) -> None:
    """Take a generation away. Whoever has mapped its files keeps them. The caller holds the start lock."""
    scratch = _scratch(files, generation)
    files.generation_directory(generation).rename(scratch)
    shutil.rmtree(scratch)


def clear_scratch(files: ZoneFiles) -> None:
    """Remove what a killed fabric has left half made or half removed. The caller holds the start lock."""
    for left in files.directory.glob(".gen-*"):
        shutil.rmtree(left)


def _scratch(files: ZoneFiles, generation: int) -> Path:
    name = files.generation_directory(generation).name
    return files.directory / f".{name}"


def _make_journal(path: Path, rows: int, owner: Owner) -> None:
    _make_file(path, journal_bytes(rows, JOURNAL_RING_ENTRIES), 0o640, owner)
    memory = map_file(path, writable=True)
    with memoryview(memory) as view:
        format_journal(view, rows, JOURNAL_RING_ENTRIES)
    memory.close()


def _make_file(path: Path, size_bytes: int, mode: int, owner: Owner) -> None:
    """A file that was not there: no link is followed, and nobody else's file is given away."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        os.ftruncate(descriptor, size_bytes)
        os.fchmod(descriptor, mode)
        os.fchown(descriptor, *owner)
    finally:
        os.close(descriptor)


def _check_space(files: ZoneFiles, wanted_bytes: int) -> None:
    """Raise ConfigurationError unless the memory could hold these and all other journals of the runtime when full.

    Journals are sparse: they take memory as flows come. Memory that is missing then is SIGBUS to a node.
    """
    runtime = files.directory.parent
    system = os.statvfs(runtime)
    promised = sum(_promised(path) for path in runtime.rglob("journal-*"))
    left = max(0, system.f_bavail * system.f_frsize - promised)
    if wanted_bytes > left:
        raise ConfigurationError(
            str(runtime),
            f"journals of {wanted_bytes >> 20} MiB do not fit into the {left >> 20} MiB that are left there; "
            "fewer nodes or a smaller flow table (flows_per_node_max) need less",
        )


def _promised(path: Path) -> int:
    """Bytes that a sparse file may still take."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0  # its generation has just ended
    return max(0, status.st_size - status.st_blocks * 512)
