"""How a command is given to bash, and how the session's state comes back."""

from __future__ import annotations

import os
from collections.abc import Mapping

from arker.emulator.sandbox.agent.supervisor import SCRIPT_FD, STATE_FD

LARGEST_STATE = 16 * 1024 * 1024

_OF_ONE_SHELL = frozenset({"_", "SHLVL", "PWD"})
"""Variables that each shell sets for itself, so that they are no part of a session."""

# What the command starts must not have the state's descriptor. bash cannot mark one as closed at exec, but it does so
# with the copy (its first free one from 10 on) that it keeps of what a redirection hides, and with copies of that.
_KEEP_BACK = (
    f"{{ exec {SCRIPT_FD}>&10; }} {STATE_FD}>&- 2>/dev/null && exec {STATE_FD}>&{SCRIPT_FD}; exec {SCRIPT_FD}>&-; "
)

# One line, so that line numbers are the command's own. The command comes by a descriptor, since one argument of a
# program may have 128 KiB at most. `builtin` and full paths: the command may have defined functions or broken PATH.
# The empty entry at the end says that the state is whole.
_WRAPPER = (
    'trap \'{ builtin printf "%s\\0" "$PWD" && /usr/bin/env -0 && builtin printf "\\0"; }'
    f" 2>/dev/null >&{STATE_FD}' EXIT; "
    f'IFS= builtin read -r -d "" -u {SCRIPT_FD} REPLY || :; exec {SCRIPT_FD}<&-; {_KEEP_BACK}eval "$REPLY"'
)


def shell_argv(bash: str) -> list[str]:
    """The arguments of the process that runs a command."""
    return [bash, "--noprofile", "--norc", "-c", _WRAPPER, "bash"]


def parse_state(content: bytes) -> tuple[str, Mapping[str, str]] | None:
    """The working directory and the environment that a shell left; None when it left none."""
    if not content.endswith(b"\0\0"):
        return None
    cwd, *entries = content[:-2].split(b"\0")
    if not cwd.startswith(b"/"):
        return None
    env: dict[str, str] = {}
    for entry in entries:
        name, equals, value = entry.partition(b"=")
        if name and equals:
            env[os.fsdecode(name)] = os.fsdecode(value)
    return os.fsdecode(cwd), {name: value for name, value in env.items() if name not in _OF_ONE_SHELL}


__all__ = ["LARGEST_STATE", "parse_state", "shell_argv"]
