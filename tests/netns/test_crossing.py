import pytest

from netns.crossing import TABLE_BASE, crossing_end, crossing_namespace, interface_name
from netns.topology import Action, IpProtocol, Link, LinkEnd, Namespace, Route, Rule, Scope, Topology
from netns.validate import validate


def test_the_number_is_name_mark_and_table() -> None:
    assert interface_name(7) == "hp-e7"
    assert interface_name(65535) == "hp-e65535"
    assert crossing_namespace("hp-x", [7]).rules[0] == Rule(100, mark=7, mask=0xFFFF, table=TABLE_BASE + 7)


@pytest.mark.parametrize("number", [0, 65536, -1])
def test_numbers_fit_the_mark_and_0_is_none(number: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 65535"):
        interface_name(number)


def test_what_has_no_number_goes_nowhere() -> None:
    rules = crossing_namespace("hp-x", [9, 2]).rules
    assert [rule.priority for rule in rules] == [100, 100, 200, 200, 200, 300]
    assert [rule.mark for rule in rules[:2]] == [2, 9]
    assert {rule.ip_protocol for rule in rules[2:5]} == set(IpProtocol)
    assert {rule.action for rule in rules[2:5]} == {Action.BLACKHOLE}
    assert rules[5] == Rule(300, table=255), "no main, no default, and local only after the blackholes"


def test_an_interface_has_its_own_table() -> None:
    end = crossing_end("hp-x", 7, "10.0.1.10", "10.0.1.0/24", "10.0.1.1", mtu=8500)
    assert end.addresses == ("10.0.1.10/32",)
    assert end.routes == (
        Route("10.0.1.0/24", table=10007, source="10.0.1.10", scope=Scope.LINK),
        Route("default", via="10.0.1.1", table=10007, source="10.0.1.10"),
    )
    assert crossing_end("hp-x", 7, "10.0.1.10", "10.0.1.0/24", None).routes == end.routes[:1]


def test_equal_addresses_make_a_valid_topology() -> None:
    ends = [crossing_end("hp-x", number, "10.0.1.10", "10.0.1.0/24", "10.0.1.1") for number in (1, 2)]
    links = tuple(Link(LinkEnd("hp-far", f"hp-f{i}"), end) for i, end in enumerate(ends))
    validate(Topology((crossing_namespace("hp-x", [1, 2]), Namespace("hp-far")), links))
