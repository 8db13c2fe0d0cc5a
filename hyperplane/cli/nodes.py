"""`hyperplane nodes`: every node of every zone, from its status page and the kernel."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType

from hyperplane.cli.drop_reasons import meaning
from hyperplane.cli.options import Json, Runtime
from hyperplane.cli.output import (
    number,
    print_json,
    print_json_line,
    seconds,
    show,
    table,
    ticks,
    watch,
)
from hyperplane.io.node_view import DEAD, SILENT, NodeView, view_nodes
from hyperplane.io.runtime import DEFAULT_RUNTIME
from hyperplane.io.status import NodeState

Rates = dict[tuple[str, int, int], float]

_STYLES = {DEAD: "red", SILENT: "red", NodeState.SERVING.name.lower(): "green"}

COLUMNS = (
    "ZONE GEN NODE PID STATE BEAT UP STARTS FLOWS NEW PKTS> PKTS< BYTES> BYTES< DROPPED QUEUE WAITING LOST".split()
)
_RIGHT = frozenset(COLUMNS) - {"ZONE", "STATE"}


def nodes(
    watching: Annotated[bool, typer.Option("--watch", "-w", help="Look again every second, until Ctrl-C.")] = False,
    counters: Annotated[
        bool, typer.Option("--counters", "-c", help="Every counter that is not zero, and what the drops mean.")
    ] = False,
    as_json: Json = False,
    runtime: Runtime = DEFAULT_RUNTIME,
) -> None:
    """Show every node: is it alive, what does it carry, what did it drop.

    Read from shared files, so it answers while nodes hang and after they died.

    > is from client to target, < the way back. BEAT is the age of the last heartbeat. WAITING and LOST are
    the kernel's: packets in the node's queue, and packets that came while it was full.
    Exit status 1 when no node has left a page.

    Examples:

        hyperplane nodes

        hyperplane nodes --watch

        hyperplane nodes --counters

        hyperplane nodes --json | jq '.[] | select(.state != "serving")'
    """
    draw = draw_counters if counters else draw_nodes
    if as_json and watching:
        for _ in ticks():
            print_json_line(view_nodes(runtime))
    elif as_json:
        print_json(_some(runtime))
    elif watching:
        watch(WatchedNodes(runtime, counters))
    else:
        show(draw(_some(runtime), {}))


def _some(runtime: Path) -> list[NodeView]:
    found = view_nodes(runtime)
    if not found:
        raise FileNotFoundError(f"no node has left a page below {runtime}; is the lab up? (hyperplane lab up)")
    return found


class WatchedNodes:
    """Draws the nodes as they are, with their packets per second since it was last called."""

    def __init__(self, runtime: Path, counters: bool) -> None:
        self._runtime = runtime
        self._draw = draw_counters if counters else draw_nodes
        self._packets: dict[tuple[str, int, int], int] = {}
        self._at = 0.0

    def __call__(self) -> RenderableType:
        now = time.monotonic()
        views = view_nodes(self._runtime, now)
        packets = {_identity(view): _packets(view) for view in views}
        known = packets.keys() & self._packets.keys()
        rates = {key: max(0, packets[key] - self._packets[key]) / (now - self._at) for key in known}
        self._packets, self._at = packets, now
        return self._draw(views, rates)


def _identity(view: NodeView) -> tuple[str, int, int]:
    return view.zone_id, view.generation, view.node


def _packets(view: NodeView) -> int:
    return view.count("packets_original") + view.count("packets_reply")


def draw_nodes(views: list[NodeView], rates: Rates) -> RenderableType:
    """One row a node. With `rates` (packets per second) there is a column for them."""
    columns = [*COLUMNS, "PKTS/S"] if rates else COLUMNS
    rows = [_row(view) + ([number(rates.get(_identity(view), 0))] if rates else []) for view in views]
    drawn = table(columns, rows, right={*_RIGHT, "PKTS/S"})
    switched = [view for view in views if view.switches]
    if not switched:
        return drawn
    warnings = [f"{view.zone} node {view.node}: started with {' '.join(view.switches or ())}" for view in switched]
    return Group(drawn, "", *warnings)


def _row(view: NodeView) -> list[str]:
    style = _STYLES.get(view.state, "yellow")
    queue = view.kernel_queue
    return [
        view.zone,
        str(view.generation) if view.in_force else f"{view.generation} (old)",
        str(view.node),
        str(view.pid or "-"),
        f"[{style}]{view.state}[/]",
        seconds(view.heartbeat_age_s),
        seconds(view.up_s) if view.alive else "-",
        str(view.starts),
        number(view.flows),
        number(view.count("flows_new")),
        number(view.count("packets_original")),
        number(view.count("packets_reply")),
        number(view.count("bytes_original")),
        number(view.count("bytes_reply")),
        number(view.count("packets_dropped")),
        str(view.queue),
        number(queue.waiting) if queue else "-",
        number(queue.dropped_full + queue.dropped_untaken) if queue else "-",
    ]


def draw_counters(views: list[NodeView], rates: Rates) -> RenderableType:
    """One row a counter, one column a node, and what a drop reason means. `rates` have no place here."""
    names = list(dict.fromkeys(name for view in views for name in view.counters))
    heads = [f"{view.zone}/{view.node}" + ("" if view.in_force else f" gen {view.generation}") for view in views]
    rows = [[name, *(str(view.count(name)) for view in views), meaning(name)] for name in sorted(names, key=_order)]
    return table(["COUNTER", *heads, "MEANS"], rows, right=heads, folds=("MEANS",))


def _order(name: str) -> tuple[bool, str]:
    """Drops last, together."""
    return name.startswith("dropped_"), name
