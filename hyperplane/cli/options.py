"""Options that several commands share."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

HELP: dict[str, Any] = {"help_option_names": ["-h", "--help"]}

API_ADDRESS, _, _port = os.environ.get("HYPERPLANE_API", "127.0.0.1:4566").rpartition(":")
API_PORT = int(_port)
"""HYPERPLANE_API=ADDRESS:PORT; the port that users of AWS emulators already type."""

Runtime = Annotated[
    Path, typer.Option("--runtime", envvar="HYPERPLANE_RUNTIME", help="Directory of journals, pages and logs.")
]
LabFile = Annotated[
    Path,
    typer.Option("--lab", "-t", envvar="HYPERPLANE_LAB", help="Lab file in AWS's words; the packaged lab if left out."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table for people.")]
