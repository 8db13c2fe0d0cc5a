"""Bulk data with every offload on and off at both ends: no byte changes, no checksum is wrong, no corruption passes.

With offloads on, a packet that a node sees may be 64 KiB long and its checksum unfinished; with them off it is what
was on the wire. Both must come out right, and what came in corrupt must never come out right.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP

from tests.lab.capture import Capture
from tests.lab.ends import Pair, sequence_of, wrong_sums
from tests.lab.laboratory import (
    BALANCER,
    CLIENT,
    CONSUMER_A,
    ENDPOINT,
    LINK,
    STAND_IN,
    STAND_IN_PORT,
    TARGET_1,
    Lab,
)
from tests.lab.raw import segment, send_ip
from tests.lab.strangers import run

pytestmark = pytest.mark.netns

MEGABYTE = 1 << 20
DOOR = (ENDPOINT, STAND_IN_PORT)
FEATURES = ("tx", "sg", "tso", "gso", "gro")
"""In the order in which each may be turned on again."""

SETTINGS: dict[str, tuple[str, ...]] = {
    "all-on": (),
    "tso-off": ("tso",),
    "gso-off": ("gso",),
    "gro-off": ("gro",),
    "tx-off": ("tx",),
    "all-off": FEATURES,
}
PLACES = {"both": (CONSUMER_A, TARGET_1), "client": (CONSUMER_A,), "target": (TARGET_1,)}


@contextlib.contextmanager
def without(features: tuple[str, ...], namespaces: tuple[str, ...]) -> Iterator[None]:
    """`ethtool -K` on the links of these instances; all on again afterwards."""
    try:
        for namespace in namespaces:
            for feature in features:
                run(namespace, "ethtool", "-K", LINK, feature, "off")
        yield
    finally:
        for namespace in namespaces:
            run(namespace, "ethtool", "-K", LINK, *(word for feature in FEATURES for word in (feature, "on")))


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("off", SETTINGS)
def test_bulk_both_ways_arrives_as_it_was_sent(lab: Lab, steering: str, off: str, where: str) -> None:
    before = wrong_sums()
    with without(SETTINGS[off], PLACES[where]), Pair() as pair:
        pair.transfer(8 * MEGABYTE)
        pair.transfer(8 * MEGABYTE, up=False)
    assert wrong_sums() == before


def test_super_packets_are_really_used(lab: Lab, tmp_path: Path) -> None:
    """Else the tests above would say nothing about them."""
    sizes = {}
    for off in ("all-on", "all-off"):
        with (
            without(SETTINGS[off], PLACES["both"]),
            Capture(tmp_path, TARGET_1, LINK, "tcp") as capture,
            Pair() as pair,
        ):
            pair.transfer(MEGABYTE)
        sizes[off] = max(packet.len for packet in capture.packets() if packet.src == BALANCER)
    assert sizes["all-on"] > 10_000
    assert sizes["all-off"] == 1500


@pytest.fixture(params=["tx-on", "tx-off"])
def sums(request: pytest.FixtureRequest, lab: Lab) -> Iterator[str]:
    """Checksums finished by the kernel late, or by the sender at once."""
    with without(("tx",) if request.param == "tx-off" else (), PLACES["both"]):
        yield request.param


def forged(pair: Pair) -> Any:
    """Bytes that the target would take for the client's next ones."""
    numbers = {"seq": sequence_of(pair.client), "ack": sequence_of(pair.target)}
    return segment((CLIENT, pair.client_port), DOOR, "PA", b"corrupt!", window=500, **numbers)


def test_a_corrupt_segment_reaches_no_application(lab: Lab, sums: str) -> None:
    """Bytes in the window, on the right tuple, with a wrong sum: dropped, and the place in the stream stays free."""
    with Pair() as pair:
        pair.echo()
        up = forged(pair)
        numbers = {"seq": sequence_of(pair.target), "ack": sequence_of(pair.client)}
        down = segment((STAND_IN, STAND_IN_PORT), (BALANCER, pair.snat_port), "PA", b"corrupt!", window=500, **numbers)
        for packet in (up, down):
            packet[TCP].chksum = IP(bytes(packet))[TCP].chksum ^ 0x0100
        before = lab.counters()
        send_ip(CONSUMER_A, up)
        send_ip(TARGET_1, down)
        lab.expect(before, packets_dropped=2, dropped_bad_checksum=2)
        pair.echo(b"what comes after it")


def test_the_test_above_is_not_blind(lab: Lab) -> None:
    """With the right sum the very same bytes do arrive."""
    with Pair() as pair:
        pair.echo()
        send_ip(CONSUMER_A, forged(pair))
        assert pair.target.recv(100) == b"corrupt!"
        pair.reset()  # the ends no longer agree where they are, and would go on telling each other
