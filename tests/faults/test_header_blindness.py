"""Each protection of an injected header is taken away, and what it protects is lost: the tests would notice (F-42)."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.header_ground import close_with_reset, counters, sysctl
from tests.faults.header_line import calling, line, listening
from tests.faults.header_talks import AT_ONCE, TARGET, WITH_PAYLOAD, Kind, talk_all
from tests.faults.header_wire import strange
from tests.faults.lab import FaultLab, until
from tests.faults.plan import Plan
from tests.faults.test_header_exact_losses import CLIENT, headers_lost, heard_of_a_second_header, talks
from tests.faults.test_header_kernels import WINDOW_BYTES, header_in_pieces, smallest_buffer
from tests.faults.test_kills import let_pass

pytestmark = [pytest.mark.netns, pytest.mark.fault]

PLAN = Plan(headers=True)
SILENCE_S = 2.5
"""The timer would have sent the header again after one second: `test_header_exact_losses.py` sees it do so, with these
losses."""


def weaken(lab: FaultLab, mutant: str) -> None:
    """All that is set up from now on has nodes without this protection."""
    lab.new_generation(HYPERPLANE_MUTANT=mutant)


def nothing_comes(end: socket.socket) -> bool:
    end.setblocking(False)
    try:
        end.recv(1)
    except BlockingIOError:
        return True
    return False


@contextmanager
def silent_client(lab: FaultLab) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The target's listener and the client, after a silence in which the lost header did not come again."""
    with headers_lost(1), listening(AT_ONCE) as listener, calling(AT_ONCE) as client:
        let_pass(SILENCE_S)
        yield listener, client


def test_a_header_that_is_inserted_once(lab: FaultLab) -> None:
    """PP-02: it is lost, and however often the client repeats what is behind it, the target hears nothing."""
    weaken(lab, "insert-once")
    with headers_lost(1), line(WITH_PAYLOAD) as talking:
        before = counters(CLIENT)["TcpRetransSegs"]
        talking.client.sendall(b"hello")
        until(lambda: counters(CLIENT)["TcpRetransSegs"] - before >= 3, "three retransmissions")
        assert nothing_comes(talking.target)


def test_no_header_timer(lab: FaultLab) -> None:
    """PP-04: with SYN cookies nobody repeats it. PP-03: without, the target's own SYN-ACK brings it back."""
    weaken(lab, "no-header-timer")
    with sysctl(TARGET, "tcp_syncookies", 2), silent_client(lab) as (listener, _):
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    with headers_lost(1):
        talk_all(lab.snapshot(), talks(20, (Kind.TARGET_FIRST, AT_ONCE))).assert_whole()


def test_an_ack_that_is_forwarded_beside_the_header(lab: FaultLab) -> None:
    """PP-03: the target believes that the handshake is complete, and waits."""
    weaken(lab, "ack-forwarded")
    with silent_client(lab) as (listener, _):
        target, _ = listener.accept()
        with target:
            assert nothing_comes(target)


@pytest.mark.parametrize("first", ["client", "target"])
def test_sack_blocks_as_the_target_sends_them(lab: FaultLab, first: str) -> None:
    """PP-05: the client hears of a block that it has never sent."""
    weaken(lab, "no-sack-map")
    assert any(segment.sacks for segment in strange(heard_of_a_second_header(lab, first)))


def test_acknowledgments_inside_the_header(lab: FaultLab) -> None:
    """PP-11: the client hears that less than nothing was acknowledged."""
    weaken(lab, "no-clamp")
    at_client, _ = header_in_pieces(lab, WITH_PAYLOAD, lost=1)
    assert any((segment.acknowledgment or 0) < 0 for segment in strange(at_client))


def test_a_window_that_is_not_narrowed(lab: FaultLab) -> None:
    """PP-18: the client fills what the target has offered, and the header does not fit any more."""
    weaken(lab, "no-narrowing")
    before = counters(TARGET)["TcpExtBeyondWindow"]
    with listening(WITH_PAYLOAD, smallest_buffer), calling(WITH_PAYLOAD) as client:
        client.sendall(bytes(WINDOW_BYTES))
        until(lambda: counters(TARGET)["TcpExtBeyondWindow"] > before, "a segment that ends beyond the window")
        close_with_reset(client)
