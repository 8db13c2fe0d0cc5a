"""Forms: how one kind of value is written to and read from plain JSON values.

A form is a pair of functions. Forms are put together from forms (a list of, a record of), so the
shape of a whole file is one table, and its writer and its reader cannot drift apart.

Reading trusts nothing: type, range and keys are checked, and the error's path (`.enis[2].address`)
is built while the exception rises through the containers, so a good file pays nothing for it.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum
from functools import lru_cache
from typing import Any

from hyperplane.snapshot import Network

SHOWN_CHARACTERS_MAX = 40
"""Of a wrong value in a message; the rest of a long one tells nobody more."""

_PREFIX_LENGTH = re.compile("0|[1-9][0-9]{0,2}")


class Fault(Exception):
    """A plain value is wrong; each container on the way up adds its step in front of the path."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.path = path

    def under(self, step: str) -> "Fault":
        self.path = step + self.path
        return self


@dataclass(frozen=True, slots=True)
class Form:
    """`read` raises `Fault`; `read(write(value)) == value` for every value that `read` can return."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


def kind_of(value: Any) -> str:
    """A JSON value's kind, in the words of an error message."""
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _shown(value: Any) -> str:
    return repr(value[:SHOWN_CHARACTERS_MAX]) if type(value) is str else kind_of(value)


def integer(least: int, most: int) -> Form:
    def read(value: Any) -> int:
        if type(value) is not int:  # bool is an int for Python, not for a reader of the file
            raise Fault(f"is {kind_of(value)}, expected a whole number")
        if not least <= value <= most:
            raise Fault(f"is {value}, expected {least} to {most}")
        return value

    return Form(lambda value: value, read)


def text(pattern: re.Pattern[str], meaning: str) -> Form:
    def read(value: Any) -> str:
        if type(value) is not str or pattern.fullmatch(value) is None:
            raise Fault(f"{_shown(value)} is not {meaning}")
        return value

    return Form(lambda value: value, read)


def one_of(values: tuple[str, ...]) -> Form:
    def read(value: Any) -> str:
        if type(value) is not str or value not in values:
            raise Fault(f"is {_shown(value)}, expected one of {', '.join(values)}")
        return value

    return Form(lambda value: value, read)


def member(words: dict[str, Enum | None]) -> Form:
    """An enum's member under a word."""
    word_of = {value: word for word, value in words.items()}
    word = one_of(tuple(words))
    return Form(lambda value: word_of[value], lambda value: words[word.read(value)])


def several(form: Form, at_least: int, at_most: int) -> Form:
    """A list on the outside, a tuple inside."""

    def write(values: Any) -> list[Any]:
        return [form.write(value) for value in values]

    def read(values: Any) -> tuple[Any, ...]:
        if type(values) is not list:
            raise Fault(f"is {kind_of(values)}, expected a list")
        if not at_least <= len(values) <= at_most:
            raise Fault(f"has {len(values)} items, expected {at_least} to {at_most}")
        items: list[Any] = []
        try:
            for value in values:
                items.append(form.read(value))  # the length then says which item was wrong
        except Fault as fault:
            raise fault.under(f"[{len(items)}]") from None
        return tuple(items)

    return Form(write, read)


def record(kind: type[Any], /, **forms: Form) -> Form:
    """A dataclass as an object with exactly its fields as keys."""
    assert tuple(forms) == tuple(field.name for field in fields(kind)), f"the form of {kind.__name__} is not its fields"

    def write(value: Any) -> dict[str, Any]:
        return {name: form.write(getattr(value, name)) for name, form in forms.items()}

    def read(value: Any) -> Any:
        _check_keys(value, forms)
        name = ""
        arguments = {}
        try:
            for name, form in forms.items():
                arguments[name] = form.read(value[name])
        except Fault as fault:
            raise fault.under(f".{name}") from None
        return kind(**arguments)

    return Form(write, read)


def _check_keys(value: Any, forms: dict[str, Form]) -> None:
    if type(value) is not dict:
        raise Fault(f"is {kind_of(value)}, expected an object")
    if value.keys() == forms.keys():
        return
    for name in forms:
        if name not in value:
            raise Fault("is missing", f".{name}")
    raise Fault(f"unknown key {_shown(next(name for name in value if name not in forms))}")


def _read_flag(value: Any) -> bool:
    if type(value) is not bool:
        raise Fault(f"is {kind_of(value)}, expected true or false")
    return value


# An address occurs many times in one file (networks, targets), and parsing one costs microseconds.
@lru_cache(maxsize=4096)
def _address_text(address: bytes) -> str:
    return str(ipaddress.ip_address(address))


@lru_cache(maxsize=4096)
def _address(written: str) -> bytes | None:
    if "%" in written:  # a scope names an interface of one machine, it is not part of an address
        return None
    try:
        return ipaddress.ip_address(written).packed
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def _network(written: str) -> Network | None:
    address_written, _, prefix_length = written.partition("/")
    address = _address(address_written)
    if address is None or _PREFIX_LENGTH.fullmatch(prefix_length) is None:
        return None
    try:
        ipaddress.ip_network((address, int(prefix_length)))
    except ValueError:  # prefix too long, or the address has bits beyond it
        return None
    return Network(address, int(prefix_length))


def _read_address(value: Any) -> bytes:
    address = _address(value) if type(value) is str else None
    if address is None:
        raise Fault(f"{_shown(value)} is not an IP address")
    return address


def _read_network(value: Any) -> Network:
    network = _network(value) if type(value) is str else None
    if network is None:
        raise Fault(f"{_shown(value)} is not a network (address/prefix length, no bits beyond it)")
    return network


FLAG = Form(lambda value: value, _read_flag)
ADDRESS = Form(_address_text, _read_address)
"""Bytes of length 4 or 16 inside, text outside."""
NETWORK = Form(lambda network: f"{_address_text(network[0])}/{network[1]}", _read_network)
