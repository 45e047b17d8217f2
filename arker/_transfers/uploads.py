"""One file into a VM: which way it goes, and the two ways that are one request (contract, section 6)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from attrs import frozen

from arker import _calls
from arker._attempts import deadline_scope
from arker._identifiers import new_ulid
from arker._ranges import CONCURRENCY, WORTH_PARTS
from arker._threads import in_thread
from arker._transfers import chunks, parts
from arker._transfers.bodies import Body, digest_of
from arker._transfers.checks import (
    check_concurrency,
    check_mode,
    check_part_size,
    check_path,
    check_progress,
    check_strategy,
    check_verify,
)
from arker._transfers.job import make_job
from arker._transfers.sources import Source, check_source, open_source
from arker._transfers.staging import Staging
from arker._transfers.stored import PRESIGNED, put
from arker.errors import InvalidArgumentError, UnsupportedOperationError
from arker.models import CHUNK_SIZE, MAX_PUT_SIZE, SyncChunkWrite
from arker.transfer import TransferResult

if TYPE_CHECKING:
    from arker._transfers.job import Job
    from arker._transport import Transport
    from arker._vm_files import VmFiles
    from arker.transfer import RemotePath, Strategy, TransferProgress, UploadSource, Verify

T = TypeVar("T")

Way = Literal["inline", "put", "parts", "chunks"]
Settle = Callable[[Coroutine[Any, Any, Any]], Coroutine[Any, Any, Any]]
"""Awaits a request that puts something in place."""


@frozen(kw_only=True)
class Options:
    """How a file is to go.

    Attributes:
        strategy: What the caller asks for.
        part_size: Bytes of a part or chunk, if the caller says so.
        full: Whether its whole digest is to be checked in the VM.
        mode: Permission bits, if it is to have certain ones.
    """

    strategy: Strategy = "auto"
    part_size: int | None = None
    full: bool = False
    mode: int | None = None


async def upload(
    transport: Transport,
    vm: VmFiles,
    source: UploadSource,
    path: RemotePath,
    *,
    strategy: Strategy,
    concurrency: int | None,
    part_size: int | None,
    verify: Verify,
    mode: int | None,
    progress: Callable[[TransferProgress], object] | None,
    deadline: float | None,
) -> TransferResult:
    """What `AsyncVM.upload` does."""
    where = check_path(path)
    check_source("source", source)
    check_strategy(strategy)
    check_verify(verify)
    check_mode(mode)
    check_progress(progress)
    options = Options(strategy=strategy, part_size=check_part_size(part_size), full=verify == "full", mode=mode)
    job = make_job(
        transport, vm.base_url, vm.id, "vm.upload", "upload",
        concurrency=check_concurrency(concurrency) or CONCURRENCY, callback=progress,
    )  # fmt: skip
    with job.named(where), deadline_scope(deadline, job.progress):
        opened = await open_source("source", source)
        try:
            job.tracker.total = opened.size
            job.tracker.tell(where)
            way, digest = await move(job, vm, opened, where, options)
        finally:
            opened.close()
        job.tracker.finish_file(where)
    return TransferResult(path=where, size=opened.size, strategy=way, seconds=job.tracker.seconds, sha256=digest)


async def move(job: Job, vm: VmFiles, source: Source, path: str, options: Options) -> tuple[Way, str | None]:
    """A source is a file of the VM; which way it went, and its digest if that has come to be known."""
    wanted = options.strategy
    way: Way = _way(job, source.size) if wanted == "auto" else wanted
    _check_way(way, source.size)
    try:
        return way, await _go(way, job, vm, source, path, options)
    except UnsupportedOperationError:
        if wanted != "auto" or way == "chunks" or not _lacks_presigned(job):
            raise
    # The first answer has shown that the server knows no presigned URLs, and so nothing of the file was sent.
    return "chunks", await _go("chunks", job, vm, source, path, options)


def _lacks_presigned(job: Job) -> bool:
    return (job.base_url, PRESIGNED) in job.transport.lacking


def _way(job: Job, size: int) -> Way:
    if size <= CHUNK_SIZE:
        return "inline"
    if _lacks_presigned(job):
        return "chunks"
    several = size >= WORTH_PARTS and job.concurrency > 1
    return "parts" if several or size > MAX_PUT_SIZE else "put"


def _check_way(way: Way, size: int) -> None:
    limit = {"inline": CHUNK_SIZE, "put": MAX_PUT_SIZE}.get(way)
    if limit is not None and size > limit:
        raise InvalidArgumentError("strategy", way, f"expected another one for {size} bytes: it takes {limit} at most")


async def _go(way: Way, job: Job, vm: VmFiles, source: Source, path: str, options: Options) -> str | None:
    if way == "parts":
        return await parts.write(
            job, vm, source, path, size_of_part=options.part_size, full=options.full, mode=options.mode
        )
    if options.mode is None:
        return await _write(way, job, source, path, options)
    # A mode is set before the file appears: it is written beside its place first.
    async with Staging(job, vm, path, 1) as staging:
        digest = await _write(way, job, source, staging.part(0), options, staging.settle)
        await staging.join(source.size, mode=options.mode)
    return digest


async def _write(
    way: Way, job: Job, source: Source, path: str, options: Options, settle: Settle | None = None
) -> str | None:
    if way == "inline":
        return await write_inline(job, source, path, settle)
    if way == "put":
        return await write_put(job, source, path, settle)
    return await chunks.write(job, source, path, options.part_size, settle)


async def write_inline(job: Job, source: Source, path: str, settle: Settle | None = None) -> str:
    """Write a file in its only chunk; its digest."""
    data = source.read(0, source.size) if source.in_memory else await in_thread(source.read, 0, source.size)
    digest = digest_of(data)
    if not source.in_memory:
        await in_thread(source.check)
    entry = SyncChunkWrite(
        path=path, size=len(data), upload_id=new_ulid(), content=data, start=0, end=len(data), sha256=digest
    )
    async with job.slots:
        request = job.send(_calls.write_whole(job.base_url, job.vm_id, entry), decisive=True)
        await (request if settle is None else settle(request))
    # Hooks are told of presigned transfers only.
    job.tracker.done += len(data)
    return digest


async def write_put(job: Job, source: Source, path: str, settle: Settle | None = None) -> str:
    """Write a file by one presigned PUT; its digest."""
    async with job.slots:
        file = job.file(path, source.size)
        commit = await put(job, path, Body(source, (0, source.size), file.piece()))
        if not source.in_memory:
            await in_thread(source.check)
        request = job.send(_calls.commit_put(job.base_url, job.vm_id, commit), decisive=True)
        await (request if settle is None else settle(request))
    assert commit.sha256 is not None
    return commit.sha256


__all__ = ["Options", "Way", "move", "upload", "write_inline", "write_put"]
