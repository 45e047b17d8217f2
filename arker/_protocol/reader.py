"""How replies are read: as they are, or with what fits of them where a server has moved on. Pure but for its notes.

A reply may be another one than the contract says: in an envelope, with a byte order mark, with fields of other types.
Nothing of that may cost a VM, a run or a result. Nothing is guessed either: a value of another type is never converted.
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
"""Stands for the value of a body that is no JSON."""

_ENVELOPES: Final = ("data", "vm", "run", "session", "result", "response")
"""Members below which a reply may stand."""
_ERROR_PARTS: Final = ("error", "details", "recovery", "context")


class Reader:
    """Reads the replies of one client."""

    def __init__(self, *, strict: bool = False, tell: Callable[[str, str], None] | None = None) -> None:
        """Make one.

        Args:
            strict: Whether all that the contract declares is demanded.
            tell: Told once of each class and field that did not fit.
        """
        self.strict = strict
        self._tell = tell
        self._told: set[tuple[type, str]] = set()
        self._lock = threading.Lock()

    def value(self, body: bytes) -> object:
        """Give the JSON value of a body, ``{}`` for an empty one, `NOTHING` for what is no JSON."""
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
        """Make the model that says that something was done: it was, unless the reply says false."""
        if self.strict:
            return codec.structure(payload, cls)
        return self.structure({**payload, field: payload.get(field, True)}, cls)

    def find(self, value: object, evidence: Sequence[str]) -> dict[str, Any] | None:
        """Find the object that holds what was asked for: the reply, or what stands in an envelope.

        Args:
            value: The reply's JSON value.
            evidence: Members of which one at least is there.
        """
        if is_object(value) and _has(value, evidence):
            return value  # as nearly always
        if self.strict:
            return None
        return next((each for each in _candidates(value) if _has(each, evidence)), None)

    def _note(self, noted: list[tuple[type, str]]) -> None:
        with self._lock:
            new = [each for each in dict.fromkeys(noted) if each not in self._told]
            self._told.update(new)
        for cls, field in new:
            if self._tell is not None:
                self._tell(cls.__name__, field)


def _has(value: dict[str, Any], names: Sequence[str]) -> bool:
    for name in names:  # noqa: SIM110 - for each reply, and twice as fast
        if value.get(name) is not None:
            return True
    return False


def _candidates(value: object) -> Iterator[dict[str, Any]]:
    if is_array(value) and len(value) == 1:
        value = value[0]
    if not is_object(value):
        return
    yield value
    for name in _ENVELOPES:
        inner = value.get(name)
        if is_array(inner) and len(inner) == 1:
            inner = inner[0]
        if is_object(inner):
            yield inner
            yield from (each for key in _ENVELOPES if is_object(each := inner.get(key)))


def is_usable_id(value: object) -> bool:
    """Whether a value is an id that paths can be made of."""
    return check.is_string(value) and value.isprintable() and value.strip() not in {"", ".", ".."}


def id_in(value: object, names: Sequence[str]) -> str | None:
    """Find an id in a reply, or in an error that it is.

    Args:
        value: The JSON value.
        names: Members that may have it, in their order.
    """
    for candidate in itertools.chain(_candidates(value), _error_parts(value)):
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
    """Find a VM's id in a text that was to be JSON, such as one that was cut."""
    if body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"["):
        return None
    found = _VM_ID.search(body)
    vm_id = found[1].decode("ascii") if found is not None else ""
    return vm_id if "\\" not in vm_id and is_usable_id(vm_id) else None


def _loads_leniently(body: bytes) -> object:
    """Read JSON with a byte order mark, NaN, lone surrogates, bytes that are no UTF-8, or something behind it."""
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
