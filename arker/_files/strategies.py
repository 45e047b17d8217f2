"""A table of the ways to write a file into a VM, and the choice between them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

from arker._files import chunks, parts, single
from arker._files.job import Settle
from arker._files.ranges import WORTH_PARTS
from arker._files.staging import Staging
from arker._files.stored import PRESIGNED
from arker.errors import InvalidArgumentError
from arker.models import CHUNK_SIZE, MAX_PUT_SIZE

if TYPE_CHECKING:
    from arker._files.job import Job
    from arker._files.sources import Source
    from arker.transfer import Strategy, UploadWay


@frozen(kw_only=True)
class Options:
    """The options of a write.

    Attributes:
        strategy: The way that the caller requests.
        part_size: Bytes of a part or chunk, if the caller says so.
        full: Whether to check the digest of the whole file in the VM.
        mode: Permission bits, if the caller sets them.
        checksum: Whether to send the digest of what is written, so that the server checks it.
    """

    strategy: Strategy = "auto"
    part_size: int | None = None
    full: bool = False
    mode: int | None = None
    checksum: bool = True


Write: TypeAlias = "Callable[[Job, Source, str, Options, Settle | None], Awaitable[str | None]]"
"""Writes a source to a path; returns its digest if known."""


@frozen(kw_only=True)
class Way:
    """A way to write a file.

    Attributes:
        write: The function that writes a file.
        limit: The largest size in bytes; None for no bound.
        sets_mode: Whether it sets permission bits itself; for the others the file is written beside its place first.
    """

    write: Write
    limit: int | None = None
    sets_mode: bool = False


async def _inline(job: Job, source: Source, path: str, options: Options, settle: Settle | None) -> str | None:
    return await single.write_inline(job, source, path, settle, checksum=options.checksum)


async def _put(job: Job, source: Source, path: str, options: Options, settle: Settle | None) -> str | None:
    return await single.write_put(job, source, path, settle, checksum=options.checksum)


async def _parts(job: Job, source: Source, path: str, options: Options, settle: Settle | None) -> str | None:
    return await parts.write(
        job,
        source,
        path,
        size_of_part=options.part_size,
        full=options.full,
        mode=options.mode,
        checksum=options.checksum,
    )


async def _chunks(job: Job, source: Source, path: str, options: Options, settle: Settle | None) -> str | None:
    return await chunks.write(job, source, path, options.part_size, settle, checksum=options.checksum)


WAYS: Final[dict[UploadWay, Way]] = {
    "inline": Way(write=_inline, limit=CHUNK_SIZE),
    "put": Way(write=_put, limit=MAX_PUT_SIZE),
    "parts": Way(write=_parts, sets_mode=True),
    "chunks": Way(write=_chunks),
}


def choose(job: Job, size: int, wanted: Strategy) -> UploadWay:
    """Choose the way to write a file.

    Raises:
        InvalidArgumentError: The file is too large for the requested way.
    """
    if wanted == "auto":
        return _suitable(job, size)
    limit = WAYS[wanted].limit
    if limit is not None and size > limit:
        raise InvalidArgumentError(
            "strategy", wanted, f"expected another one for {size} bytes: it takes {limit} at most"
        )
    return wanted


def _suitable(job: Job, size: int) -> UploadWay:
    if size <= CHUNK_SIZE:
        return "inline"
    if lacks_presigned(job):
        return "chunks"
    several = size >= WORTH_PARTS and job.concurrency > 1
    return "parts" if several or size > MAX_PUT_SIZE else "put"


def lacks_presigned(job: Job) -> bool:
    """Return whether the server is known to lack presigned URLs."""
    return (job.place.base_url, PRESIGNED) in job.place.context.lacking


async def write(way: UploadWay, job: Job, source: Source, path: str, options: Options) -> str | None:
    """Write a file in one of the ways, and return its digest if known."""
    how = WAYS[way]
    if options.mode is None or how.sets_mode:
        return await how.write(job, source, path, options, None)
    # A mode is set before the file appears: it is written beside its place first.
    async with Staging(job, path, 1) as staging:
        digest = await how.write(job, source, staging.part(0), options, staging.settle)
        await staging.join(source.size, mode=options.mode)
    return digest


__all__ = ["WAYS", "Options", "Way", "choose", "lacks_presigned", "write"]
