"""What a process occupies."""

from pathlib import Path

from benchmark.failure import BenchmarkError


def pss_bytes(pid: int | str = "self") -> int:
    """Proportional set size of a process: a page shared by n processes counts one n-th (proc(5), smaps_rollup)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise BenchmarkError("this kernel has no smaps_rollup")
