"""The rules as text: what is said, and above all what is never said."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netns.iptables import canonical
from netns.names import NameRefused
from netns.steer import (
    REPLAY_BIT,
    STEERED_BIT,
    InterfaceSteering,
    Mode,
    Steering,
    SteeringRefused,
    render,
    render_ipv6,
)

TWO = Steering((InterfaceSteering("hp-e1", (10, 11)), InterfaceSteering("hp-e2", (11,))))

steerings = st.builds(
    Steering,
    st.lists(
        st.builds(
            InterfaceSteering,
            st.integers(1, 65535).map(lambda number: f"hp-e{number}"),
            st.lists(st.integers(0, 65535), min_size=1, max_size=32, unique=True).map(tuple),
        ),
        max_size=5,
        unique_by=lambda item: item.interface,
    ).map(tuple),
    st.sampled_from(Mode),
)


def chains(text: str, table: str) -> dict[str, list[str]]:
    """Rules by chain of one table, without the `-A CHAIN `."""
    body = text.partition(f"*{table}\n")[2].partition("COMMIT")[0]
    found: dict[str, list[str]] = {line[1:].split()[0]: [] for line in body.splitlines() if line.startswith(":")}
    for line in body.splitlines():
        if line.startswith("-A "):
            _, chain, rule = line.split(" ", 2)
            found[chain].append(rule)
    return found


def test_hash_mode_chooses_by_the_whole_tuple() -> None:
    hashed = "--hmark-tuple src,dst,sport,dport --hmark-rnd 0x68702d31"
    assert chains(render(TWO), "mangle")["hp-e1"] == [
        f"-m mark --mark 0x0/0x80000000 -j HMARK {hashed} --hmark-mod 2 --hmark-offset 0x40000001",
        "-m mark --mark 0x1/0xff -j NFQUEUE --queue-num 10",
        "-m mark --mark 0x2/0xff -j NFQUEUE --queue-num 11",
        "-j DROP",
    ]


def test_one_queue_needs_no_choice() -> None:
    assert chains(render(TWO), "mangle")["hp-e2"] == [
        "-m mark --mark 0x0/0x80000000 -j MARK --set-xmark 0x40000001/0xffffffff",
        "-m mark --mark 0x1/0xff -j NFQUEUE --queue-num 11",
        "-j DROP",
    ]


def test_spray_mode_gives_every_queue_the_same_chance() -> None:
    text = render(Steering((InterfaceSteering("hp-e1", (10, 11, 12)),), Mode.SPRAY))
    undecided = "-m mark --mark 0x0/0xc0000000"
    hashed = "-j HMARK --hmark-tuple src,dst,sport,dport --hmark-rnd 0x68702d31 --hmark-mod 3 --hmark-offset 0x40000001"
    assert chains(text, "mangle")["hp-e1"][:4] == [
        f"{undecided} -m u32 --u32 4&0x3FFF=1:0x3FFF {hashed}",
        f"{undecided} -m statistic --mode random --probability 0.3333333333 -j MARK --set-xmark 0x40000001/0xffffffff",
        f"{undecided} -m statistic --mode random --probability 0.5000000000 -j MARK --set-xmark 0x40000002/0xffffffff",
        f"{undecided} -j MARK --set-xmark 0x40000003/0xffffffff",
    ]


def test_nothing_passes_before_it_was_looked_at() -> None:
    assert chains(render(TWO), "mangle")["PREROUTING"] == [
        "-i lo -j ACCEPT",
        "-p tcp -j hp-in_",
        "-p udp -j hp-in_",
        "-p icmp -j hp-in_",
        "-j DROP",
    ]
    assert chains(render(TWO), "mangle")["hp-in_"] == ["-i hp-e1 -j hp-e1", "-i hp-e2 -j hp-e2", "-j DROP"]


def test_only_a_verdict_leaves() -> None:
    filters = chains(render(TWO), "filter")
    marked = "-m mark ! --mark 0x0/0xffff -m mark --mark 0x0/0xc0000000 -j ACCEPT"
    assert filters["FORWARD"] == [marked, "-j DROP"]
    assert filters["INPUT"] == ["-i lo -j ACCEPT", "-j DROP"]
    assert filters["OUTPUT"] == ["-o lo -j ACCEPT", *(f"-p {p} {marked}" for p in ("tcp", "udp", "icmp")), "-j DROP"]


def test_ipv6_has_policies_and_no_rule() -> None:
    text = render_ipv6()
    assert "-A" not in text
    assert re.findall(r":(\S+) (\S+)", text) == [
        ("INPUT", "DROP"),
        ("FORWARD", "DROP"),
        ("OUTPUT", "DROP"),
        ("PREROUTING", "DROP"),
        ("OUTPUT", "DROP"),
    ]


@given(steerings)
def test_every_rule_set_fails_closed(steering: Steering) -> None:
    text = render(steering)
    assert "bypass" not in text and "fail-open" not in text and "--queue-balance" not in text
    for table in ("mangle", "filter"):
        for chain, rules in chains(text, table).items():
            assert rules[-1] == "-j DROP", chain
    assert set(re.findall(r"^:(\S+) ACCEPT", text, re.MULTILINE)) == {"PREROUTING", "OUTPUT"}, "the raw table's two"
    assert text.count(" ACCEPT [0:0]") == 2


@given(steerings)
def test_every_queue_of_an_interface_has_its_place(steering: Steering) -> None:
    found = chains(render(steering), "mangle")
    for item in steering.interfaces:
        queued = [re.search(r"--mark (\S+)/0xff -j NFQUEUE --queue-num (\d+)", rule) for rule in found[item.interface]]
        places = [(int(match[1], 16), int(match[2])) for match in queued if match]
        assert places == list(enumerate(item.queues, start=1))


def walk(found: dict[str, list[str]], interface: str) -> tuple[str, int]:
    """The last chain that a packet of the interface comes to, and the number of rules it meets on the way."""
    chain, met = "hp-in_", 0
    while chain.startswith("hp-in_"):
        for rule in found[chain]:
            met += 1
            match = re.fullmatch(r"(?:-i (\S+) )?-j (\S+)", rule)
            assert match
            name = match[1]
            if name is None or name == interface or (name.endswith("+") and interface.startswith(name[:-1])):
                chain = match[2]
                break
    return chain, met


@given(st.sets(st.one_of(st.integers(1, 200), st.integers(1, 65535)), max_size=120), st.integers(1, 65535))
def test_every_interface_finds_its_own_chain_and_no_other_does(numbers: set[int], other: int) -> None:
    steering = Steering(tuple(InterfaceSteering(f"hp-e{number}", (1,)) for number in numbers))
    found = chains(render(steering), "mangle")
    for number in numbers:
        assert walk(found, f"hp-e{number}")[0] == f"hp-e{number}"
    if other not in numbers:
        assert walk(found, f"hp-e{other}")[0] == "DROP"
    assert walk(found, "hp-f1")[0] == walk(found, "eth0")[0] == "DROP"


def test_a_thousand_interfaces_cost_a_packet_few_rules() -> None:
    names = [f"hp-e{number}" for number in range(1, 1001)]
    found = chains(render(Steering(tuple(InterfaceSteering(name, (1,)) for name in names))), "mangle")
    assert max(walk(found, name)[1] for name in names) <= 40


@given(steerings)
def test_lines_are_fit_for_restore(steering: Steering) -> None:
    text = render(steering)
    assert text.endswith("COMMIT\n")
    assert re.fullmatch(r"[A-Za-z0-9 *:\[\]!.,/+&=\n_-]+", text), "no quote, no escape"


def test_marks_do_not_overlap() -> None:
    assert REPLAY_BIT & STEERED_BIT == 0
    assert (REPLAY_BIT | STEERED_BIT) & 0xFFFF == 0


@pytest.mark.parametrize(
    ("name", "queues", "error"),
    [
        ("eth0", (1,), NameRefused),
        ("hp-e1 -j ACCEPT", (1,), NameRefused),
        ("hp-e1\n-A", (1,), NameRefused),
        ("hp-in_", (1,), NameRefused),
        ("hp-e1", (), SteeringRefused),
        ("hp-e1", tuple(range(33)), SteeringRefused),
        ("hp-e1", (5, 5), SteeringRefused),
        ("hp-e1", (65536,), SteeringRefused),
        ("hp-e1", (-1,), SteeringRefused),
    ],
)
def test_bad_interfaces_are_refused(name: str, queues: tuple[int, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        InterfaceSteering(name, queues)


def test_an_interface_is_there_once() -> None:
    with pytest.raises(SteeringRefused, match="twice"):
        Steering((InterfaceSteering("hp-e1", (1,)), InterfaceSteering("hp-e1", (2,))))


SAVED = """\
# Generated by iptables-save v1.8.9 (nf_tables) on Sun Nov 22 20:41:07 2026
*mangle
:PREROUTING DROP [7:420]
:hp-e1 - [0:0]
-A PREROUTING -i lo -j ACCEPT
-A hp-e1 -j DROP
-A PREROUTING -j DROP
COMMIT
*raw
:PREROUTING ACCEPT [9:9]
COMMIT
"""


def test_what_was_saved_is_compared_without_counters_and_table_order() -> None:
    mangle, raw = SAVED.split("*raw")
    turned = f"*raw{raw}{mangle}".replace("[7:420]", "[8:500]").replace("2026", "2027")
    assert canonical(turned) == canonical(SAVED)
    with_nat = SAVED + "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j ACCEPT\nCOMMIT\n"
    assert canonical(with_nat) == canonical(SAVED), "a table that decides nothing here"


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (":PREROUTING DROP", ":PREROUTING ACCEPT"),
        ("-A hp-e1 -j DROP\n", ""),
        ("-A hp-e1 -j DROP", "-A hp-e1 -j ACCEPT"),
        (":hp-e1 - [0:0]\n", ":hp-e1 - [0:0]\n:hp-e2 - [0:0]\n"),
        ("-A PREROUTING -i lo -j ACCEPT\n", "-A PREROUTING -j DROP\n-A PREROUTING -i lo -j ACCEPT\n"),
    ],
)
def test_what_was_saved_differs_where_a_rule_differs(good: str, bad: str) -> None:
    assert good in SAVED
    assert canonical(SAVED.replace(good, bad, 1)) != canonical(SAVED)
