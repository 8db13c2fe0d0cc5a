"""What `--only` runs."""

from collections.abc import Sequence

import pytest

from benchmark.header_block import sliced
from benchmark.options import HEADER_NAMES, Options, parse_options


def options(only: Sequence[str], *more: str) -> Options:
    return parse_options([*(word for name in only for word in ("--only", name)), *more])


@pytest.mark.parametrize(
    ("only", "compares", "measures_header", "studies"),
    [
        ((), True, True, True),
        (("bulk_1",), True, False, False),
        (("nftables",), True, False, False),
        (("header",), False, True, False),
        (("header_bulk",), False, True, False),
        (("header", "hyperplane"), False, True, False),
        (("header", "bulk_1"), True, True, False),
        (("flow_table",), False, False, True),
        (("routing", "flow_table"), True, False, True),
        (("header", "nodes"), False, True, True),
    ],
)
def test_what_runs(only: tuple[str, ...], compares: bool, measures_header: bool, studies: bool) -> None:
    asked = options(only)
    assert (asked.compares, asked.measures_header, asked.studies) == (compares, measures_header, studies)


def test_header_stands_for_all_of_its_figures() -> None:
    assert options(["header"]).only == HEADER_NAMES
    assert options(["header_bulk"]).wants("header_bulk", HEADER_NAMES)
    assert not options(["header_bulk"]).wants("header_connections", HEADER_NAMES)


def test_slices_take_the_same_time_in_more_rounds() -> None:
    whole = sliced(options([]))
    assert (whole.rounds, whole.seconds) == (30, 1.0)
    quick = sliced(options([], "--quick"))
    assert (quick.rounds, quick.seconds) == (2, 1.0)
    uneven = sliced(options([], "--seconds", "2.6", "--rounds", "2"))
    assert (uneven.rounds, round(uneven.seconds, 2)) == (6, 0.87)


def test_a_name_that_is_none_ends_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options(["headers"])
    assert "header_connections" in capsys.readouterr().err


def test_the_header_without_a_contender_that_knows_it_ends_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options(["header", "nftables"])
    assert "haproxy, hyperplane" in capsys.readouterr().err
