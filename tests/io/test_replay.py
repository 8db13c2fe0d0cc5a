"""Which packets a node's next life hands out again, and which one it drops."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperplane.io.nfqueue import QueuedPacket
from hyperplane.io.replay import hand_out, note_read
from hyperplane.io.status import StatusPage, Word
from hyperplane.limits import PACKETS_PER_WAKE_MAX, QUEUE_PACKETS_MAX
from hyperplane.wire.packet import ChecksumState


def packet(number: int) -> QueuedPacket:
    return number.to_bytes(4, "big"), 0, 0, b"", ChecksumState.FINISHED, False


class Kernel:
    """Takes verdicts down. `waiting` are the numbers of the packets that nobody has read."""

    def __init__(self, *waiting: int) -> None:
        self._waiting = [packet(number) for number in waiting]
        self.repeated: list[int] = []
        self.dropped: list[int] = []
        self.flushed = False

    def read(self) -> list[QueuedPacket]:
        return self._waiting

    def drop(self, packet_id: bytes) -> None:
        self.dropped.append(int.from_bytes(packet_id, "big"))

    def repeat(self, packet_id: bytes) -> None:
        self.repeated.append(int.from_bytes(packet_id, "big"))

    def flush(self) -> None:
        self.flushed = True


@pytest.fixture
def page(tmp_path: Path) -> Iterator[StatusPage]:
    """Of a node that answered up to packet 100 and died with 101 to 105 in hand."""
    made = StatusPage(tmp_path / "status", writable=True)
    made.put(Word.ANSWERED_ID, 100)
    made.put(Word.READ_ID, 105)
    yield made
    made.close()


def test_what_was_in_hand_is_repeated(page: StatusPage) -> None:
    kernel = Kernel(106, 107)
    assert [int.from_bytes(item[0], "big") for item in hand_out(kernel, page, True)] == [106, 107]
    assert (kernel.repeated, kernel.dropped, kernel.flushed) == ([101, 102, 103, 104, 105], [], True)


def test_what_waits_is_in_hand_from_then_on(page: StatusPage) -> None:
    hand_out(Kernel(106, 107), page, True)
    assert (page.get(Word.ANSWERED_ID), page.get(Word.READ_ID)) == (105, 107)


def test_a_node_that_died_before_it_said_what_it_read(page: StatusPage) -> None:
    """The first packet that waits shows how far it had read."""
    kernel = Kernel(130)
    hand_out(kernel, page, True)
    assert kernel.repeated == list(range(101, 130))


def test_when_nothing_waits_some_numbers_more_are_tried(page: StatusPage) -> None:
    kernel = Kernel()
    hand_out(kernel, page, True)
    assert kernel.repeated[0] == 101
    assert kernel.repeated[-1] >= 105 + PACKETS_PER_WAKE_MAX


def test_two_deaths_in_a_row_leave_nobody_behind(page: StatusPage) -> None:
    """The second died with what had waited when it came, and more than one batch of numbers has passed."""
    first = Kernel(*range(106, 106 + PACKETS_PER_WAKE_MAX))
    hand_out(first, page, True)
    second = Kernel(200)
    hand_out(second, page, True)
    assert second.repeated == list(range(106, 200))


def test_numbers_wrap(page: StatusPage) -> None:
    last = (1 << 32) - 1
    page.put(Word.ANSWERED_ID, last - 1)
    note_read(page, [packet(1)])
    kernel = Kernel(2)
    hand_out(kernel, page, True)
    assert kernel.repeated == [last, 0, 1]


def test_gaps_in_the_numbers_are_bounded(page: StatusPage) -> None:
    """Numbers of packets that did not fit into the socket are gone, and there may be millions of them."""
    kernel = Kernel(50_000_000)
    hand_out(kernel, page, True)
    assert kernel.repeated == list(range(101, 101 + QUEUE_PACKETS_MAX))


def test_the_packet_that_killed_twice_is_dropped(page: StatusPage, caplog: pytest.LogCaptureFixture) -> None:
    page.put(Word.REPLAY_ID, 103)
    page.put(Word.REPLAY_DIGEST, 0xABC)
    kernel = Kernel(106)
    hand_out(kernel, page, True)
    assert (kernel.repeated, kernel.dropped) == ([101, 102, 104, 105], [103])
    assert page.get(Word.REPLAY_ID) == 0
    assert page.counters() == {"replayed_twice": 1}
    assert "packet 0000000000000abc has killed two nodes" in caplog.text


def test_without_replay_all_are_lost(page: StatusPage) -> None:
    """What the protection is for: see HYPERPLANE_MUTANT."""
    kernel = Kernel(106)
    hand_out(kernel, page, False)
    assert (kernel.repeated, kernel.dropped) == ([], [101, 102, 103, 104, 105])
