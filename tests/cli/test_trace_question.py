"""Who calls whom, why it may, and where it goes: the packaged lab is asked, no packet is sent."""

from dataclasses import replace

import pytest
import typer

from hyperplane.cli.trace.question import Question, ask, places_on_the_way
from hyperplane.cli.trace.reasons import choice_for, listener_for, rule_for, timers_for
from hyperplane.io.hops import Hop
from hyperplane.io.lab_file import DEFAULT_LAB
from hyperplane.io.running_lab import Lab, lab_of_file
from hyperplane.snapshot import HeaderPlacement, Protocol


@pytest.fixture
def lab() -> Lab:
    return lab_of_file(DEFAULT_LAB)


def asked(lab: Lab, client: str, endpoint: str, port: int = 443, protocol: Protocol = Protocol.TCP) -> Question:
    return ask(lab, client, endpoint, protocol, port)


@pytest.mark.parametrize(
    ("client", "endpoint", "address", "zone"),
    [
        ("consumer-a", "10.0.1.10", "10.0.1.10", "us-east-2a"),
        ("hp-consumer-a", "orders-a", "10.0.1.10", "us-east-2a"),
        ("consumer-a2", "orders-a", "10.0.2.10", "us-east-2b"),
        ("consumer-a2", "10.0.1.10", "10.0.1.10", "us-east-2a"),
        ("consumer-b", "10.0.1.10", "10.0.1.10", "us-east-2a"),
    ],
)
def test_an_endpoint_is_found_by_address_or_name(lab: Lab, client: str, endpoint: str, address: str, zone: str) -> None:
    question = asked(lab, client, endpoint)
    assert (question.address, question.zone.name) == (address, zone)
    assert asked(lab, client, question.eni.eni_id).eni == question.eni
    assert asked(lab, client, question.endpoint.resource_id).endpoint == question.endpoint


def test_equal_addresses_mean_the_callers_own_endpoint(lab: Lab) -> None:
    a, b = asked(lab, "consumer-a", "10.0.1.10"), asked(lab, "consumer-b", "10.0.1.10")
    assert (a.endpoint.name, b.endpoint.name) == ("orders-a", "orders-b")
    assert a.eni.number != b.eni.number


@pytest.mark.parametrize(
    ("client", "endpoint", "words"),
    [
        ("consumer-z", "10.0.1.10", "did you mean consumer"),
        ("consumer-a", "10.9.3.10", "in the VPC of consumer-a; did you mean"),
        ("consumer-a", "orders-b", "did you mean orders-a"),
        ("outsider", "10.0.1.10", "in the VPC of outsider; there are none"),
    ],
)
def test_who_does_not_exist_is_wrong_usage(lab: Lab, client: str, endpoint: str, words: str) -> None:
    with pytest.raises(typer.BadParameter, match=words):
        asked(lab, client, endpoint)


def test_the_way_passes_every_hop(lab: Lab) -> None:
    places = places_on_the_way(lab, asked(lab, "consumer-c", "10.9.3.10"))
    assert [place.hop for place in places] == [Hop.CLIENT, Hop.ENDPOINT, Hop.NLB, *[Hop.ROUTER] * 2, *[Hop.TARGET] * 2]
    assert places[0].namespace == "hp-consumer-c"
    assert {place.namespace for place in places[1:3]} == {"hp-fabric-use2-az1"}
    assert [place.address for place in places[1:3]] == ["10.9.3.10", "10.9.0.7"]


def test_without_a_way_out_there_is_nothing_beyond_the_endpoint(lab: Lab) -> None:
    question = replace(asked(lab, "consumer-a", "10.0.1.10"), way_out=None)
    assert [place.hop for place in places_on_the_way(lab, question)] == [Hop.CLIENT, Hop.ENDPOINT]
    assert listener_for(lab, question) is None


def test_the_rule_that_lets_it_in_has_its_groups_name(lab: Lab) -> None:
    rule = rule_for(lab, asked(lab, "consumer-c", "10.9.3.10"))
    assert str(rule) == "endpoint: tcp 443 from 10.9.0.0/16"
    rule = rule_for(lab, asked(lab, "consumer-a", "10.0.1.10", 53, Protocol.UDP))
    assert str(rule) == "endpoint: udp 53 from 10.0.0.0/16"


@pytest.mark.parametrize(("port", "protocol"), [(81, Protocol.TCP), (53, Protocol.TCP), (443, Protocol.UDP)])
def test_what_no_rule_allows_has_no_rule(lab: Lab, port: int, protocol: Protocol) -> None:
    assert rule_for(lab, asked(lab, "consumer-a", "10.0.1.10", port, protocol)) is None


def test_the_listener_and_its_timers(lab: Lab) -> None:
    question = asked(lab, "consumer-a", "10.0.1.10", 80)
    listener, timers = listener_for(lab, question), timers_for(lab, question)
    assert listener is not None and timers is not None
    assert (listener.protocol, listener.port, listener.target_group, listener.idle_timeout_s) == (
        "tcp",
        80,
        "orders",
        350,
    )
    assert (timers.half_open_s, timers.idle_s, timers.closing_s, timers.port_rest_s) == (60, 350, 120, 60)


def with_header(lab: Lab, placement: HeaderPlacement | None) -> Lab:
    """The same lab, with this header for every target."""
    groups = tuple(replace(group, proxy_protocol_v2=placement) for group in lab.snapshot.target_groups)
    return Lab(lab.store, replace(lab.snapshot, target_groups=groups))


@pytest.mark.parametrize("placement", [*HeaderPlacement, None])
@pytest.mark.parametrize(("port", "protocol"), [(443, Protocol.TCP), (53, Protocol.UDP)])
def test_the_listener_tells_of_the_header(
    lab: Lab, placement: HeaderPlacement | None, port: int, protocol: Protocol
) -> None:
    question = asked(lab, "consumer-a", "10.0.1.10", port, protocol)
    listener = listener_for(with_header(lab, placement), question)
    assert listener is not None
    assert listener.proxy_protocol_v2 == (placement.value if placement else None)
    header = "" if placement is None else "in every datagram" if protocol is Protocol.UDP else placement.value
    told = str(listener).partition(f"target group {listener.target_group}")[2]
    assert told == (f", Proxy Protocol v2 {header}" if header else "")


def test_only_the_plain_twin_of_the_default_lab_has_no_header(lab: Lab) -> None:
    headers = {}
    for port in (443, 80, 8081):
        listener = listener_for(lab, asked(lab, "consumer-a", "10.0.1.10", port))
        assert listener is not None
        headers[port] = listener.target_group, listener.proxy_protocol_v2
    header = HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD.value
    assert headers == {443: ("orders", header), 80: ("orders", header), 8081: ("orders-plain", None)}


def test_nobody_listens_on_another_port(lab: Lab) -> None:
    question = asked(lab, "consumer-a", "10.0.1.10", 81)
    assert (listener_for(lab, question), choice_for(lab, question), timers_for(lab, question)) == (None, None, None)


def regrouped(lab: Lab, healthy: bool = True, cross_zone: bool = False, stickiness: bool = False) -> Lab:
    """The same lab with other target groups."""
    groups = []
    for group in lab.snapshot.target_groups:
        targets = tuple(replace(target, healthy=healthy) for target in group.targets)
        groups.append(replace(group, targets=targets, cross_zone=cross_zone, stickiness=stickiness))
    return Lab(lab.store, replace(lab.snapshot, target_groups=tuple(groups)))


def test_the_choice_is_explained(lab: Lab) -> None:
    question = asked(lab, "consumer-a", "10.0.1.10")

    def explained(lab: Lab) -> tuple[tuple[str, ...], str]:
        choice = choice_for(lab, question)
        assert choice is not None
        return choice.candidates, choice.because

    near = ("10.9.3.20:8080",)
    everybody = ("10.9.3.20:8080", "10.9.4.20:8080")
    assert explained(lab) == (near, "1 of 2 targets in us-east-2a (cross-zone is off), 1 healthy")
    candidates, because = explained(regrouped(lab, cross_zone=True))
    assert candidates == everybody
    assert because == "2 of 2 targets in any zone (cross-zone balancing is on), 2 healthy; chosen by the flow's hash"
    assert explained(regrouped(lab, cross_zone=True, stickiness=True))[1].endswith("client's address (stickiness)")
    assert explained(regrouped(lab, healthy=False)) == (
        near,
        "1 of 2 targets in us-east-2a (cross-zone is off), 0 healthy; none is healthy, so all are tried (fail open)",
    )
