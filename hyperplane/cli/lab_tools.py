"""`hyperplane lab exec` and `hyperplane lab graph`: work inside a lab, and draw one."""

import os
import shlex
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from hyperplane.cli.graph.dot import to_dot
from hyperplane.cli.graph.drawing import Drawing, draw
from hyperplane.cli.graph.mermaid import to_mermaid
from hyperplane.cli.graph.svg import to_svg
from hyperplane.cli.graph.text import to_text
from hyperplane.cli.options import Runtime
from hyperplane.cli.output import need_root, unknown
from hyperplane.io.running_lab import lab_to_show
from hyperplane.io.runtime import DEFAULT_RUNTIME
from netns.names import PREFIX
from netns.namespace import list_names

EXEC_SETTINGS = {"allow_interspersed_args": False}
"""All that follows the name belongs to the command, dashes included."""


def namespace_names() -> list[str]:
    """The names that `lab exec` takes: namespaces of ours, without the prefix."""
    return [name.removeprefix(PREFIX) for name in list_names()]


def _complete_namespace(incomplete: str) -> list[str]:
    return [name for name in namespace_names() if name.startswith(incomplete)]


def execute(
    name: Annotated[
        str, typer.Argument(help="An instance, or any namespace of ours.", autocompletion=_complete_namespace)
    ],
    command: Annotated[list[str], typer.Argument(help="The command and its arguments.")],
) -> None:
    """Run a command inside an instance of the lab.

    It becomes `ip netns exec hp-NAME COMMAND...`, printed on standard error, and its exit status is the command's.

    Examples:

        hyperplane lab exec consumer-a -- curl -s http://10.0.1.10/

        hyperplane lab exec vpc-provider -- tcpdump -ni any

        hyperplane lab exec target-1 -- bash
    """
    short = name.removeprefix(PREFIX)
    if short not in namespace_names():
        raise unknown("namespace", short, namespace_names())
    if command[0] == "--":
        command = command[1:]
    if not command:
        raise typer.BadParameter(f"what shall run in {short}? A command is missing")
    words = ["ip", "netns", "exec", PREFIX + short, *command]
    print(f"+ {shlex.join(words)}", file=sys.stderr, flush=True)
    need_root("`lab exec` enters a namespace")
    os.execvp(words[0], words)


class GraphFormat(Enum):
    """What `lab graph` can write."""

    TEXT = "text"
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


WRITERS: dict[GraphFormat, Callable[[Drawing], str]] = {
    GraphFormat.TEXT: to_text,
    GraphFormat.MERMAID: to_mermaid,
    GraphFormat.DOT: to_dot,
    GraphFormat.SVG: to_svg,
}


def graph(
    form: Annotated[GraphFormat, typer.Option("--format", "-f", help="How to draw.")] = GraphFormat.TEXT,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    lab_file: Annotated[
        Path | None,
        typer.Option("--lab", "-t", envvar="HYPERPLANE_LAB", help="Draw this lab file; else the lab that is up."),
    ] = None,
    runtime: Runtime = DEFAULT_RUNTIME,
) -> None:
    """Draw the lab: VPCs and instances, endpoints and load balancers in the fabric, and who leads where.

    It needs neither root nor a lab that is up: without one it draws the packaged lab.

    Examples:

        hyperplane lab graph

        hyperplane lab graph --format svg -o lab.svg

        hyperplane lab graph --format dot | dot -Tpng -o lab.png
    """
    text = WRITERS[form](draw(lab_to_show(runtime, lab_file)))
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text)
