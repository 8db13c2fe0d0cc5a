"""The doctor: what a probe's outcome means, and that probes notice what they are there to notice."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from hyperplane.cli.doctor import kernel, machine, scratch
from hyperplane.cli.doctor.finding import Absent, Finding, Probe, Status
from hyperplane.wire.packet import ChecksumState
from netns import namespace as namespaces
from netns.iptables import RulesetError
from tests.cli.commands import Commands


def failing(error: Exception) -> Callable[[], str]:
    def look() -> str:
        raise error

    return look


@pytest.mark.parametrize("error", [Absent("no  such\nthing"), OSError("no such thing"), RulesetError("no such thing")])
@pytest.mark.parametrize(("required", "status"), [(True, Status.MISSING), (False, Status.OPTIONAL)])
def test_what_is_not_there_is_missing_or_optional(error: Exception, required: bool, status: Status) -> None:
    probe = Probe("thing", failing(error), "nothing works", "buy one", required)
    assert probe.run(is_root=True) == Finding("thing", status, "no such thing", "nothing works", "buy one")


def test_what_is_there_needs_no_advice() -> None:
    assert Probe("thing", lambda: "two", "x", "y").run(is_root=True) == Finding("thing", Status.OK, "two")


def test_without_root_a_probe_that_needs_it_is_not_tried() -> None:
    probe = Probe("thing", failing(AssertionError("tried")), "x", "y")
    assert probe.run(is_root=False).status is Status.UNKNOWN
    assert Probe("thing", lambda: "two", "x", "y", as_root=False).run(is_root=False).status is Status.OK


def test_our_own_bugs_are_not_called_missing() -> None:
    with pytest.raises(AssertionError):
        Probe("thing", failing(AssertionError()), "x", "y").run(is_root=True)


def told(monkeypatch: pytest.MonkeyPatch, *probes: Probe) -> None:
    monkeypatch.setattr(machine, "probes", lambda runtime: iter(probes))
    monkeypatch.setattr(kernel, "PROBES", ())


GOOD = Probe("good", lambda: "here", "x", "y", as_root=False)
OPTIONAL = Probe("handy", failing(Absent("none")), "less comfort", "install it", required=False, as_root=False)
MISSING = Probe("vital", failing(Absent("none")), "nothing works", "buy one", as_root=False)


def test_only_what_is_required_fails(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, GOOD, OPTIONAL)
    done = commands("doctor")
    assert done.status == 0
    assert done.rows()[1:] == [
        ["ok", "good", "here"],
        ["optional", "handy", "none"],
        ["so:", "less", "comfort"],
        ["helps:", "install", "it"],
    ]
    told(monkeypatch, GOOD, MISSING)
    assert commands("doctor").status == 1


def test_json_is_a_list_of_findings(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, GOOD, MISSING)
    done = commands("doctor", "--json")
    assert (done.status, [finding["status"] for finding in json.loads(done.out)]) == (1, ["ok", "missing"])
    assert json.loads(done.out)[1]["follows"] == "nothing works"


def test_every_probe_says_what_follows_and_what_helps(tmp_path: Path) -> None:
    probes = [*machine.probes(tmp_path), *kernel.PROBES]
    assert all(probe.follows and probe.helps for probe in probes)
    assert len({probe.name for probe in probes}) == len(probes)


def probe(name: str, runtime: Path = Path("/nowhere")) -> Probe:
    return next(item for item in (*machine.probes(runtime), *kernel.PROBES) if item.name == name)


def test_an_empty_path_has_no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    finding = probe("iptables").run(is_root=True)
    assert (finding.status, finding.found.startswith("not installed: iptables-restore")) == (Status.MISSING, True)
    assert probe("wireshark or tshark").run(is_root=True).found == "not installed: wireshark nor tshark"


def test_a_package_that_cannot_be_imported_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "scapy", None)
    monkeypatch.setitem(__import__("sys").modules, "uvloop", None)
    assert probe("Python: scapy").run(is_root=True).status is Status.OPTIONAL
    assert probe("Python: uvloop").run(is_root=True).status is Status.MISSING


def test_a_port_of_somebody_else_is_in_the_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(machine, "API_PORT", server.getsockname()[1])
        assert probe("API port", tmp_path).run(is_root=True).status is Status.MISSING
        (tmp_path / "lab").write_text("/some/lab.yml\n")
        assert probe("API port", tmp_path).run(is_root=True).status is Status.OK
    (tmp_path / "lab").unlink()
    assert probe("API port", tmp_path).run(is_root=True).status is Status.OK


def test_namespaces_without_a_lab_are_leftovers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "list_names", lambda: ("hp-consumer-a", "hp-stray"))
    finding = probe("leftovers", tmp_path).run(is_root=True)
    assert (finding.status, finding.found.rpartition(": ")[2]) == (Status.OPTIONAL, "hp-consumer-a, hp-stray")
    (tmp_path / "lab").write_text(f"{machine.__file__.replace('cli/doctor/machine.py', 'control/labs/default.yml')}\n")
    assert probe("leftovers", tmp_path).run(is_root=True).found.rpartition(": ")[2] == "hp-stray"
    monkeypatch.setattr(machine, "list_names", lambda: ("hp-consumer-a",))
    assert probe("leftovers", tmp_path).run(is_root=True).status is Status.OK


@pytest.mark.parametrize("name", [item.name for item in kernel.PROBES if item.required])
@pytest.mark.netns
def test_this_kernel_has_what_is_required(name: str) -> None:
    """Whoever can run these tests has all of it, so a probe that fails here is wrong."""
    finding = probe(name).run(is_root=True)
    assert finding.status is Status.OK, finding.found


@pytest.mark.netns
def test_probing_leaves_nothing_behind(tmp_path: Path) -> None:
    for item in (*machine.probes(tmp_path), *kernel.PROBES):
        item.run(is_root=True)
    assert not [name for name in namespaces.list_names() if name.startswith("hp-doctor")]
    assert os.readlink("/proc/self/ns/net") == os.readlink("/proc/thread-self/ns/net")


@pytest.mark.netns
def test_a_queue_that_cuts_super_packets_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hyperplane.io.nfqueue._FLAG_GSO", 0)
    finding = probe("super-packets in a queue").run(is_root=True)
    assert (finding.status, finding.found) == (
        Status.MISSING,
        "a super-packet of 8000 bytes came out of the queue as 1500 bytes",
    )


@pytest.mark.netns
def test_a_kernel_that_puts_fragments_together_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    asks = "*mangle\n-A PREROUTING -m conntrack ! --ctstate UNTRACKED -j DROP\n"
    monkeypatch.setattr(scratch, "_RULES", scratch._RULES.replace("*mangle\n", asks))
    finding = probe("fragments in a queue").run(is_root=True)
    assert (finding.status, finding.found) == (
        Status.MISSING,
        "three fragments came out of the queue as one packet of 3028 bytes",
    )


@pytest.mark.netns
def test_rules_that_lead_nowhere_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "WAIT_S", 0.01)
    monkeypatch.setattr(scratch, "_RULES", "*mangle\n-A PREROUTING -i hp-d1 -j DROP\nCOMMIT\n")
    assert probe("super-packets in a queue").run(is_root=True).status is Status.MISSING
    assert (
        probe("fragments in a queue").run(is_root=True).found == "a fragment was sent into a queue and never came out"
    )


@pytest.mark.netns
def test_a_target_that_no_kernel_has_is_noticed() -> None:
    item = Probe("x", kernel._rule("mangle", "-p tcp -j NOSUCHTARGET"), "x", "y")
    assert item.run(is_root=True).status is Status.MISSING


@pytest.mark.netns
def test_what_is_caught_is_what_was_sent() -> None:
    packets, segment_bytes = scratch.super_packet()
    assert scratch.catch(packets, segment_bytes) == (8040, ChecksumState.SEGMENTED)
    assert scratch.catch(scratch.fragments()) == (1500, ChecksumState.FINISHED)
