"""`hyperplane trace` as a command. scapy is imported when it runs, and only then."""

from typing import Annotated

import typer

from hyperplane.cli.options import Json, Runtime
from hyperplane.cli.output import need_root, note, print_json, show
from hyperplane.io.runtime import DEFAULT_RUNTIME
from hyperplane.snapshot import Protocol
from netns.names import PREFIX
from netns.namespace import list_names

TIMEOUT_S = 3.0
_PORTS = {Protocol.TCP: 80, Protocol.UDP: 53}
NO_SCAPY = "trace reads packets with scapy, which is not here; install it with: pip install 'hyperplane[trace]'"


def _complete_client(incomplete: str) -> list[str]:
    names = (name.removeprefix(PREFIX) for name in list_names())
    return [name for name in names if name.startswith(incomplete)]


def trace(
    client: Annotated[
        str, typer.Argument(help="The instance that calls, such as consumer-a.", autocompletion=_complete_client)
    ],
    endpoint: Annotated[str, typer.Argument(help="The endpoint: an address, its name or id, or its ENI's id.")],
    port: Annotated[
        int | None, typer.Option("--port", "-p", min=1, max=65535, help="Port; 80 unless told, 53 with --udp.")
    ] = None,
    udp: Annotated[bool, typer.Option("--udp", help="One datagram instead of a connection and a GET.")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for an answer.")] = TIMEOUT_S,
    as_json: Json = False,
    runtime: Runtime = DEFAULT_RUNTIME,
) -> None:
    """Follow one real packet from a client through its endpoint to a target, and back.

    Makes one call from inside the client's namespace and listens at five hops: the client, the endpoint's ENI,
    the load balancer's ENI, the provider's router, the target. Shows the addresses at each hop as they
    really were, which nodes took the call, who holds its flow, and why it went where it went.
    If the call fails: where it was last seen, and which counters moved. Exit status 1 then. Needs root and scapy.

    Examples:

        hyperplane trace consumer-a 10.0.1.10

        hyperplane trace consumer-a orders-a --port 443

        hyperplane trace consumer-b 10.0.1.10 --udp

        hyperplane trace consumer-a 10.0.1.10 --json | jq .hops
    """
    need_root("`trace` listens inside namespaces")
    try:
        from hyperplane.cli.trace.run import run_trace  # noqa: PLC0415 - brings scapy
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "scapy":
            raise
        raise FileNotFoundError(NO_SCAPY) from None
    from hyperplane.cli.trace.report import draw_trace  # noqa: PLC0415

    protocol = Protocol.UDP if udp else Protocol.TCP
    done = run_trace(runtime, client, endpoint, protocol, port or _PORTS[protocol], timeout_s)
    if as_json:
        print_json(done)
    else:
        show(draw_trace(done))
    if done.last_seen is not None:
        note("more: hyperplane nodes --counters, hyperplane capture")
        raise typer.Exit(1)
