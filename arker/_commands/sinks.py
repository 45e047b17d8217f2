"""What takes a command's output as it comes: a function of the caller's, or a file object."""

from __future__ import annotations

import inspect
import io
import re
from codecs import getincrementaldecoder
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from arker._files.sources import is_text_file
from arker._files.written import drain_of, rest_of
from arker.errors import InvalidArgumentError

if TYPE_CHECKING:
    from codecs import IncrementalDecoder

_BYTES: Final = {"bytes", "bytearray", "memoryview", "Buffer", "ReadableBuffer"}
_EXPECTED: Final = "expected a function of one argument, or a text or binary file that is open for writing"


class Sink:
    """What takes one stream of a command's output, in pieces."""

    def __init__(self, put: Callable[[Any], object], *, text: bool) -> None:
        """Make a sink.

        Args:
            put: Takes a piece. What it returns is awaited if it can be.
            text: Whether the pieces are text, else bytes.
        """
        self.put = put
        self.text = text
        self._decoder: IncrementalDecoder = getincrementaldecoder("utf-8")("replace")

    async def take(self, data: bytes, *, final: bool = False) -> None:
        """Hand on the next bytes; with ``final`` there are no more."""
        piece: str | bytes = self._decoder.decode(data, final) if self.text else data
        if piece:
            done = self.put(piece)
            if inspect.isawaitable(done):
                await cast("Awaitable[object]", done)


def sink_of(argument: str, value: Any) -> Sink | None:
    """Return the sink for a caller's argument; None for None.

    Raises:
        InvalidArgumentError: It is neither a function nor a file that is open for writing.
    """
    if value is None:
        return None
    if isinstance(value, Sink):
        return Sink(value.put, text=value.text)  # each run has a decoder of its own
    write: object = None if isinstance(value, type) else getattr(value, "write", None)
    if callable(write):
        return Sink(partial(_write, value), text=_is_text(argument, value))
    if not callable(value) or isinstance(value, type):
        raise InvalidArgumentError(argument, value, _EXPECTED)
    return Sink(value, text=True)


def _is_text(argument: str, file: Any) -> bool:
    """Return whether a file takes text."""
    if getattr(file, "closed", False) is True:
        raise InvalidArgumentError(argument, file, f"{_EXPECTED}; this one is closed")
    if isinstance(file, io.TextIOBase):
        # Classes of callers often have a write method alone, and do not say that they are writable.
        given: Any = file
        if issubclass(type(given), io.TextIOWrapper) and not given.writable():
            raise InvalidArgumentError(argument, given, f"{_EXPECTED}; this one is open for reading")
        return True
    if isinstance(file, (io.RawIOBase, io.BufferedIOBase)):
        if not file.writable():
            raise InvalidArgumentError(argument, file, f"{_EXPECTED}; this one is open for reading")
        return False
    if is_text_file(file):
        return True
    mode: object = getattr(file, "mode", None)
    if isinstance(mode, str) and "b" in mode:
        return False
    declared = _declared(file.write)
    if "str" in declared or not declared.isdisjoint(_BYTES):
        return "str" in declared
    if isinstance(mode, str) and inspect.iscoroutinefunction(file.write):
        return True
    try:
        found: object = file.write("")
    except (TypeError, AttributeError, AssertionError):  # it adds text to bytes, decodes it, or is a pipe of asyncio
        return False
    if inspect.iscoroutine(found):
        found.close()  # only the awaiting would tell
        raise InvalidArgumentError(argument, file, f"{_EXPECTED}; annotate what this one's write takes: str or bytes")
    return True


def _declared(write: Callable[..., object]) -> set[str]:
    """Return the words of the annotation of what a file's write takes, if there is one."""
    try:
        parameters = inspect.signature(write).parameters.values()
    except (TypeError, ValueError):
        return set()
    annotation: object = next((each.annotation for each in parameters), None)
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return set(re.findall(r"\w+", text))


def _write(file: Any, piece: Any) -> Awaitable[object] | None:
    """Write a piece. Return an awaitable that does the rest if the file's write has to be awaited, else None."""
    left = piece
    while left:
        written: object = file.write(left)
        if inspect.isawaitable(written):
            return _write_on(file, left, cast("Awaitable[object]", written))
        left = _left(file, left, written)
    # It is to be seen as it comes.
    settle: Any = next(filter(callable, (getattr(file, "flush", None), drain_of(file))), None)
    settled: object = None if settle is None else settle()
    return cast("Awaitable[object]", settled) if inspect.isawaitable(settled) else None


async def _write_on(file: Any, left: Any, begun: Awaitable[object]) -> None:
    more = _write(file, _left(file, left, await begun))
    if more is not None:
        await more


def _left(file: Any, piece: Any, written: object) -> Any:
    """Return what is left of a piece, of which text is always taken as a whole."""
    return rest_of(file, piece, written) if isinstance(piece, bytes) else piece[:0]


__all__ = ["Sink", "sink_of"]
