"""A seeded world in which everything goes wrong that can: no invariant may break.

A failure names its seed. To see it again:   SIM_FIRST=<seed> SIM_SEEDS=1 pytest tests/sim/test_simulation.py
To look further:                             SIM_SEEDS=100000 pytest tests/sim/test_simulation.py
"""

import os

import pytest

from tests.sim.ends import Violation
from tests.sim.world import World

SEEDS = int(os.environ.get("SIM_SEEDS", "1500"))
FIRST = int(os.environ.get("SIM_FIRST", "0"))
BLOCK = 100


def run(seed: int) -> None:
    try:
        World(seed).run()
    except Violation as violation:
        command = f"SIM_FIRST={seed} SIM_SEEDS=1 pytest tests/sim/test_simulation.py"
        pytest.fail(f"{violation}\nto see it again: {command}", pytrace=False)


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, BLOCK))
def test_seeds(first: int) -> None:
    for seed in range(first, min(first + BLOCK, FIRST + SEEDS)):
        run(seed)
