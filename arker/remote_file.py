"""`AsyncRemoteFile`: an open file of a VM."""

from __future__ import annotations

import codecs
import io
import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, AnyStr, Generic, cast

import arker
from arker import _paths
from arker._basics.guidance import instead, no_end, no_plain_block
from arker._basics.pickling import refuse_to_be_pickled
from arker._basics.shown import shown
from arker._basics.typing import Self
from arker._context import Place
from arker._files.sources import check_buffer, is_buffer
from arker._paths.opened import ReadFile, WrittenFile
from arker.errors import ConfigurationError, InvalidArgumentError
from arker.models import _checks as check

_PIECE = 64 * 1024


class _WrongModeError(ConfigurationError, io.UnsupportedOperation):
    """The file is open, but not for this. Libraries that take file objects expect Python's own error."""


class AsyncRemoteFile(Generic[AnyStr]):
    """An open file of a VM, of bytes or of text. `AsyncFiles.open` returns one; ``async with`` opens and closes it.

        async with vm.files.open("/etc/passwd") as file:
            async for line in file:
                print(line.rstrip())

    A file that is read is fetched piece by piece, from any position. A file that is written is kept on this machine and
    sent at the end of the block, or by `flush`; after an exception in the block nothing more is written.

    Only one task at a time may use it.
    """

    __reduce__ = refuse_to_be_pickled
    if not TYPE_CHECKING:
        __getattr__ = instead
        __enter__ = no_plain_block
        __exit__ = no_end

    def __init__(
        self,
        place: Place,
        path: arker.transfer.RemotePath,
        mode: str,
        *,
        encoding: str = "utf-8",
        errors: str = "strict",
        parents: bool = False,
        permissions: int | None = None,
        deadline: float | None = None,
    ) -> None:
        """Initialize the file. Use `AsyncFiles.open` to get one."""
        self._path = path
        _paths.checks.check_path(path)
        _paths.checks.check_mode(permissions)
        self._letter, self._binary = _paths.opened.check_open_mode(mode)
        self._mode = mode
        for argument, value, without_effect in (
            ("encoding", encoding, self._binary and encoding != "utf-8"),
            ("errors", errors, self._binary and errors != "strict"),
            ("parents", parents, self._letter == "r" and parents is True),
            ("permissions", permissions, self._letter == "r" and permissions is not None),
        ):
            if without_effect:
                raise InvalidArgumentError(argument, value, f"expected it without mode={mode!r}")
        self._codec = _paths.contents.check_codec(encoding, errors)
        self._parents = check.check_boolean("parents", parents)
        self._permissions = permissions
        self._deadline = deadline if deadline is None else check.check_seconds("deadline", deadline)
        self._place = place
        self._reading: ReadFile | None = None
        self._writing: WrittenFile | None = None
        self._entered = False
        self._rest: bytes | str = b"" if self._binary else ""
        self._at = 0
        self._decoder: codecs.IncrementalDecoder | None = None
        self._encoder: codecs.IncrementalEncoder | None = None

    def __repr__(self) -> str:
        return shown(self._place.redact(f"<AsyncRemoteFile {str(self._path)!r}, mode {self._mode!r}>"))

    @property
    def path(self) -> str:
        """The file's path in the VM."""
        return str(self._path)

    @property
    def name(self) -> str:
        """The same as ``path``, as files of this machine call it."""
        return self.path

    @property
    def mode(self) -> str:
        """The mode that it was opened with."""
        return self._mode

    @property
    def closed(self) -> bool:
        """Whether the file is not open, or not any more."""
        return self._reading is None and self._writing is None

    @property
    def size(self) -> int:
        """The size in bytes of a file that is read, or of what was written so far; known once it is open."""
        if self._reading is not None:
            return self._reading.size
        return self._open_for("writing").size

    def tell(self) -> int:
        """Return the position in bytes. That of a file that is appended to begins at the size it was opened with.

        A text file that is read does not tell it.
        """
        if self._reading is None:
            writing = self._open_for("writing")
            return writing.before + writing.size
        if not self._binary:
            raise self._problem("a text file does not tell where it is read: open it as binary", _WrongModeError)
        return self._reading.position - (len(self._rest) - self._at)

    def readable(self) -> bool:
        """Return whether the file is one that is read, as a library asks that takes files."""
        return self._letter == "r"

    def writable(self) -> bool:
        """Return whether the file is one that is written."""
        return self._letter != "r"

    def seekable(self) -> bool:
        """Return whether the file has positions that `seek` goes to: a binary file that is read has."""
        return self._binary and self._letter == "r"

    def _problem(self, problem: str, kind: type[ConfigurationError] = ConfigurationError) -> ConfigurationError:
        return kind(f"{self._place.redact(self.path)}: {problem}", operation="vm.files.open")

    def _wrong(self, what: str) -> ConfigurationError:
        """Return the error for a file that is not open for something."""
        advice = "use it as a context manager, once, with the mode that it is used in"
        if self.closed:
            return self._problem(f"the file is not open: {advice}")
        return self._problem(f"the file was not opened for {what}: {advice}", _WrongModeError)

    def _open_for(self, what: str) -> WrittenFile:
        if self._writing is None:
            raise self._wrong(what)
        return self._writing

    def _open_for_reading(self) -> ReadFile:
        if self._reading is None:
            raise self._wrong("reading")
        return self._reading

    # --- life -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._entered:
            raise self._problem("it is used as a context manager once")
        self._entered = True
        if self._letter == "r":
            self._reading = await _paths.opened.open_for_reading(self._place, self._path, self._deadline)
            self._decoder = codecs.getincrementaldecoder(self._codec[0])(self._codec[1])
        else:
            self._writing = await _paths.opened.open_for_writing(
                self._place,
                self._path,
                self._letter,
                self._codec[0],
                parents=self._parents,
                mode=self._permissions,
                deadline=self._deadline,
            )
            self._encoder = codecs.getincrementalencoder(self._codec[0])(self._codec[1])
            if self._writing.marked:
                self._encoder.setstate(0)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is not None and self._writing is not None:
            writing, self._writing = self._writing, None
            writing.drop()
        await self.aclose()

    async def aclose(self) -> None:
        """Close the file; one that is written is sent."""
        reading, self._reading = self._reading, None
        if reading is not None:
            await reading.close()
        writing, self._writing = self._writing, None
        if writing is not None:
            try:
                await writing.send(self._deadline)
            finally:
                writing.drop()

    # --- reading --------------------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AnyStr:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    async def read(self, size: int | None = -1) -> AnyStr:
        """Read the next bytes or characters of the file. A call that fails or is cancelled takes none of them.

        Args:
            size: How many; fewer are returned only at the end of the file. By default (-1 or None) all that remain.
        """
        reading = self._open_for_reading()
        if size is None:
            size = -1
        elif size != -1:
            check.check_integer("size", size, minimum=0)
        if self._binary and size != -1:
            missing = size - (len(self._rest) - self._at)
            with self._put_back_by_failure() as pieces:
                pieces.append(self._take(min(size, len(self._rest) - self._at)))
                if missing > 0:
                    pieces.append(await reading.read(missing))
            return self._joined(pieces)
        with self._put_back_by_failure() as pieces:
            pieces.append(
                self._take(len(self._rest) - self._at if size == -1 else min(size, len(self._rest) - self._at))
            )
            left = -1 if size == -1 else size - len(pieces[0])
            while left and await self._fill(_PIECE if size != -1 else reading.size):
                piece = self._take(len(self._rest) if left == -1 else min(left, len(self._rest)))
                pieces.append(piece)
                left -= len(piece) if left > 0 else 0
        return self._joined(pieces)

    async def readline(self) -> AnyStr:
        r"""Read a line, with its ``\n``; nothing at the end of the file."""
        self._open_for_reading()
        end: Any = b"\n" if self._binary else "\n"
        with self._put_back_by_failure() as pieces:
            while True:
                rest: Any = self._rest
                found: int = rest.find(end, self._at)
                if found >= 0:
                    pieces.append(self._take(found + 1 - self._at))
                    break
                pieces.append(self._take(len(rest) - self._at))
                if not await self._fill(_PIECE):
                    break
        return self._joined(pieces)

    async def readlines(self, hint: int | None = -1) -> list[AnyStr]:
        r"""Read the lines that remain, each with its ``\n``.

        Args:
            hint: The number of bytes or characters after which no further line is read; by default (-1 or None), or if
                it is 0, all lines are.
        """
        self._open_for_reading()
        if hint is not None and hint != -1:
            check.check_integer("hint", hint, minimum=0)
        most = hint if hint is not None and hint > 0 else None
        count = 0
        with self._put_back_by_failure() as lines:
            while (most is None or count < most) and (line := await self.readline()):
                lines.append(line)
                count += len(line)
        return lines

    @contextmanager
    def _put_back_by_failure(self) -> Generator[list[Any], None, None]:
        """Collect pieces that are read. After an error they are what is read next, or the caller would have a gap."""
        pieces: list[Any] = []
        try:
            yield pieces
        except BaseException:
            self._rest, self._at = self._joined([*pieces, self._rest[self._at :]]), 0
            raise

    def _joined(self, pieces: list[Any]) -> AnyStr:
        return cast("AnyStr", (b"" if self._binary else "").join(pieces))

    def _take(self, count: int) -> Any:
        piece: Any = self._rest[self._at : self._at + count]
        self._at += count
        return piece

    async def _fill(self, size: int) -> bool:
        """Fetch what comes next, all that was held having been taken. Return False at the end."""
        reading = self._open_for_reading()
        while True:
            data = await reading.read(size)
            if self._binary:
                self._rest, self._at = data, 0
                return bool(data)
            assert self._decoder is not None
            before = self._decoder.getstate()
            try:
                self._rest, self._at = self._decoder.decode(data, not data), 0
            except UnicodeError:
                self._decoder.setstate(before)
                reading.position -= len(data)
                raise
            if self._rest or not data:
                return bool(self._rest)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position in a file that is read, and return it. A text file moves to its beginning only.

        Args:
            offset: The position in bytes.
            whence: Where it counts from: `os.SEEK_SET`, `os.SEEK_CUR` or `os.SEEK_END`.
        """
        reading = self._open_for_reading()
        if whence not in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
            raise InvalidArgumentError("whence", whence, "expected os.SEEK_SET, os.SEEK_CUR or os.SEEK_END")
        check.check_integer("offset", offset, minimum=0 if whence == os.SEEK_SET else -(2**62))
        if not self._binary and whence != os.SEEK_SET:
            raise InvalidArgumentError("whence", whence, "expected os.SEEK_SET for a text file: open it as binary")
        if not self._binary and offset != 0:
            raise InvalidArgumentError("offset", offset, "expected 0 for a text file: open it as binary")
        before = 0 if whence == os.SEEK_SET else reading.size if whence == os.SEEK_END else self.tell()
        if before + offset < 0:
            raise InvalidArgumentError("offset", offset, "expected a position within the file, or after it")
        reading.position = before + offset
        self._rest, self._at = (b"" if self._binary else ""), 0
        if self._decoder is not None:
            self._decoder.reset()
        return reading.position

    # --- writing --------------------------------------------------------------------------------------------------

    async def write(self, data: AnyStr) -> int:
        """Write bytes, or text to a text file. Return how many bytes or characters they are.

        Args:
            data: What to write.
        """
        writing = self._open_for("writing")
        if self._binary:
            if not is_buffer(data):
                raise InvalidArgumentError("data", data, "expected bytes, since the file was opened as binary")
            content = bytes(check_buffer("data", data))
            await writing.write(content)
            return len(content)
        if not isinstance(data, str):
            raise InvalidArgumentError("data", data, "expected text, since the file was opened as text")
        assert self._encoder is not None
        try:
            encoded = self._encoder.encode(data)
        except UnicodeEncodeError as error:
            raise InvalidArgumentError("data", data, f"expected text that {error.encoding} can encode") from None
        await writing.write(encoded)
        return len(data)

    async def writelines(self, lines: Iterable[AnyStr]) -> None:
        r"""Write several pieces, one after the other. No ``\n`` is added.

        Args:
            lines: Bytes, or texts for a text file.
        """
        self._open_for("writing")
        several = isinstance(lines, Iterable)  # pyright: ignore[reportUnnecessaryIsInstance]
        if not several or isinstance(lines, str) or is_buffer(lines):
            raise InvalidArgumentError("lines", lines, "expected a list, or another iterable, of what write takes")
        for line in lines:
            await self.write(line)

    async def flush(self) -> None:
        """Send what was written so far, so that the file in the VM has it. What is written later is appended to it.

        Without this, nothing is sent before the file is closed, and then all of it at once: the file is the former one
        or the whole new one. A file that is read is left as it is.
        """
        if self._reading is None:
            await self._open_for("writing").send(self._deadline)


__all__ = ["AsyncRemoteFile"]
