"""The kernel's own TCP as the target of what nodes in this process send: a tun device in a namespace of its own.

with inside_scratch(), KernelTarget(cookies=True, chance=Random(1)) as target:
    answers = target.meet(packet, now)
"""

import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType

from tests.cases import ACK, BALANCER, SYN, TARGET
from tests.dissection import dissect
from tests.netns.tun import Tun

READ_BYTES_MAX = 65_536
BEGINNING_BYTES = 128
_ALWAYS, _NEVER = "2", "0"
"""Of net.ipv4.tcp_syncookies."""


@dataclass(slots=True, eq=False)
class Accepted:
    """A connection that the kernel has given to its program."""

    talk: socket.socket
    data: bytes = b""

    def begins(self) -> bytes:
        return self.data[:BEGINNING_BYTES]

    def read(self) -> None:
        try:
            self.data += self.talk.recv(READ_BYTES_MAX)
        except (BlockingIOError, ConnectionError):
            return  # nothing now, or nothing any more


class KernelTarget:
    """Listens at `TARGET`. `cookies`: it keeps nothing of a connection before the end of its handshake."""

    def __init__(self, cookies: bool, chance: Random) -> None:
        self.begun: list[Accepted] = []
        self._cookies = cookies
        self._chance = chance
        self._pairs: list[tuple[int, int]] = []

    def __enter__(self) -> "KernelTarget":
        self._tun = Tun("hp-tun", TARGET[0], BALANCER[0])
        Path("/proc/sys/net/ipv4/tcp_syncookies").write_text(_ALWAYS if self._cookies else _NEVER)
        self._listener = socket.socket()
        self._listener.bind(TARGET)
        self._listener.listen(128)
        self._listener.setblocking(False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for accepted in self.begun:
            accepted.talk.close()
        self._listener.close()
        self._tun.close()

    # --- what a liar asks of it --------------------------------------------------------------------

    def meet(self, packet: bytes, now: float) -> list[bytes]:
        """One packet comes in. Gives what the kernel has sent by now; later words come with a later packet."""
        self._tun.write(packet)
        return self._sent()

    def pairs(self, isns: list[int]) -> list[tuple[int, int]]:
        """Numbers of both ends, of every SYN-ACK so far."""
        return self._pairs[-6:]

    def act(self) -> list[bytes]:
        """Its program speaks on one connection, or ends it with a reset."""
        living = [it.talk for it in self.begun if it.talk.fileno() >= 0]
        if living:
            talk = self._chance.choice(living)
            if self._chance.random() < 0.5:
                talk.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                talk.close()
            else:
                self._speak(talk)
        return self._sent()

    def _speak(self, talk: socket.socket) -> None:
        try:
            talk.send(bytes(self._chance.choice((1, 4, 100, 150, 300))))
        except ConnectionError:
            return  # it was reset: that is an answer, too

    def _sent(self) -> list[bytes]:
        sent = []
        while (packet := self._tun.read()) is not None:
            sent.append(packet)
            seen = dissect(packet)
            if seen.flags & (SYN | ACK) == SYN | ACK:
                self._pairs.append((seen.acknowledgment - 1, seen.sequence))
        self._serve()
        return sent

    def _serve(self) -> None:
        while True:
            try:
                talk, _ = self._listener.accept()
            except BlockingIOError:
                break
            talk.setblocking(False)
            self.begun.append(Accepted(talk))
        for accepted in self.begun:
            if accepted.talk.fileno() >= 0:
                accepted.read()
