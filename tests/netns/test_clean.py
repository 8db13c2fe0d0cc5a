import signal
import subprocess

import pytest

from netns import namespace as namespaces
from netns.build import build
from netns.clean import clean, processes
from netns.topology import Link, LinkEnd, Namespace, Topology

pytestmark = pytest.mark.netns


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout


def test_all_that_carries_the_prefix_goes_and_is_reported(prefix: str) -> None:
    a, b, other = f"{prefix}-a", f"{prefix}-b", f"hp-{prefix[3:]}"[:-1] + "z"
    build(Topology((Namespace(a), Namespace(b)), (Link(LinkEnd(a, "hp-x"), LinkEnd(b, "hp-y")),)))
    namespaces.create([other])
    link = f"{prefix}-l"
    ip("link", "add", link, "type", "veth", "peer", "name", f"{prefix}-m")
    removed = clean(prefix)
    assert removed.namespaces == (a, b)
    assert set(removed.links) == {link, f"{prefix}-m"}
    assert namespaces.exists(other), "another prefix is another lab"
    assert prefix not in ip("link")
    assert clean(prefix) == type(removed)((), ())
    clean(other)
    assert not namespaces.exists(other)


@pytest.mark.parametrize("prefix_of_others", ["", "eth", "hp", "h"])
def test_what_is_not_ours_is_never_cleaned(prefix_of_others: str) -> None:
    with pytest.raises(ValueError, match="not ours to remove"):
        clean(prefix_of_others)


def test_links_go_even_where_a_process_keeps_the_namespace_alive(prefix: str) -> None:
    a, b = f"{prefix}-a", f"{prefix}-b"
    build(Topology((Namespace(a), Namespace(b)), (Link(LinkEnd(a, "hp-x"), LinkEnd(a, "hp-y")),)))
    with namespaces.inside(a):
        child = subprocess.Popen(["sleep", "60"])
    try:
        assert processes([a, b, f"{prefix}-absent"]) == {a: (child.pid,), b: (), f"{prefix}-absent": ()}
        clean(prefix)
        assert child.poll() is None, "cleaning ends no process"
        links = subprocess.run(
            ["nsenter", f"--net=/proc/{child.pid}/ns/net", "ip", "-o", "link"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "hp-" not in links
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()


def test_a_dead_file_is_cleaned_too(prefix: str) -> None:
    namespaces.create([f"{prefix}-a"])
    (namespaces.RUN_FOLDER / f"{prefix}-b").touch()
    assert clean(prefix).namespaces == (f"{prefix}-a", f"{prefix}-b")
