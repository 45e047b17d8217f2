"""The only converter between JSON values and models.

It tolerates newer and older servers: unknown fields are ignored, unknown values of enumerations kept, absent or null
optional fields take their default, null lists are empty. It is strict otherwise: a wrong type or a missing required
field is a `Misfit` with its place, and nothing is coerced (``"false"`` is no boolean, ``7`` no string).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from arker import models
from arker._protocol.codec.hooks import Hook, Misfit
from arker.errors import InvalidArgumentError

if TYPE_CHECKING:
    from cattrs import Converter

    from arker.models import SyncChunkWrite

T = TypeVar("T")

_lock = threading.RLock()
"""Building the functions of a class is not thread-safe, and two event loops may live in two threads."""
_hooks: dict[Any, Hook] = {}
_unhooks: dict[type, Callable[[Any], Any]] = {}

# orjson brings json, datetime and uuid along, so it is imported by the functions that need it: with the first request.
# So is pybase64, which few programs need at all.


@cache
def _converter() -> Converter:
    # cattrs is a good part of the package's import time, so it is imported with the first value to convert.
    from arker._protocol.codec.converter import make_converter

    return make_converter()


@cache
def _leniency() -> ModuleType:
    from arker._protocol.codec import leniency  # for the same reason

    return leniency


def _hook(cls: Any) -> Hook:
    hook = _hooks.get(cls)
    if hook is None:
        with _lock:
            hook = _hooks[cls] = _converter().get_structure_hook(cls)
    return hook


def loads(text: bytes) -> object:
    """Parse a JSON text; raises `ValueError` if it is not valid."""
    import orjson  # see above

    value: object = orjson.loads(text)
    return value


def structure(value: object, cls: type[T]) -> T:
    """Make the model of a JSON value; raises `Misfit`."""
    try:
        made: T = _hook(cls)(value, cls)
        return made
    except (Misfit, KeyError, TypeError, ValueError, AttributeError) as error:
        # The fast function does not tell where the error is; this one does.
        from arker._protocol.codec.converter import locate  # loaded by `_converter`

        with _lock:
            raise locate(value, cls, error) from None


_lenient_hooks: dict[Any, Hook] = {}


def structure_leniently(value: object, cls: type[T]) -> tuple[T, list[tuple[type, str]]]:
    """Make a model with the fields that fit; raises `Misfit` where a required one does not.

    Returns:
        The model, and the fields that did not fit, with their classes.
    """
    leniency = _leniency()
    hook = _lenient_hooks.get(cls)
    if hook is None:
        with _lock:
            hook = _lenient_hooks[cls] = leniency.lenient_converter().get_structure_hook(cls)
    try:
        result: T = hook(value, cls)
    except Misfit as misfit:
        leniency.take_noted()
        raise Misfit(misfit.problem, f"${misfit.path}") from None
    return result, leniency.take_noted()


def unstructure(value: object) -> Any:
    """Return the JSON value of a request. Members that are None are left out, at every depth."""
    cls = value.__class__
    with _lock:  # the functions of what is inside are built when it is first met
        unhook = _unhooks.get(cls)
        if unhook is None:
            unhook = _unhooks[cls] = _converter().get_unstructure_hook(cls)
        return unhook(value)


def dumps(value: object) -> bytes:
    """Return the JSON text of a request."""
    import orjson  # see above

    try:
        return orjson.dumps(unstructure(value))
    except TypeError as error:
        # Only values that callers pass unchecked, such as an unknown policy, can contain such a thing.
        raise InvalidArgumentError(type(value).__name__, value, f"expected values that JSON has ({error})") from None


def dumps_plain(value: object) -> bytes:
    """Return the JSON text of a JSON value. Members that are None are written as null."""
    import orjson  # see above

    return orjson.dumps(value)


def dumps_chunk(chunk: SyncChunkWrite) -> bytes:
    """Return the JSON text of a write of this chunk alone.

    Its content is most of the text, so it is inserted last: copying 4 MiB takes as long as sending them.
    """
    return b"".join(_around_content(chunk))


def dumps_chunk_in_two(chunk: SyncChunkWrite) -> tuple[bytes, bytes]:
    """Return the same text as `dumps_chunk` in two pieces: up to the end of the content, and the members after it."""
    before, content, after = _around_content(chunk)
    return before + content, after


def _around_content(chunk: SyncChunkWrite) -> tuple[bytes, bytes, bytes]:
    import pybase64  # see above

    empty = b'"content":""'  # cannot occur within a string, where its quotes would be escaped
    before, after = dumps(models.SyncWriteRequest((attrs.evolve(chunk, content=b""),))).split(empty)
    return before + empty[:-1], pybase64.b64encode(chunk.content), b'"' + after


def dumps_whole(path: str, upload_id: str, content: bytes | memoryview, sha256: str | None) -> bytes:
    """Return the JSON text of an entry that writes a file in its only chunk.

    It is built by hand, since there may be many small files.
    """
    import orjson  # see above
    import pybase64  # see above

    size = len(content)
    return b'{"path":%b,"size":%d,"upload_id":"%b","start":0,"end":%d,%b"content":"%b"}' % (
        orjson.dumps(path),
        size,
        upload_id.encode(),
        size,
        b"" if sha256 is None else b'"sha256":"%b",' % sha256.encode(),
        pybase64.b64encode(content),
    )


def dumps_entries(entries: Sequence[bytes]) -> bytes:
    """Return the JSON text of a write of such entries."""
    return b'{"op":"write","writes":[%b]}' % b",".join(entries)


__all__ = [
    "Misfit",
    "dumps",
    "dumps_chunk",
    "dumps_chunk_in_two",
    "dumps_entries",
    "dumps_plain",
    "dumps_whole",
    "loads",
    "structure",
    "structure_leniently",
    "unstructure",
]
