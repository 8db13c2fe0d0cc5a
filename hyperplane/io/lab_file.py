"""A lab file from disk. The reader of YAML is the ground's, the meaning is `control/topology.py`'s."""

from pathlib import Path

import hyperplane.control
from hyperplane.control.store import Store
from hyperplane.control.topology import read_lab
from hyperplane.errors import ConfigurationError
from netns.document import DocumentError, read_document

LABS = Path(hyperplane.control.__file__).parent / "labs"
DEFAULT_LAB = LABS / "default.yml"
"""Packaged with the program."""


def load_lab(path: Path) -> Store:
    """The store of a lab file, version 1.

    Raises `ConfigurationError` whose place is file, line and path; OSError where the file cannot be read.
    """
    try:
        return read_lab(read_document(path))
    except DocumentError as error:
        place = f"{error.file}:{error.line}" + (f": {error.path}" if error.path else "")
        raise ConfigurationError(place, error.message) from None
