"""The values of `caesura run`'s options; raises WrongUsage for what is none."""

from __future__ import annotations

import math
import os
import re
from typing import Final

from caesura.cli.exits import WrongUsage
from caesura.options import MOST_FUEL

_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20}
_THOUSANDS: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_PAGE: Final = 1 << 16


def environment(given: list[str]) -> dict[str, str]:
    """Return the variables that --env gives, some of them passed on from ours."""
    variables: dict[str, str] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not name:
            raise WrongUsage(f"--env {text!r}: expected NAME=VALUE, or NAME to pass on ours")
        if separator:
            variables[name] = value
        elif name in os.environ:
            variables[name] = os.environ[name]
    return variables


def directory(option: str, text: str) -> tuple[str, str]:
    """Return a folder's path in the guest and on the host."""
    host, separator, guest = text.partition("::")
    if not host or (separator and not guest):
        raise WrongUsage(f"{option} {text!r}: expected HOST, or HOST::GUEST")
    return guest or host, host


def seconds(text: str, option: str = "--timeout") -> float:
    """Return the time that an option gives."""
    try:
        found = float(text)
    except ValueError:
        found = 0
    if not 0 < found < math.inf:
        raise WrongUsage(f"{option} {text}: expected a positive number of seconds, such as 5 or 0.5")
    return found


def units(text: str) -> int:
    """Return a number of units of fuel, with an optional unit."""
    found = re.fullmatch(r"(\d+)([KMG]?)", text)
    count = int(found[1]) * _THOUSANDS[found[2]] if found else 0
    if not 0 < count <= MOST_FUEL:
        raise WrongUsage(f"--fuel {text}: expected a number of units, such as 50000000, 500K, 50M or 2G")
    return count


def pages(text: str) -> int:
    """Return a size in bytes, with an optional unit, as pages."""
    found = re.fullmatch(r"(\d+)([KM]?)", text)
    size = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < size <= _PAGE * _PAGE:
        raise WrongUsage(f"--stack-size {text}: expected a number of bytes up to 4096M, such as 65536, 64K or 1M")
    return -(-size // _PAGE)
