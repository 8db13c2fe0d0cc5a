"""The command line: what there is, and what each command is given.

Exit status: 0 done, 1 failed, 2 wrong usage.
"""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from hyperplane.errors import ConfigurationError
from hyperplane.io.runtime import DEFAULT_RUNTIME

app = typer.Typer(
    help="AWS PrivateLink, its Network Load Balancer and the engine beneath them, on Linux network namespaces.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Runtime = Annotated[
    Path, typer.Option("--runtime", envvar="HYPERPLANE_RUNTIME", help="Directory of sockets, journals and logs.")
]


@app.callback()
def settings(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on standard error.")] = False,
) -> None:
    """Settings of every command."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(process)d %(name)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )


@app.command()
def fabric(
    zone: Annotated[str, typer.Option(help="Availability Zone, as the snapshot names it.")],
    netns: Annotated[str, typer.Option(help="Network namespace that holds the zone's ENIs.")],
    runtime: Runtime = DEFAULT_RUNTIME,
) -> None:
    """Serve one zone: bind the queues, start the nodes, steer packets to them. Runs until it is told to stop.

    Started beside a running fabric of the same zone it takes over from it without losing a packet.
    """
    from hyperplane.io.fabric import FabricPlan, run_fabric  # noqa: PLC0415 - other commands do not need the packet plane
    from hyperplane.io.mutants import from_environment  # noqa: PLC0415

    raise typer.Exit(run_fabric(FabricPlan(zone, netns, runtime, from_environment())))


def main() -> None:
    """Run the command and turn what is the operator's to mend into one clear line."""
    try:
        app()
    except ConfigurationError as error:
        print(f"hyperplane: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except PermissionError as error:
        print(f"hyperplane: {error} (this needs root)", file=sys.stderr)
        raise SystemExit(1) from None
