"""Bytes become JSON strings: UTF-8 text as it is, anything else in base64 (contract, section 4).

Large data is worked on in pieces and off the event loop: a single call would hold the interpreter for its whole length.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import codecs
import secrets
import weakref
from pathlib import Path
from typing import TypeAlias

import orjson
from attrs import frozen

from arker.emulator.server.errors import ServiceError

_PIECE = 768 * 1024  # a multiple of 3, so that pieces of base64 join without padding
_SMALL = 64 * 1024


class StoredOutput:
    """Output of a run that has ended, in a file: runs are remembered for long, and memory is not for that.

    The file goes when nothing refers to it any more.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._remove = weakref.finalize(self, path.unlink, missing_ok=True)

    def read(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            raise ServiceError("not_found", "the VM of this run has been deleted") from None

    def discard(self) -> None:
        """Remove the file now."""
        self._remove()


Output: TypeAlias = bytes | StoredOutput


async def store(data: Output, directory: Path) -> Output:
    """Keep an output for long: a small one as it is, a large one in a file below the directory."""
    if isinstance(data, StoredOutput) or len(data) <= _SMALL:
        return data
    path = directory / f"output-{secrets.token_hex(12)}"
    stored = StoredOutput(path)
    await asyncio.to_thread(path.write_bytes, data)
    return stored


@frozen
class Encoded:
    """An output on its way into a reply.

    Attributes:
        text: The text, or the pieces of a large one, which are JSON already (without the quotes around the whole).
        encoding: ``utf-8`` or ``base64``.
    """

    text: str | list[bytes]
    encoding: str


async def encode(data: Output) -> Encoded:
    """What stands for ``data`` in a reply."""
    if isinstance(data, StoredOutput):
        return await asyncio.to_thread(lambda: _encode_large(data.read()))
    if len(data) > _SMALL:
        return await asyncio.to_thread(_encode_large, data)
    if b"\0" not in data:
        try:
            return Encoded(data.decode(), "utf-8")
        except UnicodeDecodeError:
            pass
    return Encoded(binascii.b2a_base64(data, newline=False).decode("ascii"), "base64")


def _encode_large(data: bytes) -> Encoded:
    view = memoryview(data)
    pieces: list[bytes] = []
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for offset in range(0, len(view), _PIECE):
            piece = bytes(view[offset : offset + _PIECE])
            if b"\0" in piece:
                raise ValueError("NUL")
            text = decoder.decode(piece, offset + _PIECE >= len(view))
            pieces.append(orjson.dumps(text)[1:-1])
    except ValueError:
        return Encoded(
            [
                binascii.b2a_base64(view[offset : offset + _PIECE], newline=False)
                for offset in range(0, len(view), _PIECE)
            ],
            "base64",
        )
    return Encoded(pieces, "utf-8")


async def decode_base64(name: str, text: str) -> bytes:
    """The bytes of strict base64 text."""
    try:
        if len(text) <= _SMALL:
            return base64.b64decode(text, validate=True)
        return await asyncio.to_thread(_decode_large, text)
    except ValueError:
        raise ServiceError("bad_request", f"{name}: expected base64") from None


def _decode_large(text: str) -> bytes:
    step = _PIECE // 3 * 4
    return b"".join([base64.b64decode(text[at : at + step], validate=True) for at in range(0, len(text), step)])


__all__ = ["Encoded", "Output", "StoredOutput", "decode_base64", "encode", "store"]
