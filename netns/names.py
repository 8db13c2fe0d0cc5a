"""Names of what we make in the kernel: one prefix, one strict pattern.

The prefix is what makes cleaning safe: what does not carry it is never touched. The pattern is
narrow because names travel into file paths, rule sets and command lines: no slash, dot, space,
quote or upper case can occur, and no name starts with a dash. No shell is run anywhere.

Linux allows 15 bytes for the name of a link (IFNAMSIZ 16 with its NUL, `linux/if.h`).
A namespace's name is a file name; 63 is our choice, because that is a DNS label's limit too.
"""

import hashlib
import re

PREFIX = "hp-"
LINK_NAME_BYTES_MAX = 15
NAMESPACE_NAME_BYTES_MAX = 63

_PATTERN = re.compile(r"hp-[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
_DIGEST_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
_DIGEST_LETTERS = 6


class NameRefused(ValueError):
    """A name that we would not give. The message says what is wrong with it."""


def check_link_name(name: str) -> str:
    """Return `name` if it may name a link or a bridge, else raise NameRefused."""
    return _check(name, LINK_NAME_BYTES_MAX, "a link's name")


def check_namespace_name(name: str) -> str:
    """Return `name` if it may name a namespace, else raise NameRefused."""
    return _check(name, NAMESPACE_NAME_BYTES_MAX, "a namespace's name")


def is_ours(name: str) -> bool:
    """Whether something with this name may be removed by us. Looser than the pattern, so that nothing is left."""
    return name.startswith(PREFIX) and "/" not in name


def short_link_name(*parts: str) -> str:
    """A link name from any words: the words themselves where they fit, else a digest of them.

    The same words give the same name. Two lists of words share a name with a chance of 1 in 2^30
    (30 bits of SHA-256); the topology's validator refuses the duplicate then.
    """
    if not parts:
        raise NameRefused("a link's name needs at least one word")
    words = "-".join(re.findall(r"[a-z0-9]+", "-".join(parts).lower()))
    plain = PREFIX + words
    if words and "-".join(parts) == words and len(plain) <= LINK_NAME_BYTES_MAX:
        return check_link_name(plain)
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    number = int.from_bytes(digest[:8], "big")
    letters = "".join(_DIGEST_ALPHABET[number >> (5 * i) & 31] for i in range(_DIGEST_LETTERS))
    room = LINK_NAME_BYTES_MAX - len(PREFIX) - len(letters) - 1
    head = words[:room].strip("-")
    return check_link_name(f"{PREFIX}{head}-{letters}" if head else PREFIX + letters)


def _check(name: str, bytes_max: int, what: str) -> str:
    if not name.startswith(PREFIX):
        raise NameRefused(f"{what} must start with {PREFIX!r}, not {name!r}")
    if not _PATTERN.fullmatch(name):
        raise NameRefused(f"{what} may hold a-z, 0-9 and single dashes inside, not {name!r}")
    if len(name) > bytes_max:
        raise NameRefused(f"{what} may have {bytes_max} bytes at most, {name!r} has {len(name)}")
    return name
