"""The program ``arker``: it finds the command that is asked for, and runs it.

Four commands need nothing but the package: ``reap``, ``doctor``, ``emulator`` and ``--version``. The others need the
extra ``cli``, which is imported only for them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from arker._basics.version import version
from arker._cli import statuses
from arker._cli.names import EXTRA, PLAIN, WITH_EXTRA


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["--local"] and len(words) > 1:  # an option of the command, written before its name
        words[:2] = [words[1], "--local"]
    if words == ["--version"]:
        sys.stdout.write(f"arker-async {version()}\n")
        return statuses.DONE
    if words and words[0] in PLAIN:
        command: Callable[[Sequence[str]], int] = import_module(f"arker._cli.{words[0]}").main
        return command(words[1:])
    try:
        # Few programs are this one, and this part of it is an extra.
        from arker._cli.app import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"cyclopts", "rich"}:
            raise
        return _without_extra(words)
    return run(words)


def _without_extra(words: Sequence[str]) -> int:
    if not words or words[0] in {"-h", "--help", "help"}:
        sys.stdout.write(_help())
        return statuses.DONE if words else statuses.USAGE
    if words[0] in WITH_EXTRA:
        sys.stderr.write(f"arker: {words[0]} needs an extra: {EXTRA}\n")
    else:
        sys.stderr.write(f"arker: there is no command {words[0]!r}; arker --help lists them\n")
    return statuses.OF_COMMAND_LINE.get(words[0], statuses.USAGE)


def _help() -> str:
    lines = ["Usage: arker COMMAND", "", *(f"  {name:<10} {text}" for name, text in PLAIN.items())]
    lines += ["  --version  Say which version this is.", "", f"These need an extra, {EXTRA}:", ""]
    return "\n".join([*lines, f"  {' '.join(WITH_EXTRA)}", ""])


__all__ = ["main"]
