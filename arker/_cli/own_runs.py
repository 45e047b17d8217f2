"""A VM's runs as their person knows them: without those of the client's own, and with the commands that were given."""

from __future__ import annotations

import functools
import re
from importlib.resources import files
from shlex import quote
from typing import Final, TypeVar

from attrs import evolve

from arker import models
from arker._commands.shell import command_in

R = TypeVar("R", bound=models.RunSummary)

_PACKAGES: Final = ("_commands", "_directories", "_files", "_paths")
"""The packages with programs that run in VMs."""
_IN_PYTHON: Final = "inotify.py"
"""The one that is no program of the shell."""
_STARTS: Final = ("sh -c ", "python3 -c ")
_STAGED: Final = re.compile(r"(?:sh|rm -rf --) [^\n]*\.arker-[0-9A-HJKMNP-TV-Z]{26}\b")
"""A command on what the client has put into the VM for a moment."""


def is_own(command: str | None) -> bool:
    """Return whether a command is the client's own, such as those that copy files and pass input on."""
    if command is None:
        return False
    start = next((start for start in _STARTS if command.startswith(start)), None)
    if start is not None:
        return command.startswith(_heads(), len(start))
    return _STAGED.match(command) is not None


@functools.cache
def _heads() -> tuple[str, ...]:
    """Return how the client's programs begin, as an argument in a line of the shell."""
    texts = [
        each.read_text("utf-8")
        for package in _PACKAGES
        for each in files(f"arker.{package}").iterdir()
        if each.name.endswith(".sh") or each.name == _IN_PYTHON
    ]
    # Two lines: the first one of each program in the shell is the same.
    return tuple(quote("\n".join(text.split("\n", 2)[:2]))[:-1] for text in texts)


def as_given(run: R) -> R:
    """Return a run with the command that was given, which may have been sent with what its environment needs."""
    return run if run.command is None else evolve(run, command=command_in(run.command))


__all__ = ["as_given", "is_own"]
