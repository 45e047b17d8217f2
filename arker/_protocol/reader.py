"""The reader of replies: exact, or with the fields that fit if the server has changed. Pure but for its notes.

A reply may differ from the contract: in an envelope, with a byte order mark, with fields of other types. None of that
may lose a VM, a run or a result. Nothing is guessed: a value of another type is never converted.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from arker._protocol.codec import codec
from arker._protocol.codec.hooks import is_array, is_object
from arker.models import _checks as check

T = TypeVar("T")

NOTHING: Final = object()
"""Stands for the value of a body that is not JSON."""

_ENVELOPES: Final = ("data", "vm", "run", "session", "result", "response")
"""Members below which a reply may stand."""
_OTHER_THINGS: Final = ("run", "session")
"""Those of them that belong to a VM, when a VM is searched for."""
_ERROR_PARTS: Final = ("error", "details", "recovery", "context")


class Reader:
    """A reader of the replies of one client."""

    def __init__(self, *, strict: bool = False, tell: Callable[[str, str], None] | None = None) -> None:
        """Make a reader.

        Args:
            strict: Whether to require all that the contract declares.
            tell: Called once for each class and field that did not fit.
        """
        self.strict = strict
        self._tell = tell
        self._told: set[tuple[type, str]] = set()
        self._lock = threading.Lock()

    def value(self, body: bytes) -> object:
        """Return the JSON value of a body, ``{}`` for an empty one, `NOTHING` for invalid JSON."""
        try:
            return codec.loads(body)
        except ValueError:
            if not body.strip():
                return {}
        return NOTHING if self.strict else _loads_leniently(body)

    def structure(self, value: object, cls: type[T]) -> T:
        """Make a model of a JSON value; raises `arker._protocol.codec.codec.Misfit`."""
        if self.strict:
            return codec.structure(value, cls)
        result, noted = codec.structure_leniently(value, cls)
        if noted:
            self._note(noted)
        return result

    def acknowledgement(self, payload: dict[str, Any], cls: type[T], field: str) -> T:
        """Make the model of an acknowledgement: the action was done unless the reply says false."""
        if self.strict:
            return codec.structure(payload, cls)
        return self.structure({**payload, field: payload.get(field, True)}, cls)

    def find(self, value: object, evidence: Sequence[str]) -> dict[str, Any] | None:
        """Find the object with the requested data: the reply itself, or an object in an envelope.

        Args:
            value: The reply's JSON value.
            evidence: Members of which at least one is present.
        """
        if is_object(value):
            for name in evidence:
                if value.get(name) is not None:
                    return value  # as nearly always
        if self.strict:
            return None
        return next((each for each in _candidates(value, evidence) if _has(each, evidence)), None)

    def _note(self, noted: list[tuple[type, str]]) -> None:
        with self._lock:
            new = [each for each in dict.fromkeys(noted) if each not in self._told]
            self._told.update(new)
        for cls, field in new:
            if self._tell is not None:
                self._tell(cls.__name__, field)


def _has(value: dict[str, Any], names: Sequence[str]) -> bool:
    return any(value.get(name) is not None for name in names)


def _candidates(value: object, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the places in which a reply may hold the requested data, by some of these members."""
    if is_array(value) and len(value) == 1:
        value = value[0]
    if not is_object(value):
        return
    yield value
    # An "id" in the object "run" or "session" is the id of that run or session.
    envelopes = [name for name in _ENVELOPES if "id" not in names or name not in _OTHER_THINGS]
    for name in envelopes:
        inner = value.get(name)
        if is_array(inner) and len(inner) == 1:
            inner = inner[0]
        if is_object(inner):
            yield inner
            yield from (each for key in envelopes if is_object(each := inner.get(key)))


def is_usable_id(value: object) -> bool:
    """Return whether a value is an id that is usable in paths."""
    return check.is_string(value) and value.isprintable() and value.strip() not in {"", ".", ".."}


def id_in(value: object, names: Sequence[str]) -> str | None:
    """Find an id in a reply, which may be an error.

    Args:
        value: The JSON value.
        names: Members that may have it, in their order; ``id`` is not taken from another kind of object.
    """
    if is_object(value) and is_usable_id(first := value.get(names[0])):
        return str(first)  # as in nearly all replies
    for candidate in itertools.chain(_candidates(value, names), _error_parts(value)):
        for name in names:
            found = candidate.get(name)
            if is_usable_id(found):
                return str(found)
    return None


def _error_parts(value: object) -> Iterator[dict[str, Any]]:
    if not is_object(value):
        return
    for name in _ERROR_PARTS:
        inner = value.get(name)
        if is_object(inner):
            yield inner
            yield from _error_parts(inner)


_VM_ID: Final = re.compile(rb'"vm_id"\s*:\s*"([!-~]{1,200}?)"')


def salvaged_vm_id(body: bytes) -> str | None:
    """Find a VM's id in malformed JSON, such as a truncated text."""
    if body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"["):
        return None
    found = _VM_ID.search(body)
    vm_id = found[1].decode("ascii") if found is not None else ""
    return vm_id if "\\" not in vm_id and is_usable_id(vm_id) else None


def _loads_leniently(body: bytes) -> object:
    """Parse JSON with a byte order mark, NaN, lone surrogates, invalid UTF-8 or trailing text."""
    import json  # importing the client loads this module, and few replies need that one

    text = body.decode("utf-8", "surrogateescape").lstrip("\ufeff \t\r\n")
    if text[:1] not in ("{", "["):
        return NOTHING
    decoder = json.JSONDecoder(strict=False, parse_constant=lambda _: None, parse_int=_integer)
    try:
        value: object = decoder.raw_decode(text)[0]
    except (ValueError, RecursionError):
        return NOTHING
    return value


def _integer(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:  # of more digits than Python converts
        return float("inf")


__all__ = ["NOTHING", "Reader", "id_in", "is_usable_id", "salvaged_vm_id"]
