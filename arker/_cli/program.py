"""The program ``arker``: it finds the command that is asked for, and runs it.

Four commands need nothing but the package: ``reap``, ``doctor``, ``emulator`` and ``--version``. The others need the
extra ``cli``, which is imported only for them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final

from arker._basics.version import version
from arker._cli import statuses
from arker._cli.names import EXTRA, PLAIN, WITH_EXTRA

_CLOSED: Final = (("stdin", os.O_WRONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w"))
"""The standard streams, and how each one is opened if it is closed, so that reading and printing fail."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit status."""
    _open_closed_streams()
    try:
        try:
            return _run(list(sys.argv[1:] if arguments is None else arguments))
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:  # while modules are imported
        return statuses.INTERRUPTED
    except OSError as error:  # what prints a version or help was not able to
        from arker._cli.running import failed_output  # it brings asyncio along

        return failed_output(error)


def _open_closed_streams() -> None:
    """Open standard streams that are closed, whose numbers sockets and files would get otherwise."""
    for number, (name, flags, mode) in enumerate(_CLOSED):
        try:
            os.fstat(number)
        except OSError:
            descriptor = os.open(os.devnull, flags)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - for as long as the program


def _run(words: list[str]) -> int:
    if words[:1] == ["--local"] and len(words) > 1:  # an option of the command, written before its name
        words[:2] = [words[1], "--local"]
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"] if not words[1:] or words[1] in {*PLAIN, *WITH_EXTRA} else words[1:2]
    if words in (["--version"], ["-V"], ["version"]):
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
