"""Stop a piece of code before any of its lines, to see what others see just then.

A node can be killed, or overtaken by another, between any two steps. `interrupted` runs a call and does something
before its n-th line; `line_count` tells how many such moments there are. Lines of all functions that live in the
same file as the called one count. C calls are not divided: what they store piece by piece is up to the test.
"""

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")


def interrupted(call: Callable[[], Result], module: str, at_line: int, action: Callable[[], Any]) -> Result:
    """The result of `call`, with `action` run before the `at_line`-th line (from 0) executed in the file `module`."""
    count = 0

    def on_line(stop: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if event == "line":
            if count == at_line:
                action()
            count += 1
        return on_line

    def on_call(stop: FrameType, event: str, _: Any) -> Any:
        code: CodeType = stop.f_code
        return on_line if code.co_filename == module else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        return call()
    finally:
        sys.settrace(before)


def line_count(call: Callable[[], Any], module: str) -> int:
    """How many lines of the file `module` the call executes."""
    count = 0

    def on_line(stop: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return on_line

    before = sys.gettrace()
    sys.settrace(lambda stop, event, _: on_line if stop.f_code.co_filename == module else None)
    try:
        call()
    finally:
        sys.settrace(before)
    return count
