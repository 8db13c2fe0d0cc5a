"""`hyperplane capture`: record the packets at every hop as pcapng."""

import contextlib
import os
import select
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from hyperplane.cli.options import Json, Runtime
from hyperplane.cli.output import need_root, number, print_json, show, table, unknown, warn
from hyperplane.io.capture import Bounds, Capture, Recorded, by_hop, file_of, stop_signals
from hyperplane.io.hops import Hop, Place, Places
from hyperplane.io.running_lab import running_lab
from hyperplane.io.runtime import DEFAULT_RUNTIME
from hyperplane.io.tap import FilterRefused, Program, compile_filter
from netns.names import PREFIX
from netns.namespace import list_names


def _complete_client(incomplete: str) -> list[str]:
    names = (name.removeprefix(PREFIX) for name in list_names())
    return [name for name in names if name.startswith(incomplete)]


def capture(
    hops: Annotated[
        list[Hop] | None, typer.Option("--hop", help="Listen only here; may be given again. All hops unless told.")
    ] = None,
    client: Annotated[
        str | None,
        typer.Option(help="Only where this instance's packets can pass.", autocompletion=_complete_client),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--write", "-w", help="Directory for the files; a new one named by the time if left out."),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="One stream on standard output, for `| wireshark -k -i -`.")
    ] = False,
    for_s: Annotated[float | None, typer.Option("--seconds", min=0, help="Stop after so long.")] = None,
    count: Annotated[int | None, typer.Option("--count", min=1, help="Stop after so many packets in all.")] = None,
    expression: Annotated[str | None, typer.Option("--filter", "-f", help="A filter in tcpdump's language.")] = None,
    as_json: Json = False,
    runtime: Runtime = DEFAULT_RUNTIME,
) -> None:
    """Record the packets at every hop, one pcapng file a hop, until Ctrl-C.

    The same packet appears in several files, with its addresses as they were there. Each file knows its
    interfaces by name, and how many packets the kernel had to drop. Needs root.

    Examples:

        hyperplane capture

        hyperplane capture --client consumer-a --hop client --hop target -w /tmp/seen --seconds 10

        hyperplane capture --filter 'tcp port 80 or tcp port 8080' --count 100

        hyperplane capture --live --client consumer-a | wireshark -k -i -
    """
    need_root("`capture` listens inside namespaces")
    if live and directory is not None:
        raise typer.BadParameter("--live writes to standard output, --write to files: choose one")
    if live and sys.stdout.isatty():
        raise typer.BadParameter("--live writes bytes that are not for a terminal; pipe it: | wireshark -k -i -")
    places = _places(runtime, hops, client)
    bounds, program = Bounds(for_s, count), _program(expression)
    if live:
        _stream(places, bounds, program)
        return
    target = directory or Path(time.strftime("hyperplane-%Y%m%d-%H%M%S"))
    recorded = _files(target, places, bounds, program)
    if as_json:
        print_json(recorded)
    else:
        rows = [[item.name, number(item.packets), number(item.bytes), number(item.lost)] for item in recorded]
        show(table(("FILE", "PACKETS", "BYTES", "LOST"), rows, right=("PACKETS", "BYTES", "LOST")))


def _places(runtime: Path, hops: list[Hop] | None, client: str | None) -> list[Place]:
    lab = running_lab(runtime)
    instance = lab.instance(client) if client is not None else None
    if client is not None and instance is None:
        raise unknown("instance", client, lab.instance_names())
    found = [place for place in Places(lab).around(instance) if not hops or place.hop in hops]
    if not found:
        raise typer.BadParameter(
            f"{client or 'this lab'} has no endpoint, so there is nothing to listen to at these hops"
        )
    return found


def _program(expression: str | None) -> Program:
    if not expression:
        return ()
    try:
        return compile_filter(expression)
    except FilterRefused as error:
        raise typer.BadParameter(str(error)) from None


def _files(directory: Path, places: list[Place], bounds: Bounds, program: Program) -> list[Recorded]:
    directory.mkdir(parents=True, exist_ok=True)
    capture = Capture(bounds, program)
    with contextlib.ExitStack() as files, stop_signals() as (stopped, wake):
        for hop, at in by_hop(places).items():
            path = file_of(directory, hop)
            capture.add(str(path), files.enter_context(path.open("wb")), at)
        warn(f"listening at {len(places)} interfaces, writing to {directory}/; Ctrl-C ends")
        capture.run(stopped, wake)
        return capture.close()


def _stream(places: list[Place], bounds: Bounds, program: Program) -> None:
    """Until the reader goes away, too: that is how people leave Wireshark."""
    capture = Capture(bounds, program)
    with stop_signals() as (stopped, wake):
        try:
            capture.add("standard output", sys.stdout.buffer, places)
            warn(f"listening at {len(places)} interfaces; Ctrl-C ends")
            capture.run(lambda: stopped() or _reader_is_gone(), wake)
            recorded = capture.close()[0]
        except BrokenPipeError:
            # What Python still holds for the reader that has gone goes nowhere, without a complaint at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
    warn(f"{recorded.packets} packets, {recorded.lost} lost")


def _reader_is_gone() -> bool:
    """Whether nobody reads standard output any more; without a packet to write nothing else would tell."""
    poller = select.poll()
    poller.register(sys.stdout.fileno(), 0)  # errors are always told
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poller.poll(0))
