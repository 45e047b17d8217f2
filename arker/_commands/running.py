"""Commands in a VM with all that a caller may ask for beside them: see `AsyncVM.run` and `AsyncVM.start`."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from arker import _commands as parts
from arker._protocol.codec import codec
from arker._protocol.identifiers import new_ulid
from arker._runs import commands
from arker._runs.follower import raise_unless_succeeded
from arker._runs.watch import RunWatch
from arker._tasks.cleanup import clean_up
from arker._tasks.threads import in_thread
from arker._transport.attempts import Progress, deadline_scope
from arker.errors import CommandNotRunError, LocalFileError, PayloadTooLargeError, WorkingDirectoryError

if TYPE_CHECKING:
    from arker._commands.held import HeldRun
    from arker._commands.options import Options
    from arker._commands.staging import StagedFile
    from arker._context import Place
    from arker._runs.follower import RunFollower
    from arker.models import CompletedRunResult, RunRequest, RunResult

T = TypeVar("T")

_INLINE: Final = 16 * 1024
"""Bytes of an input that goes in the command's own line, through a pipe, which takes so many without a reader."""
_LARGEST: Final = 4 * 1024 * 1024 - 4096
"""Bytes of a request that servers take."""
_MAYBE_LARGE: Final = _LARGEST // 6
"""Bytes of a command's line that JSON cannot make longer than that."""
_WORTH_A_FILE: Final = 64 * 1024
"""Bytes of a line that goes in a file when a server says that it is too large."""


async def run(
    place: Place,
    request: RunRequest,
    key: str,
    *,
    options: Options | None = None,
    given: bool = False,
    check: bool = False,
    deadline: float | None = None,
) -> CompletedRunResult:
    """Run a command and wait for its result.

    Args:
        place: The VM.
        request: The run, in the foreground.
        key: Its idempotency key.
        options: What it gets; None for nothing.
        given: Whether the caller has given the key, so that the same request may come again.
        check: Whether anything but success is an error.
        deadline: Seconds for all of it.
    """
    if options is None and len(request.command) <= _WORTH_A_FILE:
        return await commands.run(place, request, key, check=check, deadline=deadline)
    progress = Progress("vm.run")
    with deadline_scope(deadline, progress):
        result = await _Command(place, request, key, options, progress, given=given).result()
    if result.state == "failed":
        place.doubt.note()
    if check:
        raise_unless_succeeded(place, result, operation="vm.run")
    return result


async def start(
    place: Place,
    request: RunRequest,
    key: str,
    *,
    options: Options | None = None,
    given: bool = False,
    deadline: float | None = None,
) -> RunFollower:
    """Start a command in the background; the arguments are those of `run`."""
    if options is None and len(request.command) <= _WORTH_A_FILE:
        return await commands.start(place, request, key, deadline)
    progress = Progress("vm.run")
    with deadline_scope(deadline, progress):
        command = _Command(place, request, key, options, progress, given=given)
        follower = commands.following(place, await command.begun())
    follower.refuse = command.refuse
    return follower


async def post(
    place: Place,
    request: RunRequest,
    key: str,
    *,
    options: Options | None = None,
    given: bool = False,
    deadline: float | None = None,
) -> RunResult:
    """Post a command without waiting for its end; the arguments are those of `run`."""
    if options is None and len(request.command) <= _WORTH_A_FILE:
        return await commands.post(place, request, key, deadline)
    progress = Progress("vm.run")
    with deadline_scope(deadline, progress):
        return await _Command(place, request, key, options, progress, given=given).begun()


class _Command:
    """One command, from its preparation to its result."""

    def __init__(
        self,
        place: Place,
        request: RunRequest,
        key: str,
        options: Options | None,
        progress: Progress,
        *,
        given: bool,
    ) -> None:
        from arker._commands.options import Options  # what most commands do without
        from arker._commands.shell import Subshell, mark_of

        self._place = place
        self._request = request
        self._key = key
        self._options = options if options is not None else Options()
        self._progress = progress
        self._given = given
        # A repeated request has to be the same, and so must be the files' names in it.
        self._token = sha256(b"staged" + key.encode()).hexdigest()[:26] if given else new_ulid()
        self._files: list[StagedFile] = []
        self._subshell = Subshell(mark_of(key), self._options.env, self._options.cwd)

    async def result(self) -> CompletedRunResult:
        """Run it, and return its result."""
        result = await self._posted(self._finish)
        if result.state == "completed" and not self._given:
            self._forget()  # it has removed what it has read
        await self._remove()
        self.refuse(result)
        return result

    async def begun(self) -> RunResult:
        """Start it in the background, and return the reply."""
        return await self._posted(self._begin)

    async def _finish(self, request: RunRequest, key: str) -> CompletedRunResult:
        if not self._options.follows and not self._files:
            return await RunWatch(self._place, request).send(key, None, self._progress)
        held = parts.held.HeldRun(self._place, attrs.evolve(request, background=True), key, self._progress)
        try:
            return await held.result(self._options)
        except BaseException:
            await self._let_go(held)
            raise

    async def _begin(self, request: RunRequest, key: str) -> RunResult:
        held = parts.held.HeldRun(self._place, request, key, self._progress)
        try:
            return await held.post()
        except BaseException:
            await self._let_go(held)
            raise

    async def _let_go(self, held: HeldRun) -> None:
        """Leave a run to itself. What it still has to read stays, and it removes that."""
        if not held.ended and self._files and await clean_up(held.settle()):
            self._forget()
        await held.drop()

    async def _posted(self, post: Callable[[RunRequest, str], Awaitable[T]]) -> T:
        """Post the command: in its line, or in a file if the server takes no line as long as that."""
        request = await self._prepared()
        try:
            try:
                return await post(request, self._key)
            except PayloadTooLargeError as error:
                if len(request.command) < _WORTH_A_FILE or not error.from_service:
                    raise
            key = sha256(b"in a file" + self._key.encode()).hexdigest()[:32]
            return await post(await self._in_file(request), key)
        except BaseException:
            await self._remove()
            raise

    # --- what it needs --------------------------------------------------------------------------------------------

    async def _prepared(self) -> RunRequest:
        """Return the request of the command; what it reads is in the VM then."""
        options, request = self._options, self._request
        try:
            if options.wraps:
                await self._give(options.input)
                request = attrs.evolve(request, command=self._subshell.line(request.command))
            if len(request.command) > _MAYBE_LARGE and len(codec.dumps(request)) > _LARGEST:
                request = await self._in_file(request)
        except BaseException:
            await self._remove()
            raise
        return request

    async def _give(self, data: bytes | str | None) -> None:
        """Put the input into the line, or into the VM."""
        source = data
        if isinstance(source, str):
            source = await in_thread(_small_file, source)
        if isinstance(source, bytes) and len(source) <= _INLINE:
            self._subshell = attrs.evolve(self._subshell, data=source)
        elif source is not None:
            self._subshell = attrs.evolve(self._subshell, file=await self._staged("input", source))

    async def _in_file(self, request: RunRequest) -> RunRequest:
        from arker._commands.shell import read_and_removed

        return attrs.evolve(request, command=read_and_removed(await self._staged("command", request.command.encode())))

    async def _staged(self, name: str, source: bytes | str) -> str:
        file = parts.staging.StagedFile(self._place, f"/tmp/.arker-{self._token}-{name}")  # noqa: S108 - in the VM
        self._files.append(file)
        await file.put(source)
        return file.path

    async def _remove(self) -> None:
        for file in self._files:
            await file.remove()

    def _forget(self) -> None:
        for file in self._files:
            file.forget()

    def refuse(self, result: CompletedRunResult) -> None:
        """Raise the error that says why the command was not run, if it was not."""
        from arker._commands.shell import REFUSED, refusal

        if result.exit_code != REFUSED or not self._options.wraps:
            return
        why = refusal(self._subshell.mark, result.stderr)
        if why is None:
            return
        place, cwd = self._place, self._options.cwd
        context = {"operation": "vm.run", "vm_id": place.redact(place.vm_id), "run_id": result.run_id}
        if why in _REASONS:
            number = _REASONS[why]
            message = f"cwd: {cwd}: {os.strerror(number)} (in the VM); the command was not run"
            raise WorkingDirectoryError(message, number=number, filename=cwd, **context)
        reason = "a variable of env cannot be set in this session" if why == "env" else "its input has gone from the VM"
        raise CommandNotRunError(f"the command was not run: {reason}", **context)


_REASONS: Final = {"missing": errno.ENOENT, "file": errno.ENOTDIR, "closed": errno.EACCES}


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


__all__ = ["post", "run", "start"]
