"""Writes of a file in parts: concurrent presigned PUTs, joined in the VM (contract, section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arker._files.bodies import Body, digest_of_source
from arker._files.ranges import MAX_ENTRIES, part_size, split
from arker._files.staging import Staging
from arker._files.stored import Grant, put, request_puts
from arker._protocol.calls import files as file_calls
from arker._tasks.pools import pooled, together
from arker._tasks.threads import in_thread

if TYPE_CHECKING:
    from arker._files.job import Job
    from arker._files.ranges import Span
    from arker._files.sources import Source


async def write(
    job: Job,
    source: Source,
    path: str,
    *,
    size_of_part: int | None,
    full: bool,
    mode: int | None,
    checksum: bool = True,
) -> str | None:
    """Write a file in parts, and return its digest if that was requested.

    Args:
        job: The call.
        source: The file's bytes.
        path: Its path in the VM.
        size_of_part: Bytes of a part; None to choose it by the file's size.
        full: Whether to check the digest of the whole file.
        mode: Permission bits; None for the server's choice.
        checksum: Whether to send the digest of each part.
    """
    wanted = size_of_part if size_of_part is not None else part_size(source.size, job.concurrency)
    spans = split(0, source.size, wanted) or [(0, 0)]
    file = job.file(path, source.size)
    digest: str | None = None

    async with Staging(job, path, len(spans)) as staging:
        grants: list[Grant] = []
        for first in range(0, len(spans), MAX_ENTRIES):
            some = range(first, min(first + MAX_ENTRIES, len(spans)))
            sizes = [(staging.part(number), spans[number][1] - spans[number][0]) for number in some]
            grants += await request_puts(job, sizes)

        async def part(item: tuple[int, Span]) -> None:
            number, span = item
            async with job.slots:
                where = staging.part(number)
                commit = await put(job, where, Body(source, span, file.piece(), checksum=checksum), grants[number])
                await staging.settle(job.send(file_calls.commit_put(job.place, commit)))

        async def whole() -> None:
            nonlocal digest
            digest = await in_thread(digest_of_source, source)

        works = [pooled(enumerate(spans), part, min(job.concurrency, len(spans)))]
        await together([*works, whole()] if full else works)
        if not source.in_memory:
            await in_thread(source.check)
        await staging.join(source.size, digest=digest, mode=mode)
    return digest


__all__ = ["write"]
