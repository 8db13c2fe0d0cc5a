"""What a dead node had in its hands, handed out once more.

The kernel numbers the packets of a queue one by one and keeps each until it is answered. A node's status page
says which it read last and which it answered last; what lies between was in its hands when it died. Its
next life gives those the verdict "repeat": they come again, with new numbers and marked.

A node may die between reading and saying so. Then the first packet that still waits shows where the reading
ended; if none waits, some numbers more are tried, and the kernel refuses those that are not there. A number
that comes into being meanwhile is repeated before it was read, and that is harmless: it comes again, too.

A marked packet is answered alone, with its number on the page. If it is there when the node dies, the packet
has killed twice: it is dropped, and no third node is lost to it.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Protocol

from hyperplane.io.nfqueue import QueuedPacket
from hyperplane.io.status import ShellCount, StatusPage, Word
from hyperplane.limits import PACKETS_PER_WAKE_MAX, QUEUE_PACKETS_MAX

_log = logging.getLogger("hyperplane.node")

_READ_ID = int(Word.READ_ID)
_ID_MODULUS = 1 << 32
_UNSAID_MAX = 4 * PACKETS_PER_WAKE_MAX
"""Packets that may have been read without a word of it: one batch by each life, of four that were all killed then."""


class Answers(Protocol):
    """The part of a queue that is needed here."""

    def read(self) -> list[QueuedPacket]:
        """The packets that are waiting."""

    def drop(self, packet_id: bytes) -> None:
        """The packet disappears."""

    def repeat(self, packet_id: bytes) -> None:
        """The packet comes again, marked."""

    def flush(self) -> None:
        """Give the kernel all answers."""


def note_read(page: StatusPage, packets: Sequence[QueuedPacket]) -> None:
    """Say on the page that these packets are in our hands. To be called before anything is done with them."""
    page.words[_READ_ID] = int.from_bytes(packets[-1][0], "big")


def hand_out(queue: Answers, page: StatusPage, replays: bool) -> list[QueuedPacket]:
    """Repeat what the last life held. Returns the packets that were still waiting: they are in our hands now."""
    waiting = queue.read()
    held = list(_held(page.get(Word.ANSWERED_ID), page.get(Word.READ_ID), waiting))
    if waiting:
        note_read(page, waiting)
    poison = page.get(Word.REPLAY_ID)
    for number in held:
        packet_id = number.to_bytes(4, "big")
        if not replays:
            queue.drop(packet_id)
        elif number == poison != 0:
            queue.drop(packet_id)
            page.add_shell(ShellCount.REPLAYED_TWICE)
            _log.error("packet %016x has killed two nodes and is dropped", page.get(Word.REPLAY_DIGEST))
        else:
            queue.repeat(packet_id)
    queue.flush()
    page.put(Word.REPLAY_ID, 0)
    if waiting:
        page.put(Word.ANSWERED_ID, (int.from_bytes(waiting[0][0], "big") - 1) % _ID_MODULUS)
    return waiting


def _held(answered: int, read: int, waiting: Sequence[QueuedPacket]) -> Iterator[int]:
    """Numbers of the packets that may have been in the dead node's hands. They wrap after 2**32 - 1."""
    if waiting:
        count = int.from_bytes(waiting[0][0], "big") - answered - 1
    else:
        count = read + _UNSAID_MAX - answered
    # A socket that overflows leaves gaps in the numbers, but nobody can hold more than the queue does.
    for place in range(1, min(count % _ID_MODULUS, QUEUE_PACKETS_MAX) + 1):
        yield (answered + place) % _ID_MODULUS
