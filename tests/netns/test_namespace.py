import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from netns import namespace as namespaces
from netns.names import NameRefused
from netns.namespace import NamespaceMissing

pytestmark = pytest.mark.netns


def here() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


def test_created_namespaces_are_those_of_ip(prefix: str) -> None:
    names = [f"{prefix}-a", f"{prefix}-b"]
    namespaces.create(names)
    assert set(names) <= set(namespaces.list_names())
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert all(name in listed for name in names)
    namespaces.delete(names[0])
    assert not namespaces.exists(names[0])
    assert namespaces.exists(names[1])


def test_nothing_is_created_of_nothing() -> None:
    namespaces.create([])


def test_a_namespace_that_is_there_is_no_success(prefix: str) -> None:
    namespaces.create([prefix])
    with pytest.raises(OSError, match="File exists"):
        namespaces.create([prefix])


def test_names_are_checked_before_anything_is_done(prefix: str) -> None:
    with pytest.raises(NameRefused):
        namespaces.create([prefix, "elsewhere"])
    assert not namespaces.exists(prefix)
    with pytest.raises(NameRefused):
        namespaces.delete("../etc/passwd")


def test_what_is_missing_is_said_to_be(prefix: str) -> None:
    assert not namespaces.exists(prefix)
    for use in (namespaces.delete, namespaces.identity, lambda name: namespaces.inside(name).__enter__()):
        with pytest.raises(NamespaceMissing):
            use(prefix)
    assert not namespaces.exists(prefix), "asking creates nothing"


def test_a_file_that_a_crash_left_is_no_namespace_and_is_replaced(prefix: str) -> None:
    namespaces.create([f"{prefix}-other"])  # so that the folder exists
    path = Path("/run/netns") / prefix
    path.touch()
    assert not namespaces.exists(prefix)
    assert prefix in namespaces.list_names(), "it is listed, so that it can be cleaned"
    with pytest.raises(NamespaceMissing), namespaces.inside(prefix):
        pass
    namespaces.create([prefix])
    assert namespaces.exists(prefix)


def test_inside_is_this_thread_and_its_children_only(prefix: str) -> None:
    namespaces.create([prefix])
    home = here()
    seen: list[int] = []
    with namespaces.inside(prefix):
        assert here() == namespaces.identity(prefix) != home
        child = subprocess.run(["readlink", "/proc/self/ns/net"], capture_output=True, text=True, check=True).stdout
        assert str(namespaces.identity(prefix)) in child
    thread = threading.Thread(target=lambda: seen.append(here()))
    with namespaces.inside(f"{prefix}"):
        assert os.stat("/proc/self/ns/net").st_ino == namespaces.identity(prefix)
    thread.start()
    thread.join()
    assert seen == [home] == [here()]


def test_inside_comes_back_after_an_error(prefix: str) -> None:
    namespaces.create([prefix])
    home = here()
    with pytest.raises(ZeroDivisionError), namespaces.inside(prefix):
        1 / 0  # noqa: B018
    assert here() == home
    with pytest.raises(ZeroDivisionError), namespaces.inside_scratch():
        assert here() != home
        1 / 0  # noqa: B018
    assert here() == home


def test_a_socket_lives_where_it_was_opened(prefix: str) -> None:
    namespaces.create([prefix])
    with namespaces.open_socket(prefix, socket.AF_INET, socket.SOCK_STREAM) as listener:
        subprocess.run(["ip", "-n", prefix, "link", "set", "lo", "up"], check=True)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with namespaces.open_socket(prefix, socket.AF_INET, socket.SOCK_STREAM) as client:
            client.connect(listener.getsockname())
        with socket.socket() as stranger, pytest.raises(ConnectionRefusedError):
            stranger.connect(listener.getsockname())
