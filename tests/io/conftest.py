"""A living lab for the tests that need one, gone again afterwards."""

import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import why_no_namespaces
from tests.io.living import LivingLab


@pytest.fixture
def living() -> Iterator[LivingLab]:
    """Nothing is up yet."""
    if reason := why_no_namespaces():
        pytest.skip(reason)
    directory = Path(tempfile.mkdtemp(prefix="hp-rv-", dir="/dev/shm"))
    directory.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    lab = LivingLab(directory, port)
    try:
        yield lab
    finally:
        if lab.runtime.exists():
            lab.down()
        shutil.rmtree(directory)
        assert lab.namespaces() == []
