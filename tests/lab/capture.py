"""What really went over a link: tcpdump writes it, scapy reads it.

That nothing came is a claim about time, unless one knows that the capture is complete. tcpdump says so itself: asked
by a signal it tells how many packets it has written and how many the kernel has handed to its filter. When the two
are equal, everything that passed until then is in the file.
"""

import re
import signal
import subprocess
from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.utils import PcapReader

from netns.namespace import inside
from tests.lab.laboratory import until
from tests.lab.strangers import end, needs

Tuple = tuple[str, int, str, int]
"""Source address and port, destination address and port."""

_TOLD = re.compile(r"(\d+) packets? captured, (\d+) packets? received by filter, (\d+) packets? dropped by kernel")


class Capture(AbstractContextManager["Capture"]):
    """tcpdump on one link of a namespace. It listens when the block is entered; read it inside or after the block."""

    def __init__(self, directory: Path, namespace: str, link: str, expression: str = "ip") -> None:
        needs("tcpdump")
        self.place = f"{namespace}/{link}"
        stem = f"{namespace}-{link}"
        number = len(list(directory.glob(f"{stem}-*.pcap")))
        self._file = directory / f"{stem}-{number}.pcap"
        self._log = directory / f"{stem}-{number}.log"
        command = ["tcpdump", "-n", "-U", "--immediate-mode", "-s", "0", "-B", "8192", "-Z", "root"]
        with inside(namespace), self._log.open("w") as log:
            self._process = subprocess.Popen(
                [*command, "-i", link, "-w", str(self._file), expression],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        until(lambda: "listening on" in self._log.read_text() or self._process.poll() is not None, "tcpdump listens")
        assert self._process.poll() is None, self._log.read_text()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Complete the file and end tcpdump."""
        if self._process.poll() is None:
            try:
                self._complete()
            finally:
                end(self._process, signal.SIGINT)

    def _complete(self) -> None:
        """Wait until all that the kernel has seen is written."""
        while True:
            told = len(_TOLD.findall(self._log.read_text()))  # an answer from before says nothing of now
            self._process.send_signal(signal.SIGUSR1)
            until(lambda told=told: len(_TOLD.findall(self._log.read_text())) > told, "tcpdump answers")  # type: ignore[misc]
            captured, received, dropped = map(int, _TOLD.findall(self._log.read_text())[-1])
            assert dropped == 0, f"{self.place}: tcpdump lost {dropped} packets"
            if captured == received:
                return

    def packets(self) -> list[Any]:
        """Everything until now, in order, as scapy's packets."""
        if self._process.poll() is None:
            self._complete()
        with PcapReader(str(self._file)) as reader:
            return [packet.getlayer(IP) or packet for packet in reader]

    def tuples(self) -> set[Tuple]:
        """Who talked to whom."""
        return {tuple_of(packet) for packet in self.packets()}


class Captures(ExitStack):
    """Several captures at once, by place."""

    def __init__(self, directory: Path, places: Iterable[tuple[str, str]], expression: str = "ip") -> None:
        super().__init__()
        self._all = {place: Capture(directory, *place, expression) for place in places}
        for capture in self._all.values():
            self.enter_context(capture)

    def __getitem__(self, place: tuple[str, str]) -> Capture:
        return self._all[place]

    def items(self) -> Iterable[tuple[tuple[str, str], Capture]]:
        return self._all.items()


def tuple_of(packet: Any) -> Tuple:
    """Of a TCP or UDP packet; others have ports 0."""
    ports = packet[TCP] if TCP in packet else packet[UDP] if UDP in packet and ICMP not in packet else None
    return packet.src, ports.sport if ports else 0, packet.dst, ports.dport if ports else 0


def back(addresses: Tuple) -> Tuple:
    """The same conversation, the other way."""
    source, source_port, destination, destination_port = addresses
    return destination, destination_port, source, source_port
