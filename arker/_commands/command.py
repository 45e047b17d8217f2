"""One command with all that it gets: what it needs is put into the VM, it is run in its turn, and nothing is left."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from arker._commands.held import HeldRun
from arker._commands.options import Options
from arker._commands.overlap import overlaps_of
from arker._commands.shell import REFUSED, Subshell, mark_of, read_and_removed, refusal, without_refusal
from arker._commands.staging import StagedFile
from arker._commands.stdin import StandardInput
from arker._commands.turns import Turn
from arker._protocol.codec import codec
from arker._protocol.identifiers import new_ulid
from arker._runs.watch import RunWatch
from arker._tasks.cleanup import clean_up
from arker._tasks.running_loop import running_loop
from arker._tasks.threads import in_thread
from arker._transport.attempts import Progress
from arker.errors import (
    CommandNotRunError,
    LocalFileError,
    NotFoundError,
    PayloadTooLargeError,
    WorkingDirectoryError,
)
from arker.models import CompletedRunResult

if TYPE_CHECKING:
    from arker._context import Place
    from arker.models import RunRequest, RunResult

T = TypeVar("T")

_INLINE: Final = 16 * 1024
"""Bytes of an input that goes in the command's own line, through a pipe, which takes so many without a reader."""
_LARGEST: Final = 4 * 1024 * 1024 - 4096
"""Bytes of a request that servers take."""
_MAYBE_LARGE: Final = _LARGEST // 6
"""Characters of a line that JSON cannot make longer than that."""
_WORTH_A_FILE: Final = 64 * 1024
"""Characters of a line that goes in a file when a server says that it is too large."""
_REASONS: Final = {"missing": errno.ENOENT, "file": errno.ENOTDIR, "closed": errno.EACCES}


class Command:
    """One command, from its preparation to its result.

    Attributes:
        progress: The state of the caller's operation.
        stdin: Its input, if that comes later.
        shown: Makes of standard error what a caller sees of it; None where that is the same.
    """

    def __init__(
        self,
        place: Place,
        request: RunRequest,
        key: str,
        options: Options | None,
        turn: Turn | bool,
        *,
        given: bool,
    ) -> None:
        """Prepare a command.

        Args:
            place: The VM.
            request: The run.
            key: Its idempotency key.
            options: What it gets; None for nothing.
            turn: Its turn; True if it has to ask for one, False if it goes where the request says.
            given: Whether the caller has given the key.
        """
        self.progress = Progress("vm.run")
        self._place = place
        self._request = request
        self._key = key
        self._options = options if options is not None else Options()
        self._turn = turn
        self._given = given
        # A repeated request has to be the same, and so must be the files' names in it.
        self._token = sha256(b"staged" + key.encode()).hexdigest()[:26] if given else new_ulid()
        self._files: list[StagedFile] = []
        self._subshell = Subshell(mark_of(key), self._options.env, self._options.cwd)
        # No method: what it holds must not lead back to this object.
        self.shown = partial(without_refusal, self._subshell.mark) if self._options.wraps else None
        self._ended = False
        self._held: HeldRun | None = None
        self._over: asyncio.Future[None] | None = None
        self.stdin = StandardInput(place, self._token) if self._options.stdin else None

    # --- to its result --------------------------------------------------------------------------------------------

    async def result(self) -> CompletedRunResult:
        """Run it, and return its result."""
        try:
            return await self._result()
        finally:
            if self._over is not None:
                self._place.context.blocks.left(self)
                self._over.set_result(None)

    def _name(self) -> str:
        return f"a run (key {self._key}) in VM {self._place.redact(self._place.vm_id)}"

    async def _result(self) -> CompletedRunResult:
        result = await self._in_turn(self._finish)
        self.done()
        if result.state == "completed" and not self._given:
            self._forget()  # it has removed what it has read
        await self._remove()
        self.refuse(result)
        return result

    async def begun(self) -> RunResult:
        """Start it in the background, and return the reply."""
        posted = await self._in_turn(self._begin)
        if isinstance(posted, CompletedRunResult):
            self.done()
        elif isinstance(self._turn, Turn):
            self._turn.leave()
        return posted

    def done(self) -> None:
        """Note that nothing of it goes on any more."""
        if isinstance(self._turn, Turn):
            self._turn.done()

    async def _in_turn(self, post: Callable[[RunRequest, str], Awaitable[T]]) -> T:
        """Post the command in the session that it is to be in."""
        try:
            if self._turn is True:
                self._turn = await overlaps_of(self._place.context).overlap(self._place)
            turn = self._turn
            try:
                return await self._posted(post, self._key)
            except NotFoundError as error:
                if not isinstance(turn, Turn) or turn.session is None or error.outcome != "not_started":
                    raise
            # Its session has gone, or else its VM.
            turn.lose()
            self._turn = overlaps_of(self._place.context).queue(self._place)
            return await self._posted(post, self._derived(b"in another session"))
        except BaseException as error:
            if isinstance(self._turn, Turn):
                if self._ended:
                    self._turn.done()
                else:
                    self._turn.failed(error)
            raise

    def _derived(self, use: bytes) -> str:
        """Derive a key for another form of the request. The same key gives the same one, so nothing runs twice."""
        return sha256(use + b"\0" + self._key.encode()).hexdigest()[:32]

    async def _posted(self, post: Callable[[RunRequest, str], Awaitable[T]], key: str) -> T:
        """Post the command: in its line, or in a file if the server takes no line as long as that."""
        try:
            request = await self._prepared()
            try:
                return await post(request, key)
            except PayloadTooLargeError as error:
                if len(request.command) < _WORTH_A_FILE or not error.from_service:
                    raise
            return await post(await self._in_file(request), self._derived(b"in a file"))
        except BaseException:
            await self._remove()
            raise

    async def _finish(self, request: RunRequest, key: str) -> CompletedRunResult:
        if not self._options.follows and not self._files:
            return await RunWatch(self._place, request).send(key, None, self.progress)
        self._held = held = HeldRun(self._place, attrs.evolve(request, background=True), key, self.progress, self.shown)
        if self._options.kill and self._over is None:
            # Closing the client kills it, also while the caller only waits until it asks again.
            self._over = over = running_loop().create_future()

            async def leave() -> None:
                if self._held is not None:
                    self._held.close()
                await asyncio.wait({over})

            self._place.context.blocks.enter(self, self._name, leave)
        try:
            return await held.result(self._options)
        except BaseException:
            await self._let_go(held)
            raise

    async def _begin(self, request: RunRequest, key: str) -> RunResult:
        held = HeldRun(self._place, request, key, self.progress)
        try:
            return await held.post()
        except BaseException:
            await self._let_go(held)
            raise

    async def _let_go(self, held: HeldRun) -> None:
        """Leave a run to itself. What it still has to read stays, and it removes that."""
        self._ended = held.ended
        if not held.ended and self._files and await clean_up(held.settle()):
            self._forget()
        await held.drop()

    # --- what it needs --------------------------------------------------------------------------------------------

    async def _prepared(self) -> RunRequest:
        """Return the request of the command; what it reads is in the VM then."""
        options, request = self._options, self._request
        turn = self._turn if isinstance(self._turn, Turn) else None
        if turn is not None and turn.session is not None:
            request = attrs.evolve(request, session_id=turn.session.session_id, session_idx=None)
        self._subshell = attrs.evolve(self._subshell, origin=None if turn is None else turn.origin)
        if options.wraps or self._subshell.origin is not None:
            await self._give(options.input)
            request = attrs.evolve(request, command=self._subshell.line(request.command))
        if len(request.command) > _MAYBE_LARGE and len(codec.dumps(request)) > _LARGEST:
            request = await self._in_file(request)
        return request

    async def _give(self, source: bytes | str | None) -> None:
        """Put the input into the line, or into the VM."""
        if isinstance(source, str):
            source = await in_thread(_small_file, source)
        if isinstance(source, bytes) and len(source) <= _INLINE:
            self._subshell = attrs.evolve(self._subshell, data=source)
        elif self.stdin is not None:
            await self.stdin.open()
            self._subshell = attrs.evolve(self._subshell, feed=self.stdin.feed, after=self.stdin.after)
        elif source is not None:
            self._subshell = attrs.evolve(self._subshell, file=await self._staged("input", source))

    async def _in_file(self, request: RunRequest) -> RunRequest:
        path = await self._staged("command", request.command.encode())
        return attrs.evolve(request, command=read_and_removed(path))

    async def _staged(self, name: str, source: bytes | str) -> str:
        file = StagedFile(self._place, f"/tmp/.arker-{self._token}-{name}")  # noqa: S108 - in the VM
        self._files.append(file)
        await file.put(source)
        return file.path

    async def _remove(self) -> None:
        for file in self._files:
            await file.remove()
        if self.stdin is not None:
            await self.stdin.end(removed=False)

    def _forget(self) -> None:
        for file in self._files:
            file.forget()

    # --- what became of it ----------------------------------------------------------------------------------------

    def refuse(self, result: CompletedRunResult) -> None:
        """Raise the error that says why the command was not run, if it was not."""
        if result.exit_code != REFUSED or not self._options.wraps:
            return
        why = refusal(self._subshell.mark, result.stderr)
        if why is None:
            return
        place, cwd = self._place, self._options.cwd
        facts: dict[str, Any] = {
            "operation": "vm.run",
            "vm_id": place.redact(place.vm_id),
            "run_id": result.run_id,
        }
        if why in _REASONS:
            number = _REASONS[why]
            message = f"cwd: {cwd}: {os.strerror(number)} (in the VM); the command was not run"
            raise WorkingDirectoryError(message, number=number, filename=cwd, **facts)
        reason = "a variable of env cannot be set in this session" if why == "env" else "its input has gone from the VM"
        raise CommandNotRunError(f"the command was not run: {reason}", **facts)


def _small_file(path: str) -> bytes | str:
    """Return the content of a small file, or the path of another one."""
    try:
        if os.path.getsize(path) > _INLINE or not os.path.isfile(path):
            return path
        with open(path, "rb") as file:
            content = file.read(_INLINE + 1)
        return content if len(content) <= _INLINE else path
    except OSError as error:
        raise LocalFileError(error, path) from error


__all__ = ["Command"]
