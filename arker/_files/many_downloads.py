"""The download of many files from a VM, concurrently, each complete or not at all (contract, section 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from arker._files import pairs
from arker._files.checks import check_concurrency, check_part_size, check_path, check_progress
from arker._files.downloads import fetch_to_path
from arker._files.job import Job
from arker._files.many import Entries, Entry, begin, within
from arker._files.remote import RemoteFile
from arker._files.sources import check_local
from arker._files.targets import write_small
from arker._tasks import clock
from arker._tasks.pools import pooled
from arker._tasks.threads import finished_in_thread
from arker.errors import ArkerError

if TYPE_CHECKING:
    from arker._context import Place
    from arker.transfer import FileOutcome, LocalPath, RemotePath, TransferProgress


async def download_many(
    place: Place,
    files: Iterable[tuple[RemotePath, LocalPath]],
    *,
    concurrency: int | None = None,
    part_size: int | None = None,
    progress: Callable[[TransferProgress], object] | None = None,
    deadline: float | None = None,
) -> list[FileOutcome]:
    """Download many files; see `AsyncVM.download_many`."""
    entries: list[Entry] = []
    for number, (path, target) in enumerate(pairs.pairs_of(files)):
        where = check_path(path, f"files[{number}][0]")
        entries.append(Entry(where, check_local(f"files[{number}][1]", target)))
    targets = [entry.local or "" for entry in entries]
    pairs.refuse_twice("[1]", zip(targets, pairs.local_places(targets), strict=True))
    check_progress(progress)
    size = check_part_size(part_size)
    job, book = begin(place, "vm.download_many", "download", entries, check_concurrency(concurrency), progress)

    async def run() -> None:
        downloads = _Downloads(job, book, size)
        await pooled(entries, downloads.one, min(job.concurrency, len(entries)))

    await within(deadline, run)
    return book.outcomes(deadline)


class _Downloads:
    """The downloads of one call."""

    def __init__(self, job: Job, book: Entries, size_of_part: int | None) -> None:
        self._job = job
        self._book = book
        self._size_of_part = size_of_part
        self._unknown = len(book.all)
        self._total = 0

    async def one(self, entry: Entry) -> None:
        entry.began = clock.now()
        remote = RemoteFile(self._job, entry.path)
        try:
            await self._open(remote)
        except ArkerError as error:
            self._account(0)
            self._book.settle(entry, error)
            return
        self._account(remote.size)
        entry.size = remote.size
        file = self._job.file(entry.path, remote.size)
        try:
            assert entry.local is not None
            if remote.content is not None:
                await finished_in_thread(write_small, entry.local, remote.content)
                file.done += remote.size
                self._job.tracker.done += remote.size
            else:
                await fetch_to_path(self._job, remote, entry.local, file, self._size_of_part)
        except ArkerError as error:
            file.forget()
            self._book.settle(entry, error)
        else:
            self._book.settle(entry)

    async def _open(self, remote: RemoteFile) -> None:
        async with self._job.slots:
            await remote.open()

    def _account(self, size: int) -> None:
        self._total += size
        self._unknown -= 1
        if self._unknown == 0:
            self._job.tracker.total = self._total


__all__ = ["download_many"]
