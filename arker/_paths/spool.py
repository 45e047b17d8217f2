"""The output of a program on paths, of any length: its beginning from the run, the rest from a file in the VM.

That file is fetched to a local temporary file and removed before any of it is handed on, so that nothing stays in the
VM when the caller goes no further. So memory is bounded as well.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from arker._basics.programs import shell_program
from arker._files.downloads import download
from arker._files.refusals import path_command
from arker._files.temporary import TemporaryFile
from arker._lifecycle.own_sessions import own_sessions
from arker._protocol.identifiers import new_ulid
from arker._tasks.cleanup import clean_up
from arker._tasks.threads import finished_in_thread
from arker.errors import ArkerError

if TYPE_CHECKING:
    from arker._paths.shell import PathShell

_REMOVE: Final = shell_program(__package__, "discard.sh")
_PIECE: Final = 256 * 1024
_IN_MEMORY: Final = 4 * 1024 * 1024


def temporary_path() -> str:
    """Return a path in the VM for a file that the SDK removes again."""
    return f"/tmp/.arker-{new_ulid()}"  # noqa: S108 - in the VM, and of a name that cannot be guessed


class Spool:
    """The pieces of an output, in order."""

    def __init__(self, shell: PathShell, text: str, words: Sequence[str], paths: Sequence[str], file: str) -> None:
        """Prepare the run of a program.

        Args:
            shell: The operation.
            text: The program, which uses ``spool.sh``.
            words: Its arguments.
            paths: The caller's paths.
            file: The file in the VM that it was told to use.
        """
        self._shell = shell
        self._work = (text, words, paths)
        self._file = file
        self._rest: TemporaryFile | None = None
        self._at = 0

    async def begin(self) -> bytes:
        """Run the program, and return the beginning of its output."""
        try:
            result = await self._shell.run(*self._work)
            if result.stderr.endswith(b"more\n"):
                await self._fetch()
        except BaseException:
            await clean_up(discard(self._shell, self._file))
            raise
        return result.stdout

    async def _fetch(self) -> None:
        rest = TemporaryFile(in_memory=_IN_MEMORY)
        weakref.finalize(self, rest.close)
        try:
            await download(
                self._shell.place, self._file, rest, concurrency=None, part_size=None, progress=None, deadline=None
            )
        except ArkerError as error:
            raise error.with_context(operation=self._shell.operation) from None
        await discard(self._shell, self._file)
        self._rest = rest

    async def next(self) -> bytes:
        """Return the next piece; none at the end. A call that is cancelled takes none."""
        rest, at = self._rest, self._at
        if rest is None:
            return b""

        def read() -> bytes:
            rest.seek(at)
            return rest.read(_PIECE)

        piece = await finished_in_thread(read)
        self._at += len(piece)
        return piece


async def discard(shell: PathShell, path: str) -> None:
    """Remove a temporary file in the VM."""
    await own_sessions(shell.place).run(path_command(_REMOVE, [path]))


__all__ = ["Spool", "discard", "temporary_path"]
