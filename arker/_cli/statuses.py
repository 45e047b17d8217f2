"""The exit statuses of the command line. A table in ``docs/cli.md`` has them."""

from __future__ import annotations

from typing import Final

DONE: Final = 0
FAILED: Final = 1
"""The server has refused, or was not reached; for several VMs: some could not be done."""
USAGE: Final = 2
"""The command line or the configuration is wrong; nothing was done."""
TIMED_OUT: Final = 124
"""``run``: the command was killed by its ``--timeout``, as `timeout` says it."""
NOT_RUN: Final = 125
"""``run`` and ``shell``: what is wrong is not the command, of which there is no status."""
HUNG_UP: Final = 129
"""Its terminal has ended: 128 + SIGHUP."""
INTERRUPTED: Final = 130
"""Ctrl-C: 128 + SIGINT."""
BROKEN_PIPE: Final = 141
"""The reader of the output has ended: 128 + SIGPIPE."""

OF_COMMAND_LINE: Final = {"run": NOT_RUN, "shell": NOT_RUN}
"""Commands with another status for a wrong command line, since they have that of a command in the VM."""

__all__ = [
    "BROKEN_PIPE",
    "DONE",
    "FAILED",
    "HUNG_UP",
    "INTERRUPTED",
    "NOT_RUN",
    "OF_COMMAND_LINE",
    "TIMED_OUT",
    "USAGE",
]
