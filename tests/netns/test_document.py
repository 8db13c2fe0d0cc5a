from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netns.document import BYTES_MAX, DocumentError, Node, parse_document, read_document

TEXT = """\
name: lab one
count: 12
mask: 0xff
wanted: true
account: 012345678901
mac: 12:34:56:10:20:30
answer: no
quoted: "12"
nothing:
spaces:
  - name: first
    net.ipv4.ip_forward: 1
  - name: second
"""


@pytest.fixture
def root() -> Node:
    return parse_document(TEXT, "lab.yml")


def test_scalars_are_what_the_reader_asks_for(root: Node) -> None:
    assert root.require("name").text() == "lab one"
    assert root.require("count").integer(0, 100) == 12
    assert root.require("count").text() == "12"
    assert root.require("mask").integer(0, 255) == 255
    assert root.require("wanted").boolean() is True
    assert root.require("quoted").text() == "12"


def test_yaml_does_not_guess_types(root: Node) -> None:
    assert root.require("account").text() == "012345678901", "not a number in base 8"
    assert root.require("mac").text() == "12:34:56:10:20:30", "not a number in base 60"
    assert root.require("answer").text() == "no", "not false"


def test_nodes_know_line_and_path(root: Node) -> None:
    second = root.require("spaces").items()[1].require("name")
    assert (second.file, second.line, second.path) == ("lab.yml", 13, "spaces[1].name")
    forward = root.require("spaces").items()[0].require("net.ipv4.ip_forward")
    assert (forward.line, forward.path) == (12, 'spaces[0]["net.ipv4.ip_forward"]')


def test_optional_keys_may_be_absent(root: Node) -> None:
    assert root.optional("absent") is None
    assert root.optional("name") is not None


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("spaces[1].name", 13),
        ('spaces[0]["net.ipv4.ip_forward"]', 12),
        ("spaces[1].absent.deeper", 13),
        ("spaces[7].name", 10),
        ("nowhere", 1),
        ("", 1),
    ],
)
def test_find_gives_the_node_or_its_nearest_ancestor(root: Node, path: str, line: int) -> None:
    assert root.find(path).line == line


FAULTS: list[tuple[str, Callable[[Node], object], str]] = [
    ("missing key", lambda n: n.require("absent"), "lab.yml:1: the key 'absent' is missing"),
    ("unknown key", lambda n: n.only("name", "count"), "lab.yml:3: mask: unknown key 'mask'; known here: count, name"),
    ("text for a list", lambda n: n.require("name").items(), "lab.yml:1: name: expected a list, found 'lab one'"),
    ("list for text", lambda n: n.require("spaces").text(), "lab.yml:10: spaces: expected text, found a list"),
    ("nothing for text", lambda n: n.require("nothing").text(), "lab.yml:9: nothing: expected text, found nothing"),
    (
        "text for keys",
        lambda n: n.require("name").entries(),
        "lab.yml:1: name: expected keys and values, found 'lab one'",
    ),
    (
        "text for a number",
        lambda n: n.require("name").integer(0, 9),
        "lab.yml:1: name: expected a whole number, found 'lab one'",
    ),
    (
        "quoted number",
        lambda n: n.require("quoted").integer(0, 99),
        "lab.yml:8: quoted: expected a whole number, found '12'",
    ),
    (
        "leading zero",
        lambda n: n.require("account").integer(0, 1 << 60),
        "lab.yml:5: account: expected a whole number, found '012345678901'",
    ),
    ("too large", lambda n: n.require("count").integer(0, 11), "lab.yml:2: count: 12 is not between 0 and 11"),
    (
        "no is not false",
        lambda n: n.require("answer").boolean(),
        "lab.yml:7: answer: expected true or false, found 'no'",
    ),
    ("no such word", lambda n: n.require("name").choice(["b", "a"]), "lab.yml:1: name: 'lab one' is none of a, b"),
]


@pytest.mark.parametrize(("ask", "message"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_a_wrong_value_is_an_error_with_its_place(root: Node, ask: Callable[[Node], object], message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        ask(root)
    assert str(caught.value) == message


BROKEN = [
    ("not yaml", "a: 1\nb: [1, 2\nc: 3\n", 3, "not YAML"),
    ("a tab", "a:\n\tb: 1\n", 2, "not YAML"),
    ("empty", "", 1, "empty"),
    ("only a comment", "# nothing\n", 1, "empty"),
    ("two documents", "a: 1\n---\nb: 2\n", 2, "not YAML"),
    ("key twice", "a: 1\nb: 2\na: 3\n", 3, "the key 'a' is there twice"),
    ("a list as key", "? [1, 2]\n: x\n", 1, "a key must be a word"),
    ("no key", "a: 1\n~: 2\n", 2, "a key must be a word"),
    ("merge", "a: &x {b: 1}\nc:\n  <<: *x\n", 3, "merge keys"),
    ("python object", "a: 1\nb: !!python/object/apply:os.getcwd []\n", 2, "not understood"),
    ("own tag", "b: !secret x\n", 1, "not understood"),
    ("control character", "a: 1\nb: \x07\n", 2, "character"),
    ("undefined alias", "a: *x\n", 1, "not YAML"),
    ("deep", "[" * 50 + "]" * 50, 1, "deeper"),
    ("very deep", "[" * 5000 + "]" * 5000, 1, "deeper"),
    ("endless alias", "a: &x [*x]\n", 1, "deeper"),
    ("large", "a: " + "x" * BYTES_MAX, 1, "larger"),
]


@pytest.mark.parametrize(("text", "line", "words"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_broken_document_is_an_error_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_document(text, "lab.yml")
    assert caught.value.line == line
    assert words in caught.value.message


def test_aliases_that_multiply_are_stopped() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    with pytest.raises(DocumentError, match="more than"):
        parse_document("\n".join(lines))


def test_an_alias_is_its_anchors_value() -> None:
    root = parse_document("a: &x [1, 2]\nb: *x\n")
    assert [item.integer(0, 9) for item in root.require("b").items()] == [1, 2]


def test_files_are_read_as_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "lab.yml"
    path.write_bytes("a: ü\n".encode())
    assert read_document(path).require("a").text() == "ü"
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(DocumentError, match=r"lab\.yml:2: the file is not UTF-8 text"):
        read_document(path)


def test_a_missing_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_document(tmp_path / "absent.yml")


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@`?, \n\t0x", max_size=60))
def test_any_text_is_a_tree_or_a_document_error(text: str) -> None:
    try:
        root = parse_document(text)
    except DocumentError as error:
        assert error.line >= 1
    else:
        assert root.line >= 1
