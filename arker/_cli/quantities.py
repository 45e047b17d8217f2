"""Durations, sizes and lists as they are written on a command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from arker._cli.running import UsageError

_SECONDS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MIB: Final = {"": 1.0, "m": 1.0, "g": 1024.0, "t": 1024.0 * 1024.0}


def seconds(option: str, text: str | None) -> float | None:
    """Read a duration: seconds, or a number with s, m, h or d behind it."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([smhd]?)", text.strip().lower())
    if match is None or not float(match[1]):
        raise UsageError(f"{option} {text!r}: expected seconds above zero, or a number with s, m, h or d, such as 90m")
    return float(match[1]) * _SECONDS[match[2]]


def mebibytes(option: str, text: str | None) -> int | None:
    """Read a size: MiB, or a number with M, G or T behind it (1 G is 1,024 MiB)."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?)([mgt]?)(?:i?b)?", text.strip().lower())
    size = 0.0 if match is None else float(match[1]) * _MIB[match[2]]
    if size < 1 or size != int(size):
        raise UsageError(f"{option} {text!r}: expected a whole number of MiB, or a number with M, G or T, such as 2G")
    return int(size)


def network(option: str, text: str | None) -> dict[str, Any] | str | None:
    """Read a network policy: open, blocked, allow:HOST,HOST or block:HOST,HOST."""
    if text is None:
        return None
    kind, colon, listed = text.strip().partition(":")
    hosts = [host.strip() for host in listed.split(",") if host.strip()]
    if kind in {"open", "blocked"} and not colon:
        return {"type": kind}
    if kind in {"allow", "block"} and hosts:
        return {"type": kind, kind: hosts}
    raise UsageError(f"{option} {text!r}: expected open, blocked, allow:HOST,HOST… or block:HOST,HOST…")


def variables(option: str, texts: Sequence[str]) -> dict[str, str] | None:
    """Read environment variables, each as NAME=VALUE."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageError(f"{option} {text!r}: expected NAME=VALUE")
        found[name] = value
    return found or None


__all__ = ["mebibytes", "network", "seconds", "variables"]
