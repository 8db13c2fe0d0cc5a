"""What the rules look at: files read once, with their syntax tree, and an offence that names file and line."""

import ast
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

CODE_ROOMS = ("hyperplane", "netns", "tests", "scripts")
HIDDEN_BUT_OURS = {".ci", ".github"}
NOT_OURS = {"__pycache__", "build", "dist", "venv"}


@dataclass(frozen=True)
class SourceFile:
    """One text file of the project; `path` is relative to its root, with slashes."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @property
    def is_python(self) -> bool:
        first_line = self.text.partition("\n")[0]
        in_code = self.path.split("/")[0] in CODE_ROOMS
        return in_code and (self.path.endswith(".py") or (first_line.startswith("#!") and "python" in first_line))

    @property
    def is_product(self) -> bool:
        return self.is_python and self.path.startswith(("hyperplane/", "netns/"))

    @property
    def states_the_rules(self) -> bool:
        """The rules name what they forbid, so their own files cannot be held to the rules about words."""
        return self.path.startswith("tests/house/") or self.path == "tests/test_house.py"


@dataclass(frozen=True, order=True)
class Offence:
    """One breach of one rule."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


Sources = list[SourceFile]
Rule = Callable[[Sources], Iterator[Offence]]


def _is_ours(folder: str) -> bool:
    hidden = folder.startswith(".") and folder not in HIDDEN_BUT_OURS
    return not hidden and folder not in NOT_OURS and not folder.endswith(".egg-info")


def read_sources(root: Path) -> Sources:
    """All text files under `root` that are ours: not git's, not generated, not a binary vector, not the licence."""
    found = []
    for folder, inner_folders, names in os.walk(root):
        inner_folders[:] = sorted(filter(_is_ours, inner_folders))
        for name in sorted(set(names) - {"LICENSE"}):
            path = Path(folder, name)
            content = path.read_bytes()
            if b"\0" not in content:
                found.append(SourceFile(path.relative_to(root).as_posix(), content.decode("utf-8", errors="replace")))
    return found


def imports(source: SourceFile) -> Iterator[tuple[str, int]]:
    """Every imported dotted name with its line, also inside functions and under TYPE_CHECKING.

    `from a.b import c` gives `a.b.c`: whether c is a module or a name in one, its room is the same.
    A relative import gives a name that starts with a dot.
    """
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)
