"""What to type when the lab is up: the very lines, with real names and addresses."""

from collections.abc import Iterator

from hyperplane.control.resources import Instance
from hyperplane.control.store import Store
from hyperplane.io.doors import Door, doors
from hyperplane.io.ground import fabric_namespace, instance_namespace
from hyperplane.io.lab import targets_of
from hyperplane.snapshot import Protocol, Snapshot
from netns.names import PREFIX

_HTTP, _HTTPS = 80, 443


def next_steps(store: Store, snapshot: Snapshot, health_url: str) -> Iterator[str]:
    """Line by line."""
    ways = doors(store, snapshot)
    pages = _one_page_for_each_client(ways)
    yield "The lab is up. Try, from each consumer (their addresses are the same):"
    yield from map(_curl, pages)
    datagram = next((door for door in ways if door.protocol is Protocol.UDP), None)
    if datagram is not None:
        yield f"  echo hello | {_inside(datagram)} nc -u -w1 {datagram.address} {datagram.port}"
    yield from _about_the_header(ways, pages)
    yield ""
    yield "Watch the addresses change (in other terminals):"
    yield from _tcpdumps(store, snapshot, pages)
    yield ""
    yield "Look inside:"
    yield "  hyperplane lab status; hyperplane nodes; hyperplane flows"
    yield from (f"  hyperplane trace {page.client} {page.address}{_option(page)}" for page in pages[:1])
    yield f"  curl -s {health_url}"
    yield "Take it away: hyperplane lab down"


def _one_page_for_each_client(ways: list[Door]) -> list[Door]:
    """The first that speaks plain HTTP."""
    found: dict[tuple[str, str], Door] = {}
    for door in ways:
        if door.protocol is Protocol.TCP and door.port != _HTTPS:
            found.setdefault((door.client, door.address), door)
    return list(found.values())


def _about_the_header(ways: list[Door], pages: list[Door]) -> Iterator[str]:
    """How to see it, and the same call without it, where there is one."""
    told = next((page for page in pages if page.has_header), None)
    if told is None:
        return
    yield ""
    yield "The target is told who calls: `client` and `endpoint` in its answer come from a Proxy Protocol v2 header."
    same = (door for door in ways if (door.client, door.address, door.protocol) == _of_tcp(told))
    plain = next((door for door in same if not door.has_header), None)
    if plain is not None:
        yield "Without the header it sees the load balancer alone:"
        yield _curl(plain)


def _of_tcp(door: Door) -> tuple[str, str, Protocol]:
    return door.client, door.address, Protocol.TCP


def _tcpdumps(store: Store, snapshot: Snapshot, pages: list[Door]) -> Iterator[str]:
    yield from (f"  {_inside(page)} tcpdump -ni any 'tcp port {page.port}'" for page in pages[:1])
    yield f"  ip netns exec {fabric_namespace(snapshot.zones[0].zone_id)} tcpdump -ni any 'tcp'"
    instances = {instance.name: instance for instance in store.all(Instance)}
    served = [(instances[name], tcp[0]) for name, (tcp, _) in targets_of(store).items() if tcp]
    for target, port in served[:1]:
        yield f"  ip netns exec {instance_namespace(target)} tcpdump -ni any 'tcp port {port}'"


def _inside(door: Door) -> str:
    return f"ip netns exec {PREFIX}{door.client}"


def _curl(door: Door) -> str:
    port = "" if door.port == _HTTP else f":{door.port}"
    return f"  {_inside(door)} curl -s http://{door.address}{port}/"


def _option(door: Door) -> str:
    return "" if door.port == _HTTP else f" --port {door.port}"
