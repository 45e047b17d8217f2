"""Writes of a file into a VM by one request: inline, or a presigned PUT (contract, section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from arker._files.bodies import Body, digest_of
from arker._files.hashing import Hashing
from arker._files.job import Settle
from arker._files.stored import put
from arker._protocol.calls import files as file_calls
from arker._protocol.identifiers import new_ulid
from arker._tasks.threads import in_thread
from arker.models import SyncChunkWrite

if TYPE_CHECKING:
    from arker._files.job import Job
    from arker._files.sources import Source

_QUICKLY_HASHED: Final = 256 * 1024
"""Bytes whose digest takes the loop less time than handing them to a thread does."""

_SENT_AS_A_WHOLE: Final = 768 * 1024
"""Bytes that are sent only when a thread has computed their digest. More of them go in pieces anyway, of which the last
may come late. For fewer, one more piece would cost the loop more time than the thread saves."""


async def write_inline(
    job: Job, source: Source, path: str, settle: Settle | None = None, *, checksum: bool = True
) -> str | None:
    """Write a file in its only chunk, and return its digest if it was computed."""
    data = source.read(0, source.size) if source.in_memory else await in_thread(source.read, 0, source.size)
    digest = digest_of(data) if checksum and len(data) <= _QUICKLY_HASHED else None
    hashing = Hashing(data) if checksum and digest is None else None
    try:
        if not source.in_memory:
            await in_thread(source.check)
        if hashing is not None and (len(data) <= _SENT_AS_A_WHOLE or not hashing.alone):
            # Of many writes at once, the digests of some are computed while others are sent. Were they all begun before
            # their digests are known, the loop would have to encode all of them at once.
            digest = await hashing.digest()
        late = hashing if digest is None else None
        entry = SyncChunkWrite(
            path=path, size=len(data), upload_id=new_ulid(), content=data, start=0, end=len(data), sha256=digest
        )
        async with job.slots:
            call = file_calls.write_whole(job.place, entry, None if late is None else late.digest)
            if late is not None and not late.begun:
                await late.digest()  # a request on its way is not to wait until a thread is free
            request = job.send(call, decisive=True)
            await (request if settle is None else settle(request))
        # Only presigned transfers are reported to hooks.
        job.tracker.done += len(data)
        return digest if late is None else await late.digest()
    finally:
        if hashing is not None:
            await hashing.drop()


async def write_put(
    job: Job, source: Source, path: str, settle: Settle | None = None, *, checksum: bool = True
) -> str | None:
    """Write a file by one presigned PUT, and return its digest if it was computed."""
    async with job.slots:
        file = job.file(path, source.size)
        commit = await put(job, path, Body(source, (0, source.size), file.piece(), checksum=checksum))
        if not source.in_memory:
            await in_thread(source.check)
        request = job.send(file_calls.commit_put(job.place, commit), decisive=True)
        await (request if settle is None else settle(request))
    return commit.sha256


__all__ = ["write_inline", "write_put"]
