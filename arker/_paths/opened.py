"""Open files of a VM: read at any position, or written to a local temporary file that is sent at the end."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from arker._context import Place
from arker._files.job import Job, make_job, opened_in_thread
from arker._files.ranges import MIB
from arker._files.refusals import is_utf8
from arker._files.remote import RemoteFile
from arker._files.sources import MemorySource
from arker._files.targets import ObjectTarget
from arker._files.temporary import TemporaryFile
from arker._paths.checks import check_path, named
from arker._paths.contents import alias_of, check_writable, needs_no_mark, write_source
from arker._paths.shell import PathShell
from arker._paths.spool import discard
from arker._tasks.cleanup import clean_up
from arker._tasks.threads import finished_in_thread, in_thread
from arker._transport.attempts import deadline_scope
from arker.errors import ArkerError, InvalidArgumentError, LocalFileError, TransferError
from arker.models import CHUNK_SIZE

if TYPE_CHECKING:
    from arker._files.sources import Source

_OPERATION: Final = "open"
_LARGEST_WINDOW: Final = 8 * MIB
_WRITTEN_AT_ONCE: Final = MIB // 4
"""Bytes that are collected before they go to the temporary file."""


class _NoRanges(Exception):
    """The server sends whole files only."""


class ReadFile:
    """A file that is read, from any position on.

    Attributes:
        size: Its size in bytes.
        position: Where the next bytes are read.
    """

    def __init__(self, job: Job, remote: RemoteFile, path: str, forget: Callable[[], Any] | None) -> None:
        """Wrap a file of the VM that has been opened.

        Args:
            job: The operation.
            remote: The file.
            path: Its path, as the caller gave it.
            forget: Removes the name that it was given, if it was given one.
        """
        self._job = job
        self._remote = remote
        self._path = path
        self._forget = forget
        self.size = remote.size
        self.position = 0
        self._held = remote.content if remote.content is not None else b""
        self._held_at = 0
        self._window = MIB
        self._local: TemporaryFile | None = None

    async def read(self, size: int) -> bytes:
        """Return the next bytes; fewer than ``size`` only at the end."""
        end = min(self.position + size, self.size)
        if end <= self.position:
            return b""
        async with self._job.named(named(self._path)):
            data = await self._between(self.position, end)
        self.position = end
        return data

    async def _between(self, start: int, end: int) -> bytes:
        held = self._held[start - self._held_at : end - self._held_at] if start >= self._held_at else b""
        if len(held) == end - start:
            return held
        if self._local is not None:
            return await self._from_local(start, end)
        # A caller that goes on reading gets larger and larger pieces.
        follows = start == self._held_at + len(self._held) or held
        self._window = min(self._window * 2, _LARGEST_WINDOW) if follows and self._held else MIB
        begin = start + len(held)
        try:
            fetched = await self._fetch(begin, min(max(end, begin + self._window), self.size))
        except _NoRanges:
            await self._download()
            return await self._from_local(start, end)
        self._held, self._held_at = fetched, begin
        return held + fetched[: end - begin]

    async def _fetch(self, start: int, end: int) -> bytes:
        pieces: list[bytes] = []

        async def take(piece: bytes) -> None:
            pieces.append(piece)

        def opened() -> None:
            if self._remote.ranged is False:
                raise _NoRanges

        await self._remote.fetch(start, end, take, opened=opened)
        return b"".join(pieces)

    async def _download(self) -> None:
        local = await opened_in_thread(TemporaryFile, TemporaryFile.close)
        weakref.finalize(self, local.close)
        writer = ObjectTarget(local, lambda done: None)
        await self._remote.fetch(0, self.size, writer.take)
        await writer.finish()
        self._local = local

    async def _from_local(self, start: int, end: int) -> bytes:
        local = self._local
        assert local is not None

        def read() -> bytes:
            local.seek(start)
            return local.read(end - start)

        return await in_thread(read)

    async def close(self) -> None:
        """Close the file."""
        self._held = b""
        if self._local is not None:
            self._local.close()
        forget, self._forget = self._forget, None
        if forget is not None:
            await clean_up(forget())


async def open_for_reading(place: Place, path: object, deadline: float | None) -> ReadFile:
    """Open a file for reading."""
    where = check_path(path)
    job = make_job(place, f"vm.files.{_OPERATION}", "download")
    with deadline_scope(deadline, job.progress):
        shell = PathShell(place, _OPERATION)
        alias = None if is_utf8(where) else await alias_of(shell, where)
        remote = RemoteFile(job, alias or where)
        try:
            async with job.named(named(where)):
                await remote.open()
        except BaseException:
            if alias is not None:
                await clean_up(discard(shell, alias))
            raise
    return ReadFile(job, remote, where, None if alias is None else lambda: discard(shell, alias))


class WrittenFile:
    """A file that is written: it is sent when it is closed.

    Attributes:
        size: Bytes that were written so far.
        before: Bytes of the file that it is written to the end of.
        marked: Whether its text begins without a byte-order mark, since the file that is there has one.
    """

    def __init__(
        self,
        place: Place,
        path: str,
        *,
        append: bool,
        new: bool,
        parents: bool,
        mode: int | None,
        before: int,
        marked: bool,
    ) -> None:
        """Begin a file, which must have been checked.

        Args:
            place: The VM.
            path: The file.
            append: Whether it is written at the end of the file that is there.
            new: Whether a file that is there is an error.
            parents: Whether to make missing directories.
            mode: Permission bits, if they are to be set.
            before: Bytes of the file that it is written to the end of.
            marked: Whether its text begins without a byte-order mark.
        """
        self._place = place
        self._path = path
        self._append, self._new, self._parents, self._mode = append, new, parents, mode
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._local: TemporaryFile | None = None
        self._failure: ArkerError | None = None
        self._sent = False
        self.before = before
        self.marked = marked
        self.size = 0

    async def write(self, data: bytes) -> None:
        """Write some bytes."""
        self._pieces.append(data)
        self._waiting += len(data)
        self.size += len(data)
        if self.size > CHUNK_SIZE and self._waiting > _WRITTEN_AT_ONCE:
            await self._flush()

    async def _flush(self) -> None:
        local = self._local
        if local is None:
            try:
                local = self._local = await opened_in_thread(TemporaryFile, TemporaryFile.close)
            except LocalFileError as error:
                self._failure = error
                raise
            weakref.finalize(self, local.close)
        # Taken only now: what is cancelled before keeps them, and the thread's work is done all the same.
        data, self._pieces, self._waiting = b"".join(self._pieces), [], 0

        def write() -> None:
            try:
                local.write(data)
            except LocalFileError as error:
                self._failure = error
                raise

        await finished_in_thread(write)

    async def send(self, deadline: float | None) -> None:
        """Send what was written since the last call, which is appended to what was sent before."""
        source: Source
        if self._failure is not None:
            raise self._failure  # a part of it is missing, or may be there already
        if self._sent and not self._waiting and self._local is None:
            return
        if self._local is None:
            source = MemorySource(memoryview(b"".join(self._pieces)))
        else:
            await self._flush()
            source = self._local.source()
        try:
            await write_source(
                self._place,
                self._path,
                source,
                _OPERATION,
                parents=self._parents,
                append=self._append,
                mode=self._mode,
                new=self._new,
                deadline=deadline,
            )
        except ArkerError as error:
            if (self._append or self._new) and error.outcome != "not_started":
                self._failure = error  # sent again, it might be there twice
            raise
        except BaseException:
            if self._append or self._new:
                place, path = self._place, self._place.redact(named(self._path))
                self._failure = TransferError(
                    f"{path}: what was written may be there already, since its sending was given up",
                    operation=f"vm.files.{_OPERATION}",
                    outcome="unknown",
                    vm_id=place.redact(place.vm_id),
                    file=path,
                )
            raise
        finally:
            source.close()
        self.drop()
        self._append, self._new, self._parents, self._mode = True, False, False, None
        self._sent = True

    def drop(self) -> None:
        """Forget what was written."""
        self._pieces, self._waiting = [], 0
        local, self._local = self._local, None
        if local is not None:
            local.close()


async def open_for_writing(
    place: Place, path: object, letter: str, codec: str, *, parents: bool, mode: int | None, deadline: float | None
) -> WrittenFile:
    """Open a file for writing. Raises at once if it cannot be written.

    Args:
        place: The VM.
        path: The file.
        letter: The letter of its mode.
        codec: The encoding of its text.
        parents: Whether to make missing directories.
        mode: Permission bits, if they are to be set.
        deadline: Seconds for opening it.
    """
    where = check_path(path)
    shell = PathShell(place, _OPERATION)
    with shell.within(deadline):
        append, new = letter == "a", letter == "x"
        before = await check_writable(shell, where, new=new, parents=parents, sized=append)
        marked = append and await needs_no_mark(shell, where, codec)
    return WrittenFile(place, where, append=append, new=new, parents=parents, mode=mode, before=before, marked=marked)


def check_open_mode(mode: object) -> tuple[str, bool]:
    """Check the mode of an open file, and return its letter, and whether the file is binary."""
    letters = sorted(mode) if isinstance(mode, str) else []
    known = [letter for letter in letters if letter in "rwax"]
    rest = [letter for letter in letters if letter not in "rwax"]
    if len(known) != 1 or rest not in ([], ["b"], ["t"]):
        expected = "expected r, w, a or x, with b for bytes; a file is either read or written"
        raise InvalidArgumentError("mode", mode, expected)
    return known[0], rest == ["b"]


__all__ = ["ReadFile", "WrittenFile", "check_open_mode", "open_for_reading", "open_for_writing"]
