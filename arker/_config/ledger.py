"""Where the ledger of forks is, from an argument and the environment."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from arker._config.environment import Environment, is_quoted
from arker._config.urls import is_loopback
from arker.errors import InvalidArgumentError

_SWITCHES: Final = {
    **dict.fromkeys(("on", "1", "true", "yes"), True),
    **dict.fromkeys(("off", "0", "false", "no", "none"), False),
}


def ledger_of(value: object, env: Environment, base_url: str) -> Path | None:
    """Return the ledger's path; None for no ledger."""
    place = _place("ledger", value)
    if place is False or isinstance(place, Path):
        return place or None
    set_place = _place("ARKER_LEDGER", env.get("ARKER_LEDGER"))
    if isinstance(set_place, Path):
        return set_place
    if place is None and set_place is None:
        # VMs of an embedded backend end with it, so no later program needs to find them.
        place = not (base_url.startswith("http://") and is_loopback(urlsplit(base_url).hostname or ""))
    if not place and not set_place:
        return None
    state = state_directory(env)
    if state is None:
        _warn_of_no_ledger()
        return None
    return state / "arker" / "ledger.sqlite3"


_warned_of_no_ledger = False


def _warn_of_no_ledger() -> None:
    """Warn once per process that there is no place for a ledger."""
    global _warned_of_no_ledger  # noqa: PLW0603
    if not _warned_of_no_ledger:
        _warned_of_no_ledger = True
        logging.getLogger("arker").warning(
            "there is no ledger of forks, since this user has no home directory (HOME is not set): VMs that this "
            "program may leave behind are not on record; set ARKER_LEDGER to a file, or to 'off'"
        )


def _place(argument: str, value: object) -> Path | bool | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _SWITCHES:
        return _SWITCHES[value.strip().lower()]
    expected = "expected a path, True or 'on', False or 'off'"
    if not isinstance(value, (str, os.PathLike)):
        raise InvalidArgumentError(argument, value, expected)
    text: object = os.fspath(cast("os.PathLike[Any]", value))
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise InvalidArgumentError(argument, text, expected)
    if is_quoted(text):  # or a file of this name would be made wherever a program runs
        raise InvalidArgumentError(argument, text, f"{expected}, without quotation marks")
    place = os.path.expanduser(text)
    if place.startswith("~"):
        raise InvalidArgumentError(argument, text, "expected a path that does not begin with an unknown home directory")
    return Path(os.path.abspath(place))


def state_directory(env: Environment) -> Path | None:
    """Return the directory where programs of this user keep their state; None if the user has none."""
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        state = env.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    elif sys.platform == "darwin":
        state = os.path.join(home, "Library", "Application Support")
    else:
        state = env.get("XDG_STATE_HOME") or ""
        if not os.path.isabs(state):  # its specification says to ignore relative paths
            state = os.path.join(home, ".local", "state")
    return Path(state) if os.path.isabs(state) else None


__all__ = ["ledger_of", "state_directory"]
