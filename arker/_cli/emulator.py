"""``arker emulator``: the embedded backend, which ``--local`` of the other commands finds."""

from __future__ import annotations

from collections.abc import Sequence

from arker._cli import local


def main(arguments: Sequence[str]) -> int:
    """Run the command. All of its options are those of ``python -m arker.emulator``."""
    from arker.emulator.__main__ import main as serve  # only this command needs the server

    with local.announced() as announcement:

        def announce(url: str, api_key: str) -> str:
            if announcement.begin(url, api_key):
                return "\nIn other terminals `--local` finds it, too: arker ls --local"
            return "\n`--local` does not find it, since there is no place to write down where it is."

        return serve(arguments, prog="arker emulator", announce=announce)


__all__ = ["main"]
