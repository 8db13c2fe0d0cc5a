"""These tests take the place of a user's lab, and never take it away."""

from pathlib import Path

import pytest

from hyperplane.io.lab_record import lab_record
from tests.lab.laboratory import CONSUMER_A, LAB_FILE, RUNTIME, Lab, somebodys_lab

pytestmark = pytest.mark.netns


@pytest.mark.parametrize(
    ("file", "namespaces", "whose"),
    [
        (None, [], None),
        (None, ["hp-mine", CONSUMER_A], f"namespace {CONSUMER_A}"),
        (f"/tmp/pytest/{LAB_FILE}", [CONSUMER_A], None),
        ("/srv/lab.yml", [CONSUMER_A], "the lab of /srv/lab.yml"),
        ("/srv/lab.yml", [], "the lab of /srv/lab.yml"),
    ],
)
def test_a_lab_of_a_user_is_told_from_our_own(
    tmp_path: Path, file: str | None, namespaces: list[str], whose: str | None
) -> None:
    if file is not None:
        lab_record(tmp_path).write_text(f"{file}\n")
    assert somebodys_lab(tmp_path, namespaces) == whose


def test_the_lab_that_is_up_now_is_ours(lab: Lab) -> None:
    assert lab_record(RUNTIME).read_text() == f"{lab.file}\n"
    assert somebodys_lab(RUNTIME, [CONSUMER_A]) is None
