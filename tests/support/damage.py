"""Strategies for damaged replies: arbitrary JSON, and valid replies with something wrong at any depth."""

from __future__ import annotations

import copy
from typing import Any, Final, TypeAlias, TypeGuard

import orjson
from hypothesis import strategies as st

from tests.support.secrets import MARK

Path: TypeAlias = tuple[str | int, ...]

SCALARS: Final = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=8)
)
JSON: Final = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
)
ODD_STRINGS: Final = st.sampled_from(["", "false", "7", "..", "/", "\x00", "base64", "utf-8", "completed", "é" * 400])
STATUSES: Final = st.integers(200, 599)
SUCCESSES: Final = st.sampled_from([200, 200, 200, 201, 204, 299])


def without_secrets(payload: object) -> Any:
    """Return a copy of a sample without secrets: an error may quote a broken server's reply."""
    return orjson.loads(orjson.dumps(payload).replace(MARK.encode(), b"plain"))


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def paths(value: object, here: Path = ()) -> list[Path]:
    """Where all values of a payload are, the payload itself first."""
    found = [here]
    if is_object(value):
        for key, item in value.items():
            found += paths(item, (*here, key))
    elif is_array(value):
        for index, item in enumerate(value):
            found += paths(item, (*here, index))
    return found


@st.composite
def mutated(draw: st.DrawFn, payload: object) -> Any:
    """Return a valid payload with one to three values removed, replaced, repeated or inserted."""
    result: Any = copy.deepcopy(payload)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths(result)))
        if not path:
            if not is_object(result) or draw(st.integers(0, 9)) == 0:
                return draw(JSON)
            result[draw(st.text(max_size=6) | st.sampled_from(["error", "code", "message"]))] = draw(JSON)
            continue
        parent: Any = result
        for step in path[:-1]:
            parent = parent[step]
        last: Any = path[-1]
        match draw(st.sampled_from(["drop", "null", "scalar", "odd", "any", "repeat", "wrap"])):
            case "drop":
                del parent[last]
            case "null":
                parent[last] = None
            case "scalar":
                parent[last] = draw(SCALARS)
            case "odd":
                parent[last] = draw(ODD_STRINGS)
            case "any":
                parent[last] = draw(JSON)
            case "repeat":
                parent[last] = [parent[last]] * draw(st.integers(0, 3))
            case _:
                parent[last] = {"type": parent[last], "code": "x"}
    return result


@st.composite
def damaged_text(draw: st.DrawFn, text: bytes) -> bytes:
    """Return a valid text, cut short, with bytes changed, or with bytes inserted."""
    body = bytearray(text)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(body) - 1)))
        match draw(st.sampled_from(["cut", "change", "insert", "remove"])):
            case "cut":
                del body[at:]
            case "change" if body:
                body[at] = draw(st.integers(0, 255))
            case "insert":
                body[at:at] = draw(st.binary(max_size=5))
            case _:
                del body[at : at + 3]
    return bytes(body)
