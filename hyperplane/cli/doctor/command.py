"""`hyperplane doctor` as a command."""

import os
from collections.abc import Iterator

import typer
from rich.console import RenderableType

from hyperplane.cli.doctor import kernel, machine
from hyperplane.cli.doctor.finding import Finding, Status
from hyperplane.cli.options import Json, Runtime
from hyperplane.cli.output import note, print_json, show, table
from hyperplane.io.runtime import DEFAULT_RUNTIME

_STYLES = {Status.OK: "green", Status.MISSING: "bold red", Status.OPTIONAL: "yellow", Status.UNKNOWN: "yellow"}


def doctor(as_json: Json = False, runtime: Runtime = DEFAULT_RUNTIME) -> None:
    """Say what this machine and its kernel lack, what follows from that, and what helps.

    Everything is tried, in scratch namespaces that are gone afterwards; no version is asked. It takes
    a few seconds, and most of it needs root. Exit status 1 if something is missing that is required.

    Examples:

        hyperplane doctor

        hyperplane doctor --json | jq '.[] | select(.status != "ok")'
    """
    findings = list(examine(runtime))
    if as_json:
        print_json(findings)
    else:
        show(draw_findings(findings))
        note(_summary(findings))
    if any(finding.status is Status.MISSING for finding in findings):
        raise typer.Exit(1)


def examine(runtime: Runtime) -> Iterator[Finding]:
    """All findings, the machine first."""
    is_root = os.geteuid() == 0
    for probe in (*machine.probes(runtime), *kernel.PROBES):
        yield probe.run(is_root)


def draw_findings(findings: list[Finding]) -> RenderableType:
    """One row a finding; what follows and what helps stand below it."""
    rows = []
    for finding in findings:
        style = _STYLES[finding.status]
        rows.append([f"[{style}]{finding.status.value}[/]", finding.name, finding.found])
        rows += (["", "", f"{head}: {text}"] for head, text in _advice(finding))
    return table(("STATUS", "WHAT", "FOUND"), rows, folds=("FOUND",))


def _advice(finding: Finding) -> Iterator[tuple[str, str]]:
    if finding.follows:
        yield "so", finding.follows
    if finding.helps:
        yield "helps", finding.helps


def _summary(findings: list[Finding]) -> str:
    missing = sum(finding.status is Status.MISSING for finding in findings)
    if missing:
        return f"{missing} of what is required is missing"
    return "nothing required is missing"
