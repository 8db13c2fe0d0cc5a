"""The rules of the house, as tests. Each rule is tried on the project and on a small tree that breaks it.

A rule that has never failed proves nothing: a rule without a breach below fails this file.
"""

import importlib
from pathlib import Path

import pytest

from tests.house import layers, shape, words
from tests.house.source import Rule, read_sources
from tests.house.stages import PINNED, departure_from_the_pinned

ROOT = Path(__file__).parent.parent

RULES: list[Rule] = [
    layers.every_room_has_a_rank,
    layers.imports_go_downward,
    layers.rooms_of_one_rank_stay_apart,
    layers.denied_pairs_stay_apart,
    layers.the_package_root_imports_nothing,
    layers.pure_rooms_do_no_io,
    layers.third_party_stays_behind_its_door,
    layers.the_ground_knows_nothing_above_it,
    layers.imports_are_absolute,
    shape.files_fit,
    shape.functions_fit,
    shape.public_things_say_what_they_are,
    shape.folders_are_packages,
    shape.nobody_catches_what_he_cannot_name,
    shape.nobody_sleeps,
    words.modules_have_a_noun,
    words.nothing_is_left_for_later,
    words.the_text_speaks_to_a_stranger,
    words.the_ground_speaks_no_aws,
    words.cited_pages_exist,
    words.names_come_from_the_glossary,
]

# (rule, file, its text, the line that the rule must name)
BREACHES: list[tuple[Rule, str, str, int]] = [
    (layers.every_room_has_a_rank, "hyperplane/lobby/door.py", '"""."""\n', 1),
    (layers.every_room_has_a_rank, "hyperplane/lobby.py", '"""."""\n', 1),
    (layers.imports_go_downward, "hyperplane/flow/a.py", '"""."""\nfrom hyperplane.dataplane import engine\n', 2),
    (layers.imports_go_downward, "hyperplane/errors.py", "import hyperplane.wire.tcp\n", 1),
    (layers.imports_go_downward, "hyperplane/control/a.py", "from hyperplane import api\n", 1),
    (layers.imports_go_downward, "hyperplane/io/a.py", "def f():\n    from hyperplane.cli import main\n", 2),
    (layers.rooms_of_one_rank_stay_apart, "hyperplane/dataplane/a.py", "from hyperplane.control import store\n", 1),
    (layers.rooms_of_one_rank_stay_apart, "hyperplane/wire/a.py", "from hyperplane.snapshot import Eni\n", 1),
    (layers.rooms_of_one_rank_stay_apart, "hyperplane/snapshot_codec.py", "import hyperplane.wire.tcp\n", 1),
    (layers.rooms_of_one_rank_stay_apart, "hyperplane/limits.py", "from hyperplane import errors\n", 1),
    (layers.denied_pairs_stay_apart, "hyperplane/control/a.py", "from hyperplane.flow.key import FlowKey\n", 1),
    (layers.denied_pairs_stay_apart, "hyperplane/control/a.py", "import hyperplane.wire\n", 1),
    (layers.denied_pairs_stay_apart, "hyperplane/control/a.py", "from hyperplane import nat\n", 1),
    (layers.denied_pairs_stay_apart, "hyperplane/api/a.py", "from hyperplane.snapshot import Snapshot\n", 1),
    (layers.denied_pairs_stay_apart, "hyperplane/api/a.py", "from hyperplane.dataplane import engine\n", 1),
    (layers.the_package_root_imports_nothing, "hyperplane/__init__.py", "from hyperplane import errors\n", 1),
    (layers.pure_rooms_do_no_io, "hyperplane/flow/a.py", '"""."""\n\nimport time\n', 3),
    (layers.pure_rooms_do_no_io, "hyperplane/api/a.py", "from os.path import join\n", 1),
    (layers.pure_rooms_do_no_io, "hyperplane/nat/a.py", "def f():\n    import random\n", 2),
    (layers.pure_rooms_do_no_io, "hyperplane/wire/a.py", "import numpy\n", 1),
    (layers.pure_rooms_do_no_io, "hyperplane/control/a.py", "from netns import build\n", 1),
    (layers.third_party_stays_behind_its_door, "hyperplane/io/worker.py", "import netfilterqueue\n", 1),
    (layers.third_party_stays_behind_its_door, "hyperplane/dataplane/a.py", "import scapy.all\n", 1),
    (layers.third_party_stays_behind_its_door, "hyperplane/io/a.py", "from scapy.utils import rdpcap\n", 1),
    (layers.third_party_stays_behind_its_door, "hyperplane/cli/a.py", "import yaml\n", 1),
    (layers.third_party_stays_behind_its_door, "netns/a.py", "import rich\n", 1),
    (layers.third_party_stays_behind_its_door, "hyperplane/io/a.py", "import numpy\n", 1),
    (layers.third_party_stays_behind_its_door, "hyperplane/io/a.py", "from tests import cases\n", 1),
    (layers.the_ground_knows_nothing_above_it, "netns/a.py", "from hyperplane import limits\n", 1),
    (layers.imports_are_absolute, "hyperplane/flow/a.py", "from . import key\n", 1),
    (shape.files_fit, "hyperplane/flow/a.py", "a = 1\n" * 401, 1),
    (shape.files_fit, "tests/flow/test_a.py", "a = 1\n" * 401, 1),
    (shape.functions_fit, "hyperplane/io/a.py", "a = 1\n\n\ndef f():\n" + "    a = 1\n" * 60, 4),
    (shape.functions_fit, "scripts/tool", "#!/usr/bin/env python3\nasync def f():\n" + "    a = 1\n" * 60, 2),
    (shape.public_things_say_what_they_are, "netns/a.py", "a = 1\n", 1),
    (shape.public_things_say_what_they_are, "hyperplane/flow/a.py", '"""."""\n\n\nclass Door:\n    wide = 1\n', 4),
    (shape.folders_are_packages, "hyperplane/flow/inner/a.py", '"""."""\n', 1),
    (shape.nobody_catches_what_he_cannot_name, "netns/a.py", "try:\n    f()\nexcept Exception:\n    pass\n", 3),
    (shape.nobody_catches_what_he_cannot_name, "hyperplane/io/a.py", "try:\n    f()\nexcept:\n    pass\n", 3),
    (
        shape.nobody_catches_what_he_cannot_name,
        "tests/test_a.py",
        "try:\n    f()\nexcept (OSError, BaseException):\n    pass\n",
        3,
    ),
    (shape.nobody_sleeps, "hyperplane/io/a.py", "import time\n\ntime.sleep(1)\n", 3),
    (shape.nobody_sleeps, "netns/a.py", "from time import monotonic, sleep\n", 1),
    (words.modules_have_a_noun, "hyperplane/flow/utils.py", '"""."""\n', 1),
    (words.modules_have_a_noun, "tests/common/a.py", '"""."""\n', 1),
    (words.nothing_is_left_for_later, "hyperplane/flow/a.py", "a = 1\n# TODO: more\n", 2),
    (words.nothing_is_left_for_later, "scripts/lab", "#!/bin/bash\n# FIXME\n", 2),
    (words.nothing_is_left_for_later, "README.md", "XXX\n", 1),
    (words.the_text_speaks_to_a_stranger, "README.md", "a\nsee /home/somebody/hyperplane\n", 2),
    (words.the_text_speaks_to_a_stranger, "hyperplane/flow/a.py", '"""See ../elsewhere/x."""\n', 1),
    (words.the_text_speaks_to_a_stranger, "Makefile", "# /mnt/disk/notes says why\n", 1),
    (words.the_text_speaks_to_a_stranger, "tests/test_a.py", "# as issue 2 demands\n", 1),
    (words.the_text_speaks_to_a_stranger, "scripts/lab", "/root/.pyenv/bin/python\n", 1),
    (words.the_ground_speaks_no_aws, "netns/a.py", "a = 1\n# one VPC\n", 2),
    (words.cited_pages_exist, "netns/a.py", '"""As DESIGN.md says."""\n', 1),
    (words.names_come_from_the_glossary, "hyperplane/io/a.py", "def f(backend):\n    pass\n", 1),
    (words.names_come_from_the_glossary, "hyperplane/io/a.py", "\nupstream_count = 1\n", 2),
    (words.names_come_from_the_glossary, "hyperplane/wire/a.py", "class EthernetFrame:\n    pass\n", 1),
    (words.names_come_from_the_glossary, "hyperplane/flow/a.py", "self.sessions = 1\n", 1),
]

# What comes close to a breach and is none: a rule that fires here would be in the way.
BLAMELESS = {
    "Makefile": "test: ; @scripts/test\n",
    "README.md": "Workers work; DESIGN.md is beside this page. Client/work, 172.16.0.0/12.\n",
    "DESIGN.md": "Our own page.\n",
    "hyperplane/__init__.py": '"""Root."""\n',
    "hyperplane/errors.py": '"""Errors."""\nfrom enum import Enum\n',
    "hyperplane/snapshot.py": '"""S."""\n',
    "hyperplane/snapshot_codec.py": '"""S."""\nimport json\nfrom hyperplane.snapshot import Eni\n',
    "hyperplane/flow/__init__.py": '"""Flows."""\n',
    "hyperplane/flow/table.py": '"""Table."""\nfrom hyperplane.flow import key\nfrom hyperplane.wire.tcp import Tcp\n',
    "hyperplane/flow/long.py": '"""Long."""\n' + "a = 1\n" * 399,
    "hyperplane/flow/function.py": '"""F."""\n\n\ndef f() -> None:\n' + "    a = 1\n" * 59,
    "hyperplane/dataplane/__init__.py": '"""D."""\nfrom hyperplane.snapshot import Eni\n',
    "hyperplane/control/__init__.py": '"""C."""\nimport hyperplane.snapshot\nfrom hyperplane.balance import a\n',
    "hyperplane/api/__init__.py": '"""A."""\nfrom hyperplane.control import store\nfrom hyperplane import limits\n',
    "hyperplane/io/__init__.py": '"""I."""\nimport asyncio\nimport time\nimport uvloop\nfrom netns import build\n',
    "hyperplane/io/nfqueue.py": '"""N."""\nimport netfilterqueue\nasyncio.sleep(1)\nnow = time.monotonic()\n',
    "hyperplane/io/supervisor.py": '"""S."""\ntry:\n    f()\nexcept Exception:\n    raise\n',
    "hyperplane/cli/__init__.py": '"""C."""\nimport scapy.all\nimport typer\nfrom hyperplane.dataplane import engine\n',
    "netns/__init__.py": '"""G."""\nimport socket\nimport pyroute2\nimport yaml\n\n\nclass _Inner:\n    session = 1\n',
    "tests/flow/test_a.py": "import time\nimport scapy.all\nimport hyperplane.cli\nsession = 1\ntime.sleep(0)\n",
}


def write_tree(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def name_of(rule: Rule) -> str:
    return getattr(rule, "__name__", repr(rule))


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_the_project_keeps(rule: Rule) -> None:
    offences = [str(offence) for offence in sorted(rule(read_sources(ROOT)))]
    assert not offences, "\n  ".join([f"{name_of(rule)}:", *offences])


@pytest.mark.parametrize(
    ("rule", "path", "text", "line"), BREACHES, ids=[f"{name_of(rule)}-{path}" for rule, path, _, _ in BREACHES]
)
def test_a_breach_is_named(tmp_path: Path, rule: Rule, path: str, text: str, line: int) -> None:
    write_tree(tmp_path, {path: text})
    places = {(offence.path, offence.line) for offence in rule(read_sources(tmp_path))}
    named = path.rpartition("/")[0] if rule is shape.folders_are_packages else path
    assert places == {(named, line)}


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_the_blameless_pass(tmp_path: Path, rule: Rule) -> None:
    write_tree(tmp_path, BLAMELESS)
    assert [str(offence) for offence in rule(read_sources(tmp_path))] == []


def test_every_rule_has_been_broken() -> None:
    broken = {name_of(rule) for rule, _, _, _ in BREACHES}
    assert broken == {name_of(rule) for rule in RULES}


def test_the_project_is_what_was_read() -> None:
    """The rules judge nothing if the reader finds nothing."""
    paths = {source.path for source in read_sources(ROOT) if source.is_product}
    assert {"hyperplane/errors.py", "hyperplane/limits.py", "hyperplane/snapshot.py"} <= paths


def test_what_tools_leave_behind_is_not_read(tmp_path: Path) -> None:
    generated = [
        ".git/a",
        ".venv/lib/a.py",
        ".hypothesis/a",
        "netns/__pycache__/a",
        "hyperplane.egg-info/a",
        "build/a.py",
    ]
    write_tree(tmp_path, dict.fromkeys([*generated, ".ci/run", ".gitignore", "netns/a.py"], "a\n"))
    (tmp_path / "capture").write_bytes(b"\0\1")
    assert {source.path for source in read_sources(tmp_path)} == {".ci/run", ".gitignore", "netns/a.py"}


def test_the_stages_are_pinned() -> None:
    if (ROOT / "hyperplane/dataplane/stages.py").exists():
        stages = importlib.import_module("hyperplane.dataplane.stages").STAGES
        assert departure_from_the_pinned(stages) is None, departure_from_the_pinned(stages)


def test_a_departure_from_the_pinned_stages_is_named() -> None:
    swapped = ("parse", "classify", "admit", "find", *PINNED[4:])
    assert departure_from_the_pinned(PINNED) is None
    assert departure_from_the_pinned([(name, len) for name in PINNED]) is None
    assert departure_from_the_pinned(swapped) == "stage 3 is 'admit', pinned is 'find'"
    assert departure_from_the_pinned(PINNED[:-1]) == "7 stages, pinned are 8"
    assert departure_from_the_pinned((*PINNED, len)) == "9 stages, pinned are 8"
    assert departure_from_the_pinned([len, *PINNED]) == "stage 1 is 'len', pinned is 'parse'"


def test_soft_limits_are_told(house_notes: list[str], tmp_path: Path) -> None:
    write_tree(tmp_path, {"hyperplane/a.py": "a = 1\n" * 251, "hyperplane/b.py": "def f():\n" + "    a = 1\n" * 30})
    assert len(list(shape.over_the_soft_limits(read_sources(tmp_path)))) == 2
    house_notes.extend(str(offence) for offence in shape.over_the_soft_limits(read_sources(ROOT)))
