"""The conversion of bytes to JSON strings: UTF-8 text as it is, anything else in base64 (contract, section 4).

Large data is worked on in pieces and off the event loop: a single call would hold the interpreter for its whole length.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import secrets
import weakref
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Final, TypeAlias

import orjson
import pybase64
from attrs import frozen

from arker.emulator.sandbox.base import LargeOutput
from arker.emulator.server.errors import ServiceError, missing

_PIECE = 768 * 1024  # a multiple of 3, so that pieces of base64 join without padding
_SMALL = 64 * 1024
_AT_ONCE = 8 * 1024 * 1024
"""Bytes that a reply may hold of an output; of a larger one it makes pieces as they are sent, and so twice."""
KEPT_SMALL: Final = 16 * 1024
"""Bytes of an output that stays in memory as long as its run is remembered."""


class StoredOutput:
    """The output of a run that has ended, in a file: runs are remembered for long, and would take too much memory.

    The file goes when nothing refers to it any more, unless it is lasting: then it outlives this process.
    """

    def __init__(self, content: LargeOutput, *, lasting: bool = False) -> None:
        self.content = content
        self._finalize = None if lasting else weakref.finalize(self, content.path.unlink, missing_ok=True)

    def discard(self) -> None:
        """Discard the file now."""
        if self._finalize is None:
            self.content.path.unlink(missing_ok=True)
        else:
            self._finalize()


Output: TypeAlias = bytes | LargeOutput | StoredOutput | None
"""That of a run; None when it has gone with its VM."""


async def store(data: Output, directory: Path, *, lasting: bool = False) -> Output:
    """Store an output for long: a small one as it is, a large one in a file below the directory. Raises `OSError`."""
    if isinstance(data, StoredOutput):
        content = data.content
        if content.rest:
            await asyncio.to_thread(_write, content.path, content.rest, content.stored)
            data.content = LargeOutput(content.path, len(content), b"")
        return data
    if not isinstance(data, bytes) or len(data) <= KEPT_SMALL:
        return data
    path = directory / f"output-{secrets.token_hex(12)}"
    stored = StoredOutput(LargeOutput(path, len(data), b""), lasting=lasting)
    await asyncio.to_thread(_write, path, data, 0)
    return stored


def _write(path: Path, data: bytes, offset: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | (0 if offset else os.O_CREAT), 0o600)
    try:
        view = memoryview(data)
        while view:
            count = os.pwrite(fd, view, offset)
            offset += count
            view = view[count:]
    finally:
        os.close(fd)


def after_vm(data: Output) -> Output:
    """Return what is kept of an output after its VM is gone: enough for a small answer to repeated requests."""
    if isinstance(data, bytes) and len(data) <= KEPT_SMALL:
        return data
    if isinstance(data, StoredOutput):
        data.discard()
    return None


class _Source:
    """An output that is read in pieces. Some are in a file, which stays readable after its removal."""

    def __init__(self, data: bytes | LargeOutput) -> None:
        """Open the output. Raises `FileNotFoundError`."""
        self._file = None if isinstance(data, bytes) else data.path.open("rb", buffering=0)
        self._stored, self._rest = (0, data) if isinstance(data, bytes) else (data.stored, data.rest)
        self.size = len(data)

    def pieces(self) -> Iterator[tuple[bytes, bool]]:
        """Yield pieces of one size, each with whether it is the last."""
        for offset in range(0, self.size, _PIECE):
            yield self._read(offset, min(_PIECE, self.size - offset)), offset + _PIECE >= self.size

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _read(self, offset: int, count: int) -> bytes:
        parts: list[bytes] = []
        while count and offset < self._stored and self._file is not None:
            part = os.pread(self._file.fileno(), min(count, self._stored - offset), offset)
            if not part:
                raise OSError("the file of an output has become shorter")
            parts.append(part)
            offset += len(part)
            count -= len(part)
        if count:
            parts.append(self._rest[offset - self._stored : offset - self._stored + count])
        return parts[0] if len(parts) == 1 else b"".join(parts)


class Pieces:
    """The JSON text of a large output, without the outer quotes."""

    def __init__(self, source: _Source) -> None:
        """Determine the output's encoding. This takes as long as encoding it."""
        self._source = source
        self._held: list[bytes] | None = None
        hold = source.size <= _AT_ONCE
        held: list[bytes] = []
        size = 0
        self.encoding = "utf-8"
        try:
            for piece in self._texts():
                size += len(piece)
                if hold:
                    held.append(piece)
        except ValueError:
            self.encoding = "base64"
            size = (source.size + 2) // 3 * 4
            held = list(self._base64()) if hold else []
        self.size = size
        if hold:
            self._held = held
            source.close()

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        if self._held is not None:
            for piece in self._held:
                yield piece
            return
        pieces = self._texts() if self.encoding == "utf-8" else self._base64()
        while (part := await asyncio.to_thread(lambda: next(pieces, None))) is not None:
            yield part

    def close(self) -> None:
        self._source.close()

    def _texts(self) -> Iterator[bytes]:
        """Yield pieces of a JSON string. Raises `ValueError` when the output is not text."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        for piece, last in self._source.pieces():
            if b"\0" in piece:
                raise ValueError("NUL")
            yield orjson.dumps(decoder.decode(piece, last))[1:-1]

    def _base64(self) -> Iterator[bytes]:
        for piece, _ in self._source.pieces():
            yield pybase64.b64encode(piece)


@frozen
class Encoded:
    """An output that is being put into a reply.

    Attributes:
        text: The text, or the pieces of a large one.
        encoding: ``utf-8`` or ``base64``.
    """

    text: str | Pieces
    encoding: str

    def close(self) -> None:
        if isinstance(self.text, Pieces):
            self.text.close()


async def encode(data: Output) -> Encoded:
    """Encode an output for a reply. The result has to be closed."""
    if data is None:
        raise _gone()
    if isinstance(data, StoredOutput):
        data = data.content
    if isinstance(data, LargeOutput) or len(data) > _SMALL:
        return await asyncio.to_thread(_encode_large, data)
    if b"\0" not in data:
        try:
            return Encoded(data.decode(), "utf-8")
        except UnicodeDecodeError:
            pass
    return Encoded(pybase64.b64encode_as_string(data), "base64")


def _encode_large(data: bytes | LargeOutput) -> Encoded:
    try:
        source = _Source(data)
    except FileNotFoundError:
        raise _gone() from None
    try:
        pieces = Pieces(source)
    except BaseException:
        source.close()
        raise
    return Encoded(pieces, pieces.encoding)


def _gone() -> ServiceError:
    return missing("run", "the VM of this run has been deleted, and its output with it")


def decode_base64(name: str, text: str) -> bytes:
    """Decode strict base64 text. The most that one request may carry takes less than a millisecond."""
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError:
        raise ServiceError("bad_request", f"{name}: expected base64") from None


__all__ = ["Encoded", "Output", "Pieces", "StoredOutput", "after_vm", "decode_base64", "encode", "store"]
