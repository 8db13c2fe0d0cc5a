"""One lab for all tests here, brought up anew and taken down at the end."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.conftest import why_no_namespaces
from tests.lab.laboratory import STAND_IN, TARGET_1, Lab, tests_lab
from tests.lab.strangers import run


def stand_ready() -> None:
    """Give target-1 the stand-in's address, where the lab's own repair does not look: on its loopback."""
    run(TARGET_1, "ip", "address", "replace", f"{STAND_IN}/32", "dev", "lo")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The tests' lab, up."""
    if reason := why_no_namespaces():
        pytest.skip(reason)
    lab = Lab(tmp_path_factory.mktemp("lab") / "lab.yml", tests_lab())
    lab.write()
    lab.down()  # whatever somebody left
    with contextlib.ExitStack() as stack:
        stack.callback(lab.down)
        lab.up()
        stand_ready()
        yield lab


@pytest.fixture(scope="session", params=["hash", "spray"])
def steering(request: pytest.FixtureRequest, lab: Lab) -> Iterator[str]:
    """The test runs once with each way of giving packets to nodes."""
    lab.steer(request.param)
    yield request.param
    lab.steer("hash")
