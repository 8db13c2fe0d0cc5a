"""Silence is held against a node only where it is the node's own fault."""

import os
import signal
from collections.abc import Iterator

import pytest

from hyperplane.io import silence
from hyperplane.io.silence import Silence
from hyperplane.limits import SILENCE_MAX_S, SUPERVISOR_BEAT_S


@pytest.fixture
def stopped() -> Iterator[int]:
    """A process that hangs."""
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "kill -STOP $$"], {})
    os.waitpid(pid, os.WUNTRACED)
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def listen(ear: Silence, pid: int, rounds: int) -> float:
    """The same heartbeat again and again, at the supervisor's beat, the first time at moment 0."""
    heard = 0.0
    for place in range(rounds + 1):
        heard = ear.listen(pid, 1, place * SUPERVISOR_BEAT_S)
    return heard


def test_a_process_that_hangs_is_silent(stopped: int) -> None:
    rounds = int(SILENCE_MAX_S / SUPERVISOR_BEAT_S) + 1
    assert listen(Silence(), stopped, rounds) > SILENCE_MAX_S


def test_a_heartbeat_ends_the_silence(stopped: int) -> None:
    ear = Silence()
    assert listen(ear, stopped, 3) > 0
    assert ear.listen(stopped, 2, 10.0) == 0


def test_who_was_asleep_himself_cannot_accuse(stopped: int) -> None:
    ear = Silence()
    ear.listen(stopped, 1, 0.0)
    assert ear.listen(stopped, 1, 3600.0) == pytest.approx(2 * SUPERVISOR_BEAT_S)


@pytest.mark.parametrize(("processor_s", "silent"), [(0.0, False), (0.01, False), (1.0, True)])
def test_who_wants_to_run_answers_for_what_it_was_given(
    monkeypatch: pytest.MonkeyPatch, processor_s: float, silent: bool
) -> None:
    """Runnable: starved with little processor time per beat, in a loop without end with all of it."""
    given = iter(place * processor_s * SUPERVISOR_BEAT_S for place in range(1000))
    monkeypatch.setattr(silence, "_activity", lambda pid: (True, next(given)))
    assert (listen(Silence(), 1, 20) > SILENCE_MAX_S) is silent


def test_forgiven_is_forgotten(stopped: int) -> None:
    ear = Silence()
    listen(ear, stopped, 5)
    ear.forgive(1.0)
    assert ear.listen(stopped, 1, 1.0) == 0


def test_a_process_that_is_gone_is_silent() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    assert listen(Silence(), pid, 10) > SILENCE_MAX_S
