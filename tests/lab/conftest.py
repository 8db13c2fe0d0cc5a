"""One lab for all tests here, brought up anew and taken down at the end, with nothing left behind.

It has the names and the runtime directory that a user's lab has, so the two cannot be up together. A lab of a user is
never taken away: the tests are skipped and say so. A lab that an earlier, killed run of these tests has left is.
Two runs of these tests wait for each other.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperplane.io.lab_record import built_namespaces
from hyperplane.io.processes import ProcessFiles, identity_of, running
from netns.clean import processes
from netns.namespace import list_names
from tests.conftest import why_no_namespaces
from tests.lab.ends import unfinished
from tests.lab.laboratory import (
    CONSUMERS,
    LAB_FILE,
    NAMED_PORTS,
    RUNTIME,
    STAND_IN,
    TARGET_1,
    Lab,
    somebodys_lab,
    tests_lab,
    until,
)
from tests.lab.strangers import run

LOCKED = RUNTIME.parent
"""A directory can be locked as well, and leaves no lock file."""


def stand_ready() -> None:
    """Give target-1 the stand-in's address, where the lab's own repair does not look: on its loopback.

    And keep the ports that tests name from being given to anybody else.
    """
    run(TARGET_1, "ip", "address", "replace", f"{STAND_IN}/32", "dev", "lo")
    for consumer in CONSUMERS:
        run(consumer, "sysctl", "-qw", f"net.ipv4.ip_local_reserved_ports={','.join(map(str, NAMED_PORTS.values()))}")


def take_down(lab: Lab) -> None:
    """`lab down`, and nothing is left: no directory, no namespace, no process."""
    names = built_namespaces(RUNTIME)
    files = ProcessFiles(RUNTIME)
    pids = {running(files, name) for name in files.names()}
    pids.update(*processes(names).values())
    lab.down()
    assert not RUNTIME.exists()
    assert not names & set(list_names())
    assert len(pids) > 8, "the nodes, and more"
    assert not [pid for pid in pids if identity_of(pid)]


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The tests' lab, up."""
    if reason := why_no_namespaces():
        pytest.skip(reason)
    with contextlib.ExitStack() as stack:
        lock = os.open(LOCKED, os.O_RDONLY)
        stack.callback(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if found := somebodys_lab(RUNTIME, list_names()):
            pytest.skip(f"{found} is up where these tests build theirs; they run after `make lab-down`")
        lab = Lab(tmp_path_factory.mktemp("lab") / LAB_FILE, tests_lab())
        lab.write()
        lab.down()
        stack.callback(take_down, lab)
        lab.up()
        stand_ready()
        yield lab


@pytest.fixture(autouse=True)
def earlier_connections_are_over(lab: Lab) -> None:
    """The last segments of an earlier test's connections would be counted in this one."""
    until(lambda: not unfinished(), "the connections of earlier tests have ended")


@pytest.fixture(autouse=True)
def nobody_dies(lab: Lab) -> Iterator[None]:
    """No packet of any test ends a node."""
    before = lab.shown()["starts"]
    yield
    if lab.shown()["starts"] != before:
        logs = sorted((RUNTIME / "log").glob("fabric-*"))
        pytest.fail("a node died:\n" + "\n".join(path.read_text()[-4000:] for path in logs))


@pytest.fixture(params=["hash", "spray"])
def steering(request: pytest.FixtureRequest, lab: Lab) -> str:
    """The test runs once with each way of giving packets to nodes."""
    mode: str = request.param
    lab.steer(mode)
    return mode


@pytest.fixture(autouse=True)
def hashed(request: pytest.FixtureRequest, lab: Lab) -> None:
    """All other tests run with the packaged one."""
    if "steering" not in request.fixturenames:
        lab.steer("hash")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sprayed tests come last, so that the steering is changed once only."""
    places = [place for place, item in enumerate(items) if item.path.is_relative_to(Path(__file__).parent)]
    for place, item in zip(places, sorted((items[place] for place in places), key=is_sprayed), strict=True):
        items[place] = item


def is_sprayed(item: pytest.Item) -> bool:
    return "[spray" in item.name
