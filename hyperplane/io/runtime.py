"""Where things are at run time, and how shared files are made.

    <runtime>/                      /run/hyperplane unless told otherwise
        snapshot                    the compiled configuration, replaced as a whole
        <zone id>/
            generation              number of the generation that packets go to
            ports/<pool>            who has which source port
            gen-<n>/journal-<node>  flows, see flow/journal.py
            gen-<n>/status-<node>   see io/status.py
            gen-<n>/process-<node>  which process the node is now; as below, pid and start, written by root
            gen-<n>/supervisor      which process the fabric is that started it
        log/                        one file per process, short, see io/logs.py
        lab, namespaces             what is up, see io/lab_record.py
        processes/                  see io/processes.py

Journals must be memory, not disk: `mount_memory` sees to it.
"""

import ctypes
import mmap
import os
from dataclasses import dataclass
from pathlib import Path

from hyperplane.limits import RUNTIME_BYTES_MAX

DEFAULT_RUNTIME = Path("/run/hyperplane")


@dataclass(frozen=True, slots=True)
class ZoneFiles:
    """The files of one zone's fabric."""

    directory: Path

    @property
    def generation_file(self) -> Path:
        return self.directory / "generation"

    @property
    def ports(self) -> Path:
        return self.directory / "ports"

    def generation(self) -> int:
        """The generation that packets go to; 0 before the first."""
        try:
            return int(self.generation_file.read_text())
        except FileNotFoundError:
            return 0

    def generations(self) -> list[int]:
        """All that have left files, ascending."""
        return sorted(int(path.name.removeprefix("gen-")) for path in self.directory.glob("gen-*"))

    def generation_directory(self, generation: int) -> Path:
        return self.directory / f"gen-{generation}"

    def journal(self, generation: int, node: int) -> Path:
        return self.generation_directory(generation) / f"journal-{node}"

    def status(self, generation: int, node: int) -> Path:
        return self.generation_directory(generation) / f"status-{node}"

    def process(self, generation: int, node: int) -> Path:
        return self.generation_directory(generation) / f"process-{node}"

    def processes(self, generation: int) -> list[Path]:
        """Which process each node of a generation is."""
        return sorted(self.generation_directory(generation).glob("process-*"))

    def supervisor(self, generation: int) -> Path:
        return self.generation_directory(generation) / "supervisor"

    def journals(self, generation: int) -> list[Path]:
        """Journals of a generation by node number."""
        found = self.generation_directory(generation).glob("journal-*")
        return sorted(found, key=lambda path: int(path.name.removeprefix("journal-")))


def zone_files(runtime: Path, zone_id: str) -> ZoneFiles:
    return ZoneFiles(runtime / zone_id)


def snapshot_file(runtime: Path) -> Path:
    return runtime / "snapshot"


def write_atomically(path: Path, data: bytes) -> None:
    """Readers see the old file or the new one, never a part. What cannot be written leaves nothing behind."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_bytes(data)
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def map_file(path: Path, size_bytes: int = 0, writable: bool = False) -> mmap.mmap:
    """Map a file into shared memory; with `size_bytes` it is made, zeroed, that long (sparse)."""
    flags = (os.O_RDWR if writable else os.O_RDONLY) | (os.O_CREAT if size_bytes else 0)
    descriptor = os.open(path, flags, 0o660)
    try:
        if size_bytes and os.fstat(descriptor).st_size != size_bytes:
            os.ftruncate(descriptor, size_bytes)
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        return mmap.mmap(descriptor, 0, access=access)
    finally:
        os.close(descriptor)


_MOUNT_SOURCE = "hyperplane"
_TMPFS_MAGIC = 0x01021994
_RAMFS_MAGIC = 0x858458F6


class _StatFs(ctypes.Structure):
    _fields_ = (("f_type", ctypes.c_long), ("rest", ctypes.c_byte * 256))


def is_memory(path: Path) -> bool:
    """Whether files below `path` live in memory (tmpfs, ramfs): statfs(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = _StatFs()
    if libc.statfs(str(path).encode(), ctypes.byref(found)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
    return found.f_type in (_TMPFS_MAGIC, _RAMFS_MAGIC)


def is_own_memory(path: Path) -> bool:
    """Whether this very path is a memory file system that `mount_memory` mounted (proc(5), mountinfo)."""
    wanted = str(path.resolve())
    found = ("", "")
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if _unescaped(before.split(" ")[4]) == wanted:
            kind, source = after.split(" ")[:2]
            found = (kind, source)  # the last one lies on top
    return found == ("tmpfs", _MOUNT_SOURCE)


def _unescaped(mount_point: str) -> str:
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        mount_point = mount_point.replace(code, letter)
    return mount_point


def mount_memory(path: Path) -> bool:
    """Mount a memory file system of our own on `path`, unless it is one already. True if it had to be mounted.

    Also where the file system is memory already: the machine's own `/run` is small and shared, and when
    it is full, journals on it cost their nodes' lives.
    """
    path.mkdir(parents=True, exist_ok=True)
    if is_own_memory(path):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"mode=0755,size={RUNTIME_BYTES_MAX}".encode()
    if libc.mount(_MOUNT_SOURCE.encode(), os.fsencode(path), b"tmpfs", 0, options) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"mounting a memory file system on {path}")
    return True


def unmount_memory(path: Path) -> bool:
    """Undo `mount_memory`. True if something was unmounted."""
    if not is_own_memory(path):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(path), 2) != 0:  # MNT_DETACH
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"unmounting {path}")
    return True
