"""Nodes must reach their files although they own nothing else."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperplane.errors import ConfigurationError
from hyperplane.io.privilege import check_reachable


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may reach; pytest's own are for their owner alone."""
    made = Path(tempfile.mkdtemp(dir="/dev/shm"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def test_a_folder_that_nodes_may_not_enter_is_named(folder: Path) -> None:
    closed = folder / "closed"
    (closed / "inner").mkdir(parents=True)
    (closed / "inner").chmod(0o755)
    closed.chmod(0o700)
    with pytest.raises(ConfigurationError, match=re.escape(f"{closed}: nodes run as nobody")):
        check_reachable(closed / "inner")
    closed.chmod(0o711)
    check_reachable(closed / "inner")
