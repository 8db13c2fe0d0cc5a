"""The ground shakes: rules flushed, links down, namespaces deleted. Nothing leaks, and what can live on does."""

import os
import signal
import subprocess

import pytest

from hyperplane.io import processes
from netns import namespace as namespaces
from netns.crossing import TABLE_BASE
from netns.steer import fingerprint
from tests.faults.conftest import StandingLoad, standing_load
from tests.faults.lab import FABRIC_NAMESPACE, FaultLab, until
from tests.faults.sniffer import Sniffer
from tests.faults.test_kills import let_pass

pytestmark = [pytest.mark.netns, pytest.mark.fault]

FLUSHES = {
    "filter": ["iptables -F"],
    "mangle": ["iptables -t mangle -F"],
    "raw": ["iptables -t raw -F"],
    "policy": ["iptables -P FORWARD ACCEPT"],
    "all": [
        *("iptables -F", "iptables -t mangle -F", "iptables -t mangle -X", "iptables -t raw -F"),
        *("iptables -P FORWARD ACCEPT", "iptables -P INPUT ACCEPT", "iptables -P OUTPUT ACCEPT"),
    ],
    "everything open": [
        *("iptables -F", "iptables -t mangle -F", "iptables -t raw -F", "iptables -P FORWARD ACCEPT"),
        *("iptables -P INPUT ACCEPT", "iptables -P OUTPUT ACCEPT", "iptables -t mangle -P PREROUTING ACCEPT"),
    ],
    "nft": ["nft flush ruleset"],
}
OPEN_S = 1.0


def in_fabric(command: str) -> None:
    subprocess.run(["ip", "netns", "exec", FABRIC_NAMESPACE, *command.split()], check=True, capture_output=True)


@pytest.mark.parametrize("flush", FLUSHES)
def test_flushed_rules_fail_closed_and_come_back(lab: FaultLab, light_load: StandingLoad, flush: str) -> None:
    """F-31. The fabric is held for a second, so that the flush has time to do harm. The sniffer would see it."""
    wanted = fingerprint(FABRIC_NAMESPACE)
    fabric = lab.fabric_pid()
    os.kill(fabric, signal.SIGSTOP)
    try:
        for command in FLUSHES[flush]:
            in_fabric(command)
        assert fingerprint(FABRIC_NAMESPACE) != wanted
        let_pass(OPEN_S)
    finally:
        os.kill(fabric, signal.SIGCONT)
    until(lambda: fingerprint(FABRIC_NAMESPACE) == wanted, "the rules")
    light_load.assert_whole()


@pytest.mark.parametrize("side", ["fabric", "vpc"])
def test_a_link_goes_down_and_up(lab: FaultLab, light_load: StandingLoad, side: str) -> None:
    """F-29: the endpoint interface of flt-c, on either side of its wire.

    A link that goes down inside the fabric loses its routes for good (the kernel's way): `lab up` gives them back.
    """
    eni = lab.eni("10.3.1.10")
    inside = ("ip", "-n", FABRIC_NAMESPACE, "link", "set", eni.interface)
    outside = ("ip", "-n", "hp-vpc-flt-c", "link", "set", f"{eni.interface}-flt-az1")
    command = inside if side == "fabric" else outside
    subprocess.run([*command, "down"], check=True)
    let_pass(2)
    subprocess.run([*command, "up"], check=True)
    if side == "fabric":
        lab.mend()
    light_load.assert_whole()


CHANGES = {
    "mtu": "link set {interface} mtu 1280",
    "address": "address flush dev {interface}",
    "routes": "route flush table {table}",
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_interface_is_changed(lab: FaultLab, light_load: StandingLoad, change: str) -> None:
    """F-29: by somebody else, inside the fabric. `lab up` puts it right again, and the connections go on."""
    eni = lab.eni("10.3.1.10")
    command = CHANGES[change].format(interface=eni.interface, table=TABLE_BASE + eni.number)
    subprocess.run(["ip", "-n", FABRIC_NAMESPACE, *command.split()], check=True)
    let_pass(OPEN_S)
    lab.mend()
    light_load.assert_whole()


def test_a_consumer_is_deleted(lab: FaultLab, sniffer: Sniffer) -> None:
    """F-28: flt-b goes; the others do not notice. `lab up` brings it back."""
    with standing_load(({"bulk": 4, "idle": 4, "loops": 3}, {}, {"bulk": 4, "idle": 4, "loops": 3})) as load:
        sniffer.let_go("hp-flt-b")
        namespaces.delete("hp-flt-b")
        until(lambda: "hp-i-flt-b" not in links("hp-vpc-flt-b"), "the end of its wire")
        let_pass(1)
        lab.mend()
        assert namespaces.exists("hp-flt-b")
        load.assert_whole()
    with standing_load(({}, {"loops": 2}, {})) as load:
        load.assert_whole()


def links(namespace: str) -> str:
    done = subprocess.run(["ip", "-n", namespace, "-br", "link"], check=True, capture_output=True, text=True)
    return done.stdout


def test_the_fabric_loses_its_namespace(lab: FaultLab, light_load: StandingLoad) -> None:
    """F-28: it notices, says so and ends. `lab up` makes all anew, and even the connections live on."""
    nodes = lab.pids()
    fabric = lab.fabric_pid()
    namespaces.delete(FABRIC_NAMESPACE)
    until(lambda: not lab.is_running(fabric), "the fabric's end")
    assert f"the namespace {FABRIC_NAMESPACE} is gone" in lab.log()
    assert not [pid for pid in nodes.values() if lab.is_running(pid)]
    lab.mend()
    lab.wait_until_well()
    light_load.assert_whole()


def test_lab_up_finds_a_fabric_that_has_just_lost_its_namespace(lab: FaultLab, light_load: StandingLoad) -> None:
    """The same, and nobody waits for the fabric to notice."""
    namespaces.delete(FABRIC_NAMESPACE)
    lab.mend()
    lab.wait_until_well()
    light_load.assert_whole()
    assert processes.running(lab.process_files, "fabric-flt-az1")
