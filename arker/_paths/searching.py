"""Lines of files that match a pattern."""

from __future__ import annotations

import re
from typing import Final

from arker._basics.programs import shell_program
from arker._context import Place
from arker._paths.checks import check_bytes, check_path
from arker._paths.records import text_of
from arker._paths.shell import PathShell, program
from arker._paths.spool import Spool, temporary_path
from arker._paths.steps import Steps
from arker.entries import FileMatch
from arker.errors import InvalidArgumentError, RunFailedError
from arker.models import _checks as check

_GREP: Final = program(shell_program(__package__, "grep.sh"), spools=True)
_BAD_PATTERN: Final = 121
_RECORD: Final = re.compile(rb"([^\0]+)\0([0-9]{1,18}):([^\n]*)\n")


def check_pattern(pattern: object) -> str:
    """Check a pattern of grep."""
    what = "a pattern for one line"
    if not isinstance(pattern, str) or not pattern or "\0" in pattern or "\n" in pattern:
        raise InvalidArgumentError("pattern", pattern, f"expected {what}")
    check_bytes("pattern", pattern, what)
    return pattern


class Matches(Steps[FileMatch]):
    """The lines that a search has found, as they are asked for."""

    def __init__(
        self, place: Place, pattern: object, path: object, *, ignore_case: bool, fixed: bool, deadline: float | None
    ) -> None:
        """Prepare a search; see `AsyncFiles.grep`."""
        super().__init__(PathShell(place, "grep"), deadline)
        self._pattern = check_pattern(pattern)
        self._where = check_path(path)
        self._root = str(path)
        kind = "F" if check.check_boolean("fixed", fixed) else "E"
        self._options = f"-{kind}i" if check.check_boolean("ignore_case", ignore_case) else f"-{kind}"
        self._spool: Spool | None = None
        self._rest = b""

    async def _fetch(self) -> None:
        if self._spool is None:
            zero = "grep-z" if "grep-z" in await self._shell.tools() else ""
            file = temporary_path()
            words = [self._pattern, self._where, self._options, file, zero]
            spool = Spool(self._shell, _GREP, words, [self._where], file)
            try:
                piece = await spool.begin()  # if it fails, the next step begins anew
            except RunFailedError as error:
                if error.exit_code != _BAD_PATTERN:
                    raise
                expected = "expected a pattern that the VM's grep accepts"
                raise InvalidArgumentError("pattern", self._pattern, expected) from None
            self._spool = spool
        else:
            piece = await self._spool.next()
        text = self._rest + piece
        done = 0
        while (match := _RECORD.match(text, done)) is not None:
            self._found.append(
                FileMatch(
                    path=self._named(text_of(match[1])),
                    line_number=int(match[2]),
                    line=match[3].decode("utf-8", "replace"),
                )
            )
            done = match.end()
        self._rest = text[done:]
        if not piece:
            self._over = True
            if self._rest:
                raise self._shell.wrong("it is cut short")

    def _release(self) -> None:
        self._spool = None

    def _named(self, path: str) -> str:
        """Return a path as it begins for the caller."""
        return self._root + path[len(self._where) :] if path.startswith(self._where) else path


__all__ = ["Matches", "check_pattern"]
