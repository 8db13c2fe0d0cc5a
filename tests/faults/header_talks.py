"""Conversations with a target that gets a Proxy Protocol v2 header: both ends, in the namespaces where they belong.

The target reads the header strictly and knows from nothing else whom it talks to. So a header that is missing, comes
twice, is another client's or names another endpoint is found out, and so is every byte that is not the other end's:

    client first   the client sends, the target answers as soon as it has read a byte; both end in order
    target first   the target sends as soon as it has the header; the client is silent until it has everything
    close          the client opens and closes, and never says anything
    say and close  the client sends, and closes without reading

flt-a and flt-b have the same address and call the same address: only the endpoint's id tells them apart.
"""

import asyncio
import hashlib
import random
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from hyperplane.snapshot import Snapshot
from hyperplane.wire.packet import TCP
from hyperplane.wire.ppv2 import SIGNATURE, START_BYTES, Command, IncompleteHeader, ProxyHeader, ProxyHeaderError
from netns.namespace import open_socket
from tests.faults.lab import HANG_GUARD_S
from tests.faults.plan import CONSUMERS, HEADER_PORTS, TARGETS

TARGET, TARGET_ADDRESS = "hp-flt-t1", TARGETS["flt-t1"]
WITH_PAYLOAD, AT_ONCE = HEADER_PORTS
"""The placements."""

CLIENTS = {"flt-a": "10.1.1.50", "flt-b": "10.1.1.50", "flt-c": "10.3.1.50"}
BALANCERS = {"flt-a": "10.9.0.7", "flt-b": "10.9.0.8", "flt-c": "10.9.0.7"}

PATIENCE_S = 2 * HANG_GUARD_S
"""A conversation that has not ended then is lost."""

TALKING_MAX = 250
BACKLOG = 1024
_PIECE_BYTES = 16 * 1024


class Kind(Enum):
    CLIENT_FIRST = "client first"
    TARGET_FIRST = "target first"
    CLOSE = "close"
    SAY_AND_CLOSE = "say and close"


@dataclass(frozen=True, slots=True)
class Talk:
    """What is to be said."""

    kind: Kind
    placement: str
    seed: int
    consumer: str = "flt-a"
    up_bytes: int = 3000
    down_bytes: int = 3000

    def __str__(self) -> str:
        return f"{self.kind.value}, {self.placement}, {self.consumer}, seed {self.seed}"

    @property
    def up(self) -> bytes:
        return b"" if self.kind is Kind.CLOSE else random.Random(2 * self.seed).randbytes(self.up_bytes)

    @property
    def down(self) -> bytes:
        silent = self.kind in (Kind.CLOSE, Kind.SAY_AND_CLOSE)
        return b"" if silent else random.Random(2 * self.seed + 1).randbytes(self.down_bytes)


class Caller(NamedTuple):
    """Who calls, as the header says it, and the address that the target sees."""

    endpoint_id: str | None
    client: str
    client_port: int
    endpoint: str
    endpoint_port: int
    peer: str


def caller_in(header: ProxyHeader, peer: str) -> Caller:
    """What a target knows of a connection."""
    assert (header.command, header.protocol) == (Command.PROXY, TCP)
    return Caller(
        header.endpoint_id,
        socket.inet_ntoa(header.source),
        header.source_port,
        socket.inet_ntoa(header.destination),
        header.destination_port,
        peer,
    )


def caller_of(snapshot: Snapshot, consumer: str, port: int, placement: str) -> Caller:
    """What it must know of one from this port of the consumer's."""
    enis = snapshot.zones[0].enis
    endpoint, balancer = socket.inet_aton(CONSUMERS[consumer]), socket.inet_aton(BALANCERS[consumer])
    leaves_by = next(eni.number for eni in enis if eni.address == balancer)
    (endpoint_id,) = (eni.owner_id for eni in enis if eni.address == endpoint and eni.load_balancer_eni == leaves_by)
    return Caller(
        endpoint_id, CLIENTS[consumer], port, CONSUMERS[consumer], HEADER_PORTS[placement], BALANCERS[consumer]
    )


@dataclass(slots=True)
class Report:
    """What became of the conversations."""

    talks: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Headers and bytes that are not what they must be."""
    bare: list[Talk] = field(default_factory=list)
    """Those without a header, where that is allowed."""
    seconds: list[float] = field(default_factory=list)
    """How long each took that was not lost."""

    def assert_whole(self) -> None:
        assert (self.lost, self.wrong) == ([], [])
        assert len(self.seconds) == self.talks > 0


# --- the target's end ----------------------------------------------------------------------


class Target:
    """Behind both listeners. It holds each conversation that it is told to expect."""

    def __init__(self, report: Report, needs_header: bool) -> None:
        self._report = report
        self._needs_header = needs_header
        self._expected: dict[Caller, tuple[Talk, asyncio.Event]] = {}
        self._servers: list[asyncio.Server] = []
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        for port in HEADER_PORTS.values():
            listening = listening_socket(port)
            self._servers.append(await asyncio.start_server(self._serve, sock=listening, backlog=BACKLOG))

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def expect(self, caller: Caller, talk: Talk) -> asyncio.Event:
        """Returns what is set once the target's part has come to its end."""
        ended = asyncio.Event()
        self._expected[caller] = talk, ended
        return ended

    def forget(self, caller: Caller) -> None:
        self._expected.pop(caller, None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        peer = writer.get_extra_info("peername")
        try:
            async with ending(writer):
                await self._meet(reader, writer, peer[0])
        except ConnectionError:
            pass  # whoever waits for this end tells that it is lost
        except (ProxyHeaderError, asyncio.IncompleteReadError) as error:
            self._report.wrong.append(f"no header from {peer}: {error}")
        finally:
            self._serving.discard(task)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str) -> None:
        start = await reader.readexactly(START_BYTES)
        if self._needs_header or start.startswith(SIGNATURE):
            caller: Caller | None = caller_in(await read_header(reader, start), peer)
            heard = b""
        else:
            caller, heard = self._who_says(start), start
        talk, ended = self._expected.pop(caller, (None, None)) if caller else (None, None)
        if talk is None or ended is None:
            self._report.wrong.append(f"nobody's header, or one that was there before: {caller}")
            return
        if heard:
            self._report.bare.append(talk)
        if talk.kind is Kind.TARGET_FIRST:
            await say(writer, talk.down)
            await self._hear(reader, heard, talk)
        else:
            heard = heard or await reader.read(_PIECE_BYTES)
            await asyncio.gather(say(writer, talk.down), self._hear(reader, heard, talk))
        ended.set()

    def _who_says(self, start: bytes) -> Caller | None:
        return next((caller for caller, (talk, _) in self._expected.items() if talk.up.startswith(start)), None)

    async def _hear(self, reader: asyncio.StreamReader, first: bytes, talk: Talk) -> None:
        if await digest_of(reader, first) != hashlib.sha256(talk.up).digest():
            self._report.wrong.append(f"the target heard something else: {talk}")


async def read_header(reader: asyncio.StreamReader, start: bytes) -> ProxyHeader:
    """The header at the beginning of a stream, and not one byte more."""
    while True:
        try:
            return ProxyHeader.parse(start)[0]
        except IncompleteHeader as incomplete:
            start += await reader.readexactly(incomplete.bytes_needed)


# --- both ends -----------------------------------------------------------------------------


@asynccontextmanager
async def ending(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Close the stream in order; at once, if something went wrong."""
    whole = False
    try:
        yield
        writer.close()
        await writer.wait_closed()
        whole = True
    finally:
        if not whole:
            writer.transport.abort()


async def say(writer: asyncio.StreamWriter, data: bytes) -> None:
    for at in range(0, len(data), _PIECE_BYTES):
        writer.write(data[at : at + _PIECE_BYTES])
        await writer.drain()


async def digest_of(reader: asyncio.StreamReader, first: bytes = b"") -> bytes:
    """Of all that comes, to the end."""
    digest = hashlib.sha256(first)
    while piece := await reader.read(_PIECE_BYTES):
        digest.update(piece)
    return digest.digest()


def listening_socket(port: int) -> socket.socket:
    """The target's, bound and not yet listening."""
    listening = open_socket(TARGET, socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((TARGET_ADDRESS, port))
    return listening


def calling_socket(consumer: str) -> socket.socket:
    """The client's, with a port."""
    calling = open_socket(f"hp-{consumer}", socket.AF_INET, socket.SOCK_STREAM)
    calling.bind((CLIENTS[consumer], 0))
    return calling


# --- the client's end ----------------------------------------------------------------------


class Clients:
    """They hold conversations, and say what became of them."""

    def __init__(self, snapshot: Snapshot, target: Target, report: Report, patience_s: float) -> None:
        self._snapshot = snapshot
        self._target = target
        self.report = report
        self._patience_s = patience_s
        self._free = asyncio.Semaphore(TALKING_MAX)
        self.connected = 0

    async def hold(self, talk: Talk, halfway: asyncio.Event | None = None) -> None:
        """One conversation. Its client says the second half of what it has to say once `halfway` is set."""
        self.report.talks += 1
        async with self._free:
            began_at = time.monotonic()
            with calling_socket(talk.consumer) as calling:
                calling.setblocking(False)
                caller = caller_of(self._snapshot, talk.consumer, calling.getsockname()[1], talk.placement)
                ended = self._target.expect(caller, talk)
                try:
                    async with asyncio.timeout(self._patience_s):
                        await self._speak(calling, talk, halfway)
                        await ended.wait()
                    self.report.seconds.append(time.monotonic() - began_at)
                except (OSError, asyncio.IncompleteReadError) as error:
                    self.report.lost.append(f"{talk}, port {caller.client_port}: {type(error).__name__} {error}")
                    self._target.forget(caller)

    async def _speak(self, calling: socket.socket, talk: Talk, halfway: asyncio.Event | None) -> None:
        door = CONSUMERS[talk.consumer], HEADER_PORTS[talk.placement]
        await asyncio.get_running_loop().sock_connect(calling, door)
        self.connected += 1
        if talk.kind is Kind.CLOSE:
            calling.close()
            return
        reader, writer = await asyncio.open_connection(sock=calling)
        async with ending(writer):
            if talk.kind is Kind.SAY_AND_CLOSE:
                await say(writer, talk.up)
                return
            first = await reader.readexactly(talk.down_bytes) if talk.kind is Kind.TARGET_FIRST else b""
            _, digest = await asyncio.gather(_say_and_end(writer, talk.up, halfway), digest_of(reader, first))
            if digest != hashlib.sha256(talk.down).digest():
                self.report.wrong.append(f"the client heard something else: {talk}")


async def _say_and_end(writer: asyncio.StreamWriter, data: bytes, halfway: asyncio.Event | None) -> None:
    half = len(data) // 2
    await say(writer, data[:half])
    if halfway is not None:
        await halfway.wait()
    await say(writer, data[half:])
    writer.write_eof()


@asynccontextmanager
async def clients(
    snapshot: Snapshot, patience_s: float = PATIENCE_S, needs_header: bool = True
) -> AsyncIterator[Clients]:
    """Clients, and the target that listens."""
    report = Report()
    target = Target(report, needs_header)
    await target.start()
    try:
        yield Clients(snapshot, target, report, patience_s)
    finally:
        await target.stop()


def talk_all(snapshot: Snapshot, talks: Iterable[Talk], patience_s: float = PATIENCE_S) -> Report:
    """Hold them all, `TALKING_MAX` at the same time."""

    async def hold_all() -> Report:
        async with clients(snapshot, patience_s) as holding:
            await asyncio.gather(*map(holding.hold, talks))
        return holding.report

    return asyncio.run(hold_all())
