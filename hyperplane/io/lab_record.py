"""What a runtime directory remembers of the lab that is up: its file, and every namespace built for it.

A namespace is noted before it is built, so whatever happens in between, `lab down` finds it again: also when the
lab file was moved, broken or changed since. The notes are also what tells our directory from anybody's:
where they are missing nothing is ever removed.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from hyperplane.io.runtime import is_own_memory, write_atomically
from netns.names import is_ours


def lab_record(runtime: Path) -> Path:
    """Holds the path of the lab file that is up."""
    return runtime / "lab"


def namespaces_record(runtime: Path) -> Path:
    """Holds the names of the namespaces that were built, one a line."""
    return runtime / "namespaces"


def built_namespaces(runtime: Path) -> set[str]:
    """Every namespace that may have been built for the lab and not been removed since."""
    try:
        lines = namespaces_record(runtime).read_text().splitlines()
    except FileNotFoundError:
        return set()
    return {line for line in lines if is_ours(line)}


def note_namespaces(runtime: Path, names: Iterable[str]) -> None:
    """Add names before they are built."""
    _write(runtime, built_namespaces(runtime) | set(names))


def forget_namespaces(runtime: Path, names: Iterable[str]) -> None:
    """Take names out after they were removed."""
    _write(runtime, built_namespaces(runtime) - set(names))


def _write(runtime: Path, names: set[str]) -> None:
    write_atomically(namespaces_record(runtime), "".join(f"{name}\n" for name in sorted(names)).encode())


def holds_a_lab(runtime: Path) -> bool:
    """Whether the directory is one that `lab up` made: its memory is mounted there, or its notes are there."""
    if is_own_memory(runtime):
        return True
    record = lab_record(runtime)
    return bool(built_namespaces(runtime)) or (record.is_file() and record.read_bytes().startswith(b"/"))


@contextlib.contextmanager
def lab_lock(runtime: Path) -> Iterator[None]:
    """One `up` or `down` of a runtime directory at a time; another one waits.

    The file lies beside the directory, which may be mounted and removed meanwhile, and goes with its holder.
    """
    path = runtime.with_name(f".{runtime.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not _is_the_file(descriptor, path):
                continue  # its last holder has removed it: what we hold locks nobody out
            try:
                yield
            finally:
                path.unlink()
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing is not enough: a forked process may hold it as well
            return
        finally:
            os.close(descriptor)


def _is_the_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
