"""Names and words: one word for one thing, and nothing that a stranger to the project could not follow."""

import ast
import re
from collections.abc import Iterator

from tests.house.source import Offence, SourceFile, Sources

NAMES_WITHOUT_A_NOUN = {"util", "utils", "helper", "helpers", "common", "misc"}

NEVER = {
    "backend": "target",
    "upstream": "target",
    "frame": "packet, segment or datagram",
    "session": "flow",
}
"""Word that is not ours -> the glossary's word for it."""

MARKS = re.compile(r"\b(TODO|FIXME|XXX)\b")

FOREIGN = re.compile(
    r"(?<![\w.])/(root|home(?!/vagrant)|opt|mnt|media|users|work\w*)/[\w.]|(?<=\s)\.\./\w|\bissues? #?\d",
    re.IGNORECASE,
)
"""Traces of how and where the text was written, which no reader can look up: places on its author's machine and beside
the project, and numbers in a list of things to do."""

AWS = re.compile(r"\b(aws|vpc|eni|nlb|privatelink|endpoint|consumer|provider|availability zone)s?\b", re.IGNORECASE)
"""Words that the ground may not know: it could carry any other network."""

PAGES = re.compile(r"\b(DESIGN|style|reliability|performance|ecosystem|aws-behaviour)\.md\b|\barticle\.txt\b")
"""Pages that may be cited only where the project holds them."""


def modules_have_a_noun(sources: Sources) -> Iterator[Offence]:
    for source in sources:
        if source.is_python:
            for part in source.path.removesuffix(".py").split("/"):
                if part in NAMES_WITHOUT_A_NOUN:
                    yield Offence(source.path, 1, f"'{part}' names nothing; find the noun")


def _matches(sources: Sources, pattern: re.Pattern[str]) -> Iterator[tuple[SourceFile, int, str]]:
    for source in sources:
        if source.states_the_rules or not pattern.search(source.text):
            continue
        for number, line in enumerate(source.text.splitlines(), start=1):
            if match := pattern.search(line):
                yield source, number, match.group()


def nothing_is_left_for_later(sources: Sources) -> Iterator[Offence]:
    for source, line, word in _matches(sources, MARKS):
        yield Offence(source.path, line, f"{word}: do it, or say in plain words what is not supported")


def the_text_speaks_to_a_stranger(sources: Sources) -> Iterator[Offence]:
    for source, line, word in _matches(sources, FOREIGN):
        yield Offence(source.path, line, f"'{word}' means nothing to whoever has only the project")


def the_ground_speaks_no_aws(sources: Sources) -> Iterator[Offence]:
    ground = [source for source in sources if source.is_python and source.path.startswith("netns/")]
    for source, line, word in _matches(ground, AWS):
        yield Offence(source.path, line, f"'{word}': netns knows namespaces and wires only")


def cited_pages_exist(sources: Sources) -> Iterator[Offence]:
    names = {source.path.rpartition("/")[2] for source in sources}
    for source, line, page in _matches(sources, PAGES):
        if page not in names:
            yield Offence(source.path, line, f"cites '{page}', which the project does not hold")


def _bound_names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Names that the file itself gives: functions, classes, arguments, variables, own attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def names_come_from_the_glossary(sources: Sources) -> Iterator[Offence]:
    """In hyperplane/ only: the ground below has netlink sessions and Ethernet frames, and means them."""
    for source in sources:
        if not (source.is_product and source.path.startswith("hyperplane/")):
            continue
        for name, line in _bound_names(source.tree):
            words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
            for word in {word.lower().removesuffix("s") for word in words} & NEVER.keys():
                yield Offence(source.path, line, f"'{name}': we never say '{word}', we say {NEVER[word]}")
