"""The header's block for people: header on, off and HAProxy's, the ratios with their spread, the goal."""

from collections.abc import Sequence

from benchmark.figures import HEADER_FIRST_ACK, HEADER_HAPROXY, Sample
from benchmark.header_summary import HeaderRow, header_rows
from benchmark.summary import Spread
from benchmark.table import goal_text

TITLES = {HEADER_FIRST_ACK: "  header on the first ack"}
"""Instead of the figure's title, under the row of the default placement."""
HEADER = (
    f"{'figure':<44} {'on':>9} {'off':>9} {HEADER_HAPROXY:>14}"
    f"   {'on / off (min .. max)':>24}   {'on / haproxy (min .. max)':>26}  goal"
)


def header_lines(samples: Sequence[Sample]) -> list[str]:
    lines = [HEADER, "-" * len(HEADER)]
    for row in header_rows(samples):
        title = TITLES.get(row.lane, f"{row.figure.title} ({row.figure.unit})")
        absolutes = f"{_absolute(row, row.on):>9} {_absolute(row, row.off):>9} {_absolute(row, row.haproxy):>14}"
        ratios = f"{_ratio(row.to_off, 3):>24}   {_ratio(row.to_haproxy, 2):>26}"
        lines.append(f"{title:<44} {absolutes}   {ratios}  {_goal(row)}".rstrip())
        lines += [f"  failed: {failure}" for failure in row.failures]
    lines.append("medians; ratios are taken in the same round; haproxy: send-proxy-v2 with crc32c")
    return lines


def _absolute(row: HeaderRow, spread: Spread | None) -> str:
    return "-" if spread is None else f"{spread.median:,.{row.figure.decimals}f}"


def _ratio(spread: Spread | None, decimals: int) -> str:
    if spread is None:
        return "-"
    return f"{spread.median:.{decimals}f} ({spread.minimum:.{decimals}f} .. {spread.maximum:.{decimals}f})"


def _goal(row: HeaderRow) -> str:
    return "" if row.goal is None else goal_text(">=", row.goal, row.reached)
