"""The download of one file from a VM: inline, by one GET, or by concurrent range requests (contract, section 6)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from arker._files.checks import check_concurrency, check_part_size, check_path, check_progress
from arker._files.job import FileTracker, make_job
from arker._files.ranges import CONCURRENCY, WORTH_PARTS, part_size, split
from arker._files.remote import RemoteFile
from arker._files.sources import check_local, is_path
from arker._files.targets import LocalTarget, ObjectTarget, SpanWriter, check_target
from arker._tasks.pools import pooled, together
from arker._tasks.threads import finished_in_thread
from arker._transport.attempts import deadline_scope
from arker.transfer import DownloadWay, TransferResult

if TYPE_CHECKING:
    from arker._context import Place
    from arker._files.job import Job
    from arker.transfer import DownloadTarget, RemotePath, TransferProgress


async def download(
    place: Place,
    path: RemotePath,
    target: DownloadTarget,
    *,
    concurrency: int | None,
    part_size: int | None,
    progress: Callable[[TransferProgress], object] | None,
    deadline: float | None,
) -> TransferResult:
    """Download a file; see `AsyncVM.download`."""
    where = check_path(path)
    check_target("target", target)
    local = check_local("target", target) if is_path(target) else None
    check_part_size(part_size)
    check_progress(progress)
    job = make_job(
        place, "vm.download", "download",
        concurrency=check_concurrency(concurrency) or CONCURRENCY, callback=progress,
    )  # fmt: skip
    async with job.named(where):
        with deadline_scope(deadline, job.progress):
            if local is not None:
                size, how = await _to_path(job, where, local, part_size)
            else:
                size, how = await _to_object(job, where, target)
            job.tracker.finish_file(where)
    return TransferResult(path=where, size=size, strategy=how, seconds=job.tracker.seconds)


async def _to_path(job: Job, path: str, local: str, size_of_part: int | None) -> tuple[int, DownloadWay]:
    async with _Placed(local) as target:
        # The first request comes after the checks, so that an invalid target fails at once.
        remote = RemoteFile(job, path)
        await remote.open()
        file = _begin(job, path, remote)
        if remote.content is not None:
            await finished_in_thread(target.write, [remote.content], 0)
            file.piece()(remote.size)
            how: DownloadWay = "inline"
        else:
            how = await _spans(job, remote, target, file, size_of_part)
        await finished_in_thread(target.finish)
    return remote.size, how


async def fetch_to_path(job: Job, remote: RemoteFile, local: str, file: FileTracker, size_of_part: int | None) -> None:
    """Fetch an opened file whose content did not come inline to a local file."""
    async with _Placed(local) as target:
        await _spans(job, remote, target, file, size_of_part)
        await finished_in_thread(target.finish)


class _Placed:
    """A local file that is moved into place inside the block, and otherwise removed."""

    def __init__(self, local: str) -> None:
        self._target = LocalTarget(local)

    async def __aenter__(self) -> LocalTarget:
        try:
            await finished_in_thread(self._target.open)
        except BaseException:
            await finished_in_thread(self._target.discard)
            raise
        return self._target

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await finished_in_thread(self._target.discard)


def _begin(job: Job, path: str, remote: RemoteFile) -> FileTracker:
    job.tracker.total = remote.size
    job.tracker.tell(path)
    return job.file(path, remote.size)


async def _spans(
    job: Job, remote: RemoteFile, target: LocalTarget, file: FileTracker, size_of_part: int | None
) -> DownloadWay:
    workers = job.concurrency
    if size_of_part is None:
        several = remote.size >= WORTH_PARTS and workers > 1
        size_of_part = part_size(remote.size, workers) if several else max(remote.size, 1)
    first, *rest = split(0, remote.size, size_of_part) or [(0, 0)]
    known = asyncio.Event()

    async def span(bounds: tuple[int, int]) -> None:
        async with job.slots:
            writer = SpanWriter(target, bounds[0], file.piece())
            await remote.fetch(*bounds, writer.take, opened=known.set)
            await writer.finish()

    async def others() -> None:
        # Until the first reply has begun, it is not known which version the file is of, nor whether ranges are known.
        await known.wait()
        if remote.ranged:
            await pooled(rest, span, min(workers, len(rest)))

    if not rest:
        await span(first)
        return "get"
    await together([span(first), others()])
    return "ranges" if remote.ranged else "get"


async def _to_object(job: Job, path: str, target: Any) -> tuple[int, DownloadWay]:
    remote = RemoteFile(job, path)
    await remote.open()
    writer = ObjectTarget(target, _begin(job, path, remote).piece())
    if remote.content is not None:
        await writer.take(remote.content)
    else:
        await remote.fetch(0, remote.size, writer.take)
    await writer.finish()
    return remote.size, "inline" if remote.content is not None else "get"


__all__ = ["download", "fetch_to_path"]
