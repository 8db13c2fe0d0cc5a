"""A YAML document as a tree of nodes that know their place, for people's files.

The reader composes YAML (PyYAML's safe composer) but leaves the guessing of types out: what a
scalar is, the caller says by the accessor it uses. So `account: 012345678901` is text and
`mac: 12:34:56:10:20:30` is not a number in base 60, as YAML 1.1 would have it.

Every fault is a `DocumentError` that names file, line and path: `lab.yml:14: namespaces[2].name: ...`.
Refused: unknown keys (`Node.only`), keys given twice, merge keys, tags, more than one document,
and documents beyond the bounds below, which also end any game with aliases that multiply.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import yaml

BYTES_MAX = 1 << 20
NODES_MAX = 200_000
DEPTH_MAX = 32
"""Our choice: a lab of thousands of namespaces stays far below all three."""

_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)", re.ASCII)
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+", re.ASCII)
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
_TAGS = frozenset({"map", "seq", "str", "null", "bool", "int", "float", "timestamp"})
"""What YAML 1.1 makes of plain values; all but the first two are text to us. Other tags are refused."""
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


class DocumentError(ValueError):
    """A fault in a document: `file`, `line` (from 1), `path` ("" is the whole document), `message`."""

    def __init__(self, file: str, line: int, path: str, message: str) -> None:
        super().__init__(f"{file}:{line}: {path}: {message}" if path else f"{file}:{line}: {message}")
        self.file = file
        self.line = line
        self.path = path
        self.message = message


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One value of a document. `content` is a scalar's text, a list's nodes or a mapping's nodes by key."""

    file: str
    line: int
    path: str
    content: "str | tuple[Node, ...] | dict[str, Node]"
    quoted: bool = False
    """A scalar that was written in quotes (or as a block) is text and nothing else."""

    def error(self, message: str) -> DocumentError:
        """An error at this node, for the caller to raise."""
        return DocumentError(self.file, self.line, self.path, message)

    # --- mappings ---

    def entries(self) -> "dict[str, Node]":
        """A mapping's nodes by key, in the order of the file."""
        if not isinstance(self.content, dict):
            raise self.error(f"expected keys and values, found {self._kind()}")
        return dict(self.content)

    def only(self, *keys: str) -> "Node":
        """This node again, if it is a mapping that has no other keys than these."""
        for key, node in self.entries().items():
            if key not in keys:
                raise node.error(f"unknown key {key!r}; known here: {', '.join(sorted(keys))}")
        return self

    def require(self, key: str) -> "Node":
        """The value of a key that must be there."""
        node = self.entries().get(key)
        if node is None:
            raise self.error(f"the key {key!r} is missing")
        return node

    def optional(self, key: str) -> "Node | None":
        """The value of a key, or None where it is absent."""
        return self.entries().get(key)

    # --- lists ---

    def items(self) -> "tuple[Node, ...]":
        """A list's nodes."""
        if not isinstance(self.content, tuple):
            raise self.error(f"expected a list, found {self._kind()}")
        return self.content

    # --- scalars ---

    def text(self) -> str:
        """Text as written; a number or `no` that was meant as text needs no quotes."""
        if not isinstance(self.content, str):
            raise self.error(f"expected text, found {self._kind()}")
        if self._is_null():
            raise self.error("expected text, found nothing")
        return self.content

    def integer(self, minimum: int, maximum: int) -> int:
        """A whole number, decimal or 0x hexadecimal, within the bounds."""
        text = "" if self.quoted or not isinstance(self.content, str) else self.content
        if _DECIMAL.fullmatch(text) and len(text) < 40:
            value = int(text)
        elif _HEXADECIMAL.fullmatch(text) and len(text) < 40:
            value = int(text, 16)
        else:
            raise self.error(f"expected a whole number, found {self._kind()}")
        if not minimum <= value <= maximum:
            raise self.error(f"{text} is not between {minimum} and {maximum}")
        return value

    def boolean(self) -> bool:
        """true or false, and no other spelling."""
        if self.quoted or self.content not in ("true", "false"):
            raise self.error(f"expected true or false, found {self._kind()}")
        return self.content == "true"

    def choice(self, words: Collection[str]) -> str:
        """One of the words."""
        text = self.text()
        if text not in words:
            raise self.error(f"{text!r} is none of {', '.join(sorted(words))}")
        return text

    # --- places ---

    def find(self, path: str) -> "Node":
        """The node at a path such as `links[0].a.name`, or its nearest ancestor that is in the document.

        For checks that run on finished values and know their place in words only.
        """
        node = self
        for step in re.findall(r'\[\d+\]|\["[^"]*"\]|[^.\[\]]+', path):
            name = step.strip('[]"')
            content = node.content
            if isinstance(content, dict) and name in content:
                node = content[name]
            elif isinstance(content, tuple) and name.isdecimal() and int(name) < len(content):
                node = content[int(name)]
            else:
                break
        return node

    def _is_null(self) -> bool:
        return not self.quoted and self.content in _NULLS

    def _kind(self) -> str:
        if isinstance(self.content, dict):
            return "keys and values"
        if isinstance(self.content, tuple):
            return "a list"
        return "nothing" if self._is_null() else repr(self.content)


def read_document(path: Path) -> Node:
    """The tree of a file. Raises DocumentError for what is no document, OSError for what cannot be read."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DocumentError(str(path), line, "", "the file is not UTF-8 text") from None
    return parse_document(text, str(path))


def parse_document(text: str, file: str = "<text>") -> Node:
    """The tree of a text; `file` is the name that errors carry."""
    if len(text.encode("utf-8", "surrogatepass")) > BYTES_MAX:
        raise DocumentError(file, 1, "", f"the document is larger than {BYTES_MAX} bytes")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        position = error.position if isinstance(error.position, int) else 0
        raise DocumentError(file, text[:position].count("\n") + 1, "", "a character that YAML forbids") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise DocumentError(file, mark.line + 1 if mark else 1, "", f"not YAML: {said}") from None
    except RecursionError:
        raise DocumentError(file, 1, "", f"values are nested deeper than {DEPTH_MAX}") from None
    if root is None:
        raise DocumentError(file, 1, "", "the document is empty")
    return _Converter(file).convert(root, "", 0)


class _Converter:
    """Turns PyYAML's nodes into ours and counts them."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._count = 0

    def convert(self, raw: yaml.Node, path: str, depth: int, key_line: int | None = None) -> Node:
        """`key_line`: a mapping's value is placed where its key stands, which is where a person looks."""
        line = key_line or raw.start_mark.line + 1
        self._count += 1
        if self._count > NODES_MAX:
            raise DocumentError(self._file, line, path, f"the document has more than {NODES_MAX} values")
        if depth > DEPTH_MAX:
            raise DocumentError(self._file, line, path, f"values are nested deeper than {DEPTH_MAX}")
        if raw.tag.removeprefix("tag:yaml.org,2002:") not in _TAGS:
            raise DocumentError(self._file, line, path, f"the tag {raw.tag} is not understood")
        if isinstance(raw, yaml.ScalarNode):
            return Node(self._file, line, path, raw.value, quoted=raw.style is not None)
        if isinstance(raw, yaml.SequenceNode):
            children = (self.convert(child, f"{path}[{i}]", depth + 1) for i, child in enumerate(raw.value))
            return Node(self._file, line, path, tuple(children))
        assert isinstance(raw, yaml.MappingNode), "YAML has three kinds of node"
        return Node(self._file, line, path, self._mapping(raw, path, depth))

    def _mapping(self, raw: yaml.MappingNode, path: str, depth: int) -> dict[str, Node]:
        children: dict[str, Node] = {}
        for key, value in raw.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or (key.style is None and key.value in _NULLS):
                raise DocumentError(self._file, line, path, "a key must be a word")
            if key.tag == "tag:yaml.org,2002:merge":
                raise DocumentError(self._file, line, path, "merge keys (<<) are not supported")
            if key.value in children:
                raise DocumentError(self._file, line, path, f"the key {key.value!r} is there twice")
            children[key.value] = self.convert(value, _child_path(path, key.value), depth + 1, line)
        return children


def _child_path(path: str, key: str) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        return f'{path}["{key}"]'
    return f"{path}.{key}" if path else key
