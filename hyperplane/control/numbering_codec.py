"""The numbering's encoded form: JSON with a SHA-256 over its zones, to lie beside the snapshot.

    {"sha256": "...", "zones": {"us-east-2a": {"following": 5, "numbers": {"eni-...": 1}, "resting": {"4": 812.5}}}}

The snapshot alone knows who has a number, not who had one a moment ago. So this is written before each
snapshot and read before the next numbering; `Numbering.agreeing_with` settles what a crash between
the two left. Without the file numbers are still stable, but may come again too soon.
"""

import hashlib
import json
from types import MappingProxyType
from typing import Any

from hyperplane import limits
from hyperplane.control.numbering import Numbering, ZoneNumbers
from hyperplane.errors import ConfigurationError

_KEYS = {"following", "numbers", "resting"}


def encode_numbering(numbering: Numbering) -> bytes:
    """The same numbering gives the same bytes."""
    zones = {
        name: {
            "following": zone.following,
            "numbers": dict(zone.numbers),
            "resting": {str(number): since for number, since in zone.resting.items()},
        }
        for name, zone in numbering.zones.items()
    }
    return (json.dumps({"sha256": _digest(zones), "zones": zones}, indent=1, sort_keys=True) + "\n").encode("ascii")


def decode_numbering(data: bytes) -> Numbering:
    """The numbering, or `ConfigurationError` for anything that `encode_numbering` did not write."""
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError("numbering", f"is not JSON: {error}") from None
    if not isinstance(plain, dict) or plain.keys() != {"sha256", "zones"} or not isinstance(plain["zones"], dict):
        raise ConfigurationError("numbering", "is not a numbering: expected sha256 and zones")
    if _digest(plain["zones"]) != plain["sha256"]:
        raise ConfigurationError("sha256", "does not fit the zones: the file is damaged, or was edited by hand")
    return Numbering(MappingProxyType({name: _zone(name, zone) for name, zone in plain["zones"].items()}))


def _digest(zones: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(zones, sort_keys=True).encode("ascii")).hexdigest()


def _zone(name: str, plain: Any) -> ZoneNumbers:
    place = f"zones.{name}"
    if not isinstance(plain, dict) or plain.keys() != _KEYS:
        raise ConfigurationError(place, f"expected the keys {', '.join(sorted(_KEYS))}")
    numbers, resting = plain["numbers"], plain["resting"]
    if not isinstance(numbers, dict) or not isinstance(resting, dict):
        raise ConfigurationError(place, "numbers and resting are objects")
    if any(type(since) not in (int, float) for since in resting.values()) or not all(map(str.isdecimal, resting)):
        raise ConfigurationError(f"{place}.resting", "a number and the moment since which it rests")
    given_out = [*numbers.values(), *(int(number) for number in resting)]
    for number in (plain["following"], *given_out):
        if type(number) is not int or not 1 <= number <= limits.ENI_NUMBER_MAX:
            raise ConfigurationError(place, f"{number!r} is no interface number")
    if len(set(given_out)) < len(given_out):
        raise ConfigurationError(place, "a number is given out twice")
    return ZoneNumbers(
        MappingProxyType(numbers),
        MappingProxyType({int(number): float(since) for number, since in resting.items()}),
        plain["following"],
    )
