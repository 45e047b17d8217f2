"""The output of a run: held in memory up to a bound, and in a file beyond it."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from arker.emulator.sandbox.base import LargeOutput

IN_MEMORY: Final = 1024 * 1024
"""Bytes; what is more goes into a file, where there is a place for one."""
WAITING: Final = 4 * IN_MEMORY
"""Bytes that may wait for the disk; then the command has to wait for it, too."""
_MOST_CHUNKS: Final = 1024


class Capture:
    """One output of a run. Files are written in threads: a disk may take its time.

    Args:
        spool: Where files are made; None keeps everything in memory.
        resume: Called when more can be taken, after `add` has said that it cannot.
        drop: Called with the number of bytes that could not be kept.
    """

    def __init__(self, spool: Path | None, resume: Callable[[], None], drop: Callable[[int], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._resume = resume
        self._drop = drop
        self._path = None if spool is None else spool / f"output-{secrets.token_hex(12)}"
        self._stored = 0
        self._going: list[bytes] = []
        """The chunks that are being written to the file."""
        self._chunks: list[bytes] = []
        self._size = 0
        """That of the chunks."""
        self._paused = self._released = False
        self.failure: str | None = None
        """Why the file cannot take any more."""

    def add(self, data: bytes) -> bool:
        """Add the next piece. Returns whether more may be added at once."""
        if self.failure is not None:
            self._drop(len(data))
            return True
        if len(self._chunks) == _MOST_CHUNKS:  # each costs more than a byte or two
            self._chunks = [b"".join(self._chunks)]
        self._chunks.append(data)
        self._size += len(data)
        if self._path is not None and self._size > IN_MEMORY and not self._going:
            self._write(self._path)
        self._paused = bool(self._going) and self._size > WAITING
        return not self._paused

    def content(self) -> bytes | LargeOutput:
        """Return everything that has been added; nothing after `release`."""
        if self._released:
            return b""
        if len(self._chunks) > 1:
            self._chunks = [b"".join(self._chunks)]
        rest = b"".join((*self._going, *self._chunks)) if self._going else self._chunks[0] if self._chunks else b""
        return LargeOutput(self._path, self._stored, rest) if self._path is not None and self._stored else rest

    def release(self) -> None:
        """Release everything. The caller that has the last `content` owns its file, too."""
        self._released = True
        self._chunks, self._size = [], 0

    def _write(self, path: Path) -> None:
        self._going, self._chunks, self._size = self._chunks, [], 0
        writing = self._loop.run_in_executor(None, _append, path, self._stored, self._going)
        writing.add_done_callback(self._written)

    def _written(self, writing: asyncio.Future[int]) -> None:
        going, self._going = self._going, []
        error = None if writing.cancelled() else writing.exception()
        if self._released:
            if not self._stored and self._path is not None:  # the content was given away without the file
                self._path.unlink(missing_ok=True)
        elif error is None and not writing.cancelled():
            self._stored += writing.result()
        else:
            # Keep what could not be written in memory; later output is dropped.
            self._chunks = [*going, *self._chunks]
            self.failure = getattr(error, "strerror", None) or str(error)
        if self._path is not None and self.failure is None and not self._released and self._size > IN_MEMORY:
            self._write(self._path)
        if self._paused:
            self._paused = False
            self._resume()


def _append(path: Path, offset: int, chunks: list[bytes]) -> int:
    """Append chunks to a file, which is made for the first of them. Returns the number of bytes written."""
    # Do not create it again: its owner may have removed it.
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | (0 if offset else os.O_CREAT), 0o600)
    done = 0
    try:
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                count = os.pwrite(fd, view, offset + done)
                done += count
                view = view[count:]
    finally:
        os.close(fd)
    return done


__all__ = ["IN_MEMORY", "Capture"]
