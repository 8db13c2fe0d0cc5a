"""Other people's programs in a namespace of the lab. A test that needs one that is absent skips and says so."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns.namespace import inside
from tests.lab.laboratory import HANG_GUARD_S


def needs(*programs: str) -> None:
    """Skip the test unless all programs are there."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def run(
    namespace: str, *command: str, text: str | None = None, expect: int | None = 0
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end in a namespace. `expect` is its exit status, None for any."""
    needs(command[0])
    with inside(namespace):
        done = subprocess.run(
            command, input=text, stdin=None if text is not None else subprocess.DEVNULL, capture_output=True,
            text=True, timeout=4 * HANG_GUARD_S, check=False,
        )  # fmt: skip
    if expect is not None:
        assert done.returncode == expect, f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


@contextlib.contextmanager
def running(
    namespace: str, *command: str, log: Path | None = None, output: Path | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """A program in the background of a namespace, ended at the end of the block. Its errors go to `log`, what it
    says goes there too or to a file of its own."""
    needs(command[0])
    with contextlib.ExitStack() as stack:
        errors = stack.enter_context(log.open("w")) if log else subprocess.DEVNULL
        words = stack.enter_context(output.open("w")) if output else errors
        with inside(namespace):
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=words, stderr=errors, text=True, start_new_session=True
            )
        try:
            yield process
        finally:
            end(process)


def end(process: "subprocess.Popen[str]", number: int = signal.SIGTERM) -> None:
    """End a program that we started, with whatever it has started itself: it leads a process group of its own."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
    try:
        process.wait(HANG_GUARD_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
