"""The upload of many files to a VM: small ones together in few requests, large ones alone (contract, section 6)."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Iterable
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import define

from arker._files import pairs
from arker._files.checks import (
    check_checksum,
    check_concurrency,
    check_part_size,
    check_path,
    check_progress,
    check_verify,
)
from arker._files.job import Job, make_job
from arker._files.opening import close_source, open_file, open_source
from arker._files.ranges import CONCURRENCY, MAX_CONTENT, MIB, batches
from arker._files.refusals import typed
from arker._files.sources import check_buffer, check_source, is_buffer, is_path
from arker._files.strategies import Options
from arker._files.uploads import move
from arker._protocol.calls import files as file_calls
from arker._protocol.codec import codec
from arker._protocol.identifiers import new_ulids
from arker._protocol.retryable import is_proof_of_refusal
from arker._tasks import clock
from arker._tasks.pools import pooled
from arker._tasks.threads import as_value, in_thread
from arker.errors import (
    ApiError,
    ArkerError,
    DeadlineExceededError,
    FileChangedError,
    LocalFileError,
    PayloadTooLargeError,
)
from arker.models import CHUNK_SIZE
from arker.models import _checks as check
from arker.transfer import FileOutcome

if TYPE_CHECKING:
    from arker._context import Place
    from arker.transfer import Direction, RemotePath, TransferProgress, UploadSource, Verify

T = TypeVar("T")

_BATCHES: Final = 3
"""The most concurrent requests of many files: each is in memory four times."""


@define(eq=False)
class Entry:
    """One file of many, and its outcome.

    Attributes:
        path: Its path in the VM.
        local: Its local path, if it has one.
        source: The caller's source of an upload.
        argument: The name of that argument.
        size: Its bytes, once known.
        began: The time at which its own work began.
        outcome: Its outcome, once known.
    """

    path: str
    local: str | None
    source: Any = None
    argument: str = "source"
    size: int | None = None
    began: float = 0.0
    outcome: FileOutcome | None = None


class Entries:
    """The files of one call, and their outcomes."""

    def __init__(self, job: Job, entries: list[Entry]) -> None:
        self._job = job
        self.all = entries

    def settle(self, entry: Entry, error: ArkerError | None = None, *, shared: bool = False) -> None:
        """Note that a file is done.

        Args:
            entry: The file.
            error: The error that it failed with.
            shared: Whether other files failed with the same error.
        """
        if error is not None:
            self._name(error)
            if not shared:
                self._job.name_file(error, entry.path)
                error = typed(error, self._job.place.redact(entry.path))
        seconds = clock.now() - entry.began if entry.began else 0.0
        entry.outcome = FileOutcome(path=entry.path, local=entry.local, size=entry.size, error=error, seconds=seconds)
        self._job.tracker.finish_file(entry.path, failed=error is not None)

    def _name(self, error: ArkerError) -> None:
        redact = self._job.place.redact
        if error.operation is None:
            self._job.progress.complete(error)
            error.message = redact(error.message)
        if error.vm_id is None:
            error.vm_id = redact(self._job.place.vm_id)

    def outcomes(self, deadline: float | None) -> list[FileOutcome]:
        """Return the outcome of each file. Files that were not done at the deadline have an outcome that says so."""
        for entry in self.all:
            if entry.outcome is None:
                error = DeadlineExceededError(f"the deadline of {deadline:g} s has passed")
                error.outcome = "unknown" if entry.began and self._job.tracker.direction == "upload" else "not_started"
                self.settle(entry, error)
        outcomes = [entry.outcome for entry in self.all if entry.outcome is not None]
        for entry in self.all:
            entry.outcome = None  # the tracebacks of errors lead to the entries
        return outcomes


async def within(deadline: float | None, work: Callable[[], Any]) -> None:
    """Run work until a deadline. The caller has to check what is not done by then."""
    if deadline is None:
        await work()
        return
    check.check_seconds("deadline", deadline)
    with clock.move_on_after(deadline):
        await work()


def begin(
    place: Place,
    operation: str,
    direction: Direction,
    entries: list[Entry],
    concurrency: int | None,
    progress: Callable[[TransferProgress], object] | None,
) -> tuple[Job, Entries]:
    """Begin a call on many files."""
    job = make_job(
        place, operation, direction,
        concurrency=concurrency or CONCURRENCY, callback=progress, files_total=len(entries),
    )  # fmt: skip
    return job, Entries(job, entries)


async def upload_many(
    place: Place,
    files: Iterable[tuple[UploadSource, RemotePath]],
    *,
    concurrency: int | None = None,
    part_size: int | None = None,
    verify: Verify = "size",
    checksum: bool = True,
    progress: Callable[[TransferProgress], object] | None = None,
    deadline: float | None = None,
) -> list[FileOutcome]:
    """Upload many files; see `AsyncVM.upload_many`."""
    entries: list[Entry] = []
    for number, (source, path) in enumerate(pairs.pairs_of(files)):
        local: str | None = None
        if type(source) is not bytes:
            check_source(f"files[{number}][0]", source)
            local = os.fspath(source) if is_path(source) else None
        entries.append(Entry(check_path(path, f"files[{number}][1]"), local, source, f"files[{number}][0]"))
    pairs.refuse_twice("[1]", [(entry.path, pairs.place_of(entry.path)) for entry in entries])
    pairs.refuse_spent([(entry.argument, entry.source) for entry in entries if entry.local is None])
    check_verify(verify)
    check_progress(progress)
    options = Options(
        part_size=check_part_size(part_size), full=verify == "full", checksum=check_checksum(checksum, verify)
    )
    job, book = begin(place, "vm.upload_many", "upload", entries, check_concurrency(concurrency), progress)
    await within(deadline, _Uploads(job, book, options).run)
    return book.outcomes(deadline)


class _Uploads:
    """The uploads of one call."""

    def __init__(self, job: Job, book: Entries, options: Options) -> None:
        self._job = job
        self._book = book
        self._options = options
        self._content = MAX_CONTENT
        self._few = asyncio.Semaphore(_BATCHES)

    async def run(self) -> None:
        entries = self._book.all
        for entry, size in zip(entries, await _looked_at(_sizes, entries), strict=True):
            if isinstance(size, ArkerError):
                self._book.settle(entry, size)
            else:
                entry.size = size
        left = [entry for entry in entries if entry.outcome is None]
        if all(entry.size is not None for entry in left):
            self._job.tracker.total = sum(entry.size or 0 for entry in left)
        small = [entry for entry in left if entry.size is not None and entry.size <= CHUNK_SIZE]
        rest = [entry for entry in left if entry.size is None or entry.size > CHUNK_SIZE]
        sizes = [entry.size or 0 for entry in small]
        works: list[list[Entry]] = [[small[number] for number in batch] for batch in batches(sizes)]
        works += [[entry] for entry in rest]
        await pooled(works, self._work, min(self._job.concurrency, len(works)))

    async def _work(self, entries: list[Entry]) -> None:
        size = entries[0].size
        if size is not None and size <= CHUNK_SIZE:
            async with self._few:
                await self._batch(entries)
        else:
            await self._one(entries[0])

    async def _one(self, entry: Entry) -> None:
        """Upload one file by itself."""
        entry.began = clock.now()
        try:
            opened = await open_source(entry.argument, entry.source)
            try:
                entry.size = opened.size
                await move(self._job, opened, entry.path, self._options)
            finally:
                await close_source(opened)
        except ArkerError as error:
            self._book.settle(entry, error)
        else:
            self._book.settle(entry)

    async def _batch(self, entries: list[Entry]) -> None:
        """Upload small files in one request, or in several if one is too large for the server."""
        sizes = [entry.size or 0 for entry in entries]
        if len(entries) > 1 and sum(sizes) > self._content:
            for some in batches(sizes, content=self._content):
                await self._batch_of_size([entries[number] for number in some])
        else:
            await self._batch_of_size(entries)

    async def _batch_of_size(self, entries: list[Entry]) -> None:
        began = clock.now()
        for entry in entries:
            entry.began = began
        pending: list[tuple[Entry, bytes]] = []
        for entry, loaded in zip(
            entries, await _looked_at(partial(_load, checksum=self._options.checksum), entries), strict=True
        ):
            if isinstance(loaded, ArkerError):
                self._book.settle(entry, loaded)
            else:
                pending.append((entry, loaded))
        if not pending:
            return
        try:
            async with self._job.slots:
                await self._send(pending)
        except PayloadTooLargeError as error:
            left = [entry for entry, _ in pending]
            if len(left) == 1:
                self._book.settle(left[0], error)
                return
            self._content = min(self._content, max(1, sum(entry.size or 0 for entry in left) // 2))
            middle = len(left) // 2
            await self._batch_of_size(left[:middle])
            await self._batch_of_size(left[middle:])
        except ArkerError as error:
            shared = len(pending) > 1
            for entry, _ in pending:
                self._book.settle(entry, error, shared=shared)

    async def _send(self, pending: list[tuple[Entry, bytes]]) -> None:
        """Send entries until none is left that may succeed later. Settled entries leave the list."""
        job, first = self._job, True

        def make() -> Any:
            nonlocal first
            current, certain, first = list(pending), first, False

            def settle(number: int, error: ArkerError | None) -> None:
                entry, _ = current[number]
                pending.remove(current[number])
                if error is None:
                    job.tracker.done += entry.size or 0
                else:
                    error = typed(error, job.place.redact(entry.path))
                self._book.settle(entry, error)
                if isinstance(error, ApiError) and not (certain and is_proof_of_refusal(error)):
                    error.outcome = "unknown"  # it may be written in part, or by an attempt that was lost

            texts = [text for _, text in current]
            return file_calls.write_each(job.place, texts, settle)

        await job.send_remade(make)


async def _looked_at(work: Callable[[list[Entry]], list[T]], entries: list[Entry]) -> list[T]:
    """Run the work on the entries: in a thread if it needs a disk, at once for small bytes in memory."""
    if any(entry.local is not None for entry in entries) or sum(entry.size or 0 for entry in entries) > MIB:
        return await in_thread(work, entries)
    return work(entries)


def _sizes(entries: list[Entry]) -> list[int | ArkerError | None]:
    """Return the size of each in bytes, where it is known without reading; blocks."""
    sizes: list[int | ArkerError | None] = []
    for entry in entries:
        if is_buffer(entry.source):
            sizes.append(memoryview(entry.source).nbytes)
        elif entry.local is not None:
            try:
                sizes.append(_told_size(entry.local))
            except LocalFileError as error:
                sizes.append(as_value(error))
            except OSError as error:
                sizes.append(_caused(error, entry.local))
        else:
            sizes.append(None)
    return sizes


def _told_size(name: str) -> int | None:
    """Return the size of a file in bytes; None if the size is not reliable."""
    status = os.stat(name)
    if (status.st_size and getattr(status, "st_blocks", 1)) or not stat.S_ISREG(status.st_mode):
        return status.st_size
    # It is empty, or has a hole, or is of /proc or /sys.
    source = open_file(name)
    try:
        return None if source.misleads() else source.size
    finally:
        source.close()


def _caused(error: OSError, name: str) -> LocalFileError:
    failure = LocalFileError(error, name)
    failure.__cause__ = error
    return as_value(failure)


def _load(entries: list[Entry], *, checksum: bool) -> list[bytes | ArkerError]:
    """Load small files in their wire format, and note their sizes; blocks."""
    loaded: list[bytes | ArkerError] = []
    for entry, upload_id in zip(entries, new_ulids(len(entries)), strict=True):
        try:
            data = _content(entry)
        except ArkerError as error:
            loaded.append(as_value(error))
        else:
            entry.size = len(data)
            digest = sha256(data).hexdigest() if checksum else None
            loaded.append(codec.dumps_whole(entry.path, upload_id, data, digest))
    return loaded


def _content(entry: Entry) -> bytes | memoryview:
    if entry.local is None:
        return entry.source if isinstance(entry.source, bytes) else check_buffer(entry.argument, entry.source)
    source = open_file(entry.local)
    try:
        if source.size > CHUNK_SIZE:
            raise FileChangedError(f"{entry.local} has grown to {source.size} bytes since it was looked at")
        data = source.read(0, source.size)
        source.check()
        return data
    finally:
        source.close()


__all__ = ["Entries", "Entry", "begin", "upload_many", "within"]
