"""The iptables tools: write rules, read them back, compare.

`iptables-restore` replaces each table in one step. The tools print rules in words of their own, which
differ between versions and between their two kernel interfaces (`nf_tables`, `legacy`), so a set of rules
is known by what the tools print of it.

All functions act on the namespace of the calling thread, see `namespace.inside`.
"""

import hashlib
import subprocess
from pathlib import Path

LOCK_WAIT_S = 5
"""How long a tool waits for another one that holds the lock."""

TOOL_TIMEOUT_S = 4 * LOCK_WAIT_S
"""How long a tool may take in all. A few milliseconds are usual, on a busy machine some hundred."""

_TABLES = ("raw", "mangle", "filter")
"""Those that decide. A table nat somewhere changes nothing for packets that no connection tracks."""


class RulesetError(RuntimeError):
    """The tools or the kernel would not take or tell the rules. The text holds the tool's words."""


def restore(ipv4: str, ipv6: str) -> None:
    """Write both sets of rules, each table atomically. Raises RulesetError."""
    _run(["iptables-restore", "-w", str(LOCK_WAIT_S)], ipv4)
    if _has_ipv6():
        _run(["ip6tables-restore", "-w", str(LOCK_WAIT_S)], ipv6)


def fingerprint_here() -> str:
    """A digest of the rules in force, IPv4 and IPv6. Raises RulesetError."""
    saved = canonical(_run(["iptables-save"]))
    if _has_ipv6():
        saved += "\n\n" + canonical(_run(["ip6tables-save"]))
    return hashlib.sha256(saved.encode()).hexdigest()


def canonical(saved: str) -> str:
    """What iptables-save printed, without what does not matter: comments, counters, order of tables and chains."""
    tables: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in saved.splitlines():
        if line.startswith("*"):
            lines = tables.setdefault(line[1:].strip(), [])
        elif line.startswith(":"):
            lines.append(line.partition(" [")[0])
        elif line.startswith("-A "):
            lines.append(line)
    kept: list[str] = []
    for table in _TABLES:
        found = tables.get(table, [])
        chains = sorted(line for line in found if line.startswith(":"))
        # A stable sort by chain keeps the order of the rules within each.
        rules = sorted((line for line in found if line.startswith("-A ")), key=lambda line: line.split(" ", 2)[1])
        kept += [f"*{table}", *chains, *rules]
    return "\n".join(kept)


def _has_ipv6() -> bool:
    return Path("/proc/sys/net/ipv6").exists()


def _run(command: list[str], text: str = "") -> str:
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=TOOL_TIMEOUT_S)
    except FileNotFoundError:
        raise RulesetError(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise RulesetError(f"{' '.join(command)}: no answer in {TOOL_TIMEOUT_S} s") from None
    except OSError as error:
        raise RulesetError(f"{command[0]} cannot be started: {error}") from error
    if done.returncode != 0:
        raise RulesetError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
