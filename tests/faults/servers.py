"""The load's servers, to be run in a target's namespace: `python -m tests.faults.servers ADDRESS`."""

import asyncio
import contextlib
import signal
import sys
from typing import cast

import uvloop

from hyperplane.io.processes import say_ready
from tests.faults.wire import (
    BANNER,
    BANNER_PORT,
    ECHO_PORT,
    END,
    LENGTH,
    PIECE_BYTES,
    STREAM_PORT,
    Blocks,
    Hello,
)

_BACKLOG = 1024


async def serve_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One conversation that the client opens."""
    # A client that is gone needs no answer; the client's side reports what it lost.
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        hello = Hello.decode(await reader.readline())
        await {"down": _send_blocks, "up": _take_blocks, "echo": _echo}[hello.kind](hello, reader, writer)
    writer.close()


async def _send_blocks(hello: Hello, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    blocks = Blocks(hello.seed)
    end = asyncio.ensure_future(reader.readexactly(len(END)))
    while not end.done():
        writer.write(blocks.next())
        await writer.drain()
        await asyncio.wait([end], timeout=hello.pause_s)
    writer.write(LENGTH.pack(0) + blocks.digest())
    await writer.drain()


async def _take_blocks(hello: Hello, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    blocks = Blocks(hello.seed)
    while length := LENGTH.unpack(await reader.readexactly(LENGTH.size))[0]:
        blocks.take(await reader.readexactly(length))
        writer.write(END)
        await writer.drain()
    writer.write(blocks.digest())
    await writer.drain()


async def _echo(hello: Hello, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(await reader.readexactly(PIECE_BYTES))
        await writer.drain()


async def serve_banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One conversation in which the server speaks first."""
    with contextlib.suppress(ConnectionError):
        writer.write(BANNER)
        writer.write(await reader.readline())
        await writer.drain()
    writer.close()


class _DatagramEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data, addr)


async def main(address: str) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    stream = await asyncio.start_server(serve_stream, address, STREAM_PORT, backlog=_BACKLOG)
    banner = await asyncio.start_server(serve_banner, address, BANNER_PORT, backlog=_BACKLOG)
    echo, _ = await loop.create_datagram_endpoint(_DatagramEcho, (address, ECHO_PORT))
    say_ready()
    await stopped.wait()
    for server in (stream, banner):
        server.close()
    echo.close()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
