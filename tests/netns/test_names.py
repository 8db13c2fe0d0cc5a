import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netns.names import (
    LINK_NAME_BYTES_MAX,
    NAMESPACE_NAME_BYTES_MAX,
    NameRefused,
    check_link_name,
    check_namespace_name,
    is_ours,
    short_link_name,
)


@pytest.mark.parametrize("name", ["hp-a", "hp-e65535", "hp-consumer-a2", "hp-0123456789ab"])
def test_good_link_names_come_back(name: str) -> None:
    assert check_link_name(name) == name


BAD = [
    "",
    "hp-",
    "eth0",
    "hp_a",
    "hp-A",
    "hp-a-",
    "hp--a",
    "hp-a/b",
    "hp-a.b",
    "hp-a b",
    "hp-a\n",
    "-hp-a",
    "hp-é",
    "hp-$(id)",
]


@pytest.mark.parametrize("name", [*BAD, "hp-0123456789abc"])
def test_bad_link_names_are_refused(name: str) -> None:
    with pytest.raises(NameRefused):
        check_link_name(name)


@pytest.mark.parametrize("name", [*BAD, "hp-" + "a" * 61])
def test_bad_namespace_names_are_refused(name: str) -> None:
    with pytest.raises(NameRefused):
        check_namespace_name(name)


def test_a_namespace_name_may_be_longer_than_a_links() -> None:
    longest = "hp-" + "a" * (NAMESPACE_NAME_BYTES_MAX - 3)
    assert check_namespace_name(longest) == longest


def test_the_refusal_says_what_is_wrong() -> None:
    with pytest.raises(NameRefused, match="15 bytes at most, 'hp-0123456789abc' has 16"):
        check_link_name("hp-0123456789abc")
    with pytest.raises(NameRefused, match="must start with 'hp-'"):
        check_link_name("eth0")


@pytest.mark.parametrize(
    ("name", "ours"), [("hp-a", True), ("hp-UPPER", True), ("eth0", False), ("hpx", False), ("hp-/", False)]
)
def test_ours_is_what_carries_the_prefix(name: str, ours: bool) -> None:
    assert is_ours(name) is ours


def test_words_that_fit_stay_readable() -> None:
    assert short_link_name("e7") == "hp-e7"
    assert short_link_name("blue", "p1") == "hp-blue-p1"


def test_long_words_keep_a_head_and_get_a_digest() -> None:
    name = short_link_name("consumer-a", "subnet-1", "eth0")
    assert re.fullmatch(r"hp-consu-[0-9a-v]{6}", name)
    assert name != short_link_name("consumer-a", "subnet-1", "eth1")


def test_words_are_not_confused_by_where_they_are_cut() -> None:
    assert short_link_name("a-long-word", "and-more") != short_link_name("a-long-word-and", "more")
    assert short_link_name("A") != short_link_name("a"), "two spellings are two things"


def test_no_words_name_nothing() -> None:
    with pytest.raises(NameRefused):
        short_link_name()


@given(st.lists(st.text(max_size=30), min_size=1, max_size=4))
def test_any_words_give_a_valid_name_and_always_the_same(words: list[str]) -> None:
    name = short_link_name(*words)
    assert check_link_name(name) == name == short_link_name(*words)
    assert len(name) <= LINK_NAME_BYTES_MAX
