"""Up, another lab over it, and down again, by the command and whatever happens in between."""

import subprocess
import threading

import pytest

from hyperplane.io import processes
from hyperplane.io.runtime import is_own_memory
from hyperplane.limits import RUNTIME_BYTES_MAX
from netns import namespace as namespaces
from tests.io.living import FABRIC, FABRIC_NAMESPACE, LivingLab, lab_text

pytestmark = pytest.mark.netns


def call(consumer: str) -> subprocess.CompletedProcess[str]:
    command = ["ip", "netns", "exec", f"hp-{consumer}", "curl", "-s", "-m", "20", "http://10.41.1.10/"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_up_mounts_its_own_memory_also_on_memory(living: LivingLab) -> None:
    living.up(living.write("a.yml", lab_text()))
    assert is_own_memory(living.runtime)
    size = subprocess.run(
        ["findmnt", "--bytes", "-no", "SIZE", str(living.runtime)], capture_output=True, text=True, check=True
    ).stdout
    assert int(size) == RUNTIME_BYTES_MAX
    assert "mounted" not in living.up(living.directory / "a.yml")
    living.down()
    assert not living.runtime.exists()


def test_up_does_not_hide_what_somebody_has(living: LivingLab) -> None:
    living.runtime.mkdir()
    mine = living.runtime / "mine"
    mine.write_text("precious")
    done = living.run("up", "-t", str(living.write("a.yml", lab_text())))
    assert done.returncode == 1
    assert "is not empty and holds no lab" in done.stderr
    assert mine.read_text() == "precious"
    mine.unlink()
    living.runtime.rmdir()


@pytest.mark.parametrize("fate", ["moved", "broken", "changed"])
def test_down_removes_what_was_built_whatever_became_of_the_lab_file(living: LivingLab, fate: str) -> None:
    file = living.write("a.yml", lab_text())
    living.up(file)
    processes.end(living.process_files, "control")  # it would follow the file
    assert "hp-rv-c" in living.namespaces()
    if fate == "moved":
        file.unlink()
    else:
        file.write_text("vpcs: {" if fate == "broken" else lab_text("rv-d"))
    living.down()
    assert living.namespaces() == []
    assert not living.runtime.exists()


def test_another_lab_file_takes_over(living: LivingLab) -> None:
    first = living.write("a.yml", lab_text())
    second = living.write("b.yml", lab_text("rv-d", "rv-u", 8081, nodes=3, address="10.49.3.21"))
    living.up(first)
    control, fabric = (processes.running(living.process_files, name) for name in ("control", FABRIC))
    assert '"rv-t"' in call("rv-c").stdout

    assert "removed 3 namespaces" in living.up(second)

    assert set(living.namespaces()) == {"hp-rv-d", "hp-rv-u", "hp-vpc-rv-d", "hp-vpc-rv-p", FABRIC_NAMESPACE}
    assert living.process_files.names() == ["control", FABRIC, "target-rv-u"]
    assert processes.running(living.process_files, "control") not in (0, control)
    assert processes.running(living.process_files, FABRIC) == fabric
    assert len(list(living.zone_files.generation_directory(living.zone_files.generation()).glob("journal-*"))) == 3
    assert '"rv-u"' in call("rv-d").stdout
    assert "started" not in living.up(second)


def test_only_the_very_names_are_removed(living: LivingLab) -> None:
    living.up(living.write("a.yml", lab_text()))
    namespaces.create(["hp-rv-c2"])  # somebody else's: its name only begins like one of ours
    try:
        living.up(living.write("b.yml", lab_text("rv-d")))
        living.down()
        assert living.namespaces() == ["hp-rv-c2"]
    finally:
        namespaces.delete("hp-rv-c2")


def test_a_broken_lab_file_changes_nothing_of_a_running_lab(living: LivingLab) -> None:
    living.up(living.write("a.yml", lab_text()))
    before = {name: processes.running(living.process_files, name) for name in living.process_files.names()}
    done = living.run("up", "-t", str(living.write("b.yml", lab_text().replace("10.49.3.20", "10.50.3.20"))))
    assert done.returncode == 1
    assert "10.50.3.20" in done.stderr
    assert {name: processes.running(living.process_files, name) for name in living.process_files.names()} == before
    assert (living.runtime / "lab").read_text() == f"{living.directory / 'a.yml'}\n"


def test_a_target_that_has_to_serve_other_ports_is_started_again(living: LivingLab) -> None:
    file = living.write("a.yml", lab_text())
    living.up(file)
    file.write_text(lab_text(port=8090))
    living.up(file)
    assert '"rv-t"' in call("rv-c").stdout


def test_two_ups_at_once_build_one_lab(living: LivingLab) -> None:
    file = living.write("a.yml", lab_text())
    results: list[int] = []

    def up() -> None:
        results.append(living.run("up", "-t", str(file)).returncode)

    threads = [threading.Thread(target=up) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [0, 0]
    assert living.zone_files.generations() == [1]
    assert '"rv-t"' in call("rv-c").stdout
