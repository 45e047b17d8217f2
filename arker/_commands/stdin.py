"""The input of a command that goes on: what is written comes into a directory of the VM, where the command's shell
reads it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from shlex import quote
from typing import TYPE_CHECKING, Final

from arker._basics.programs import shell_program
from arker._commands.shell import printf_format
from arker._commands.staging import StagedFile
from arker._lifecycle.own_sessions import own_sessions
from arker._protocol.identifiers import new_idempotency_key, new_ulid
from arker._runs import commands
from arker.errors import CommandNotRunError, ConflictError
from arker.models import RunRequest

if TYPE_CHECKING:
    from arker._context import Place
    from arker._lifecycle.own_sessions import OwnSession
    from arker.models import CompletedRunResult

_FEED: Final = shell_program(__package__, "feed.sh")
_OPEN: Final = shell_program(__package__, "open_feed.sh")
_GIVE: Final = shell_program(__package__, "give.sh")
_OVER: Final = 4
"""The exit code of `give.sh` when nothing is read any more."""
_GIVEN: Final = 5
"""The exit code of `give.sh` when data of the same number were given before."""
_INLINE: Final = 16 * 1024
"""Bytes that go in a command's own line."""


class StandardInput:
    """The input of one command. Each write is a run of its own, in a session of the SDK's own.

    Attributes:
        closed: Whether `close` was called.
    """

    def __init__(self, place: Place, token: str) -> None:
        self._place = place
        self._directory = StagedFile(place, f"/tmp/.arker-{token}-stdin")  # noqa: S108 - in the VM
        self._session: OwnSession | None = None
        self._written = 0
        self._lock = asyncio.Lock()
        self.closed = self._over = False

    @property
    def feed(self) -> str:
        """The shell command whose output is the input."""
        return f"\\sh -c {quote(_FEED)} sh {quote(self._directory.path)}"

    @property
    def after(self) -> str:
        """The shell command for the end of the command."""
        where = quote(self._directory.path)
        return f"{{ \\rm -rf -- {where}; \\echo >&8; }} 8<>{where}/news"

    async def open(self) -> None:
        """Make the directory."""
        self._directory.expect()
        result = await self._run(_OPEN, [self._directory.path])
        if result.exit_code != 0:
            reason = result.stderr_text.strip() or result.fail_reason or f"exit code {result.exit_code}"
            raise CommandNotRunError(f"the command was not run: its input could not be made: {reason}")

    async def write(self, data: bytes) -> None:
        """Have the command read some bytes after those that were written before."""
        async with self._lock:
            if self.closed:
                raise ConflictError("the input of the run has been closed", operation="run.write")
            while data and not await self._give(str(self._written + 1), data):
                self._written += 1  # by a call that was given up before it knew
            self._written += bool(data)

    async def close(self) -> None:
        """End the input, after what was written before."""
        async with self._lock:
            self.closed = True
            if not self._over:
                # A command that has ended needs no end of its input.
                with contextlib.suppress(ConflictError):
                    await self._give("end", b"")
                self._over = True  # a call that is given up before may be made again
                await self._leave()

    async def _give(self, name: str, data: bytes) -> bool:
        """Put data into the directory. Return False if an earlier call has given some under this name."""
        if len(data) <= _INLINE:
            result = await self._run(_GIVE, [self._directory.path, name, printf_format(data), ""])
        else:
            # Of a name of its own: a call that was given up may still move the file that it has put there.
            file = StagedFile(self._place, f"/tmp/.arker-{new_ulid()}-{name}")  # noqa: S108 - in the VM
            try:
                await file.put(data)
                result = await self._run(_GIVE, [self._directory.path, name, "", file.path])
                if result.exit_code == 0:
                    file.forget()
            finally:
                await file.remove()
        if result.exit_code == _OVER:
            raise ConflictError("the run has ended, and reads nothing any more", operation="run.write")
        if result.exit_code not in (0, _GIVEN):
            reason = result.stderr_text.strip() or result.fail_reason or f"exit code {result.exit_code}"
            raise ConflictError(f"nothing could be written to the run: {reason}", operation="run.write")
        return result.exit_code == 0

    async def _run(self, program: str, arguments: Sequence[str]) -> CompletedRunResult:
        if self._session is None:
            self._session = await own_sessions(self._place).hold()
        request = RunRequest(command=["sh", "-c", program, "sh", *arguments], session_id=self._session.session_id)
        return await commands.run(self._place, request, new_idempotency_key())

    async def _leave(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await own_sessions(self._place).release(session)

    async def end(self, *, removed: bool) -> None:
        """Remove what is left of it. The command has ended, and has removed the directory if it ended by itself."""
        self.closed = self._over = True
        if removed:
            self._directory.forget()
        await self._leave()
        await self._directory.remove()


__all__ = ["StandardInput"]
