"""The eight stages of a packet, pinned: their names and their order."""

from collections.abc import Iterable

PINNED = ("parse", "classify", "find", "admit", "track", "inject", "rewrite", "count")


def stage_names(stages: Iterable[object]) -> tuple[str, ...]:
    """Names of a list of stages, whether it holds names, functions or (name, function) pairs."""
    firsts = (stage[0] if isinstance(stage, tuple) else stage for stage in stages)
    return tuple(str(getattr(first, "__name__", first)) for first in firsts)


def departure_from_the_pinned(stages: Iterable[object]) -> str | None:
    """None when the stages are the pinned ones, else a sentence about the first difference."""
    names = stage_names(stages)
    for number, pair in enumerate(zip(names, PINNED, strict=False), start=1):
        if pair[0] != pair[1]:
            return f"stage {number} is '{pair[0]}', pinned is '{pair[1]}'"
    if len(names) != len(PINNED):
        return f"{len(names)} stages, pinned are {len(PINNED)}"
    return None
