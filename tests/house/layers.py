"""Who may import whom.

    7 cli                              puts the rooms together
    6 io, bpf                          sockets, processes, clocks, chance
    5 api                              pure from here down
    4 dataplane, control
    3 flow
    2 nat, balance, dns
    1 wire, snapshot
    0 errors, limits
    - netns                            the ground; knows nothing above it

Only downward, and two rooms of one rank never import each other: so the two planes meet in `snapshot` alone.
"""

import sys
from collections.abc import Iterator

from tests.house.source import Offence, SourceFile, Sources, imports

RANKS = {
    "errors": 0,
    "limits": 0,
    "wire": 1,
    "snapshot": 1,
    "nat": 2,
    "balance": 2,
    "dns": 2,
    "flow": 3,
    "dataplane": 4,
    "control": 4,
    "api": 5,
    "io": 6,
    "bpf": 6,
    "cli": 7,
    "__main__": 8,
}
PURE_RANK_MAX = 5

DENIED = {
    "control": {"wire", "nat", "flow"},  # it speaks of resources, not of packets
    "api": set(RANKS) - {"api", "control", "errors", "limits"},
}

IMPURE = frozenset(
    "_thread asyncio concurrent ctypes fcntl http importlib io logging mmap multiprocessing os pathlib random sched"
    " secrets select selectors shutil signal socket socketserver sqlite3 ssl subprocess tempfile threading time urllib"
    " uuid".split()
)

THIRD_PARTY_HOMES = {
    "netfilterqueue": ("hyperplane/io/nfqueue.py",),
    "uvloop": ("hyperplane/io/",),
    "pyroute2": ("netns/",),
    "yaml": ("netns/",),
    "typer": ("hyperplane/cli/",),
    "rich": ("hyperplane/cli/",),
    "scapy": ("hyperplane/cli/",),  # and tests and scripts: GPL, and 175 times slower than rewriting in place
}


def _room(name: str) -> str:
    """The room of a file or module directly under hyperplane: `snapshot_codec` is part of the room `snapshot`."""
    stem = name.removesuffix(".py")
    first_word = stem.partition("_")[0]
    return first_word if stem not in RANKS and first_word in RANKS else stem


def _in_hyperplane(sources: Sources) -> Iterator[tuple[SourceFile, str]]:
    for source in sources:
        if source.is_product and source.path.startswith("hyperplane/") and source.path != "hyperplane/__init__.py":
            yield source, _room(source.path.split("/")[1])


def _imported_rooms(source: SourceFile) -> Iterator[tuple[str, int]]:
    for name, line in imports(source):
        parts = name.split(".")
        if parts[0] == "hyperplane" and len(parts) > 1 and _room(parts[1]) in RANKS:
            yield _room(parts[1]), line


def every_room_has_a_rank(sources: Sources) -> Iterator[Offence]:
    for source, room in _in_hyperplane(sources):
        if room not in RANKS:
            yield Offence(source.path, 1, f"room '{room}' has no rank in tests/house/layers.py")


def imports_go_downward(sources: Sources) -> Iterator[Offence]:
    for source, room in _in_hyperplane(sources):
        for other, line in _imported_rooms(source):
            if RANKS[other] > RANKS.get(room, 99):
                yield Offence(source.path, line, f"'{room}' (rank {RANKS[room]}) imports '{other}' ({RANKS[other]})")


def rooms_of_one_rank_stay_apart(sources: Sources) -> Iterator[Offence]:
    for source, room in _in_hyperplane(sources):
        for other, line in _imported_rooms(source):
            if other != room and RANKS[other] == RANKS.get(room):
                yield Offence(source.path, line, f"'{room}' imports '{other}' of its own rank")


def denied_pairs_stay_apart(sources: Sources) -> Iterator[Offence]:
    for source, room in _in_hyperplane(sources):
        for other, line in _imported_rooms(source):
            if other in DENIED.get(room, ()):
                yield Offence(source.path, line, f"'{room}' must not import '{other}', though its rank would let it")


def the_package_root_imports_nothing(sources: Sources) -> Iterator[Offence]:
    """Importing any room runs hyperplane/__init__.py first: an import there would be everybody's import."""
    for source in sources:
        if source.path == "hyperplane/__init__.py":
            for name, line in imports(source):
                yield Offence(source.path, line, f"the package root imports '{name}'")


def pure_rooms_do_no_io(sources: Sources) -> Iterator[Offence]:
    for source, room in _in_hyperplane(sources):
        if RANKS.get(room, 99) > PURE_RANK_MAX:
            continue
        for name, line in imports(source):
            top = name.split(".")[0]
            if top in IMPURE or top == "netns":
                yield Offence(source.path, line, f"pure room '{room}' imports '{top}'; it is given now, bytes, seeds")
            elif top != "hyperplane" and top not in sys.stdlib_module_names:
                yield Offence(source.path, line, f"pure room '{room}' imports third-party '{top}'")


def third_party_stays_behind_its_door(sources: Sources) -> Iterator[Offence]:
    for source in sources:
        if not source.is_product:
            continue
        for name, line in imports(source):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names or top in ("hyperplane", "netns", ""):
                continue
            homes = THIRD_PARTY_HOMES.get(top)
            if homes is None:
                yield Offence(source.path, line, f"'{top}' has no home in tests/house/layers.py")
            elif not source.path.startswith(homes):
                yield Offence(source.path, line, f"'{top}' is imported only in {', '.join(homes)}")


def the_ground_knows_nothing_above_it(sources: Sources) -> Iterator[Offence]:
    for source in sources:
        if not (source.is_python and source.path.startswith("netns/")):
            continue
        for name, line in imports(source):
            if name.split(".")[0] == "hyperplane":
                yield Offence(source.path, line, f"netns imports '{name}'")


def imports_are_absolute(sources: Sources) -> Iterator[Offence]:
    for source in sources:
        if source.is_python:
            for name, line in imports(source):
                if name.startswith("."):
                    yield Offence(source.path, line, f"relative import of '{name}'")
