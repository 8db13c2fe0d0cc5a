"""The command line: what there is, and what each command is given.

Exit status: 0 done, 1 failed, 2 wrong usage.
"""

import logging
import os
import sys
from typing import Annotated

import typer

from hyperplane.cli.capture import capture
from hyperplane.cli.doctor.command import doctor
from hyperplane.cli.flows import flows
from hyperplane.cli.lab import lab
from hyperplane.cli.lab_tools import EXEC_SETTINGS, execute, graph
from hyperplane.cli.nodes import nodes
from hyperplane.cli.options import API_ADDRESS, API_PORT, HELP, LabFile, Runtime
from hyperplane.cli.trace.command import trace
from hyperplane.errors import ConfigurationError
from hyperplane.io.lab_file import DEFAULT_LAB
from hyperplane.io.processes import ProcessFailed
from hyperplane.io.runtime import DEFAULT_RUNTIME
from netns.iptables import RulesetError
from netns.namespace import NamespaceMissing

app = typer.Typer(
    help="AWS PrivateLink, its Network Load Balancer and the engine beneath them, on Linux network namespaces.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=HELP,
)
lab.command("exec", context_settings=EXEC_SETTINGS)(execute)
lab.command()(graph)
app.add_typer(lab, name="lab")
app.command()(nodes)
app.command()(flows)
app.command()(trace)
app.command()(capture)
app.command()(doctor)


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


@app.command()
def control(
    lab_file: LabFile = DEFAULT_LAB,
    runtime: Runtime = DEFAULT_RUNTIME,
    address: Annotated[str, typer.Option(help="Address of the health page.")] = API_ADDRESS,
    port: Annotated[int, typer.Option(help="Its port.")] = API_PORT,
) -> None:
    """Keep the snapshot in step with a lab file and answer whether all is well. Runs until it is told to stop."""
    from hyperplane.io.control import run_control  # noqa: PLC0415

    raise typer.Exit(run_control(lab_file, runtime, address, port))


@app.command()
def target(
    name: Annotated[str, typer.Option(help="What it calls itself in its answers.")],
    tcp: Annotated[list[int] | None, typer.Option(help="TCP port of the HTTP server; may be given again.")] = None,
    udp: Annotated[list[int] | None, typer.Option(help="UDP port of the echo; may be given again.")] = None,
) -> None:
    """Serve as a target of the lab: HTTP that answers what it saw, and a UDP echo. Runs until it is told to stop."""
    from hyperplane.io.target import serve_target  # noqa: PLC0415

    raise typer.Exit(serve_target(name, tcp or [], udp or []))


def main() -> None:
    """Run the command and turn what is the operator's to mend into one clear line."""
    os.umask(0o022)  # nodes run as a user who owns nothing and must be able to read what we write
    try:
        app()
    except (ConfigurationError, ProcessFailed, RulesetError) as error:
        fail(str(error))
    except NamespaceMissing as error:
        fail(f"there is no namespace {error}; is the lab up and whole? (hyperplane lab up)")
    except PermissionError as error:
        fail(f"{error} (this needs root)")
    except OSError as error:
        fail(str(error))


def fail(message: str) -> None:
    """One line on standard error, exit status 1."""
    print(f"hyperplane: {message}", file=sys.stderr)
    raise SystemExit(1)
