"""The content of files: read and written as a whole, by the server's own calls for files."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Final

from arker import _files
from arker._basics.programs import shell_program
from arker._context import Place
from arker._files.job import make_job
from arker._files.ranges import CONCURRENCY
from arker._files.refusals import is_utf8, octal
from arker._files.sources import MemorySource
from arker._files.strategies import Options
from arker._files.uploads import move
from arker._paths.checks import check_mode, check_path, named
from arker._paths.shell import PathShell
from arker._paths.spool import discard, temporary_path
from arker._tasks.cleanup import clean_up
from arker.errors import ArkerError, InvalidArgumentError
from arker.models import _checks as check

if TYPE_CHECKING:
    from arker._files.sources import Source

_ALIAS: Final = shell_program(__package__, "alias.sh")
_CHECK: Final = shell_program(__package__, "check.sh")
_CHMOD: Final = shell_program(__package__, "chmod.sh")
_PUT: Final = shell_program(__package__, "put.sh")
_TEST: Final = shell_program(__package__, "test.sh")

_SMALL: Final = 8 * 1024
"""Bytes that are appended by the command itself; five times as many are sent."""


async def read(place: Place, path: object, operation: str, *, most: int | None, deadline: float | None) -> bytes:
    """Return the bytes of a file; see `AsyncFiles.read_bytes`."""
    where = check_path(path)
    limit = None if most is None else check.check_integer("max_bytes", most, minimum=0)
    shell = PathShell(place, operation)
    with shell.within(deadline):
        if is_utf8(where):
            return await _files.whole.read(place, named(where), limit, deadline=None, operation=shell.operation)
        alias = await alias_of(shell, where)
        try:
            return await _files.whole.read(place, alias, limit, deadline=None, operation=shell.operation)
        finally:
            await clean_up(discard(shell, alias))


async def alias_of(shell: PathShell, path: str) -> str:
    """Give a file another name, which JSON can carry. The caller removes it."""
    alias = temporary_path()
    try:
        await shell.run(_ALIAS, [path, alias], [path])
    except BaseException:
        await clean_up(_discarded(shell, alias))
        raise
    return alias


def checked_text(text: object, encoding: object, errors: object) -> bytes:
    """Return the bytes of a text."""
    if not isinstance(text, str):
        raise InvalidArgumentError("text", text, "expected a string; write_bytes takes bytes")
    codec, handler = check_codec(encoding, errors)
    try:
        return text.encode(codec, handler)
    except UnicodeEncodeError as error:
        expected = f"expected text that {codec} can encode ({error.reason} at {error.start}), or other errors="
        raise InvalidArgumentError("text", text, expected) from None


def check_codec(encoding: object, errors: object) -> tuple[str, str]:
    """Check the names of an encoding and of an error handler."""
    try:
        codecs.lookup(encoding)  # type: ignore[arg-type]
        "".encode(str(encoding))  # refuses a codec that is none of text, such as hex
    except (LookupError, TypeError, ValueError):
        raise InvalidArgumentError("encoding", encoding, "expected the name of an encoding, such as utf-8") from None
    try:
        codecs.lookup_error(errors)  # type: ignore[arg-type]
    except (LookupError, TypeError, ValueError):
        raise InvalidArgumentError("errors", errors, "expected an error handler, such as strict or replace") from None
    return str(encoding), str(errors)


async def needs_no_mark(shell: PathShell, path: str, encoding: str) -> bool:
    """Return whether text for a file's end is written without a byte-order mark: the file has one at its beginning.

    Args:
        shell: The operation.
        path: The file.
        encoding: The encoding of the text; few have a mark.
    """
    if not "".encode(encoding):
        return False
    return (await shell.run(_TEST, ["-s", path], [path])).stdout == b"1"


async def write_text(
    place: Place,
    path: object,
    text: object,
    encoding: object,
    errors: object,
    *,
    parents: bool,
    append: bool,
    mode: int | None,
    deadline: float | None,
) -> None:
    """Write text to a file; see `AsyncFiles.write_text`."""
    data, (codec, handler) = checked_text(text, encoding, errors), check_codec(encoding, errors)
    shell = PathShell(place, "write_text")
    with shell.within(deadline):
        if check.check_boolean("append", append) and await needs_no_mark(shell, check_path(path), codec):
            encoder = codecs.getincrementalencoder(codec)(handler)
            encoder.setstate(0)
            data = encoder.encode(str(text), True)
        await write(place, path, data, "write_text", parents=parents, append=append, mode=mode)


async def write(
    place: Place,
    path: object,
    data: bytes | bytearray | memoryview,
    operation: str,
    *,
    parents: bool = False,
    append: bool = False,
    mode: int | None = None,
    deadline: float | None = None,
) -> int:
    """Write bytes to a file, and return how many; see `AsyncFiles.write_bytes`."""
    if isinstance(data, str):
        raise InvalidArgumentError("data", data, "expected bytes, a bytearray or a memoryview; write_text takes text")
    source = MemorySource(_files.sources.check_data(data))
    await write_source(
        place, path, source, operation, parents=parents, append=append, mode=mode, new=False, deadline=deadline
    )
    return source.size


async def write_source(
    place: Place,
    path: object,
    source: Source,
    operation: str,
    *,
    parents: bool,
    append: bool,
    mode: int | None,
    new: bool,
    deadline: float | None,
) -> None:
    """Write a source to a file.

    Args:
        place: The VM.
        path: The file.
        source: The content.
        operation: The name of the method.
        parents: Whether to make missing directories.
        append: Whether to write at the file's end.
        mode: Permission bits, if they are to be set.
        new: Whether a file that is there is an error.
        deadline: Seconds for all of it.
    """
    where, bits = check_path(path), check_mode(mode)
    above, at_end = check.check_boolean("parents", parents), check.check_boolean("append", append)
    shell = PathShell(place, operation)
    with shell.within(deadline):
        if at_end or not is_utf8(where):
            await _put(shell, where, source, how=">>" if at_end else ">", parents=above)
            if bits:
                await shell.change(_CHMOD, [where, bits], [where])
            return
        await check_writable(shell, where, new=new, parents=above)
        await _send(shell, source, where, mode)


async def check_writable(shell: PathShell, path: str, *, new: bool, parents: bool, sized: bool = False) -> int:
    """Refuse a file that cannot be written. Return its size if that is asked for; 0 if there is no file yet.

    Args:
        shell: The operation.
        path: The file.
        new: Whether a file that is there is refused.
        parents: Whether missing directories are made.
        sized: Whether its size is asked for.
    """
    words = [path, "new" if new else "", "1" if parents else "", "1" if sized else ""]
    size = (await shell.run(_CHECK, words, [path])).stdout
    if size and not size.isdigit():
        raise shell.wrong("a size is no number")
    return int(size or 0)


async def _send(shell: PathShell, source: Source, path: str, mode: int | None = None) -> None:
    job = make_job(shell.place, shell.operation, "upload", concurrency=CONCURRENCY)
    async with job.named(named(path)):
        await move(job, source, path, Options(mode=mode))


async def _put(shell: PathShell, path: str, source: Source, *, how: str, parents: bool) -> None:
    """Write through the file that is there, by a command."""
    make = "1" if parents else ""
    if source.size <= _SMALL and source.in_memory:
        await shell.change(_PUT, [path, how, "", octal(bytes(source.read(0, source.size))), make], [path])
        return
    staged = temporary_path()
    try:
        await _send(shell, source, staged)
        await shell.change(_PUT, [path, how, staged, "", make], [path])
    except BaseException:
        await clean_up(_discarded(shell, staged))
        raise


async def _discarded(shell: PathShell, path: str) -> None:
    try:
        await discard(shell, path)
    except ArkerError:
        pass  # what went wrong before is raised


__all__ = [
    "alias_of",
    "check_codec",
    "check_writable",
    "checked_text",
    "needs_no_mark",
    "read",
    "write",
    "write_source",
    "write_text",
]
