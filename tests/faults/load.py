"""A standing load through one endpoint: `python -m tests.faults.load ADDRESS --seed N --bulk 20 ...`.

Prints "ready" once every connection has carried something, runs until a line comes in on standard input, then ends
each conversation in order, compares digests and prints a report as one line of JSON:

    lost      connections that ended before we ended them, each with its reason
    corrupt   connections whose digest was not the sender's
    stalls    [connection, from, to]: monotonic seconds in which a connection waited for longer than NOTABLE_S
              for what it should have had at once
    rounds    how often each kind of conversation got its answer
    missing   UDP datagrams that did not come back
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import uvloop

from tests.faults.wire import (
    BANNER,
    BLOCK_PAUSE_S,
    END,
    LENGTH,
    NUMBER,
    PIECE_BYTES,
    Blocks,
    Hello,
)

NOTABLE_S = 0.01
PATIENCE_S = 60.0
"""A connection that moves nothing for so long is lost. TCP itself would wait for a quarter of an hour."""

IDLE_PROBE_S = 2.0
LOOP_PAUSE_S = 0.02
BANNER_PAUSE_S = 0.1
DATAGRAM_PAUSE_S = 0.02
DATAGRAM_WAIT_S = 1.0


@dataclass
class Report:
    """What became of the load."""

    connections: int = 0
    lost: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)
    stalls: list[tuple[str, float, float]] = field(default_factory=list)
    rounds: Counter[str] = field(default_factory=Counter)
    missing: int = 0


class Watch:
    """The stop-watch of one connection: how long it waits for what it should have at once."""

    def __init__(self, name: str, report: Report) -> None:
        self.name = name
        self.kind = name.partition("-")[0]
        self._report = report
        self.first = asyncio.Event()

    def answered(self, asked_at: float) -> None:
        """What was due at `asked_at` is there."""
        now = time.monotonic()
        self._report.rounds[self.kind] += 1
        if now - asked_at > NOTABLE_S:
            self._report.stalls.append((self.name, round(asked_at, 4), round(now, 4)))
        self.first.set()


class Load:
    """All conversations with one endpoint."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self.report = Report()
        self._ending = asyncio.Event()
        self._watches: list[Watch] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, wait_for_the_end: Callable[[], Awaitable[None]]) -> Report:
        options = self._options
        kinds = {
            "down": (options.bulk + 1) // 2,
            "up": options.bulk // 2,
            "idle": options.idle,
            "loop": options.loops,
            "banner": options.banners,
            "udp": options.datagrams,
        }
        talks = {"down": self._down, "up": self._up, "idle": self._echo, "loop": self._echo}
        talks |= {"banner": self._banner, "udp": self._datagrams}
        for kind, count in kinds.items():
            for number in range(count):
                watch = Watch(f"{kind}-{options.seed + number}", self.report)
                self._watches.append(watch)
                self._tasks.append(asyncio.create_task(self._guard(talks[kind](watch, options.seed + number), watch)))
        self.report.connections = len(self._tasks)
        await asyncio.gather(*(watch.first.wait() for watch in self._watches))
        print("ready", flush=True)
        await wait_for_the_end()
        self._ending.set()
        await asyncio.gather(*self._tasks)
        return self.report

    async def _guard(self, talk: Awaitable[None], watch: Watch) -> None:
        try:
            await talk
        except (OSError, EOFError, TimeoutError) as error:
            self.report.lost.append(f"{watch.name}: {type(error).__name__} {error}")
            watch.first.set()

    async def _open(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(self._options.patience):
            return await asyncio.open_connection(self._options.address, port)

    async def _pause(self, pause_s: float) -> bool:
        """Wait a little; False if it is time to end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), pause_s)
        return not self._ending.is_set()

    # --- conversations -----------------------------------------------------------------------

    async def _down(self, watch: Watch, seed: int) -> None:
        reader, writer = await self._open(self._options.stream_port)
        blocks = Blocks(seed)
        _say(writer, Hello("down", seed, BLOCK_PAUSE_S).encode())
        due_at, told = time.monotonic(), False
        while True:
            async with asyncio.timeout(self._options.patience):
                length = LENGTH.unpack(await reader.readexactly(LENGTH.size))[0]
                if not length:
                    break
                blocks.take(await reader.readexactly(length))
            watch.answered(due_at)
            due_at = time.monotonic() + BLOCK_PAUSE_S
            if self._ending.is_set() and not told:
                told = True
                _say(writer, END)
        await self._compare(reader, blocks, watch)
        writer.close()

    async def _up(self, watch: Watch, seed: int) -> None:
        reader, writer = await self._open(self._options.stream_port)
        blocks = Blocks(seed)
        _say(writer, Hello("up", seed, BLOCK_PAUSE_S).encode())
        while True:
            asked_at = time.monotonic()
            async with asyncio.timeout(self._options.patience):
                _say(writer, blocks.next())
                await writer.drain()
                await reader.readexactly(len(END))
            watch.answered(asked_at)
            if not await self._pause(BLOCK_PAUSE_S):
                break
        _say(writer, LENGTH.pack(0))
        await self._compare(reader, blocks, watch)
        writer.close()

    async def _compare(self, reader: asyncio.StreamReader, blocks: Blocks, watch: Watch) -> None:
        async with asyncio.timeout(self._options.patience):
            if await reader.readexactly(len(blocks.digest())) != blocks.digest():
                self.report.corrupt.append(watch.name)

    async def _echo(self, watch: Watch, seed: int) -> None:
        """Idle connections and request loops differ in their pauses only."""
        reader, writer = await self._open(self._options.stream_port)
        _say(writer, Hello("echo", seed, 0).encode())
        place, pause_s = 0, IDLE_PROBE_S if watch.kind == "idle" else LOOP_PAUSE_S
        while True:
            piece = f"{seed} {place}".encode().ljust(PIECE_BYTES)
            asked_at = time.monotonic()
            async with asyncio.timeout(self._options.patience):
                _say(writer, piece)
                answer = await reader.readexactly(PIECE_BYTES)
            watch.answered(asked_at)
            if answer != piece:
                self.report.corrupt.append(watch.name)
            place += 1
            if not await self._pause(pause_s):
                break
        writer.close()

    async def _banner(self, watch: Watch, seed: int) -> None:
        """One connection after the other; in each the server speaks first."""
        while True:
            asked_at = time.monotonic()
            reader, writer = await self._open(self._options.banner_port)
            line = f"{seed} {watch.name}\n".encode()
            async with asyncio.timeout(self._options.patience):
                banner = await reader.readline()
                _say(writer, line)
                answer = await reader.read()
            watch.answered(asked_at)
            if (banner, answer) != (BANNER, line):
                self.report.corrupt.append(watch.name)
            writer.close()
            if not await self._pause(BANNER_PAUSE_S):
                break

    async def _datagrams(self, watch: Watch, seed: int) -> None:
        loop = asyncio.get_running_loop()
        transport, echo = await loop.create_datagram_endpoint(
            lambda: _Datagrams(watch), remote_addr=(self._options.address, self._options.datagram_port)
        )
        place = 0
        while True:
            echo.sent[place] = time.monotonic()
            transport.sendto(NUMBER.pack(place))
            place += 1
            if not await self._pause(DATAGRAM_PAUSE_S):
                break
        with suppress(TimeoutError):
            await asyncio.wait_for(echo.all_back(), DATAGRAM_WAIT_S)
        self.report.missing += len(echo.sent)
        transport.close()


def _say(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Write. A connection that was reset in a pause is lost as any other; uvloop would raise a RuntimeError."""
    if writer.is_closing():
        raise ConnectionResetError("reset in a pause")
    writer.write(data)


class _Datagrams(asyncio.DatagramProtocol):
    """Numbered datagrams on their way there and back."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.sent: dict[int, float] = {}
        self._back = asyncio.Event()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        asked_at = self.sent.pop(NUMBER.unpack(data)[0], None)
        if asked_at is not None:
            self._watch.answered(asked_at)
        if not self.sent:
            self._back.set()

    async def all_back(self) -> None:
        while self.sent:
            self._back.clear()
            await self._back.wait()


async def _line_on_standard_input() -> None:
    loop = asyncio.get_running_loop()
    heard = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), heard.set)
    await heard.wait()
    loop.remove_reader(sys.stdin.fileno())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("--seed", type=int, default=1, help="the first connection's; no two loads may share one")
    for kind in ("bulk", "idle", "loops", "banners", "datagrams"):
        parser.add_argument(f"--{kind}", type=int, default=0)
    parser.add_argument("--patience", type=float, default=PATIENCE_S, help="seconds")
    parser.add_argument("--stream-port", type=int, default=443)
    parser.add_argument("--banner-port", type=int, default=25)
    parser.add_argument("--datagram-port", type=int, default=53)
    return parser.parse_args()


async def main() -> None:
    print(json.dumps(vars(await Load(_options()).run(_line_on_standard_input))), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
