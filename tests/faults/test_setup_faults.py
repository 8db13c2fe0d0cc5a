"""`lab up` is killed anywhere in its work: the next one finishes it, and `lab down` leaves nothing."""

import json
import re
import subprocess
import threading
import time
from pathlib import Path

import pytest

from netns.namespace import list_names
from tests.faults.conftest import standing_load
from tests.faults.lab import FaultLab
from tests.faults.sniffer import NETWORKS, Sniffer

pytestmark = [pytest.mark.netns, pytest.mark.fault]


def namespaces() -> list[str]:
    """Those of this lab that exist."""
    return sorted(name for name in list_names() if "flt" in name)


def ground(lab: FaultLab) -> dict[str, object]:
    """What stands: the links of every namespace with what was asked of them, and the fabric's rules.

    Without the numbers of queues and the counts of packets: a start that was killed has used up a generation.
    """
    rules = re.sub(r"\[\d+:\d+\]|--queue-num \d+|^#.*$", "", lab.rules(), flags=re.MULTILINE)
    return {name: links(name) for name in namespaces()} | {"rules": rules}


def links(namespace: str) -> list[tuple[object, ...]]:
    command = ["ip", "-j", "-n", namespace, "address"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return sorted(
        (
            link["ifname"],
            link["mtu"],
            link.get("master", ""),
            "UP" in link["flags"],
            *sorted(f"{item['local']}/{item['prefixlen']}" for item in link["addr_info"] if item["family"] == "inet"),
        )
        for link in listed
    )


def processes_of(lab: FaultLab) -> list[str]:
    """Command lines that name this lab's folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(lab.runtime) in line:
            found.append(line)
    return found


@pytest.mark.parametrize("moments", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_a_killed_setup_is_finished_by_the_next(lab: FaultLab, sniffer: Sniffer, moments: int) -> None:
    """F-30: SIGKILL at moments spread over the whole of it."""
    for name in NETWORKS:
        sniffer.let_go(name)
    lab.down()
    began_at = time.monotonic()
    lab.mend()
    takes_s = time.monotonic() - began_at
    whole = ground(lab)
    for moment in range(moments):
        lab.down()
        assert namespaces() == [] and processes_of(lab) == [] and not lab.runtime.exists()
        process = lab.begin_up()
        threading.Event().wait(takes_s * (moment + 0.5) / moments)
        process.kill()
        process.communicate()
        lab.mend()
        assert ground(lab) == whole
    lab.down()
    lab.up()
    with standing_load(({"loops": 2, "bulk": 1},) * 3) as load:
        load.assert_whole()
