"""The snapshot on its way between the planes: one file, written whole, read whole at every beat.

A file that is missing, torn or wrong changes nothing: the reader keeps the last good snapshot, for
ever if need be, and says why.
"""

from pathlib import Path

from hyperplane.errors import ConfigurationError
from hyperplane.io.runtime import write_atomically
from hyperplane.limits import SNAPSHOT_BYTES_MAX
from hyperplane.snapshot import Snapshot
from hyperplane.snapshot_codec import decode_snapshot, encode_snapshot


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Replace the file as a whole."""
    write_atomically(path, encode_snapshot(snapshot))


def read_snapshot(path: Path) -> Snapshot:
    """The file's snapshot. Raises ConfigurationError naming the file and the place in it, or OSError."""
    return _decode(path, path.read_bytes())


def _decode(path: Path, data: bytes) -> Snapshot:
    try:
        return decode_snapshot(data)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.place}", error.message) from error


class SnapshotReader:
    """Reads the file at every beat, changed or not (constant work), and hands out what is new and good."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data = b""
        self.refusal: str | None = None
        """Why the file as it stands was not taken; None if it was."""

    def poll(self) -> Snapshot | None:
        """The snapshot, if the file holds another one than last time and it is good; None otherwise."""
        try:
            with self._path.open("rb") as file:
                data = file.read(SNAPSHOT_BYTES_MAX + 1)
        except OSError as error:
            self.refusal = f"{self._path}: {error.strerror}"
            return None
        if data == self._data:
            return None
        self._data = data
        try:
            snapshot = _decode(self._path, data)
        except ConfigurationError as error:
            self.refusal = str(error)
            return None
        self.refusal = None
        return snapshot
