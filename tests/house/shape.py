"""Size, docstrings and habits that the syntax tree shows."""

import ast
from collections.abc import Iterator

from tests.house.source import Offence, SourceFile, Sources

FILE_LINES_MAX = 400
FILE_LINES_SOFT = 250
FUNCTION_LINES_MAX = 60
FUNCTION_LINES_SOFT = 30


def _functions(source: SourceFile) -> Iterator[tuple[str, int, int]]:
    """(name, line, length) of every function; the length is from `def` to the last line, docstring included."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1


def _long_files(sources: Sources, lines_max: int) -> Iterator[Offence]:
    for source in sources:
        length = source.text.count("\n")
        if source.is_python and length > lines_max:
            yield Offence(source.path, 1, f"{length} lines (limit {lines_max}); find the missing noun and split by it")


def _long_functions(sources: Sources, lines_max: int) -> Iterator[Offence]:
    for source in sources:
        if source.is_python:
            for name, line, length in _functions(source):
                if length > lines_max:
                    yield Offence(source.path, line, f"{name}() has {length} lines (limit {lines_max})")


def files_fit(sources: Sources) -> Iterator[Offence]:
    yield from _long_files(sources, FILE_LINES_MAX)


def functions_fit(sources: Sources) -> Iterator[Offence]:
    yield from _long_functions(sources, FUNCTION_LINES_MAX)


def over_the_soft_limits(sources: Sources) -> Iterator[Offence]:
    """Not a rule: worth a look at the next change. Product only; a test may list its cases at length."""
    product = [source for source in sources if source.is_product]
    yield from _long_files(product, FILE_LINES_SOFT)
    yield from _long_functions(product, FUNCTION_LINES_SOFT)


def public_things_say_what_they_are(sources: Sources) -> Iterator[Offence]:
    """Modules and public top-level classes of the product have a docstring."""
    for source in sources:
        if not source.is_product:
            continue
        if ast.get_docstring(source.tree) is None:
            yield Offence(source.path, 1, "the module has no docstring")
        for node in source.tree.body:
            if isinstance(node, ast.ClassDef) and node.name[0] != "_" and ast.get_docstring(node) is None:
                yield Offence(source.path, node.lineno, f"public class {node.name} has no docstring")


def folders_are_packages(sources: Sources) -> Iterator[Offence]:
    """Without __init__.py a folder would work in the checkout and be missing from the installed package."""
    paths = {source.path for source in sources}
    folders = {source.path.rpartition("/")[0] for source in sources if source.is_product}
    for folder in sorted(folders):
        if f"{folder}/__init__.py" not in paths:
            yield Offence(folder, 1, "folder without __init__.py")


def _caught_names(handler: ast.ExceptHandler) -> Iterator[str]:
    if handler.type is None:
        yield "everything"
        return
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    yield from (node.id for node in types if isinstance(node, ast.Name))


def nobody_catches_what_he_cannot_name(sources: Sources) -> Iterator[Offence]:
    """Our own bugs end the process; only the supervisor may look at any exception of what it supervises."""
    for source in sources:
        if not source.is_python or source.path.startswith("hyperplane/io/supervisor"):
            continue
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ExceptHandler):
                for name in _caught_names(node):
                    if name in ("everything", "Exception", "BaseException"):
                        yield Offence(source.path, node.lineno, f"catches {name}; catch what you can name")


def nobody_sleeps(sources: Sources) -> Iterator[Offence]:
    """The product waits for events and timers, never for a guess."""
    for source in sources:
        if not source.is_product:
            continue
        for node in ast.walk(source.tree):
            called = isinstance(node, ast.Attribute) and ast.unparse(node) == "time.sleep"
            named = (
                isinstance(node, ast.ImportFrom) and node.module == "time" and "sleep" in [a.name for a in node.names]
            )
            if called or named:
                yield Offence(source.path, getattr(node, "lineno", 1), "time.sleep; wait for the event")
