"""Logs have a bound: they stand in the same memory as the journals.

A log is written by a process that knows nothing of this, with O_APPEND, so it can be emptied under its
writer. What was in it is kept beside it once, as `<name>.log.1`. Lines that are written between the copy and
the cut are lost; that is the price for logs that hold what a dying process says, without a reader in between.
"""

import os
from pathlib import Path

from hyperplane.io.runtime import write_atomically

SUFFIX = ".log"
OLD_SUFFIX = ".log.1"


def bound_logs(directory: Path, bytes_max: int) -> list[Path]:
    """Cut every log of `directory` that has outgrown `bytes_max`; returns them.

    Raises OSError once all are cut, if the end of one could not be kept: in a memory that is full, cutting is what
    helps, and keeping is what cannot be done.
    """
    cut = []
    trouble: OSError | None = None
    for log in sorted(directory.glob(f"*{SUFFIX}")):
        if log.stat().st_size > bytes_max:
            try:
                write_atomically(log.with_name(log.name.removesuffix(SUFFIX) + OLD_SUFFIX), _end_of(log, bytes_max))
            except OSError as error:
                trouble = OSError(error.errno, f"the end of {log} is lost: {error.strerror}")
            os.truncate(log, 0)
            cut.append(log)
    if trouble is not None:
        raise trouble
    return cut


def _end_of(log: Path, bytes_max: int) -> bytes:
    """The last whole lines, `bytes_max` at most. A single line that is longer is cut."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - bytes_max - 1))
        data = file.read(bytes_max + 1)
    if len(data) <= bytes_max:
        return data
    _, _, whole = data.partition(b"\n")
    return whole or data[1:]
