"""A full flow table: what is in it lives, what does not fit is refused and counted. With low limits of its own."""

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from netns.namespace import inside
from tests.faults.lab import HANG_GUARD_S, FaultLab, until
from tests.faults.plan import CONSUMERS, Plan

pytestmark = [pytest.mark.netns, pytest.mark.fault]

PER_NODE, PER_ENDPOINT, HALF_OPEN, TOO_MANY = 500, 400, 50, 20
PLAN = Plan(
    limits=f"{{flows_per_node: {PER_NODE}, flows_per_endpoint: {PER_ENDPOINT}, half_open_per_endpoint: {HALF_OPEN}}}"
)
ECHO, SILENCE = 53, 9999
"""Listeners: one whose target answers, one whose target does not."""


@contextmanager
def flows(count: int, port: int, consumer: str = "flt-a") -> Iterator[list[socket.socket]]:
    """UDP sockets of a consumer, each of which becomes a flow with its first datagram."""
    made = []
    with inside(f"hp-{consumer}"):
        for _ in range(count):
            sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sending.connect((CONSUMERS[consumer], port))
            sending.settimeout(HANG_GUARD_S)
            made.append(sending)
    try:
        yield made
    finally:
        for sending in made:
            sending.close()


def assert_answered(sockets: list[socket.socket]) -> None:
    """All get their datagram back. One after the other, so that every node knows of the last."""
    for number, sending in enumerate(sockets):
        sending.send(b"%d" % number)
        assert sending.recv(64) == b"%d" % number


def assert_refused(lab: FaultLab, sockets: list[socket.socket], counter: str) -> None:
    """All are counted, none gets an answer."""
    before = lab.counters()
    for sending in sockets:
        sending.send(b"me, too")
    until(lambda: lab.counters()[counter] == before[counter] + len(sockets), f"refusals: {counter}")
    assert lab.counters()["rejected_flows"] == before["rejected_flows"] + len(sockets)
    assert not select.select(sockets, [], [], 0)[0]


def test_half_open_flows_make_room_for_each_other(lab: FaultLab) -> None:
    """The oldest unanswered one goes, never one that was answered. On flt-b, whose nodes have no other flows.

    In a burst a node does not know yet what the other has just made, so there are enough for both to be full.
    """
    nodes = len(lab.eni("10.9.0.8").shard)
    with flows(10, ECHO, "flt-b") as held, flows(nodes * HALF_OPEN + TOO_MANY, SILENCE, "flt-b") as unanswered:
        assert_answered(held)
        for sending in unanswered:
            sending.send(b"anybody?")
        until(lambda: lab.counters()["half_open_evicted"] >= TOO_MANY, "evictions")
        assert_answered(held)


def test_full_is_full(lab: FaultLab) -> None:
    """F-15, INV-8: first the endpoint's bound, then, after a change of the file, the node's own."""
    with (
        flows(PER_ENDPOINT, ECHO) as held,
        flows(TOO_MANY, ECHO) as refused,
        flows(PER_NODE - PER_ENDPOINT, ECHO) as more,
        flows(TOO_MANY, ECHO) as refused_too,
    ):
        assert_answered(held)
        assert_refused(lab, refused, "dropped_endpoint_flows_full")
        assert_answered(held)
        version = lab.snapshot().version
        lab.write(replace(lab.plan, limits=f"{{flows_per_node: {PER_NODE}}}"))
        until(lambda: lab.nodes_have_newer_than(version), "the endpoint's new limit")
        assert_answered(more)
        assert_refused(lab, refused_too, "dropped_flow_table_full")
        assert_answered([*held, *more])
