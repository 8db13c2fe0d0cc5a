"""`hyperplane lab`: build it, see how it is, take it away."""

import json
import os
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hyperplane.cli.next_steps import next_steps
from hyperplane.cli.options import API_ADDRESS, API_PORT, HELP, Json, LabFile, Runtime
from hyperplane.io import lab as labs
from hyperplane.io.health import Health, health
from hyperplane.io.lab_file import DEFAULT_LAB
from hyperplane.io.processes import ProcessFiles, running
from hyperplane.io.runtime import DEFAULT_RUNTIME
from netns.namespace import list_names

lab = typer.Typer(help="Build the lab, see how it is, take it away.", no_args_is_help=True, context_settings=HELP)


@lab.command()
def up(lab_file: LabFile = DEFAULT_LAB, runtime: Runtime = DEFAULT_RUNTIME) -> None:
    """Build and start the lab; on a lab that is up, mend what is missing.

    Ends by printing what to type next.
    """
    _need_root("lab up")
    done = labs.up(lab_file, runtime, (API_ADDRESS, API_PORT), _say)
    if not done.started and not done.reconciled.changes:
        _say("the lab is up already and whole")
    print()
    print(*next_steps(done.reconciled.store, done.reconciled.snapshot, done.health_url), sep="\n")


@lab.command()
def down(
    runtime: Runtime = DEFAULT_RUNTIME,
    everything: Annotated[
        bool, typer.Option("--all", help='Also remove every other namespace and link whose name starts with "hp-".')
    ] = False,
) -> None:
    """End the lab's processes and remove its namespaces and files."""
    _need_root("lab down")
    labs.down(runtime, everything, _say)
    _say("the lab is gone")


@lab.command()
def status(runtime: Runtime = DEFAULT_RUNTIME, as_json: Json = False) -> None:
    """Say what of the lab is there and whether it is well. Exit status 1 if it is not."""
    found = health(runtime)
    files = ProcessFiles(runtime)
    alive = {name: running(files, name) for name in files.names()}
    if as_json:
        print(json.dumps(found.as_dict() | {"processes": alive, "namespaces": list_names()}, indent=2))
    elif not alive and not runtime.exists():
        _say("no lab is up; build it with: hyperplane lab up")
    else:
        _print_status(found, alive)
    raise typer.Exit(0 if found.healthy and all(alive.values()) else 1)


def _print_status(found: Health, alive: dict[str, int]) -> None:
    console = Console()
    table = Table("process", "pid", "state", box=None, header_style="bold")
    for name, pid in alive.items():
        table.add_row(name, str(pid or "-"), "running" if pid else "[red]gone[/red]")
    console.print(table)
    console.print()
    table = Table("zone", "node", "pid", "state", "heartbeat", "flows", "snapshot", box=None, header_style="bold")
    for zone in found.zones:
        for node in zone.nodes:
            table.add_row(
                zone.zone,
                str(node.node),
                str(node.pid),
                node.state if node.healthy else f"[red]{node.state}[/red]",
                f"{node.heartbeat_age_s * 1000:.0f} ms ago",
                str(node.flows),
                str(node.snapshot_version),
            )
    console.print(table)
    console.print()
    if found.problem:
        console.print(f"[red]{found.problem}[/red]")
    console.print(f"snapshot {found.snapshot_version}: {'well' if found.healthy else '[red]not well[/red]'}")


def _need_root(what: str) -> None:
    if os.geteuid() != 0:
        print(f"hyperplane: `{what}` makes network namespaces and needs root: sudo hyperplane {what}", file=sys.stderr)
        raise typer.Exit(1)


def _say(line: str) -> None:
    print(line, file=sys.stderr)
