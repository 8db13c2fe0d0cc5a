"""What a supervisor does when the machine will not give it a new node."""

import contextlib
import errno
import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from hyperplane.io.processes import identity_of
from hyperplane.io.status import NodeState, StatusPage, Word
from hyperplane.io.supervisor import Child, Supervisor
from hyperplane.limits import SILENCE_MAX_S, SUPERVISOR_BEAT_S
from netns.namespace import NamespaceMissing


@pytest.fixture
def page(tmp_path: Path) -> Iterator[StatusPage]:
    made = StatusPage(tmp_path / "status-0", writable=True)
    yield made
    made.close()


Ground = Callable[[], AbstractContextManager[None]]


def failing(failures: list[Exception]) -> Ground:
    """A ground that fails once for each of `failures`, then holds."""

    @contextlib.contextmanager
    def stand() -> Iterator[None]:
        if failures:
            raise failures.pop(0)
        yield

    return stand


def supervisor(page: StatusPage, ground: Ground = contextlib.nullcontext) -> Supervisor:
    """Of one node, which says that it serves and then waits to be ended."""
    never, _ = os.pipe()

    def spawn(index: int, ready: int) -> None:
        os.write(ready, b"1")
        os.read(never, 1)

    return Supervisor(spawn, [page], ground)


@pytest.mark.parametrize("failure", [OSError(errno.EAGAIN, "no more processes"), NamespaceMissing("hp-rv-x")])
def test_a_place_that_cannot_be_filled_is_tried_again_after_a_pause(page: StatusPage, failure: Exception) -> None:
    subject = supervisor(page)
    subject.start_all()
    (child,) = subject.children
    subject._ground = failing([failure])
    os.kill(child.pid, 9)
    subject.died(child)
    assert child.pid == 0, "the failure has passed up, or a node was started without ground"
    waits_until = child.started_at
    subject.check(waits_until - 0.001)
    assert child.pid == 0, "tried again before the pause was over"
    subject.check(waits_until)
    assert child.pid != 0
    subject.stop_all(1.0)


def test_a_node_that_nobody_could_hear_of_is_not_left_behind(page: StatusPage) -> None:
    subject = supervisor(page)
    seen: list[int] = []

    def refuse(child: Child) -> None:
        seen.append(child.pid)
        raise OSError(errno.ENOSPC, "no more watches")

    subject.start_all()
    (child,) = subject.children
    os.kill(child.pid, 9)
    subject.on_start = refuse
    subject.died(child)
    assert child.pid == 0
    with pytest.raises(ProcessLookupError):
        os.kill(seen[0], 0)


def test_a_start_that_fails_says_so(page: StatusPage) -> None:
    with pytest.raises(OSError, match="no more processes"):
        supervisor(page, failing([OSError(errno.EAGAIN, "no more processes")])).start_all()


def test_a_node_that_fails_at_once_never_comes_back_into_our_code(page: StatusPage) -> None:
    def spawn(index: int, ready: int) -> None:
        raise ValueError("before anything")

    subject = Supervisor(spawn, [page], contextlib.nullcontext)
    us = os.getpid()
    with pytest.raises(RuntimeError, match="did not start"):
        subject.start_all()
    assert os.getpid() == us
    subject.stop_all(1.0)


class Careless(Supervisor):
    """A mutant: what is silent gets a successor and is not killed first."""

    def check(self, now: float) -> None:
        for child in self.children:
            if child.silence.listen(child.pid, child.page.get(Word.HEARTBEAT_MS), now) > child.patience_s():
                os.close(child.pidfd)
                self.replace(child)


@pytest.mark.parametrize("kind", [Supervisor, Careless])
def test_a_hung_node_is_certainly_gone_before_another_takes_its_place(
    page: StatusPage, tmp_path: Path, kind: type[Supervisor]
) -> None:
    """F-02, INV-7, F-42. Each node notes who of those before it is still there, stopped or not, when it begins."""
    never, _ = os.pipe()
    notes = tmp_path / "notes"

    def spawn(index: int, ready: int) -> None:
        before = notes.read_text().split() if notes.exists() else []
        alive = [pid for pid in before if identity_of(int(pid))]
        if alive:
            (tmp_path / "two at once").touch()
        notes.write_text(" ".join([*before, str(os.getpid())]))
        page.put(Word.STATE, NodeState.SERVING)
        os.write(ready, b"1")
        os.read(never, 1)

    subject = kind(spawn, [page], contextlib.nullcontext)
    subject.start_all()
    (child,) = subject.children
    hung = child.pid
    os.kill(hung, signal.SIGSTOP)
    assert os.waitid(os.P_PID, hung, os.WSTOPPED)
    begin = now = child.started_at
    while child.pid == hung:
        now += SUPERVISOR_BEAT_S
        silent_s = child.silence.silent_s
        subject.check(now)
        assert now - begin < SILENCE_MAX_S * 3, "nobody notices that it hangs"
        if child.pid == hung and child.silence.silent_s < silent_s:  # forgiven, because it was dealt with
            assert select.select([child.pidfd], [], [], 10)[0]
            subject.died(child)
    while len(notes.read_text().split()) < 2:
        assert select.select([child.pidfd], [], [], 0.01)[0] == [], "the next one lives"
    subject.stop_all(5.0)
    if kind is Careless:
        os.kill(hung, signal.SIGKILL)
        os.waitpid(hung, 0)
    assert (tmp_path / "two at once").exists() == (kind is Careless)
