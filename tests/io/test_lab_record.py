"""What a runtime directory remembers, and that one without notes is nobody's to remove."""

import os
from pathlib import Path

import pytest

from hyperplane.errors import ConfigurationError
from hyperplane.io.lab import down
from hyperplane.io.lab_record import (
    built_namespaces,
    forget_namespaces,
    holds_a_lab,
    lab_lock,
    lab_record,
    note_namespaces,
)


def test_namespaces_are_noted_once_and_forgotten(tmp_path: Path) -> None:
    assert built_namespaces(tmp_path) == set()
    note_namespaces(tmp_path, ["hp-rv-a", "hp-rv-b"])
    note_namespaces(tmp_path, ["hp-rv-b", "hp-rv-c"])
    forget_namespaces(tmp_path, ["hp-rv-a"])
    assert built_namespaces(tmp_path) == {"hp-rv-b", "hp-rv-c"}


def test_a_stranger_among_the_notes_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "namespaces").write_text("hp-rv-a\nproduction\nhp-../x\n")
    assert built_namespaces(tmp_path) == {"hp-rv-a"}


def test_a_directory_is_ours_by_its_notes_alone(tmp_path: Path) -> None:
    assert not holds_a_lab(tmp_path)
    (tmp_path / "lab").mkdir()
    assert not holds_a_lab(tmp_path)
    (tmp_path / "lab").rmdir()
    lab_record(tmp_path).write_text("our measurements\n")
    assert not holds_a_lab(tmp_path)
    lab_record(tmp_path).write_text("/some/lab.yml\n")
    assert holds_a_lab(tmp_path)


def test_down_leaves_a_directory_alone_that_holds_no_lab(tmp_path: Path) -> None:
    thesis = tmp_path / "home" / "thesis.tex"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    with pytest.raises(ConfigurationError, match="holds no lab"):
        down(tmp_path / "home", False, print)
    assert thesis.read_text() == "years of work"
    assert os.listdir(tmp_path) == ["home"]


def test_down_of_nothing_is_no_error(tmp_path: Path) -> None:
    said: list[str] = []
    down(tmp_path / "none", False, said.append)
    assert said == []


def test_one_holds_the_lock_at_a_time_and_nothing_is_left(tmp_path: Path) -> None:
    told, tell = os.pipe()
    runtime = tmp_path / "run"
    children = []
    with lab_lock(runtime):
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                with lab_lock(runtime):
                    os.write(tell, b"(")
                    os.sched_yield()
                    os.write(tell, b")")
                os._exit(0)
            children.append(pid)
        os.write(tell, b"!")
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    assert os.read(told, 64) == b"!()()()"
    assert os.listdir(tmp_path) == []
