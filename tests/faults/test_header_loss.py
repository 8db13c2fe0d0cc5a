"""A tenth of all packets is lost on both sides while targets get their Proxy Protocol v2 header: nothing else is."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

from tests.faults.header_ground import counters, has_sysctl, rule, sysctl, without_offloads
from tests.faults.header_talks import AT_ONCE, CLIENTS, TARGET, WITH_PAYLOAD, Kind, Report, Talk, talk_all
from tests.faults.lab import FaultLab
from tests.faults.plan import Plan

pytestmark = [pytest.mark.netns, pytest.mark.fault]

PLAN = Plan(headers=True)

SPEECHES = (
    (Kind.CLIENT_FIRST, WITH_PAYLOAD),
    (Kind.CLIENT_FIRST, AT_ONCE),
    (Kind.TARGET_FIRST, AT_ONCE),
    (Kind.CLOSE, WITH_PAYLOAD),
    (Kind.CLOSE, AT_ONCE),
    (Kind.SAY_AND_CLOSE, WITH_PAYLOAD),
    (Kind.SAY_AND_CLOSE, AT_ONCE),
)
"""Every kind in every placement in which it can be: a target that waits for the header before it speaks to a client
that waits for the target needs the header at once."""

ENDS = (TARGET, *(f"hp-{consumer}" for consumer in CLIENTS))


def crowd(count: int, largest_bytes: int = 120_000) -> list[Talk]:
    chance = random.Random(count)
    return [
        Talk(
            *SPEECHES[number % len(SPEECHES)],
            number,
            chance.choice(list(CLIENTS)),
            chance.randint(16, largest_bytes),
            chance.randint(16, largest_bytes),
        )
        for number in range(count)
    ]


@contextmanager
def a_tenth_is_lost() -> Iterator[None]:
    """In segments, not in super-packets, so that the receivers have gaps to tell of."""
    with ExitStack() as stack:
        stack.enter_context(without_offloads(*ENDS))
        for namespace in ENDS:
            lucky = ("-p", "tcp", "-m", "statistic", "--mode", "random", "--probability", "0.1")
            stack.enter_context(rule(namespace, "INPUT", *lucky, "-j", "DROP"))
        yield


Settings = tuple[tuple[str, str, int], ...]
"""Namespace, name, value."""

COOKIES = ((TARGET, "tcp_syncookies", 2),)
NO_TIMESTAMPS = tuple((f"hp-{consumer}", "tcp_timestamps", 0) for consumer in CLIENTS)
NO_SACK = tuple((f"hp-{consumer}", "tcp_sack", 0) for consumer in CLIENTS)
_RETRIES = ("tcp_syn_retries", "tcp_synack_retries", "tcp_orphan_retries")
IMPATIENT = tuple((end, *it) for end in ENDS for it in (("tcp_rto_max_ms", 1000), *((name, 60) for name in _RETRIES)))
"""Who has lost a SYN waits for three seconds for whatever is lost next, then for six, then for twelve. Not here, where
the kernel lets itself be told so (Linux 6.15); and nobody gives up the sooner for that."""

PATIENT_COUNT = 1000
"""So many take as long as their kernels want."""


def talk_in_loss(lab: FaultLab, talks: list[Talk], settings: Settings = IMPATIENT) -> tuple[Report, Counter[str]]:
    """What became of the conversations, and what the kernels have counted."""
    before = counters(*ENDS)
    with ExitStack() as stack:
        for setting in settings:
            if has_sysctl(setting[1]):
                stack.enter_context(sysctl(*setting))
        stack.enter_context(a_tenth_is_lost())
        report = talk_all(lab.snapshot(), talks)
    change = counters(*ENDS)
    change.subtract(before)
    report.assert_whole()
    assert change["TcpInCsumErrors"] == 0
    assert change["TcpRetransSegs"] > 0
    return report, change


@pytest.mark.parametrize("count", [150, pytest.param(PATIENT_COUNT, marks=pytest.mark.slow)])
def test_f_34_a_tenth_of_all_packets_lost(lab: FaultLab, measured: dict[str, object], count: int) -> None:
    headers, began_at = lab.counters(), time.monotonic()
    report, change = talk_in_loss(lab, crowd(count), IMPATIENT if count < PATIENT_COUNT else ())
    took_s = time.monotonic() - began_at
    now = lab.counters()
    measured[f"headers, a tenth lost, {count} connections"] = {
        "lost": len(report.lost),
        "seconds": round(took_s, 1),
        "slowest": round(max(report.seconds), 1),
        "retransmitted": change["TcpRetransSegs"],
        "recovered by SACK": change["TcpExtTCPSackRecovery"],
        "headers repeated": now["headers_repeated"] - headers["headers_repeated"],
        "headers resent": now["headers_resent"] - headers["headers_resent"],
    }
    assert change["TcpExtTCPSackRecovery"] > 0
    assert change["TcpExtPAWSEstab"] == 0


def test_f_34_any_node_forwards_any_packet(lab: FaultLab) -> None:
    """What one node knows of a header that is not acknowledged, another has to learn. Packets overtake each other."""
    with lab.sprayed():
        talk_in_loss(lab, crowd(70, 40_000))


def test_pp_04_loss_and_a_target_that_keeps_no_state(lab: FaultLab) -> None:
    """The target speaks first. If the client did, two losses would do what they do without a header, too: what comes
    when neither the ACK nor what is next has come finds nobody, and is reset (net/ipv4/syncookies.c)."""
    waiting = [replace(talk, kind=Kind.TARGET_FIRST, placement=AT_ONCE) for talk in crowd(70, 40_000)]
    _, change = talk_in_loss(lab, waiting, COOKIES + IMPATIENT)
    assert change["TcpExtSyncookiesRecv"] >= 70


def test_pp_13_loss_and_no_time_stamps(lab: FaultLab) -> None:
    _, change = talk_in_loss(lab, crowd(70, 40_000), NO_TIMESTAMPS + IMPATIENT)
    assert change["TcpExtPAWSEstab"] == 0


def test_pp_15_loss_and_no_sack(lab: FaultLab) -> None:
    _, change = talk_in_loss(lab, crowd(70, 40_000), NO_SACK + IMPATIENT)
    assert change["TcpExtTCPSackRecovery"] == 0
