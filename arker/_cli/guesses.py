"""What to say to a command line that is meant for another program, such as docker, kubectl, ssh or scp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from types import MappingProxyType
from typing import Final

_WORDS: Final = {
    "run": "exec execute cmd",
    "ls": "ps list get vms",
    "shell": "ssh sh bash attach console connect terminal",
    "rm": "delete del remove kill stop destroy terminate",
    "fork": "create new start up launch clone spawn",
    "cp": "scp rsync copy push pull upload download put",
    "tunnel": "port-forward forward port expose",
    "snapshot": "commit save",
    "watch": "top stats",
    "logs": "log tail",
    "doctor": "login auth config configure info status",
}
ELSEWHERE: Final[Mapping[str, str]] = MappingProxyType(
    {word: name for name, words in _WORDS.items() for word in words.split()}
)
"""Commands of other programs, and the command here that does the same or is nearest."""

_TERMINAL: Final = frozenset({"-i", "-t", "-it", "-ti", "--tty", "--interactive"})


def advice(words: Sequence[str]) -> str:
    """Return what would be right in place of a command line that has been refused; nothing if that is not known.

    Args:
        words: The command line.
    """
    name = words[0] if words else ""
    if name in ELSEWHERE:
        return f"use arker {ELSEWHERE[name]}"
    if name != "run" or "--" in words:
        return ""
    before = list(takewhile(lambda word: word not in _TERMINAL, words))
    if len(before) < len(words) and len(before) <= 2:  # not an option of the command in the VM
        return "arker shell VM is a terminal; arker run passes standard input on without an option"
    return "write -- before the command, as in: arker run VM -- ls -l"


__all__ = ["ELSEWHERE", "advice"]
