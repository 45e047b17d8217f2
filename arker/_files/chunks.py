"""Writes of a file in concurrent chunks within JSON, for servers without presigned URLs (contract, section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from arker._files.bodies import digest_of_source
from arker._files.ranges import INLINE_CHUNK, MAX_CONTENT, Span, missing, split
from arker._protocol.calls import files as file_calls
from arker._protocol.identifiers import new_ulid
from arker._protocol.reply import concluded
from arker._tasks.pools import pooled
from arker._tasks.threads import in_thread
from arker.errors import PayloadTooLargeError
from arker.models import SyncChunkWrite, SyncChunkWriteResult

if TYPE_CHECKING:
    from arker._files.job import FileTracker, Job, Settle, Tell
    from arker._files.sources import Source

ROUNDS: Final = 3
"""How often chunks that the server lacks are sent again."""

_SMALLEST: Final = 16 * 1024
"""Bytes of a chunk; a server that accepts less is not asked again."""


async def write(
    job: Job,
    source: Source,
    path: str,
    size_of_chunk: int | None,
    settle: Settle | None = None,
    *,
    checksum: bool = True,
) -> str | None:
    """Write a file in chunks, and return its digest if it was computed."""
    digest = await in_thread(digest_of_source, source) if checksum else None
    upload = _Upload(job, source, path, digest, min(size_of_chunk or INLINE_CHUNK, MAX_CONTENT), settle)
    await upload.run()
    return digest


class _Upload:
    """A chunked upload, as the server tracks it."""

    def __init__(
        self, job: Job, source: Source, path: str, digest: str | None, size: int, settle: Settle | None
    ) -> None:
        self._job = job
        self._source = source
        self._path = path
        self._digest = digest
        self._size = size
        self._settle = settle
        self._id = new_ulid()
        self._file: FileTracker = job.file(path, source.size)
        self._tells: dict[int, Tell] = {}
        self._held: SyncChunkWriteResult = SyncChunkWriteResult()

    async def run(self) -> None:
        job, source = self._job, self._source
        first, *rest = split(0, source.size, self._size) or [(0, 0)]
        # The first one opens the upload, and has to be answered before the others go.
        await self._send(first)
        pending = rest
        for _ in range(ROUNDS):
            await pooled(pending, self._send, job.concurrency)
            if not source.in_memory:
                await in_thread(source.check)
            if self._written:
                return
            # Replies may arrive out of order. One more request, alone, tells what the server holds now.
            self._held = SyncChunkWriteResult()
            await self._send(first)
            if self._written:
                return
            held = [(span.start, span.end) for span in self._held.ranges]
            pending = [piece for gap in missing(held, source.size) for piece in split(*gap, self._size)]
            if not pending:
                break
        size, received = source.size, self._held.received_bytes
        problem = f"the server did not write the file: it says that it holds {received} of its {size} bytes"
        raise job.progress.complete(concluded("internal", problem))

    @property
    def _written(self) -> bool:
        return self._held.complete and self._held.written

    async def _send(self, span: Span) -> None:
        start, end = span
        if end - start > self._size:
            for piece in split(start, end, self._size):
                await self._send(piece)
            return
        try:
            await self._send_one(start, end)
        except PayloadTooLargeError:
            if end - start <= _SMALLEST:
                raise
            self._size = min(self._size, max((end - start) // 2, _SMALLEST))
            await self._send(span)

    async def _send_one(self, start: int, end: int) -> None:
        job, source = self._job, self._source
        async with job.slots:
            data = source.read(start, end) if source.in_memory else await in_thread(source.read, start, end)
            entry = SyncChunkWrite(
                path=self._path, size=source.size, upload_id=self._id, content=data, start=start, end=end,
                sha256=self._digest,
            )  # fmt: skip
            request = job.send(file_calls.write_chunk(job.place, entry), decisive=True)
            result: SyncChunkWriteResult = await (request if self._settle is None else self._settle(request))
        if result.complete or (result.received_bytes or 0) >= (self._held.received_bytes or 0):
            self._held = result
        # A chunk may go more than once, and counts once.
        self._tells.setdefault(start, self._file.piece())(end - start)


__all__ = ["write"]
