"""Parts of a file in a staging directory of the VM: joined by a command, and always removed."""

from __future__ import annotations

import asyncio
import logging
import posixpath
from collections.abc import Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from arker._basics.programs import shell_program
from arker._lifecycle.sdk_session import run_in_own_session
from arker._protocol.identifiers import new_ulid
from arker._tasks import clock
from arker._tasks.cleanup import CLEANUP_SECONDS, clean_up, end
from arker.errors import ArkerError, IntegrityError, TransferError
from arker.errors.api import is_gone

if TYPE_CHECKING:
    from typing_extensions import Self

    from arker._files.job import Job
    from arker.models import CompletedRunResult

T = TypeVar("T")

logger = logging.getLogger("arker")

_SHORT, _DIGEST, _NO_TOOL = 81, 82, 83
"""Exit codes of `_JOIN`; others are those of the tools that it uses."""

_JOIN: Final = shell_program(__package__, "join.sh")
_REMOVE: Final = shell_program(__package__, "remove_parts.sh")


class Staging:
    """Parts of one file. As an asynchronous context manager it removes them at the end, unless they were joined.

    A request that writes a part cannot be cancelled safely, since the server may have received it. It is awaited, so
    that the part exists when the parts are removed.
    """

    def __init__(self, job: Job, path: str, count: int) -> None:
        """Make the staging of a file.

        Args:
            job: The call.
            path: The file's path.
            count: The number of its parts.
        """
        self._job = job
        self._path = path
        self._count = count
        self._token = new_ulid()
        # In the same directory, so that moving it into place is a renaming.
        self._stem = posixpath.join(posixpath.dirname(path), f".arker-{self._token}-")
        self._requests: set[asyncio.Task[Any]] = set()
        self._touched = False

    def part(self, number: int) -> str:
        """Return the path of a part."""
        return f"{self._stem}{number}"

    async def settle(self, request: Coroutine[Any, Any, T]) -> T:
        """Return the result of a request that writes a part.

        The request goes on if the caller is cancelled meanwhile.
        """
        self._touched = True
        task = asyncio.ensure_future(request)
        self._requests.add(task)
        task.add_done_callback(self._forget)
        try:
            return await asyncio.shield(task)
        finally:
            del task  # it keeps what it failed with, whose traceback has this frame

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._requests.discard(task)
        if not task.cancelled():
            task.exception()  # else the loop reports it as never retrieved

    async def join(self, size: int, *, digest: str | None = None, mode: int | None = None) -> None:
        """Join the parts, check the file, and move it into place.

        Raises:
            IntegrityError: The file differs from what was sent.
            TransferError: The command failed in the VM.
        """
        facts = [self._path, self._stem, str(self._count), str(size), digest or "", "" if mode is None else f"{mode:o}"]
        progress = self._job.progress
        progress.in_flight = True
        try:
            result = await self._run(_JOIN, facts)
        except ArkerError as error:
            progress.in_flight, progress.outcome = False, error.outcome
            raise
        progress.in_flight = False
        if result.exit_code != 0 or result.state != "completed":
            raise progress.complete(_failure(result, self._path))
        progress.outcome = "applied"
        self._touched = False

    async def _run(self, script: str, arguments: list[str]) -> CompletedRunResult:
        """Run a script in its own session, which is closed afterwards."""
        try:
            return await run_in_own_session(self._job.place, ["sh", "-c", script, "sh", *arguments])
        except ArkerError as error:
            raise error.with_context(operation=self._job.operation) from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._touched:
            await clean_up(self._remove())

    async def _remove(self) -> None:
        problem: object = f"not done within {CLEANUP_SECONDS:g} s"
        with clock.move_on_after(CLEANUP_SECONDS):
            try:
                if self._requests:
                    await asyncio.wait(list(self._requests))
                result = await self._run(_REMOVE, [self._stem, str(self._count)])
                if result.exit_code == 0:
                    return
                problem = result.stderr_text.strip()
            except ArkerError as error:
                if is_gone(error):
                    return  # the VM is gone, and its files with it
                problem = error
        for task in list(self._requests):
            await end(task)
        logger.warning("parts of an upload may be left in VM %s as %s*: %s", self._job.place.vm_id, self._stem, problem)


def _failure(result: CompletedRunResult, path: str) -> TransferError:
    said = result.stderr_text.strip()[-300:]
    if result.exit_code in (_SHORT, _DIGEST):
        what = "size" if result.exit_code == _SHORT else "digest"
        return IntegrityError(f"{path} has another {what} in the VM than here: {said}")
    if result.exit_code == _NO_TOOL:
        return TransferError(f"the VM cannot check the digest of {path}: {said}")
    reason = said or result.fail_reason or f"exit code {result.exit_code}"
    return TransferError(f"the parts of {path} could not be joined in the VM: {reason}")


__all__ = ["Staging"]
