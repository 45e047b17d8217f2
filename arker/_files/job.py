"""The state that the requests of one transfer share: its VM, its progress, its concurrency."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from attrs import define, field

from arker._context import Place
from arker._files.directory_given import advise
from arker._files.refusals import explained
from arker._tasks import clock
from arker._tasks.cleanup import make_or_undo
from arker._tasks.threads import in_thread
from arker._transport.attempts import Attempt, Progress
from arker.errors import ArkerError, InvalidArgumentError, TransferError
from arker.transfer import Direction, TransferProgress

if TYPE_CHECKING:
    from arker._protocol.request import Call

T = TypeVar("T")

Settle = Callable[[Coroutine[Any, Any, Any]], Coroutine[Any, Any, Any]]
"""Awaits a request that writes a part."""

Tell = Callable[[int], None]
"""Called with the number of bytes done; fewer than before when the work starts again."""


@define(eq=False)
class Tracker:
    """The progress of a call over all of its files, reported to the caller.

    Attributes:
        operation: The call's name.
        vm_id: The VM's id.
        direction: The direction of the transfer.
        callback: The caller's function, if there is one.
        tell_safely: Calls it, and handles its exceptions.
        total: The total of bytes, once known.
    """

    operation: str
    vm_id: str
    direction: Direction
    callback: Callable[[TransferProgress], object] | None
    tell_safely: Callable[[str, Callable[[TransferProgress], object], TransferProgress], None]
    total: int | None = None
    files_total: int = 1
    done: int = 0
    files_done: int = 0
    files_failed: int = 0
    _began: float = field(factory=clock.now)

    def tell(self, path: str) -> None:
        """Report the progress; ``path`` is the file that has advanced."""
        if self.callback is None:
            return
        event = TransferProgress(
            operation=self.operation,
            vm_id=self.vm_id,
            path=path,
            direction=self.direction,
            done=self.done,
            total=self.total,
            files_done=self.files_done,
            files_total=self.files_total,
            files_failed=self.files_failed,
            seconds=clock.now() - self._began,
        )
        self.tell_safely("progress", self.callback, event)

    def finish_file(self, path: str, *, failed: bool = False) -> None:
        """Note that a file is done."""
        self.files_done += 1
        self.files_failed += failed
        self.tell(path)

    @property
    def seconds(self) -> float:
        """Seconds since the call began."""
        return clock.now() - self._began


@define(eq=False)
class FileTracker:
    """The progress of one file.

    Attributes:
        tracker: The progress of the whole call.
        path: The file's path in the VM.
        hook: Called as well, if the client has hooks.
    """

    tracker: Tracker
    path: str
    hook: Tell | None = None
    done: int = 0

    def piece(self) -> Tell:
        """Return a function that reports the progress of one piece of the file; the pieces are added up."""
        last = 0

        def tell(done: int) -> None:
            nonlocal last
            self.done += done - last
            self.tracker.done += done - last
            last = done
            if self.hook is not None:
                self.hook(self.done)
            self.tracker.tell(self.path)

        return tell

    def forget(self) -> None:
        """Reset the file's progress, because it starts again or has failed."""
        self.tracker.done -= self.done
        self.done = 0


@define(eq=False)
class Job:
    """One call that transfers files, and the state that its requests share.

    Attributes:
        place: The VM.
        progress: The state of the whole call.
        tracker: Its progress.
        slots: A semaphore for concurrent requests.
        concurrency: The most requests at once.
    """

    place: Place
    progress: Progress
    tracker: Tracker
    slots: asyncio.Semaphore
    concurrency: int

    @property
    def operation(self) -> str:
        """The call's name."""
        return self.progress.operation

    def named(self, path: str) -> _Named:
        """Add the file to errors raised inside, and the call to local errors; tell why the VM refused the file."""
        return _Named(self, path)

    def name_file(self, error: ArkerError, path: str) -> None:
        """Add the file of the VM to an error."""
        if error.file is None and not isinstance(error, InvalidArgumentError):
            error.file = self.place.redact(path)

    def file(self, path: str, total: int) -> FileTracker:
        """Return a progress tracker for one file."""
        hook = self.place.context.observer.transfer(
            self.operation, self.place.vm_id, path, self.tracker.direction, total
        )
        return FileTracker(self.tracker, path, hook)

    async def send(self, call: Call[T], *, decisive: bool = False) -> T:
        """Send one of several requests, and return its result; ``decisive`` if the caller's file depends on it."""
        async with self._own_progress(decisive=decisive) as progress:
            return await self.place.context.transport.send(call, progress=progress)

    async def send_remade(self, make: Callable[[], Call[T]]) -> T:
        """Send a request that is built anew for each attempt, and return its result."""
        async with self._own_progress(decisive=True) as progress:
            return await self.place.context.transport.send_remade(make, progress)

    async def attempts(self, once: Callable[[], Coroutine[Any, Any, T]], attempt: Attempt) -> T:
        """Run an exchange with an object store with retries, and return its result."""
        async with self._own_progress(decisive=False) as progress:
            progress.vm_id = self.place.vm_id
            return await self.place.context.transport.attempts(once, attempt, progress)

    @asynccontextmanager
    async def _own_progress(self, *, decisive: bool) -> AsyncGenerator[Progress, None]:
        # Concurrent requests cannot share one; what becomes known of each is added to the whole call's.
        whole = self.progress
        before = whole.attempts
        own = Progress(whole.operation, before, redact=self.place.redact, bounded=whole.bounded)
        try:
            yield own
        finally:
            whole.attempts += own.attempts - before
            whole.redact = own.redact
            whole.last, own.last = own.last or whole.last, None
            if decisive and own.may_have_begun:
                whole.outcome = "unknown" if own.in_flight else own.outcome


class _Named:
    """A block whose errors name a file.

    It is no generator: where one raises another error, the first one's traceback has a frame that leads to the first.
    """

    def __init__(self, job: Job, path: str) -> None:
        self._job = job
        self._path = path

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not isinstance(error, ArkerError):
            return
        job, path = self._job, self._path
        if isinstance(error, TransferError):
            job.progress.complete(error)
            error.vm_id = job.place.redact(job.place.vm_id)
        job.name_file(error, path)
        doing: Literal["read", "write"] = "write" if job.tracker.direction == "upload" else "read"
        better = await explained(job.place, error, path, doing)
        advise(better, job.operation, job.tracker.direction)
        try:
            if better is not error:
                raise better from None
        finally:
            del better  # its traceback has this frame


def make_job(
    place: Place,
    operation: str,
    direction: Direction,
    *,
    concurrency: int = 1,
    callback: Callable[[TransferProgress], object] | None = None,
    total: int | None = None,
    files_total: int = 1,
) -> Job:
    """Make the job of a call that begins now."""
    tracker = Tracker(
        operation, place.vm_id, direction, callback, place.context.observer.tell, total=total, files_total=files_total
    )
    return Job(
        place,
        Progress(operation, vm_id=place.vm_id, redact=place.redact),
        tracker,
        asyncio.Semaphore(concurrency),
        concurrency,
    )


# --- tasks and threads -----------------------------------------------------------------------------------------------


async def opened_in_thread(make: Callable[[], T], undo: Callable[[T], object]) -> T:
    """Open something in a thread. If the caller is cancelled meanwhile, it is closed again."""

    async def abandon(task: asyncio.Task[T]) -> None:
        await asyncio.wait({task})
        if not task.cancelled() and task.exception() is None:
            await in_thread(undo, task.result())

    return await make_or_undo(in_thread(make), abandon)


__all__ = [
    "FileTracker",
    "Job",
    "Settle",
    "Tell",
    "Tracker",
    "make_job",
    "opened_in_thread",
]
