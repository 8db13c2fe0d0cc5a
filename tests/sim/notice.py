"""Who notices a mutant: a world of the simulator, or a test that was written for the one packet that it takes.

A mutant that crashes proves nothing, so only an assertion counts: in a world a `Violation` of the kind that was
expected, in a test an `assert` of the test's own. Then the mutant is taken back, and the very same world or test must
pass.
"""

import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sim.ends import Violation
from tests.sim.plan import Plan, plan_of
from tests.sim.world import World

SEEDS_MAX = 150
"""A mutant that outlives so many seeds is not noticed soon enough."""

_TESTS = Path(__file__).parents[1]

Patch = pytest.MonkeyPatch


def in_worlds(patch: Patch, kind: str, worlds: Callable[[Plan], Plan]) -> None:
    """A world breaks an invariant, with words that match `kind`; without the mutant it breaks none."""
    for seed in range(SEEDS_MAX):
        plan = worlds(plan_of(seed))
        try:
            World(seed, plan).run()
        except Violation as violation:
            assert re.search(kind, str(violation)), f"seed {seed}: noticed as: {violation}"
            patch.undo()
            World(seed, plan).run()
            return
    pytest.fail("nobody noticed")


def in_test(patch: Patch, test: Callable[..., None], *arguments: Any) -> None:
    """The test fails at an assertion of its own; without the mutant it passes."""
    try:
        test(*arguments)
    except AssertionError as noticed:
        where = Path(traceback.extract_tb(noticed.__traceback__)[-1].filename)
        assert where.is_relative_to(_TESTS), f"the product stopped itself: {where}"
    else:
        pytest.fail("nobody noticed")
    patch.undo()
    test(*arguments)
