"""`hyperplane flows`: every flow that the nodes remember."""

import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType

from hyperplane.cli.options import Json, Runtime
from hyperplane.cli.output import note, print_json, print_json_line, seconds, show, table, ticks, unknown, watch
from hyperplane.io.flow_view import Flows, FlowView, endpoint_enis, endpoints_of, known_as, view_flows
from hyperplane.io.node_view import find_snapshot, find_zones
from hyperplane.io.runtime import DEFAULT_RUNTIME

TABLE_ROWS_MAX = 100
_ROOM_FOR_HEADS = 3

COLUMNS = ("ZONE", "PROTO", "ENDPOINT", "CLIENT > ENDPOINT => NLB > TARGET", "STATE", "IDLE", "EXPIRES IN", "TOLD BY")
_RIGHT = ("IDLE", "EXPIRES IN")


def _complete_endpoint(incomplete: str) -> list[str]:
    return [name for name in endpoints_of(DEFAULT_RUNTIME) if name.startswith(incomplete)]


def flows(
    watching: Annotated[bool, typer.Option("--watch", "-w", help="Look again every second, until Ctrl-C.")] = False,
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--endpoint",
            "-e",
            help="Only flows of this endpoint: its id, its ENI's id or address.",
            autocompletion=_complete_endpoint,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=0, help=f"Show so many, 0 for all. A table shows {TABLE_ROWS_MAX} unless told, JSON all."),
    ] = None,
    as_json: Json = False,
    runtime: Runtime = DEFAULT_RUNTIME,
) -> None:
    """Show every flow, latest packet first: who speaks to whom, on both sides of the translation.

    Read from the nodes' journals and joined as the nodes join them. It needs root, and no living process.

    TOLD BY are the nodes in whose journals the flow stands; every node of both shards holds it
    (`held_by` in the JSON). IDLE is as fresh as the nodes tell it, about a second.

    Examples:

        hyperplane flows

        hyperplane flows --endpoint 10.0.1.10 --watch

        hyperplane flows --json | jq 'group_by(.endpoint_id) | map({(.[0].endpoint_id): length}) | add'
    """
    if not find_zones(runtime):
        raise FileNotFoundError(f"no zone has left files below {runtime}; is the lab up? (hyperplane lab up)")
    if endpoint is not None:
        _check_endpoint(runtime, endpoint)
    if as_json and watching:
        for _ in ticks():
            print_json_line(view_flows(runtime, endpoint=endpoint, limit=limit or None).views)
    elif as_json:
        print_json(view_flows(runtime, endpoint=endpoint, limit=limit or None).views)
    elif watching:
        watch(lambda: draw_flows(view_flows(runtime, endpoint=endpoint, limit=limit or _screen_rows())))
    else:
        rows_max = TABLE_ROWS_MAX if limit is None else limit or None
        found = view_flows(runtime, endpoint=endpoint, limit=rows_max)
        show(draw_flows(found))
        note(_summary(found))


def _check_endpoint(runtime: Path, endpoint: str) -> None:
    """A typo must not look like an endpoint without flows."""
    snapshot, why = find_snapshot(runtime)
    if snapshot is None:
        raise FileNotFoundError(f"the endpoints are not known: {why}")
    known = {name for eni in endpoint_enis(snapshot) for name in known_as(eni)}
    if endpoint not in known:
        raise unknown("endpoint", endpoint, known)


def _screen_rows() -> int:
    return max(1, shutil.get_terminal_size().lines - _ROOM_FOR_HEADS)


def _summary(found: Flows) -> str:
    if len(found.views) < found.total:
        return f"{len(found.views)} of {found.total} flows; all with --limit 0"
    return f"{found.total} flow" + ("" if found.total == 1 else "s")


def draw_flows(found: Flows) -> RenderableType:
    """One row a flow."""
    return table(COLUMNS, [_row(flow) for flow in found.views], right=_RIGHT)


def _row(flow: FlowView) -> list[str]:
    return [
        flow.zone,
        flow.protocol,
        flow.endpoint_id,
        f"{flow.client} > {flow.endpoint} => {flow.load_balancer} > {flow.target}",
        flow.state,
        seconds(flow.idle_s),
        seconds(flow.expires_in_s),
        ",".join(flow.told_by),
    ]
