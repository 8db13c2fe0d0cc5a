"""Lab files on disk: the packaged one loads, a broken one names its place."""

from pathlib import Path

import pytest

from hyperplane.control.resources import Instance
from hyperplane.errors import ConfigurationError
from hyperplane.io.lab_file import DEFAULT_LAB, load_lab


def test_the_packaged_lab_loads() -> None:
    assert len(load_lab(DEFAULT_LAB).all(Instance)) == 7


@pytest.mark.parametrize(
    ("text", "place", "part"),
    [
        ("region: mars\nzones: []\nvpcs: []\n", ":1: region", "is no region"),
        ("region: us-east-2\n", ":1", "'zones' is missing"),
        ("a: [\n", ":2", "not YAML"),
        ("", ":1", "empty"),
        ("region: us-east-2\nzones: []\nvpcs: []\nendpoint: []\n", ":4: endpoint", "unknown key 'endpoint'"),
    ],
)
def test_mistakes_name_file_line_and_path(tmp_path: Path, text: str, place: str, part: str) -> None:
    file = tmp_path / "lab.yml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_lab(file)
    assert caught.value.place == f"{file}{place}"
    assert part in caught.value.message


def test_a_missing_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_lab(tmp_path / "none.yml")
