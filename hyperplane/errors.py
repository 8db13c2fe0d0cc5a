"""The two families of errors that are somebody else's fault.

A third family, our own bugs, is `assert`: it is not caught, the node dies, and its
flows live on in its peers. A drop is not an error at all: it is a value, see
`dataplane/verdict.py`.
"""

from enum import Enum


class Malformation(Enum):
    """What is wrong with a peer's bytes. Each has a drop reason of the same name."""

    TRUNCATED = "truncated"
    BAD_VERSION = "bad_version"
    BAD_LENGTH = "bad_length"
    BAD_CHECKSUM = "bad_checksum"
    BAD_TCP_FLAGS = "bad_tcp_flags"
    BAD_TCP_OPTIONS = "bad_tcp_options"
    IP_OPTIONS = "ip_options"
    FRAGMENT = "fragment"
    UNSUPPORTED_PROTOCOL = "unsupported_protocol"
    BAD_ICMP = "bad_icmp"
    TOO_LONG = "too_long"


class WireError(ValueError):
    """The peer's bytes are wrong. Raised in `wire/`, caught once in the parse stage."""

    def __init__(self, malformation: Malformation) -> None:
        super().__init__(malformation.value)
        self.malformation = malformation


class ConfigurationError(ValueError):
    """The operator's file is wrong. `place` says where: a file and line, or a path in it."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(f"{place}: {message}")
        self.place = place
        self.message = message
