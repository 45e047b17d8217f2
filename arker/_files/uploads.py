"""The upload of one file into a VM (contract, section 6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from arker._files.checks import (
    check_checksum,
    check_concurrency,
    check_mode,
    check_part_size,
    check_path,
    check_progress,
    check_strategy,
    check_verify,
)
from arker._files.job import make_job
from arker._files.opening import close_source, open_source
from arker._files.ranges import CONCURRENCY
from arker._files.sources import Source, check_source
from arker._files.strategies import Options, choose, lacks_presigned, write
from arker._transport.attempts import deadline_scope
from arker.errors import UnsupportedOperationError
from arker.transfer import TransferResult

if TYPE_CHECKING:
    from arker._context import Place
    from arker._files.job import Job
    from arker.transfer import RemotePath, Strategy, TransferProgress, UploadSource, UploadWay, Verify

T = TypeVar("T")


async def upload(
    place: Place,
    source: UploadSource,
    path: RemotePath,
    *,
    strategy: Strategy,
    concurrency: int | None,
    part_size: int | None,
    verify: Verify,
    checksum: bool,
    mode: int | None,
    progress: Callable[[TransferProgress], object] | None,
    deadline: float | None,
) -> TransferResult:
    """Upload a file; see `AsyncVM.upload`."""
    where = check_path(path)
    check_source("source", source)
    check_strategy(strategy)
    check_verify(verify)
    check_mode(mode)
    check_progress(progress)
    options = Options(
        strategy=strategy,
        part_size=check_part_size(part_size),
        full=verify == "full",
        mode=mode,
        checksum=check_checksum(checksum, verify),
    )
    job = make_job(
        place, "vm.upload", "upload",
        concurrency=check_concurrency(concurrency) or CONCURRENCY, callback=progress,
    )  # fmt: skip
    async with job.named(where):
        with deadline_scope(deadline, job.progress):
            opened = await open_source("source", source)
            try:
                job.tracker.total = opened.size
                job.tracker.tell(where)
                way, digest = await move(job, opened, where, options)
            finally:
                await close_source(opened)
            job.tracker.finish_file(where)
    return TransferResult(path=where, size=opened.size, strategy=way, seconds=job.tracker.seconds, sha256=digest)


async def move(job: Job, source: Source, path: str, options: Options) -> tuple[UploadWay, str | None]:
    """Write a source to a file of the VM. Return the way that was used, and the digest if known."""
    way = choose(job, source.size, options.strategy)
    try:
        return way, await write(way, job, source, path, options)
    except UnsupportedOperationError:
        if options.strategy != "auto" or way == "chunks" or not lacks_presigned(job):
            raise
    # The first answer has shown that the server knows no presigned URLs, and so nothing of the file was sent.
    return "chunks", await write("chunks", job, source, path, options)


__all__ = ["move", "upload"]
