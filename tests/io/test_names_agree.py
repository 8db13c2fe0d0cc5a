"""Two rooms that may not import each other give an interface one name."""

import pytest

from hyperplane.control import compiler
from hyperplane.limits import ENI_NUMBER_MAX
from netns import crossing


@pytest.mark.parametrize("number", [1, 7, 10_000, ENI_NUMBER_MAX])
def test_the_compiler_names_an_interface_as_the_ground_does(number: int) -> None:
    assert compiler.interface_name(number) == crossing.interface_name(number)


def test_every_number_that_control_deals_is_one_that_the_ground_takes() -> None:
    assert ENI_NUMBER_MAX == crossing.NUMBER_MAX
